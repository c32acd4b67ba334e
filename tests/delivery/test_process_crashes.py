"""Process mode: workers that crash or hang, and what becomes of their events."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from slipstream import FlushTimeout, PluginState, frames
from support.letters import letters_in
from support.logs import capture_logs
from support.oracle import BATCH, EVENT, EXPLICIT_ACK, GAP, Oracle, command, digest
from support.workers import Sender, block, one_report, wait

DEAD_LETTER = 8


# ---- What is told of a crash ---------------------------------------------------------------------


def test_the_crash_report_says_where_and_on_what(manager, oracle, tmp_path) -> None:
    plugin = manager.load_plugin(oracle.config())
    pid = plugin.pid
    sender = Sender(manager)
    sender.many(3)
    sender.send(command("print", 1))
    manager.flush(240)
    sender.send(command("segv", 1))
    manager.flush(240)
    report = one_report(manager, plugin)
    assert (report.plugin, report.pid, report.signal, report.exit_code) == ("oracle", pid, 11, -1)
    assert "signal 11" in report.reason
    assert report.address == 0x10
    assert report.pc != 0
    assert len(report.registers) > 10
    assert report.pc in report.registers or os.uname().machine != "x86_64"
    assert (report.ordinal, report.run, report.acknowledged) == (5, 1, 4)
    frame = frames.encode(command("segv", 1))
    assert report.frame_head[:16] == frame[:8].hex()
    assert report.path == str(oracle.library)
    assert report.digest == plugin.digest
    assert "to out" in report.lines
    assert "to err" in report.lines
    assert report.file is not None
    written = json.loads(report.file.read_text())
    assert written["pc"] == hex(report.pc)
    assert written["ordinal"] == 5
    # Module and offset name the function.
    assert ".slipstream-copy" in report.module
    table = subprocess.run(
        ["nm", "-S", "--defined-only", str(oracle.library)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    segments = subprocess.run(
        ["readelf", "-lW", str(oracle.library)], capture_output=True, text=True, check=True
    ).stdout
    address = report.module_offset
    for line in segments.splitlines():  # from an offset in the file to an address
        fields = line.split()
        if fields[:1] == ["LOAD"]:
            offset, virtual, _, size = (int(f, 16) for f in fields[1:5])
            if offset <= report.module_offset < offset + size:
                address = report.module_offset - offset + virtual
    functions = [line.split() for line in table.splitlines() if len(line.split()) == 4]
    inside = [
        name
        for start, size, _, name in functions
        if int(start, 16) <= address < int(start, 16) + int(size, 16)
    ]
    assert inside == ["oracle_write_to_null"]
    assert oracle.judge(sender.hashes).good


def build_id_of(library: Path) -> str:
    """What readelf says; "" if the library has none."""
    notes = subprocess.run(
        ["readelf", "-n", str(library)], capture_output=True, text=True, check=True
    ).stdout
    found = re.search("Build ID: ([0-9a-f]+)", notes)
    return "" if found is None else found[1]


@pytest.mark.parametrize("style", ["sha1", "none"])
def test_the_crash_report_names_the_build(manager, compile_plugin, tmp_path, style) -> None:
    oracle = Oracle(compile_plugin, tmp_path, f"-Wl,--build-id={style}")
    assert bool(build_id_of(oracle.library)) == (style != "none")
    plugin = manager.load_plugin(oracle.config())
    with capture_logs() as logs:
        manager.broadcast(command("segv", 1))
        manager.flush(240)
        report = one_report(manager, plugin)
    assert report.build_id == build_id_of(oracle.library)
    assert report.file is not None
    assert json.loads(report.file.read_text())["build_id"] == report.build_id
    # One line says it all, beside that of the restart.
    told = [line for line in logs if "crashed" in line["event"] or "signal 11" in str(line)]
    told = [line for line in told if not line["event"].startswith("restarted after")]
    assert [line["event"] for line in told] == ["worker crashed"]
    assert told[0]["plugin"] == "oracle"
    assert told[0]["reason"] == report.reason
    assert told[0]["pid"] == report.pid
    assert told[0]["crashed_in"] == report.module
    assert told[0]["offset"] == hex(report.module_offset)
    assert told[0].get("build_id", "") == report.build_id
    assert (told[0]["ordinal"], told[0]["acknowledged"]) == (1, 0)
    assert told[0]["report"] == str(report.file)


def test_the_crash_report_names_the_build_of_the_c_library(manager, oracle) -> None:
    plugin = manager.load_plugin(oracle.config())
    manager.broadcast(command("abort", 1))
    manager.flush(240)
    report = one_report(manager, plugin)
    assert report.signal == signal.SIGABRT
    assert "libc" in Path(report.module).name
    assert report.build_id == build_id_of(Path(report.module)) != ""


def test_an_exit_is_a_crash_with_a_code(manager, oracle) -> None:
    plugin = manager.load_plugin(oracle.config())
    sender = Sender(manager)
    with capture_logs() as logs:
        sender.send(command("exit", 1))
        manager.flush(240)
        report = one_report(manager, plugin)
    assert (report.signal, report.exit_code) == (0, 3)
    assert "exit code 3" in report.reason
    (told,) = (line for line in logs if line["event"] == "worker crashed")
    assert told.keys().isdisjoint({"crashed_in", "offset", "in_thread", "build_id"}), "not known"
    assert [(r.ordinal, r.attempt) for r in oracle.events] == [(1, 1), (1, 2)]


# ---- Starting again ------------------------------------------------------------------------------


def test_crashes_lead_to_backoff_then_quarantine_and_resume(manager, oracle) -> None:
    plugin = manager.load_plugin(
        oracle.config(restart={"initial_delay": 1.5, "max_delay": 6, "max_crashes": 3})
    )
    sender = Sender(manager)
    starts = []
    for number in range(3):
        wait(lambda: plugin.state is PluginState.RUNNING)
        begin = time.monotonic()
        os.kill(plugin.pid, signal.SIGKILL)
        wait(lambda: plugin.state in {PluginState.BACKOFF, PluginState.QUARANTINED})
        assert "signal 9" in plugin.reason
        sender.send(block(number))
        wait(lambda: plugin.state in {PluginState.RUNNING, PluginState.QUARANTINED})
        starts.append(time.monotonic() - begin)
    assert starts[0] >= 1.5
    assert starts[1] >= 3, "the delay doubles"
    assert plugin.state is PluginState.QUARANTINED
    assert "3 crashes within 60 s" in plugin.reason
    assert plugin.pid is None
    with pytest.raises(FlushTimeout, match="quarantined"):
        manager.flush(240)
    time.sleep(0.5)
    assert plugin.state is PluginState.QUARANTINED
    sender.many(5)
    manager.resume("oracle")
    manager.flush(240)
    assert plugin.state is PluginState.RUNNING
    assert plugin.delivery.restarts == 3
    assert oracle.judge(sender.hashes).good


def test_quarantined_does_not_block_the_broadcaster(manager, oracle) -> None:
    plugin = manager.load_plugin(
        oracle.config(ring_bytes="64KiB", block_timeout=240, restart={"max_crashes": 1})
    )
    os.kill(plugin.pid, signal.SIGKILL)
    wait(lambda: plugin.state is PluginState.QUARANTINED)
    sender = Sender(manager)
    begin = time.monotonic()
    sender.many(2000)
    assert time.monotonic() - begin < 200
    manager.resume("oracle")
    manager.flush(240)
    verdict = oracle.judge(sender.hashes)
    assert verdict.good, verdict
    assert verdict.gap_events == plugin.counters.lost > 0


def test_why_it_does_not_start_again_is_told(manager, compile_plugin, tmp_path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    oracle = Oracle(compile_plugin, folder)
    plugin = manager.load_plugin(oracle.config(restart={"initial_delay": 0.05, "max_crashes": 0}))
    folder.rename(tmp_path / "away")
    with capture_logs() as logs:
        os.kill(plugin.pid, signal.SIGKILL)
        wait(lambda: "could not be started again: " in plugin.reason)
        assert "cannot open its file" in plugin.reason
        wait(lambda: any("cannot open its file" in line["event"] for line in logs))
    (tmp_path / "away").rename(folder)
    manager.broadcast(block(1))
    manager.flush(240)
    assert [r.ordinal for r in oracle.events] == [1]


# ---- Events that crash it ------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [0, EXPLICIT_ACK])
def test_a_poison_becomes_a_dead_letter(manager, compile_plugin, tmp_path, flags) -> None:
    oracle = Oracle(compile_plugin, tmp_path, flags=flags)
    letters = tmp_path / "letters.slip"
    plugin = manager.load_plugin(oracle.config(dead_letter=str(letters), flush_interval=0.05))
    sender = Sender(manager)
    sender.many(4)
    sender.send(command("segv", 99))
    sender.many(4)
    manager.flush(240)
    crashed = [r for r in oracle.events if r.ordinal == 5 and r.type != GAP]
    assert [r.attempt for r in crashed] == [1, 2, 3]
    gaps = [r for r in oracle.events if r.type == GAP]
    assert [(r.ordinal, r.first, r.last) for r in gaps] == [(5, 5, 5)]
    assert gaps[0].hash & DEAD_LETTER
    [letter] = letters_in(letters)
    assert b"<segv 99>" in letter.frame
    why = letter.why
    assert (why["ordinal"], why["status"], why["attempts"]) == (5, None, 3)
    assert why["text"].startswith("it crashed the plugin again and again: died of signal 11")
    counters = plugin.counters
    assert (counters.delivered, counters.dead, counters.dead_unkept, counters.told) == (8, 1, 0, 0)
    assert plugin.delivery.restarts == 3
    assert plugin.counters.lost == 1
    verdict = oracle.judge(sender.hashes)
    assert verdict.good, verdict


def test_an_event_that_crashes_the_flush_becomes_a_dead_letter(
    manager, compile_plugin, tmp_path
) -> None:
    """A sink that works in batches crashes when it commits, long after the event's callback."""
    oracle = Oracle(compile_plugin, tmp_path, flags=EXPLICIT_ACK)
    letters = tmp_path / "letters.slip"
    plugin = manager.load_plugin(oracle.config(dead_letter=str(letters), flush_interval=0.05))
    sender = Sender(manager)
    manager.pause("oracle")
    sender.many(4)
    sender.send(command("late", 99))
    sender.many(4)
    manager.resume("oracle")
    manager.flush(240)
    wait(lambda: len(plugin.delivery.reports) == 5)
    reports = list(plugin.delivery.reports)
    assert [(report.in_flush, report.run) for report in reports[:3]] == [
        (True, 9),
        (True, 9),
        (True, 1),
    ]
    assert {report.ordinal for report in reports[2:]} == {5}
    assert [b"<late 99>" in letter.frame for letter in letters_in(letters)] == [True]
    assert plugin.state is PluginState.RUNNING
    assert plugin.delivery.restarts == 5
    assert plugin.counters.lost == 1
    verdict = oracle.judge(sender.hashes)
    assert verdict.good, verdict


