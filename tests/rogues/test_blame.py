"""Who reads or writes where it must not is told the call, the kind, the field and the distance."""

from __future__ import annotations

import pytest
from matrix import subject_of

from rogues import build, gallery
from slipstream.check.trial import run

pytestmark = pytest.mark.no_asan  # what is checked runs in a program of its own

_UPDATE = "on_broadcast, MAPPING_UPDATE"
_EDGE = "memory ends where the frames end"
_ONLY = "in memory that can only be read"
_LATE = "read what it was given in an earlier call, and is no longer there"
BLAMED = {
    "entry.host-table": "the constructor: read 1 byte past the end of the host's table (80 bytes)",
    "entry.host-const": "the constructor: wrote to the host's table, which the plugin may only read",
    "lifecycle.config-const": f"on_load, {_ONLY}: wrote to the config, which the plugin may only",
    "lifecycle.config-gone": f"on_unload: {_LATE}",
    "events.over-read": f"{_UPDATE}, {_EDGE}: read 5 bytes past the end of the 12-byte value, the",
    "events.under-read": "memory starts where the frames start: read 1 byte before the start of the",
    "events.const": f"{_UPDATE}, {_ONLY}: wrote to the 48-byte header, which the plugin may only",
    "events.retained": f"BLOCK, its memory is taken away after: {_LATE}",
    "events.retained-by-thread": "crashed with SIGSEGV, apparently in a thread of its own",
    "events.short-fields": f"{_EDGE}: read 8 bytes past the end of the 1-byte key, the last of the",
    "events.no-nul": f"{_EDGE}: read 1 byte past the end of the 8-byte program_id, the last of",
    "events.truncated": f"48 of 168 bytes, {_EDGE}: read 4 bytes past the end of the frames (48",
    "events.delivery-end": "read 1 byte past the end of the delivery (24 bytes)",
    "threads.small-stack": f"{_UPDATE}: crashed with SIGSEGV: wrote at 0x",
}
ROGUES = [rogue for rogue in gallery() if rogue.name in BLAMED]


@pytest.mark.parametrize("rogue", ROGUES, ids=lambda rogue: rogue.name)
def test_what_was_touched_is_told(rogue, tmp_path) -> None:
    result = run(subject_of(rogue, build(rogue, tmp_path)), rogue.check, tmp_path)
    assert result.verdict == "crash"
    assert BLAMED[rogue.name] in result.findings[-1]


def test_all_are_there() -> None:
    assert len(ROGUES) == len(BLAMED)
