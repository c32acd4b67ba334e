"""What valgrind found is told of the library alone, with the function and the line."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from slipstream.check.sections.resources import _errors_in

OWN, OTHER = "/there/libmine.so", "/usr/lib/libc.so.6"


def frame(obj: str, fn: str = "", line: str = "") -> str:
    places = f"<file>mine.c</file><line>{line}</line>" if line else ""
    return f"<frame><obj>{obj}</obj>{f'<fn>{fn}</fn>' if fn else ''}{places}</frame>"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("<what>Bad read</what>" + frame(OTHER, "memcpy") + frame(OWN, "store", "7"),
         ["Bad read, in store at mine.c:7"]),
        ("<xwhat><text>9 bytes lost</text></xwhat>" + frame(OWN, "keep"), ["9 bytes lost, in keep"]),
        ("<what>Bad read</what>" + frame(OWN), ["Bad read, in it"]),
        (frame(OWN, "keep", "1"), ["an error, in keep at mine.c:1"]),
        ("<what>Bad read</what>" + frame(OTHER, "memcpy"), []),
    ],
)  # fmt: skip
def test_an_error(error, told) -> None:
    report = ET.fromstring(f"<valgrindoutput><error>{error}</error></valgrindoutput>")
    assert list(_errors_in(report, Path(OWN))) == told