@pytest.mark.parametrize("flags", [0, EXPLICIT_ACK])
def test_what_its_gap_crashes_too_goes_on_without(manager, compile_plugin, tmp_path, flags) -> None:
    oracle = Oracle(compile_plugin, tmp_path, '-DON_GAP="segv"', flags=flags)
    letters = tmp_path / "letters.slip"
    plugin = manager.load_plugin(oracle.config(dead_letter=str(letters), flush_interval=0.05))
    sender = Sender(manager)
    sender.many(4)
    sender.send(command("segv", 99))
    sender.send(command("segv", 99))
    sender.many(4)
    sender.send(command("segv", 99))
    manager.flush(240)
    seen = [(r.type, r.ordinal, r.first, r.last) for r in oracle.events if r.ordinal in {5, 6, 11}]
    five, six, eleven = [(EVENT, n, 0, 0) for n in (5, 6, 11)]
    gaps = [(GAP, n, n, n) for n in (5, 6, 11)]
    assert {one: seen.count(one) for one in seen} == dict.fromkeys((five, six, eleven, *gaps), 3)
    assert {r.ordinal for r in oracle.events} == set(range(1, 12))
    assert plugin.state is PluginState.RUNNING
    assert plugin.counters.acknowledged == 11
    assert len(letters_in(letters)) == 6
    assert (plugin.counters.delivered, plugin.counters.dead, plugin.counters.told) == (8, 3, 0)
    # It is as good as any: nothing is kept of what comes now, and it is not started again.
    restarts = plugin.delivery.restarts
    sender.many(10)
    manager.flush(240)
    assert [r.ordinal for r in oracle.events][-10:] == list(range(12, 22))
    assert plugin.delivery.restarts == restarts == 18
    assert len(letters_in(letters)) == 6


