"""A plugin rejects single events of a run: slipstream.settle/1."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest

from slipstream import Block, frames
from slipstream.testing import FakeHost
from support.gated import wait_until
from support.letters import letters_in
from support.logs import capture_logs
from support.outcomes import assert_adds_up

BATCH, EXPLICIT_ACK = 16, 8
MODES = ("inline", "thread", "process")
FAILED, INVALID_ARGUMENT, WRONG_STATE, IGNORED = -1, -5, -8, 2


@pytest.fixture
def load(manager, compile_plugin, tmp_path):
    def load_it(mode: str, flags: int = BATCH, **keys: object):
        library = compile_plugin(
            "settler.c", "-D_GNU_SOURCE", "-pthread", f"-DFLAGS={flags}", name="settler"
        )
        config = {"libpath": str(library), "mode": mode, "log": str(tmp_path / "log")}
        return manager.load_plugin(config | {"status": -3, "flush_interval": 600} | keys)

    return load_it


def lines(tmp_path: Path, word: str) -> list[list[int]]:
    found = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    return [list(map(int, line[1:])) for line in found if line[0] == word]


def run_of(count: int) -> bytes:
    return b"".join(frames.encode(Block(b"b", height)) for height in range(1, count + 1))


def send(manager, plugin, count: int) -> None:
    """Hand over one run, as far as the mode allows that."""
    if plugin.mode == "inline":
        manager.broadcast_frames(run_of(count))
        return
    manager.pause("settler")
    manager.broadcast_frames(run_of(count))
    manager.resume("settler")


@pytest.mark.parametrize("mode", MODES)
def test_three_of_a_thousand(manager, load, tmp_path, mode) -> None:
    plugin = load(mode, rejects=[250, 7, 1000])
    frame = frames.encode(Block(b"b", 1))
    send(manager, plugin, 100 if mode == "inline" else 1000)
    if mode == "inline":  # runs are cut into pieces of 16 KiB there
        for _ in range(9):
            manager.broadcast_frames(frame * 100)
    manager.flush(240)
    counters = plugin.counters
    assert (counters.delivered, counters.dead, counters.dead_unkept) == (997, 3, 0)
    assert (counters.accepted, counters.waiting, counters.acknowledged) == (1000, 0, 1000)
    if mode != "inline":
        runs = lines(tmp_path, "run")  # a broadcast is cut into pieces of 16 KiB
        assert sum(count for _, count, _ in runs) == 1000
        assert {attempt for _, _, attempt in runs} == {1}
        assert len(runs) < 10
    assert lines(tmp_path, "loading") == [[WRONG_STATE]]
    assert lines(tmp_path, "inside") == [[n, 0, 0] for n in (7, 250, 1000)]
    assert {n for line in lines(tmp_path, "outside") for n in line} == {INVALID_ARGUMENT}
    assert {line[0] for line in lines(tmp_path, "bad")} == {INVALID_ARGUMENT}
    manager.unload_plugin("settler")
    assert lines(tmp_path, "unloading") == [[WRONG_STATE]]
    letters = letters_in(tmp_path / "data" / "settler" / "dead-letters.slip")
    assert [letter.why["ordinal"] for letter in letters] == [7, 250, 1000]
    for letter in letters:
        why = letter.why
        assert why["text"] == f'no "{why["ordinal"]}" here'
        assert (why["plugin"], why["version"], why["status"]) == ("settler", "1.2", -3)
        assert why["attempts"] == 1
        assert abs(why["time"] / 1e9 - time.time()) < 300
        assert why["digest"] == hashlib.sha256(plugin.path.read_bytes()).hexdigest()
        assert letter.event.meta.sequence == why["ordinal"]


@pytest.mark.parametrize("mode", MODES)
def test_a_run_that_fails_forgets_them(manager, load, tmp_path, mode) -> None:
    """They are rejected again one by one, where each is a run that returns OK."""
    plugin = load(mode, rejects=[3], run_status=FAILED)
    send(manager, plugin, 5)
    manager.flush(240)
    assert (plugin.counters.delivered, plugin.counters.dead) == (4, 1)
    assert lines(tmp_path, "run")[0] == [1, 5, 1]
    letters = letters_in(tmp_path / "data" / "settler" / "dead-letters.slip")
    assert [(letter.why["ordinal"], letter.why["attempts"]) for letter in letters] == [(3, 2)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("flags", [0, BATCH])
def test_what_is_ignored_forgets_them(manager, load, mode, flags) -> None:
    plugin = load(mode, flags, rejects=[3], run_status=IGNORED)
    send(manager, plugin, 5)
    manager.flush(240)
    assert (plugin.counters.delivered, plugin.counters.dead) == (5, 0)


@pytest.mark.parametrize("mode", MODES)
def test_single_events_are_rejected_as_well(manager, load, tmp_path, mode) -> None:
    plugin = load(mode, 0, rejects=[2, 5], status=77, short_text=1)
    with capture_logs() as logs:
        send(manager, plugin, 6)
        manager.flush(240)
        wait_until(lambda: str(logs).count("was rejected with unknown status (77)") == 2, "no line")
    told = [line["event"] for line in logs if "ordinal 2 " in line["event"]]
    assert told == ["ordinal 2 was rejected with unknown status (77): x"]
    assert (plugin.counters.delivered, plugin.counters.dead) == (4, 2)
    letters = letters_in(tmp_path / "data" / "settler" / "dead-letters.slip")
    assert [letter.why["ordinal"] for letter in letters] == [2, 5]


@pytest.mark.parametrize("mode", ["thread", "process"])
@pytest.mark.parametrize("late", [1, 2])
def test_with_explicit_acks_until_acknowledged(manager, load, tmp_path, mode, late) -> None:
    plugin = load(mode, BATCH | EXPLICIT_ACK, rejects=[2, 4, 9], late=late)
    send(manager, plugin, 5)
    manager.flush(240)
    counters = plugin.counters
    assert (counters.delivered, counters.dead, counters.acknowledged) == (3, 2, 5)
    where = "flush" if late == 1 else "thread"
    assert lines(tmp_path, where) == [[2, 0, 0], [4, 0, 0]]
    letters = letters_in(tmp_path / "data" / "settler" / "dead-letters.slip")
    assert [letter.why["ordinal"] for letter in letters] == [2, 4]
    assert_adds_up(counters)


def test_inline_it_is_acknowledged_on_return(manager, load, tmp_path) -> None:
    plugin = load("inline", BATCH | EXPLICIT_ACK, rejects=[2], late=1)
    send(manager, plugin, 5)
    manager.flush(240)
    assert lines(tmp_path, "flush") == [[2, INVALID_ARGUMENT, INVALID_ARGUMENT]]
    assert (plugin.counters.delivered, plugin.counters.dead) == (5, 0)


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_many_more_than_may_be_under_way(manager, load, tmp_path, mode) -> None:
    """Of a run of a thousand each event fails: one by one, kept in groups, none twice."""
    plugin = load(mode, 0, rejects=list(range(1, 65)), status=FAILED)
    manager.broadcast_frames(run_of(64))
    manager.flush(240)
    assert (plugin.counters.dead, plugin.counters.dead_unkept) == (64, 0)
    letters = letters_in(tmp_path / "data" / "settler" / "dead-letters.slip")
    assert [letter.why["ordinal"] for letter in letters] == list(range(1, 65))


@pytest.mark.parametrize("late", [1, 2])
def test_a_fake_host_takes_them_until_acknowledged_as_well(compile_plugin, tmp_path, late) -> None:
    flags = f"-DFLAGS={BATCH | EXPLICIT_ACK}"
    library = compile_plugin("settler.c", "-D_GNU_SOURCE", "-pthread", flags, name="settler")
    config = {"log": str(tmp_path / "log"), "status": -3, "rejects": [2, 4, 9], "late": late}
    with FakeHost(library, config) as host:
        for height in range(1, 6):
            host.deliver(Block(b"b", height))
        host.flush()
        told = [line for line in host.logs if "was rejected" in line.text]
    where = "flush" if late == 1 else "thread"
    assert lines(tmp_path, where) == [[2, 0, 0], [4, 0, 0]]
    assert len(told) == 2
