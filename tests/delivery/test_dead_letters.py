"""Dead letters: where they go, that they are durable, and what a broken file does."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from itertools import accumulate
from pathlib import Path

import pytest

from slipstream import CaptureError, Gap, GapReason, PluginManager, SlipstreamError, frames
from slipstream._native import lib
from slipstream.capture import HEADER, open_for_append, read_frames, read_header
from support.gated import wait_until
from support.letters import letters_in
from support.logs import capture_logs
from support.oracle import EXPLICIT_ACK, REFUSED, Oracle, command
from support.recorded import Recorder
from support.rings import HELD, page, small
from support.workers import Sender

MODES = ("inline", "thread", "process")
SKIPS = 16  # SS_SKIPS of the core


@pytest.fixture
def recorder(compile_plugin, tmp_path) -> Recorder:
    return Recorder(compile_plugin, tmp_path)


def own_file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "recorder" / "dead-letters.slip"


@pytest.mark.parametrize("mode", MODES)
def test_they_are_kept_where_there_is_a_data_folder(manager, recorder, tmp_path, mode) -> None:
    plugin = manager.load_plugin(recorder.config(mode=mode, statuses=[-1]))
    manager.broadcast(small(1))
    manager.broadcast(small(2))
    manager.flush(240)
    counters = plugin.counters
    assert (counters.delivered, counters.dead, counters.dead_unkept) == (1, 1, 0)
    [letter] = letters_in(own_file(tmp_path))
    assert (letter.event.block_height, letter.why["text"]) == (1, "told to fail")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("folder", [True, False])
def test_they_are_counted_where_nobody_keeps_them(compile_plugin, tmp_path, mode, folder) -> None:
    recorder = Recorder(compile_plugin, tmp_path)
    data = tmp_path / "data" if folder else None
    with PluginManager(insecure_paths=True, data_dir=data) as manager:
        config = recorder.config(mode=mode, statuses=[-1])
        plugin = manager.load_plugin(config | ({"dead_letter": False} if folder else {}))
        manager.broadcast(small(1))
        manager.flush(240)
        assert (plugin.counters.dead, plugin.counters.dead_unkept) == (1, 1)
    assert not own_file(tmp_path).exists()


@pytest.mark.parametrize("mode", MODES)
def test_a_reload_takes_over_another_file(manager, recorder, tmp_path, mode) -> None:
    one, two = tmp_path / "one.slip", tmp_path / "two.slip"
    config = recorder.config(mode=mode, statuses=[-1])
    plugin = manager.load_plugin(config | {"dead_letter": str(one)})
    for height, other in ((1, two), (2, None), (3, False), (4, one), (5, one)):
        manager.broadcast(small(height))
        manager.flush(240)
        change = {} if other is None else {"dead_letter": other and str(other)}
        manager.reload_plugin("recorder", config | change)
    assert [letter.event.block_height for letter in letters_in(one)] == [1, 5]
    assert [letter.event.block_height for letter in letters_in(two)] == [2]
    assert [letter.event.block_height for letter in letters_in(own_file(tmp_path))] == [3]
    assert (plugin.counters.dead, plugin.counters.dead_unkept) == (5, 1)
    with pytest.raises(CaptureError, match="no-such-folder"):
        manager.reload_plugin("recorder", config | {"dead_letter": "/no-such-folder/x"})
    manager.broadcast(small(6))
    manager.flush(240)
    assert [letter.event.block_height for letter in letters_in(one)] == [1, 5, 6]


def test_two_plugins_never_share_one(manager, compile_plugin, tmp_path) -> None:
    letters = str(tmp_path / "dead.slip")
    first, second = (Recorder(compile_plugin, tmp_path, name=name) for name in ("first", "second"))
    manager.load_plugin(first.config(dead_letter=letters))
    with pytest.raises(CaptureError, match="another plugin or host appends to it"):
        manager.load_plugin(second.config(dead_letter=letters))


@pytest.mark.parametrize("mode", MODES)
def test_a_file_that_cannot_be_had_stops_nothing(manager, recorder, tmp_path, mode) -> None:
    own_file(tmp_path).mkdir(parents=True)  # in the way
    with capture_logs() as logs:
        plugin = manager.load_plugin(recorder.config(mode=mode, statuses=[-1]))
    assert "dead letters are counted and not kept" in [line["event"] for line in logs]
    manager.broadcast(small(1))
    manager.flush(240)
    assert (plugin.counters.dead, plugin.counters.dead_unkept) == (1, 1)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wanted", [True, False])
def test_where_there_is_no_file_it_is_said_once(recorder, mode, wanted) -> None:
    with PluginManager(insecure_paths=True) as manager, capture_logs() as logs:
        config = recorder.config(mode=mode, statuses=[-1, -1])
        if not wanted:
            config["dead_letter"] = False
        plugin = manager.load_plugin(config)
        assert not [line for line in logs if "not kept" in line["event"]], "nothing is lost yet"
        for height in (1, 2):
            manager.broadcast(small(height))
        manager.flush(240)
        assert (plugin.counters.dead, plugin.counters.dead_unkept) == (2, 2)
    said = [line["event"] for line in logs if "not kept" in line["event"]]
    assert len(said) == wanted
    assert all("no data folder, and its config names no file (dead_letter)" in it for it in said)


@pytest.mark.parametrize("target", ["/dev/full", "/dev/null"])
def test_a_device_is_no_file(manager, recorder, target) -> None:
    with pytest.raises(CaptureError, match="is not a regular file"):
        manager.load_plugin(recorder.config(dead_letter=target))


@pytest.mark.parametrize("mode", MODES)
def test_a_full_disk(manager, recorder, tmp_path, mode) -> None:
    """What is half written is taken back, and what follows can be read."""
    plugin = manager.load_plugin(recorder.config(mode=mode, statuses=[-1, -1, -1, -1]))
    file = own_file(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for height in (1, 2, 3):
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (file.stat().st_size + 100, before[1]) if height == 2 else before
        )
        try:
            manager.broadcast(small(height))
            manager.flush(240)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)
    assert (plugin.counters.dead, plugin.counters.dead_unkept) == (3, 1)
    assert [letter.event.block_height for letter in letters_in(file)] == [1, 3]


def test_a_file_that_is_full_is_told_once(manager, recorder, tmp_path) -> None:
    plugin = manager.load_plugin(recorder.config(mode="thread", statuses=[-1] * 5))
    own = os.open(own_file(tmp_path), os.O_RDWR | os.O_APPEND)
    lib.ss_letters_open(plugin.delivery._letters.pointer, own, 800)
    with capture_logs() as logs:
        manager.broadcast_many([small(height) for height in range(5)])
        manager.flush(240)
        wait_until(lambda: "its dead-letter file is full" in str(logs), "it does not say so")
    assert str(logs).count("its dead-letter file is full") == 1
    counters = plugin.counters
    assert (counters.dead, counters.dead_unkept) == (5, 5 - len(letters_in(own_file(tmp_path))))
    assert 0 < counters.dead_unkept < 5


# ---- What a crash has left ---------------------------------------------------------------------


def letters_of(manager, recorder, tmp_path) -> bytes:
    """The bytes of a file with two letters."""
    manager.load_plugin(recorder.config(statuses=[-1, -1]))
    manager.broadcast_many([small(1), small(2)])
    manager.unload_plugin("recorder")
    return own_file(tmp_path).read_bytes()


def test_every_cut_leaves_whole_letters(manager, recorder, tmp_path) -> None:
    whole = letters_of(manager, recorder, tmp_path)
    file = tmp_path / "cut.slip"
    with own_file(tmp_path).open("rb") as capture:
        read_header(capture, "letters")
        lengths = map(len, read_frames(capture, "letters"))
        ends = set(accumulate(lengths, initial=len(HEADER)))
    for end in range(len(whole) + 1):
        for behind in (b"", bytes(100), bytes(5000)):  # room that was made and not written
            if behind and end not in ends:
                continue
            file.write_bytes(whole[:end] + behind)
            os.close(open_for_append(file))
            found = letters_in(file)
            assert len(found) == 2 if end == len(whole) else len(found) < 2
            assert whole.startswith(file.read_bytes())


@pytest.mark.parametrize("mode", MODES)
def test_a_damaged_file_is_put_aside(manager, recorder, tmp_path, mode) -> None:
    whole = letters_of(manager, recorder, tmp_path)
    file = own_file(tmp_path)
    file.write_bytes(whole + b"\x03garbage" * 20)
    with pytest.raises(CaptureError, match="the frame at byte"):
        manager.load_plugin(recorder.config(mode=mode, dead_letter=str(file)))
    with capture_logs() as logs:
        manager.load_plugin(recorder.config(mode=mode, statuses=[-1]))
    assert "dead letters: a damaged file was put aside" in [line["event"] for line in logs]
    manager.broadcast(small(3))
    manager.flush(240)
    assert [letter.event.block_height for letter in letters_in(file)] == [3]
    [aside] = file.parent.glob("dead-letters.damaged-*.slip")
    assert aside.read_bytes().startswith(whole)


def test_a_host_that_is_killed_keeps_what_counted(recorder, tmp_path) -> None:
    program = f"""