def test_a_crash_in_a_run_blames_nobody(manager, compile_plugin, tmp_path) -> None:
    oracle = Oracle(compile_plugin, tmp_path, flags=BATCH)
    plugin = manager.load_plugin(oracle.config())
    events = [*(block(n) for n in range(20)), command("segv", 3), *(block(n) for n in range(20))]
    sender = Sender(manager)
    for _ in range(2):
        manager.broadcast_frames(b"".join(frames.encode(e) for e in events))
        sender.hashes += [digest(e) for e in events]
    manager.flush(240)
    first = [r for r in oracle.events if r.attempt == 1 and r.count > 1]
    again = [r for r in oracle.events if r.attempt > 1]
    assert first
    assert again
    assert {r.count for r in again} == {1}, "what is replayed comes one by one"
    wait(lambda: len(plugin.delivery.reports) == plugin.delivery.restarts)
    runs = [(r.ordinal, r.run) for r in plugin.delivery.reports]
    assert runs[0][1] > 1
    # Crash in a run, then twice alone; that is not three times alone: no dead letter.
    assert plugin.counters.lost == 0
    verdict = oracle.judge(sender.hashes)
    assert verdict.good, verdict


# ---- Workers that hang ---------------------------------------------------------------------------


def test_a_hung_callback_is_killed(manager, oracle) -> None:
    plugin = manager.load_plugin(oracle.config(callback_timeout=4))
    sender = Sender(manager)
    sender.send(command("us=300000"))  # long, but not too long
    manager.flush(240)
    assert plugin.delivery.restarts == 0
    begin = time.monotonic()
    sender.send(command("hang"))
    manager.flush(240)
    assert time.monotonic() - begin >= 4
    report = one_report(manager, plugin)
    assert "a callback took longer than 4 s (ordinal 2)" in report.reason
    assert report.ordinal == 2


