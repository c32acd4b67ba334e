"""A daemon under three times a node's load, with reloads and crashes; `make soak` does it longer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.soak import soak

SECONDS = float(os.environ.get("SLIPSTREAM_SOAK", "10"))


@pytest.mark.slow
@pytest.mark.no_asan
def test_nothing_is_lost_over_reloads_and_crashes(tmp_path: Path, examples: Path) -> None:
    found = soak(tmp_path, SECONDS, SECONDS / 4)
    assert (found.holes, found.unmarked, found.exit_code) == (0, 0, 0)
    assert found.events == found.last > 1000
    assert found.crashes > 0
    assert found.reloads > 0
    for name, counters in found.counters.items():
        assert (name, counters["lost"], counters["dead"]) == (name, 0, 0)
