"""One plugin in four languages, written from the header alone: one digest everywhere."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from levels import is_reached, report_of

from languages import BUILDERS, PROBES, ROOT, build, expected, run
from slipstream import (
    AppEvent,
    Block,
    Event,
    MappingRemoval,
    MappingUpdate,
    Meta,
    Mode,
    Payload,
    PeerForgotten,
    PeerSeen,
    StakingReward,
    frames,
)

HOST_C = ROOT / "examples" / "host-c" / "host-c"
HOST_RUST = ROOT / "examples" / "host-rust" / "target" / "release" / "host-rust"
STREAM = 0xC0FFEE
PROGRAM, MAPPING = b"\x07credits\x04aleo", b"\x07account"
# What both small hosts send, but for the GAP and the routed payload behind it.
SENT: list[Event] = [
    MappingUpdate(PROGRAM, MAPPING, b"key", b"", encoding=1),
    MappingRemoval(PROGRAM, MAPPING, None, encoding=1),
    StakingReward(b"staker", b"validator", 5, 1_000_005),
    Block(b"a block", encoding=1),
    Payload(b"org.example.ping", b"{}", b"me"),
    PeerSeen(b"peer", None, b"Ada", 1),
    PeerForgotten(b"peer"),
    AppEvent(32, b"own"),
    *[MappingUpdate(PROGRAM, MAPPING, b"key", b"", encoding=1)] * 1000,
]
# The digest of the GAP, which only the small hosts send: 1009 and 1010 are lost.
GAPS = "gaps 1 f74e153a2ff10a40"


def stamped(event: Event, sequence: int, flags: int = 0) -> Event:
    """The event as the small hosts send it."""
    meta = Meta(stream=STREAM, sequence=sequence, time_ns=1_700_000_000 * 10**9, flags=flags)
    return dataclasses.replace(event, block_height=7, meta=meta)


EVENTS = [stamped(event, sequence) for sequence, event in enumerate(SENT, 1)]
ROUTED = stamped(SENT[4], len(SENT) + 3, flags=2)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("languages")


@pytest.fixture(params=BUILDERS)
def library(request: pytest.FixtureRequest, folder: Path) -> Path:
    missing = run(*PROBES[request.param])
    if missing:
        pytest.skip(f"no compiler of {request.param} here: {missing}")
    built, trouble = build(request.param, folder)
    assert trouble == ""
    return built


@pytest.mark.parametrize("host", [HOST_C, HOST_RUST], ids=["host-c", "host-rust"])
def test_the_digest_in_a_small_host(host: Path, library: Path, tmp_path: Path) -> None:
    if not host.exists():
        pytest.skip(f"{host.name} is not built: make -C examples")
    done = subprocess.run(
        [str(host), str(library), f"out={tmp_path / 'out'}"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    count, digest = expected([*EVENTS, ROUTED])
    assert (tmp_path / "out").read_text() == f"events {count} {digest} {GAPS}\n"


# In a process of its own: Go's runtime stays in the one that opened it.
PLAY = """
import sys
from slipstream import PluginManager, frames
library, mode, out, events = sys.argv[1:]
run = list(frames.split(open(events, "rb").read()))
with PluginManager(insecure_paths=True) as manager:
    manager.load_plugin({"libpath": library, "mode": mode, "out": out})
    for frame in run[:8]:
        manager.broadcast(frame)
    manager.broadcast_many(run[8:])
    manager.flush(240)
"""


@pytest.mark.parametrize("mode", Mode)
def test_the_digest_in_every_mode(mode: Mode, library: Path, tmp_path: Path) -> None:
    out, events = tmp_path / "out", tmp_path / "events"
    events.write_bytes(b"".join(map(frames.encode, EVENTS)))
    trouble = run(sys.executable, "-c", PLAY, library, mode, out, events)
    assert trouble == ""
    count, digest = expected(EVENTS)
    words = out.read_text().split()
    assert words[:3] == ["events", str(count), digest]
    assert words[3:5] == ["gaps", "0"]


@pytest.mark.no_asan  # what is checked runs in a program of its own
def test_it_reaches_its_level(library: Path, tmp_path: Path) -> None:
    language = library.stem.removeprefix("digest-")
    report = report_of(library, tmp_path, quick=True, language=language)
    assert is_reached(report, language), report.findings()


def test_it_exports_the_two_and_no_more(library: Path) -> None:
    shown = subprocess.run(
        ["nm", "-D", "--defined-only", str(library)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    names = {line.split()[-1] for line in shown.stdout.splitlines()}
    assert names == {"slipstream_create_plugin_v1", "slipstream_info_v1"}


def test_a_digest_would_tell() -> None:
    """Of two sequences that differ in one bit of one field, each has its own digest."""
    other = [*EVENTS]
    other[3] = stamped(Block(b"a blocj", encoding=1), 4)
    assert expected(other) != expected(EVENTS)
    assert run("false") != ""