def test_a_hung_flush_is_killed(manager, compile_plugin, tmp_path) -> None:
    hung = Oracle(compile_plugin, tmp_path, '-DON_FLUSH="hang"', flags=EXPLICIT_ACK)
    plugin = manager.load_plugin(hung.config(callback_timeout=0.2, flush_interval=0.05))
    manager.broadcast(block(1))
    wait(lambda: plugin.delivery.restarts, "nobody has noticed")
    report = one_report(manager, plugin)
    assert "flush took longer than 1.2 s (ordinal 1)" in report.reason
    assert (report.ordinal, report.run) == (0, 0), "no event is to blame"


def test_a_stopped_worker_that_goes_on_has_not_crashed(manager, oracle) -> None:
    plugin = manager.load_plugin(oracle.config(callback_timeout=60))
    sender = Sender(manager)
    pid = plugin.pid
    os.kill(pid, signal.SIGSTOP)
    sender.many(10)
    time.sleep(0.6)
    os.kill(pid, signal.SIGCONT)
    manager.flush(240)
    sender.send(command("stop"))  # stops itself, and is woken by its child
    manager.flush(240)
    assert (plugin.delivery.restarts, plugin.pid) == (0, pid)
    assert {r.attempt for r in oracle.events} == {1}


def test_a_worker_that_stays_stopped_is_killed(manager, oracle) -> None:
    plugin = manager.load_plugin(oracle.config(callback_timeout=1.5))
    sender = Sender(manager)
    sender.send(command("stopped"))
    manager.flush(240)
    assert plugin.delivery.restarts == 1
    assert oracle.judge(sender.hashes).good