import itertools, sys, time
from slipstream import Block, PluginManager
manager = PluginManager(insecure_paths=True, data_dir={str(tmp_path / "data")!r})
plugin = manager.load_plugin({recorder.config(mode="process", statuses=[-1] * 64)!r})
for height in itertools.count():
    manager.block(b"b", height)
    print(plugin.counters.dead, flush=True)
    time.sleep(0.001)
"""
    counted = 0
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as host:
        for line in host.stdout:
            counted = int(line)
            if counted > 20:
                break
        host.kill()
    os.close(open_for_append(own_file(tmp_path)))
    assert len(letters_in(own_file(tmp_path))) >= counted > 20


@pytest.mark.parametrize("count", [1, 40])
def test_a_crash_does_not_offer_it_again(manager, compile_plugin, tmp_path, count) -> None:
    """What is refused and not acknowledged is stepped over, as far as there is room for that."""
    oracle = Oracle(compile_plugin, tmp_path, flags=EXPLICIT_ACK)
    plugin = manager.load_plugin(oracle.config(flush_interval=600))
    sender = Sender(manager)
    manager.pause("oracle")
    sender.many(1)
    for _ in range(count):
        sender.send(command("refuse", 99))
    sender.send(command("segv"))
    sender.many(3)
    manager.resume("oracle")
    manager.flush(240)
    assert plugin.delivery.restarts == 1
    counters = plugin.counters
    assert (counters.delivered, counters.dead, counters.dead_unkept) == (5, count, 0)
    assert counters.told == counters.lost == 0
    letters = letters_in(tmp_path / "data" / "oracle" / "dead-letters.slip")
    assert [letter.why["ordinal"] for letter in letters] == list(range(2, count + 2))
    offered = [r.ordinal for r in oracle.records if r.type == REFUSED]
    again = max(0, count - SKIPS)
    assert sorted(offered) == sorted([*range(2, count + 2), *range(count + 2 - again, count + 2)])
    verdict = oracle.judge(sender.hashes)
    assert verdict.good, verdict


# ---- What an unload leaves -----------------------------------------------------------------------


def test_what_a_quarantined_plugin_loses_is_kept_as_a_gap(manager, oracle, tmp_path) -> None:
    plugin = manager.load_plugin(
        oracle.config(ring_bytes="64KiB", restart={"initial_delay": 0, "max_crashes": 1})
    )
    manager.broadcast(command("segv", 99))
    wait_until(lambda: str(plugin.state) == "quarantined", "it is not quarantined")
    for height in range(HELD + 5):
        manager.broadcast(page(height))
    with capture_logs() as logs:
        manager.unload_plugin("oracle")
    counters = plugin.counters
    assert (counters.accepted, counters.undelivered, counters.waiting) == (HELD + 6,) * 2 + (0,)
    [problem] = [line["problem"] for line in logs if "problem" in line]
    lost = counters.lost
    assert problem.endswith(f": {HELD + 6 - lost} kept, {lost} lost before")
    [file] = (tmp_path / "data" / "oracle").glob("undelivered-*.slip")
    with file.open("rb") as capture:
        read_header(capture, "undelivered")
        events = [frames.decode(frame)[0] for frame in read_frames(capture, "undelivered")]
    assert [isinstance(event, Gap) for event in events] == [False] * (HELD + 6 - lost) + [True]
    assert (events[-1].reason, events[-1].count) == (GapReason.QUARANTINED, lost)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("timeout", "told"), [(float("inf"), 0xFFFFFFFF), (2.5, 2500)])
def test_on_unload_hears_how_long_it_has(manager, recorder, mode, timeout, told) -> None:
    manager.load_plugin(recorder.config(mode=mode, unload_status=-13))
    manager.broadcast(small(1))
    manager.flush(240)
    with capture_logs() as logs:
        manager.unload_plugin("recorder", timeout=timeout)
    calls = [line["timeout"] for line in recorder.lines if line["call"] == "unload"]
    assert calls == [told]
    [problem] = [line["problem"] for line in logs if "problem" in line]
    assert problem == "on_unload failed (IO (-13)): told to fail"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("call", ["load", "flush", "unload"])
def test_a_strange_status_of_any_call_is_misbehaviour(
    manager, compile_plugin, tmp_path, mode, call
) -> None:
    recorder = Recorder(compile_plugin, tmp_path, flags=EXPLICIT_ACK)
    with capture_logs() as logs:
        try:
            manager.load_plugin(recorder.config(mode=mode, **{f"{call}_status": 99}))
            manager.broadcast(small(1))
            manager.flush(5)
        except SlipstreamError:
            pass
        if call != "load":
            manager.unload_plugin("recorder", timeout=5)
        name = "flush" if call == "flush" else f"on_{call}"
        wait_until(
            lambda: f"{name} returned 99, which is not one of its answers" in str(logs),
            f"{logs}",
            20,
        )
