"""Linux aarch64 under qemu-user, with Debian's Python for it: all three modes.

`make test-aarch64` runs this; elsewhere it is skipped, for what it needs is fetched and built.
What it says of threads is only that they work: the emulator keeps to this machine's memory order.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from elsewhere_tools import HERE, ROOT, digest_here, fill, results

BUILD = ROOT / "build" / "aarch64"
CYCLES = 30
# The emulator does not know the first, takes the second for granted without doing it, and shows
# neighbours of one file as one mapping, by the flags of the first.
NOT_UNDER_QEMU = {"process_vm_readv", "MADV_WIPEONFORK", "/proc/self/maps"}
RESTARTED = (
    "restarted after it died of signal 11 (Segmentation fault); 1 event is delivered again "
    "from ordinal 2 on"
)
DEAD_LETTER = "an event crashed it three times: it is a dead letter, the plugin gets a GAP"

pytestmark = [
    pytest.mark.no_asan,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not os.environ.get("SLIPSTREAM_LONG"), reason="make test-aarch64 runs it"),
]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    ziglang = pytest.importorskip("ziglang")
    zig = str(Path(ziglang.__file__).parent / "zig")
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="test-", dir=BUILD) as name:
        made = Path(name)
        made.chmod(0o755)
        fill(made, [zig, "cc", "-target", "aarch64-linux-gnu.2.28"])
        yield made


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    return results(
        [
            *(sys.executable, str(ROOT / "tools" / "aarch64.py"), str(HERE / "inside.py")),
            *(str(folder), str(CYCLES), str(BUILD / "bin" / "python")),
        ]
    )


def test_what_the_core_asks_for_works(found) -> None:
    works = found["what_the_core_asks_for_works"]
    assert {name for name, well in works.items() if not well} <= NOT_UNDER_QEMU
    assert len(works) == 11


def test_the_genesis_streams_as_on_x86_64(found, folder, caplog) -> None:
    here = digest_here(folder / "foreign.so", caplog)
    streams = found["streams"]
    for mode in ("inline", "thread", "process"):
        delivered, line = streams[f"digest {mode}"]
        assert delivered == 397
        assert line.startswith(here)
        assert streams[f"tally {mode}"] == streams["tally inline"]
    assert len(streams["tally inline"]) > 3


def test_nothing_is_left_of_what_was_unloaded(found) -> None:
    left = found["left_behind"]
    assert left["before"] == left["after"]
    assert (left["after"]["mapped"], left["after"]["files"]) == (0, 0)
    assert left["said"] == []


def test_a_worker_that_crashes_is_started_again(found) -> None:
    crash = found["crash"]
    assert crash["delivered"] == [2, 3]
    assert (crash["dead"], crash["state"]) == (1, "running")
    assert [line.split(" {")[0] for line in crash["said"]] == [
        *("worker crashed", RESTARTED) * 2,
        *("worker crashed", DEAD_LETTER, RESTARTED),
    ]
    assert "'died of signal 11 (Segmentation fault)'" in crash["said"][0]
    assert ".crash." in crash["said"][0]  # where it was, by the library's copy


def test_the_fall_of_a_host_names_the_plugin(found) -> None:
    code, said = found["crash_of_the_host"]
    assert code == -11
    assert "slipstream: signal 11 in on_broadcast of plugin crash, last ordinal 1, at " in said
    assert ".slipstream-copy + 0x" in said


def test_commands(found) -> None:
    commands = found["commands"]
    for name in ("inspect", "run", "check"):
        assert commands[name][0] == 0, commands[name]
    assert "64-bit ELF file for AArch64" in commands["inspect"][1]
    assert "excellent: nothing was found" in commands["check"][1]
    assert "is built for x86-64 (machine 62, 64 bit), this host is AArch64" in " ".join(
        commands["refused"][1].split()
    )
    assert "process_vm_readv  fallback" in commands["doctor"][1]
