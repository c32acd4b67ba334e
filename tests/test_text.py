"""Numbers with what they count."""

from __future__ import annotations

import pytest

from slipstream.text import counted


@pytest.mark.parametrize(
    ("number", "forms", "said"),
    [
        (0, ("event",), "0 events"),
        (1, ("event",), "1 event"),
        (2, ("event",), "2 events"),
        (1250, ("event",), "1,250 events"),
        (1, ("entry", "entries"), "1 entry"),
        (3, ("event was", "events were"), "3 events were"),
    ],
)
def test_a_number_has_the_form_that_goes_with_it(
    number: int, forms: tuple[str, ...], said: str
) -> None:
    assert counted(number, *forms) == said
