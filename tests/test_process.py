"""Process mode: what a worker may do, and what becomes of it and of its events."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Self

import pytest
from structlog.testing import capture_logs

from hostile_libraries import COMPILED
from oracle import BATCH, EVENT, EXPLICIT_ACK, GAP, LOADED, MULTI, Oracle, command, digest
from process_tools import Footprint, copies_in
from slipstream import (
    AppEvent,
    Block,
    Event,
    FlushTimeout,
    PluginLoadError,
    PluginManager,
    PluginStartError,
    PluginState,
    Refusal,
    SlipstreamError,
    frames,
)
from slipstream.capture import read_frames, read_header
from slipstream.delivery.supervision import CrashReport

DEAD_LETTER = 8


def wait(ready: Callable[[], object], what: str = "", seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, what or "it did not come to that"
        time.sleep(0.002)


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def block(number: int) -> AppEvent:
    return AppEvent(40, b"event %d" % number, None)


def capture_of(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        read_header(file, str(path))
        return list(read_frames(file, str(path)))


class Sender:
    """Broadcasts and remembers what the oracle has to record."""

    def __init__(self, manager: PluginManager) -> None:
        self._manager = manager
        self.hashes: list[int] = []

    def send(self, event) -> None:
        self._manager.broadcast(event)
        self.hashes.append(digest(event))

    def many(self, count: int) -> None:
        for number in range(count):
            self.send(block(number))


class Streamer:
    """Broadcasts 32 events, again and again at full speed, from another thread."""

    def __init__(self, manager: PluginManager, make: Callable[[int], Event] = block) -> None:
        self._manager = manager
        events = [make(n) for n in range(32)]
        self._run = b"".join(frames.encode(e) for e in events)
        self._hashes = [digest(e) for e in events]
        self.hashes: list[int] = []
        self._stop = False
        self.error: SlipstreamError | None = None
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        try:
            while not self._stop:
                self._manager.broadcast_frames(self._run)
                self.hashes += self._hashes
        except SlipstreamError as error:
            self.error = error

    def __enter__(self) -> Self:
        self._thread.start()
        wait(lambda: len(self.hashes) > 320)
        return self

    def __exit__(self, *_) -> None:
        self._stop = True
        self._thread.join(240)
        assert not self._thread.is_alive()


@pytest.fixture
def oracle(compile_plugin, tmp_path) -> Oracle:
    return Oracle(compile_plugin, tmp_path)


def one_report(manager: PluginManager, plugin) -> CrashReport:
    wait(lambda: plugin.delivery.reports, "no crash report")
    return plugin.delivery.reports[-1]


# ---- Loading -----------------------------------------------------------------------------------

REPRESENTATIVE = [
    case for case in COMPILED if case.refusal in {
        Refusal.NO_CONSTRUCTOR, Refusal.CONSTRUCTOR_REFUSED, Refusal.TABLE_UNREADABLE,
        Refusal.TABLE_TOO_SMALL, Refusal.FUNCTION_MISSING, Refusal.NAME_INVALID,
        Refusal.CANNOT_OPEN, Refusal.FLUSH_MISSING,
    }
]  # fmt: skip
REPRESENTATIVE = list({case.refusal: case for case in REPRESENTATIVE}.values())


@pytest.mark.parametrize("case", REPRESENTATIVE, ids=lambda case: case.name)
def test_a_library_is_refused_as_it_is_inline(manager, compile_plugin, case) -> None:
    library = compile_plugin(case.source, *case.flags)
    found = []
    for mode in ("inline", "process"):
        with pytest.raises(PluginLoadError) as caught:
            manager.load_plugin({"libpath": str(library), "mode": mode, **case.config})
        found.append((re.sub("0x[0-9a-f]+", "0x", caught.value.message), *caught.value.args[1:]))
    assert found[0] == found[1]
    assert found[1][2] is case.refusal
    assert manager.list_plugins() == []
    assert copies_in(library.parent) == []


def test_a_crash_in_the_constructor_is_a_load_error(manager, compile_plugin, tmp_path) -> None:
    bad = Oracle(compile_plugin, tmp_path, '-DON_CREATE="segv"', name="early")
    before = Footprint.now()
    with capture_logs() as logs, pytest.raises(PluginLoadError) as caught:
        manager.load_plugin(bad.config())
    assert caught.value.refusal is Refusal.CANNOT_OPEN
    assert "died of signal 11" in caught.value.message
    assert str(bad.library) in caught.value.message
    reports = list((tmp_path / "data").rglob("crash-early-*.json"))
    assert len(reports) == 1, logs
    report = json.loads(reports[0].read_text())
    assert (report["signal"], report["address"]) == (11, "0x10")
    assert [f for f in Footprint.now().descriptors - before.descriptors if "memfd" in f] == []
    assert copies_in(bad.library.parent) == []
    good = manager.load_plugin(Oracle(compile_plugin, tmp_path).config())
    manager.broadcast(block(1))
    manager.flush(240)
    assert good.counters.acknowledged == 1


@pytest.mark.parametrize(
    ("define", "config", "error"),
    [
        ('-DON_CREATE="hang"', {}, PluginLoadError),
        ("", {"on_load": "hang"}, PluginLoadError),
        ("", {"on_load": "segv"}, PluginLoadError),
        ("", {"on_load": "fail"}, PluginStartError),
    ],
)
def test_what_does_not_load_is_ended(
    manager, compile_plugin, tmp_path, define, config, error
) -> None:
    defines = [define] if define else []
    bad = Oracle(compile_plugin, tmp_path, *defines)
    hangs = "hang" in [*config.values(), define.partition('"')[2].rstrip('"')]
    with capture_logs() as logs, pytest.raises(error) as caught:
        manager.load_plugin(bad.config(load_timeout=1 if hangs else 60, **config))
    message = caught.value.message
    if error is PluginStartError:
        assert "told to fail in on_load" in message
        assert "FAILED (-1)" in message
        assert "destroyed" in [line["event"] for line in logs]
    elif hangs:
        assert caught.value.refusal is Refusal.TIMED_OUT
        assert "did not return within load_timeout" in message
    else:
        assert "died of signal 11" in message
    # It was tried once, not again and again.
    assert [r for r in bad.records if r.type == LOADED] == []
    assert not any("started again" in line["event"] for line in logs)
    assert manager.list_plugins() == []
    assert copies_in(bad.library.parent) == []


@pytest.mark.parametrize(
    ("define", "says"),
    [
        ('-DON_UNLOAD="hang"', "on_unload took longer than unload_timeout"),
        ('-DON_DESTROY="hang"', "did not end within unload_timeout"),
        ('-DON_DESTROY="segv"', "died of signal 11"),
    ],
)
def test_what_does_not_end_well_is_ended_and_told(
    manager, compile_plugin, tmp_path, define, says
) -> None:
    bad = Oracle(compile_plugin, tmp_path, define)
    plugin = manager.load_plugin(bad.config())
    pid = plugin.delivery.pid
    manager.broadcast(block(1))
    manager.flush(240)
    with capture_logs() as logs:
        manager.unload_plugin("oracle", timeout=2)
    assert not alive(pid)
    problems = [line["problem"] for line in logs if "not cleanly" in line["event"]]
    assert len(problems) == 1
    assert says in problems[0]
    assert [r.ordinal for r in bad.events] == [1]


@pytest.mark.parametrize("size", [70_000, 900_000])
def test_a_large_config_arrives_whole(manager, oracle, size) -> None:
    plugin = manager.load_plugin(oracle.config(padding="x" * size, expect_len=size))
    assert plugin.state is PluginState.RUNNING


# ---- Crashes -----------------------------------------------------------------------------------


def test_the_crash_report_says_where_and_on_what(manager, oracle, tmp_path) -> None:
    plugin = manager.load_plugin(oracle.config())
    pid = plugin.delivery.pid
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
    # One line says it all.
    told = [line for line in logs if "crashed" in line["event"] or "signal 11" in str(line)]
    assert [line["event"] for line in told] == ["worker crashed"]
    assert told[0]["plugin"] == "oracle"
    assert told[0]["reason"] == report.reason
    assert told[0]["pid"] == report.pid
    assert told[0]["module"] == report.module
    assert told[0]["offset"] == hex(report.module_offset)
    assert told[0]["build_id"] == report.build_id
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
    sender.send(command("exit", 1))
    manager.flush(240)
    report = one_report(manager, plugin)
    assert (report.signal, report.exit_code) == (0, 3)
    assert "exit code 3" in report.reason
    assert [(r.ordinal, r.attempt) for r in oracle.events] == [(1, 1), (1, 2)]


def test_crashes_lead_to_backoff_then_quarantine_and_resume(manager, oracle) -> None:
    plugin = manager.load_plugin(
        oracle.config(restart={"initial_delay": 1.5, "max_delay": 6, "max_crashes": 3})
    )
    sender = Sender(manager)
    starts = []
    for number in range(3):
        wait(lambda: plugin.state is PluginState.RUNNING)
        begin = time.monotonic()
        os.kill(plugin.delivery.pid, signal.SIGKILL)
        wait(lambda: plugin.state in {PluginState.BACKOFF, PluginState.QUARANTINED})
        assert "signal 9" in plugin.reason
        sender.send(block(number))
        wait(lambda: plugin.state in {PluginState.RUNNING, PluginState.QUARANTINED})
        starts.append(time.monotonic() - begin)
    assert starts[0] >= 1.5
    assert starts[1] >= 3, "the delay doubles"
    assert plugin.state is PluginState.QUARANTINED
    assert "3 crashes within 60 s" in plugin.reason
    assert plugin.delivery.pid == 0
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
    os.kill(plugin.delivery.pid, signal.SIGKILL)
    wait(lambda: plugin.state is PluginState.QUARANTINED)
    sender = Sender(manager)
    begin = time.monotonic()
    sender.many(2000)
    assert time.monotonic() - begin < 200
    manager.resume("oracle")
    manager.flush(240)
    verdict = oracle.judge(sender.hashes)
    assert verdict.good, verdict
    assert verdict.gap_events == plugin.counters.dropped > 0


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
    kept = capture_of(letters)
    assert len(kept) == 1
    assert b"<segv 99>" in kept[0]
    assert plugin.delivery.restarts == 3
    assert plugin.counters.dropped == 1
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
    assert [b"<late 99>" in frame for frame in capture_of(letters)] == [True]
    assert plugin.state is PluginState.RUNNING
    assert plugin.delivery.restarts == 5
    assert plugin.counters.dropped == 1
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
    kept = [frames.decode(frame)[0] for frame in capture_of(letters)]
    assert len(kept) == 6
    # It is as good as any: nothing is kept of what comes now, and it is not started again.
    restarts = plugin.delivery.restarts
    sender.many(10)
    manager.flush(240)
    assert [r.ordinal for r in oracle.events][-10:] == list(range(12, 22))
    assert plugin.delivery.restarts == restarts == 18
    assert len(capture_of(letters)) == 6


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
    assert plugin.counters.dropped == 0
    verdict = oracle.judge(sender.hashes)
    assert verdict.good, verdict


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
    pid = plugin.delivery.pid
    os.kill(pid, signal.SIGSTOP)
    sender.many(10)
    time.sleep(0.6)
    os.kill(pid, signal.SIGCONT)
    manager.flush(240)
    sender.send(command("stop"))  # stops itself, and is woken by its child
    manager.flush(240)
    assert (plugin.delivery.restarts, plugin.delivery.pid) == (0, pid)
    assert {r.attempt for r in oracle.events} == {1}


def test_a_worker_that_stays_stopped_is_killed(manager, oracle) -> None:
    plugin = manager.load_plugin(oracle.config(callback_timeout=1.5))
    sender = Sender(manager)
    sender.send(command("stopped"))
    manager.flush(240)
    assert plugin.delivery.restarts == 1
    assert oracle.judge(sender.hashes).good


# ---- What a worker prints ----------------------------------------------------------------------


def test_what_is_printed_becomes_log_lines(manager, oracle) -> None:
    with capture_logs() as logs:
        manager.load_plugin(oracle.config())
        manager.broadcast(command("print"))
        manager.flush(240)
        wait(lambda: any(line["event"] == "to err" for line in logs))
        manager.unload_plugin("oracle")
    lines = {line["event"]: line for line in logs if line.get("plugin") == "oracle"}
    assert lines["to out"]["log_level"] == "info"
    assert lines["to err"]["log_level"] == "warning"
    assert r"bad \xff byte" in lines
    assert "no end" in lines, "a last line without its end is a line"
    cut = [text for text in lines if set(text) == {"x"}]
    assert cut
    assert max(map(len, cut)) <= 8192


def test_a_flood_is_held_back_and_blocks_nobody(manager, oracle) -> None:
    with capture_logs() as logs:
        plugin = manager.load_plugin(oracle.config(callback_timeout=240))
        manager.broadcast(command("flood"))
        manager.flush(240)
        wait(
            lambda: any("suppressed" in line["event"] for line in logs),
            "nobody said that lines were suppressed",
        )
    assert plugin.delivery.restarts == 0
    assert sum(line["event"].startswith("flood") for line in logs) < 2000


# ---- What a worker has, and cannot do ----------------------------------------------------------


def test_a_worker_has_nothing_of_the_host(oracle, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "1")
    leaked = os.open("/dev/zero", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    old_pipe = signal.getsignal(signal.SIGPIPE)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        with capture_logs() as logs, PluginManager(insecure_paths=True) as manager:
            manager.load_plugin(oracle.config())
            manager.broadcast(command("list"))
            manager.flush(240)
    finally:
        os.close(leaked)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
    assert old_pipe is signal.SIG_IGN, "Python ignores it; the worker must not"
    lines = [line["event"] for line in logs]
    found = dict(line.split(maxsplit=2)[1:] for line in lines if line.startswith("fd "))
    assert found.pop("0") == "/dev/null"
    assert found.pop("1").startswith("pipe:")
    assert found.pop("2").startswith("pipe:")
    assert found.pop("3").startswith("socket:")
    assert "4" not in found, "the ring's descriptor is closed"
    assert "5" not in found, "the control area's descriptor is closed"
    assert "pidfd" in found.pop("6")
    rest = [v for v in found.values() if v != str(oracle.log) and "eventfd" not in v]
    assert rest == []
    environment = {line.removeprefix("env ") for line in lines if line.startswith("env ")}
    assert "SECRET_OF_THE_HOST" not in environment
    assert "PATH" in environment
    signals = [line for line in lines if line.startswith("blocked ")]
    assert signals == ["blocked 0, ignored 0, session 1"]


def test_the_ring_cannot_be_written_to(manager, oracle) -> None:
    plugin = manager.load_plugin(oracle.config())
    sender = Sender(manager)
    with capture_logs() as logs:
        sender.send(command("attack"))
        manager.flush(240)
        manager.unload_plugin("oracle")
    lines = [line["event"] for line in logs if ": " in line["event"]]
    said = dict(line.split(": ", 1) for line in lines)
    assert said["mprotect"] != "succeeded"
    if said["open"] == "succeeded":  # only root gets that far
        for what in ("mmap", "ftruncate", "pwrite", "punch"):
            assert said[what] != "succeeded", what
    assert plugin.counters.acknowledged == 1


def test_a_scribbled_control_area_is_noticed(manager, oracle) -> None:
    plugin = manager.load_plugin(oracle.config(callback_timeout=20))
    sender = Sender(manager)
    sender.many(100)
    manager.flush(240)
    # It hangs behind that, so that no honest word is written over the scribble.
    event = AppEvent(41, b"<scribble 1>", None)
    sender.send(event)
    manager.flush(240)
    sender.many(100)
    manager.flush(240)
    verdict = oracle.judge(sender.hashes)
    assert verdict.good, verdict
    assert plugin.counters.acknowledged == 201


def test_a_scribbled_control_area_leads_to_a_restart(manager, compile_plugin, tmp_path) -> None:
    oracle = Oracle(compile_plugin, tmp_path, "-DTHEN_HANG=1")
    plugin = manager.load_plugin(oracle.config(callback_timeout=60))
    sender = Sender(manager)
    sender.many(100)
    sender.send(command("scribble"))
    sender.many(100)
    manager.flush(240)
    report = one_report(manager, plugin)
    assert "its control area was written over" in report.reason
    verdict = oracle.judge(sender.hashes)
    assert verdict.good, verdict


def test_an_ack_of_what_was_not_delivered_is_not_believed(
    manager, compile_plugin, tmp_path
) -> None:
    oracle = Oracle(compile_plugin, tmp_path, flags=EXPLICIT_ACK)
    plugin = manager.load_plugin(oracle.config(flush_interval=60))
    sender = Sender(manager)
    with capture_logs() as logs:
        sender.many(10)
        sender.send(command("early"))
        sender.send(command("segv"))
        sender.many(5)
        wait(lambda: plugin.delivery.restarts == 1)
        wait(lambda: plugin.state is PluginState.RUNNING)
        manager.flush(240)
    assert any("ack of the future: Invalid argument" in line["event"] for line in logs)
    verdict = oracle.judge(sender.hashes)
    assert verdict.good, verdict
    assert verdict.repeats >= 11, "nothing was acknowledged before the crash"


@pytest.mark.no_asan  # it needs terabytes of address space
def test_limits_hold(manager, oracle) -> None:
    with capture_logs() as logs:
        manager.load_plugin(oracle.config(limits={"memory": "256MiB", "open_files": 32}))
        manager.broadcast(command("limits"))
        manager.flush(240)
        manager.unload_plugin("oracle")
    lines = [line["event"] for line in logs]
    assert "allocate: Cannot allocate memory" in lines
    opened = next(int(line.split()[1]) for line in lines if line.startswith("opened "))
    assert 10 < opened < 32


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_nothing_stops_where_the_data_folder_cannot_be_written_to(
    manager, oracle, tmp_path, mode
) -> None:
    config = oracle.config(mode=mode, callback_timeout=0)
    plugin = manager.load_plugin(config)
    (tmp_path / "data" / "oracle").rmdir()
    (tmp_path / "data" / "oracle").write_text("in the way")
    sender = Sender(manager)
    with capture_logs() as logs:
        if mode == "process":
            sender.send(command("segv"))
            manager.flush(240)
            wait(lambda: plugin.delivery.reports)
            assert plugin.delivery.reports[0].file is None
            assert "crash report not written" in [line["event"] for line in logs]
        sender.send(command("stopped" if mode == "process" else "us=4000000", 9))
        sender.send(block(1))
        wait(lambda: len(oracle.events) > len(sender.hashes) - 2)
        manager.unload_plugin("oracle", timeout=0.3)
    problem = next(line["problem"] for line in logs if "not cleanly" in line["event"])
    assert "events were not acknowledged, and could not be written to" in problem
    assert plugin.state is PluginState.UNLOADED
    manager.load_plugin({**config, "name": "again"})


def test_why_it_does_not_start_again_is_told(manager, compile_plugin, tmp_path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    oracle = Oracle(compile_plugin, folder)
    plugin = manager.load_plugin(oracle.config(restart={"initial_delay": 0.05, "max_crashes": 0}))
    folder.rename(tmp_path / "away")
    with capture_logs() as logs:
        os.kill(plugin.delivery.pid, signal.SIGKILL)
        wait(lambda: "could not be started again: " in plugin.reason)
        assert "cannot open its file" in plugin.reason
        wait(lambda: any("cannot open its file" in line["event"] for line in logs))
    (tmp_path / "away").rename(folder)
    manager.broadcast(block(1))
    manager.flush(240)
    assert [r.ordinal for r in oracle.events] == [1]


@pytest.mark.parametrize("wanted", [False, True])
def test_core_files_are_left_only_if_configured(manager, oracle, wanted) -> None:
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    plugin = manager.load_plugin(oracle.config(limits={"core_files": wanted}))
    limits = resource.prlimit(plugin.delivery.pid, resource.RLIMIT_CORE)
    assert limits == ((hard, hard) if wanted else (0, 0))


@pytest.mark.parametrize("what", ["garbage", "close", "unmap"])
def test_what_a_plugin_breaks_ends_its_worker_alone(manager, oracle, what) -> None:
    plugin = manager.load_plugin(oracle.config())
    sender = Sender(manager)
    for _ in range(3):
        sender.send(command(what))
        sender.many(20)
        manager.flush(240)
    wait(lambda: plugin.delivery.restarts >= 1, "it was not ended")
    verdict = oracle.judge(sender.hashes)
    assert verdict.good, verdict


# ---- Reloading and unloading -------------------------------------------------------------------


def versions_of(oracle: Oracle) -> list[int]:
    """Hashes of the versions that were loaded, in order."""
    return [r.hash for r in oracle.records if r.type == LOADED]


def free_port() -> int:
    with socket.socket() as anything:
        anything.bind(("127.0.0.1", 0))
        return int(anything.getsockname()[1])


@pytest.mark.parametrize("flags", [0, EXPLICIT_ACK, BATCH])
def test_a_reload_while_events_stream_loses_none(manager, compile_plugin, tmp_path, flags) -> None:
    old = Oracle(compile_plugin, tmp_path, flags=flags)
    new = Oracle(compile_plugin, tmp_path, flags=flags, version="2")
    lock = {"lock": str(tmp_path / "lock"), "ring_bytes": "64KiB", "flush_interval": 0.05}
    lock["port"] = free_port()
    plugin = manager.load_plugin(old.config(**lock))
    with Streamer(manager) as streamer:
        for version in (new, old, new):
            manager.reload_plugin("oracle", version.config(**lock))
            time.sleep(0.05)
        assert plugin.version == "2"
    manager.flush(240)
    assert streamer.error is None
    assert len(versions_of(old)) == 4
    verdict = old.judge(streamer.hashes)
    assert verdict.good, verdict
    assert verdict.repeats == 0, "a clean hand-over repeats nothing"
    assert plugin.counters.dropped == 0
    assert plugin.delivery.restarts == 0


def test_two_versions_cannot_hold_the_same_port(manager, compile_plugin, tmp_path) -> None:
    """What the other reloads rest on: `overlap` does have both of them at once."""
    old = Oracle(compile_plugin, tmp_path, flags=MULTI)
    new = Oracle(compile_plugin, tmp_path, flags=MULTI, version="2")
    more = {"port": free_port(), "reload": "overlap"}
    plugin = manager.load_plugin(old.config(**more))
    refused = pytest.raises(PluginStartError, match="somebody else has the port")
    with Streamer(manager) as streamer, refused:
        manager.reload_plugin("oracle", new.config(**more))
    manager.flush(240)
    assert plugin.version == "1"
    assert old.judge(streamer.hashes).good
    assert {r.attempt for r in old.events} == {1}


def test_the_ledger_is_reloaded_while_it_writes(manager, examples, tmp_path) -> None:
    """A sink that holds its database exclusively: each event is in it once."""
    database = tmp_path / "ledger.sqlite"
    config = {
        "libpath": str(examples / "ledger" / "ledger.so"),
        "mode": "process",
        "database": str(database),
    }
    plugin = manager.load_plugin(config)
    with Streamer(manager, lambda n: Block(b"as the node serialises it", n)) as streamer:
        for _ in range(5):
            manager.reload_plugin("ledger", config)
            time.sleep(0.05)
    assert streamer.error is None
    manager.flush(240)
    sent = len(streamer.hashes)
    assert plugin.counters.acknowledged == sent
    manager.unload_plugin("ledger")
    with closing(sqlite3.connect(database)) as reader:
        heights = [row[0] for row in reader.execute("SELECT height FROM blocks ORDER BY sequence")]
        lost = reader.execute("SELECT count(*) FROM gaps").fetchone()[0]
    assert heights == [*range(32)] * (sent // 32)
    assert lost == 0


def test_an_overlapping_reload_loses_none(manager, compile_plugin, tmp_path) -> None:
    old = Oracle(compile_plugin, tmp_path, flags=MULTI)
    new = Oracle(compile_plugin, tmp_path, flags=MULTI, version="2")
    more = {"reload": "overlap", "ring_bytes": "64KiB"}
    plugin = manager.load_plugin(old.config(**more))
    with Streamer(manager) as streamer:
        for version in (new, old):
            manager.reload_plugin("oracle", version.config(**more))
            time.sleep(0.05)
    manager.flush(240)
    assert streamer.error is None
    # on_load of the new one came before the last event of the old one.
    records = old.records
    second = [i for i, r in enumerate(records) if r.type == LOADED][1]
    assert records[second].pid not in {r.pid for r in records[:second]}
    events = [r for r in records if r.type != LOADED]
    assert [r.ordinal for r in events] == list(range(1, len(streamer.hashes) + 1))
    assert {r.attempt for r in events} == {1}
    assert plugin.version == "1"


@pytest.mark.parametrize(
    ("old_flags", "new_flags", "more", "says"),
    [
        (0, 0, {"reload": "overlap"}, "MULTI_INSTANCE"),
        (0, MULTI, {"reload": "overlap"}, "MULTI_INSTANCE"),
        (MULTI, 0, {"reload": "overlap"}, "MULTI_INSTANCE"),
        (0, EXPLICIT_ACK, {"overflow": "drop_oldest"}, "EXPLICIT_ACK"),
    ],
)
def test_a_reload_is_refused_for_the_flags(
    manager, compile_plugin, tmp_path, old_flags, new_flags, more, says
) -> None:
    old = Oracle(compile_plugin, tmp_path, flags=old_flags)
    new = Oracle(compile_plugin, tmp_path, flags=new_flags, version="2")
    overflow = {key: value for key, value in more.items() if key == "overflow"}
    plugin = manager.load_plugin(old.config(**overflow))
    pid = plugin.delivery.pid
    with pytest.raises(PluginLoadError, match=says):
        manager.reload_plugin("oracle", new.config(**more))
    manager.broadcast(block(1))
    manager.flush(240)
    assert (plugin.state, plugin.delivery.pid) == (PluginState.RUNNING, pid)


@pytest.mark.parametrize(
    ("defines", "more", "error", "says"),
    [
        (['-DON_CREATE="segv"'], {}, PluginLoadError, "signal 11"),
        (['-DON_CREATE="hang"'], {}, PluginLoadError, "did not return within load_timeout"),
        ([], {"on_load": "fail"}, PluginStartError, "told to fail"),
        ([], {"on_load": "segv"}, PluginLoadError, "signal 11"),
        ([], {"on_load": "hang"}, PluginLoadError, "did not return within load_timeout"),
    ],
)
def test_a_new_version_that_fails_leaves_the_old_one(
    manager, compile_plugin, tmp_path, defines, more, error, says
) -> None:
    old = Oracle(compile_plugin, tmp_path)
    new = Oracle(compile_plugin, tmp_path, *defines, version="2")
    lock = {"lock": str(tmp_path / "lock"), "ring_bytes": "64KiB"}
    # What hangs is waited for that long; the old version, too, has to be up again by then.
    lock["load_timeout"] = 5 if "load_timeout" in says else 60
    plugin = manager.load_plugin(old.config(**lock))
    pid = plugin.delivery.pid
    with Streamer(manager) as streamer:
        with pytest.raises(error) as caught:
            manager.reload_plugin("oracle", new.config(**lock, **more))
        assert says in caught.value.message
        time.sleep(0.05)
    manager.flush(240)
    assert streamer.error is None
    assert (plugin.version, plugin.state) == ("1", PluginState.RUNNING)
    assert (plugin.delivery.pid == pid) == bool(defines), "refused before the old one was touched"
    verdict = old.judge(streamer.hashes)
    assert verdict.good, verdict
    assert verdict.repeats == 0
    # And it is still the kept copy of the old library that is started after a crash.
    os.kill(plugin.delivery.pid, signal.SIGKILL)
    wait(lambda: plugin.delivery.restarts == 1)
    manager.broadcast(block(1))
    manager.flush(240)
    assert {r.hash for r in old.records if r.type == LOADED} == {versions_of(old)[0]}


@pytest.mark.parametrize("state", [PluginState.BACKOFF, PluginState.QUARANTINED])
def test_a_reload_of_what_does_not_run(manager, compile_plugin, tmp_path, state) -> None:
    old = Oracle(compile_plugin, tmp_path)
    new = Oracle(compile_plugin, tmp_path, version="2")
    bad = Oracle(compile_plugin, tmp_path, '-DON_CREATE="segv"', version="3")
    crashes = 1 if state is PluginState.QUARANTINED else 0
    restart = {"initial_delay": 100, "max_delay": 100, "max_crashes": crashes}
    plugin = manager.load_plugin(old.config(restart=restart))
    sender = Sender(manager)
    os.kill(plugin.delivery.pid, signal.SIGKILL)
    wait(lambda: plugin.state is state)
    sender.many(10)
    for broken in (bad.config(restart=restart), new.config(restart=restart, on_load="fail")):
        with pytest.raises((PluginLoadError, PluginStartError)):
            manager.reload_plugin("oracle", broken)
        assert plugin.state is state, "as before"
    manager.reload_plugin("oracle", new.config(restart=restart))
    assert plugin.state is PluginState.RUNNING
    manager.flush(240)
    assert plugin.version == "2"
    assert old.judge(sender.hashes).good


def test_a_crash_of_the_old_version_during_a_reload(manager, compile_plugin, tmp_path) -> None:
    old = Oracle(compile_plugin, tmp_path)
    new = Oracle(compile_plugin, tmp_path, '-DON_CREATE="us=600000"', version="2")
    plugin = manager.load_plugin(old.config())
    sender = Sender(manager)
    sender.many(5)
    manager.flush(240)
    killer = threading.Timer(0.25, os.kill, (plugin.delivery.pid, signal.SIGKILL))
    killer.start()
    manager.reload_plugin("oracle", new.config())
    assert plugin.delivery.restarts == 1
    sender.many(5)
    manager.flush(240)
    assert (plugin.version, plugin.state) == ("2", PluginState.RUNNING)
    assert old.judge(sender.hashes).good
    assert len(set(versions_of(old))) == len(versions_of(old)) == 2


@pytest.mark.parametrize("hangs_in", ["on_broadcast", "flush"])
def test_an_unload_of_what_hangs_keeps_its_events(
    manager, compile_plugin, tmp_path, hangs_in
) -> None:
    flags = EXPLICIT_ACK if hangs_in == "flush" else 0
    oracle = Oracle(compile_plugin, tmp_path, '-DON_FLUSH="hang"', flags=flags)
    plugin = manager.load_plugin(oracle.config(callback_timeout=0, flush_interval=60))
    pid = plugin.delivery.pid
    manager.broadcast(block(1))
    manager.broadcast(command("hang" if hangs_in == "on_broadcast" else "none", 9))
    manager.broadcast(block(2))
    wait(lambda: oracle.events)
    with capture_logs() as logs:
        manager.unload_plugin("oracle", timeout=0.4)
    assert not alive(pid)
    problem = next(line["problem"] for line in logs if "not cleanly" in line["event"])
    assert "it did not stop within unload_timeout" in problem
    left = 2 if hangs_in == "on_broadcast" else 3
    assert f"{left} events were not acknowledged" in problem
    kept = list((tmp_path / "data" / "oracle").glob("undelivered-*.slip"))
    assert len(capture_of(kept[0])) == left


def test_a_paused_plugin_stays_paused_over_a_reload(manager, compile_plugin, tmp_path) -> None:
    old = Oracle(compile_plugin, tmp_path)
    new = Oracle(compile_plugin, tmp_path, version="2")
    plugin = manager.load_plugin(old.config())
    sender = Sender(manager)
    sender.many(5)
    manager.flush(240)
    manager.pause("oracle")
    sender.many(5)
    manager.reload_plugin("oracle", new.config())
    assert (plugin.version, plugin.state) == ("2", PluginState.PAUSED)
    time.sleep(0.1)
    assert len(old.events) == 5
    manager.resume("oracle")
    manager.flush(240)
    assert old.judge(sender.hashes).good
    assert len(old.events) == 10


@pytest.mark.parametrize("state", [PluginState.BACKOFF, PluginState.QUARANTINED])
def test_an_unload_of_what_does_not_run_keeps_its_events(manager, oracle, tmp_path, state) -> None:
    crashes = 1 if state is PluginState.QUARANTINED else 0
    plugin = manager.load_plugin(
        oracle.config(restart={"initial_delay": 100, "max_delay": 100, "max_crashes": crashes})
    )
    sender = Sender(manager)
    sender.many(3)
    manager.flush(240)
    os.kill(plugin.delivery.pid, signal.SIGKILL)
    wait(lambda: plugin.state is state)
    sender.many(7)
    with capture_logs() as logs:
        manager.unload_plugin("oracle")
    assert plugin.state is PluginState.UNLOADED
    assert (plugin.counters.broadcast, plugin.counters.acknowledged) == (10, 3)
    problem = next(line["problem"] for line in logs if "not cleanly" in line["event"])
    assert "7 events were not acknowledged" in problem
    kept = list((tmp_path / "data" / "oracle").glob("undelivered-oracle-*.slip"))
    assert len(kept) == 1
    assert str(kept[0]) in problem
    assert len(capture_of(kept[0])) == 7
    assert copies_in(oracle.library.parent) == []


def test_an_unload_and_a_close_while_events_stream(compile_plugin, tmp_path) -> None:
    oracles = [Oracle(compile_plugin, tmp_path, name=f"oracle-{n}") for n in range(5)]
    before = Footprint.now()
    manager = PluginManager(insecure_paths=True, log_level="trace", data_dir=tmp_path / "data")
    plugins = [manager.load_plugin(o.config(ring_bytes="64KiB")) for o in oracles]
    pids = [p.delivery.pid for p in plugins]
    assert len(set(pids)) == 5
    with Streamer(manager) as streamer:
        time.sleep(0.05)
        os.kill(pids[3], signal.SIGKILL)
        manager.unload_plugin("oracle-0")
        manager.close()
        wait(lambda: streamer.error)
    assert type(streamer.error).__name__ == "ClosedError"
    assert not any(alive(pid) for pid in pids)
    counters = [p.counters for p in plugins]
    for oracle, c in zip(oracles, counters, strict=True):
        assert 320 < c.broadcast <= len(streamer.hashes) + 32
        verdict = oracle.judge((streamer.hashes + streamer.hashes[:32])[: c.broadcast])
        assert verdict.good, verdict
        assert c.acknowledged == c.broadcast
    after = Footprint.now()
    assert after == before
    assert list(tmp_path.rglob("*.slipstream-copy")) == []


# ---- The host ----------------------------------------------------------------------------------

HOST = """
import os, signal, sys, time, structlog
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
from slipstream import AppEvent, ClosedError, PluginManager
{before}
manager = PluginManager(insecure_paths=True, log_level="error")
plugin = manager.load_plugin({{"libpath": sys.argv[1], "mode": "process", "log": sys.argv[2],
                               "obeys": 1, "restart": {{"initial_delay": 0}}}})
print(plugin.delivery.pid, flush=True)
for number in range(100):
    manager.broadcast(AppEvent(40, b"event", None))
{after}
"""


def run_host(oracle: Oracle, after: str, before: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-c"),
            HOST.format(after=textwrap.dedent(after), before=textwrap.dedent(before)),
            *(str(oracle.library), str(oracle.log)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("after", "code"),
    [
        ("os._exit(5)", 5),
        ("os.kill(os.getpid(), signal.SIGKILL)", -9),
        ("os.kill(os.getpid(), signal.SIGSEGV)", -11),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(5)", -15),
        ("raise RuntimeError('no close')", 1),
        ("sys.exit(4)", 4),
    ],
)
def test_no_worker_outlives_its_host(oracle, after, code) -> None:
    host = run_host(oracle, after)
    pid = int(host.stdout.readline())
    _, errors = host.communicate(timeout=240)
    assert host.returncode == code, errors
    wait(lambda: not alive(pid), f"worker {pid} lives on")
    if code in {1, 4}:  # the interpreter ended in an orderly way, and so did the worker
        assert len(oracle.events) == 100


def test_a_forked_child_can_do_nothing_and_harms_nothing(oracle) -> None:
    host = run_host(
        oracle,
        """
        child = os.fork()
        if child == 0:
            for call in (lambda: manager.broadcast(AppEvent(40, b"", None)), manager.unload,
                         lambda: manager.flush(1), lambda: manager.reload_plugin("oracle"),
                         lambda: manager.unload_plugin("oracle"), lambda: plugin.state,
                         lambda: plugin.metrics, lambda: plugin.delivery.pid):
                try:
                    call()
                except ClosedError:
                    continue
                os._exit(7)
            manager.close()
            sys.exit(0)  # finalizers run
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        manager.broadcast(AppEvent(40, b"", None))
        manager.flush(240)
        print(code, plugin.delivery.restarts, plugin.counters.acknowledged, flush=True)
        manager.close()
        """,
    )
    pid = int(host.stdout.readline())
    out, errors = host.communicate(timeout=240)
    assert host.returncode == 0, errors
    assert out.split() == ["0", "0", "101"], errors
    assert not alive(pid)


def test_a_host_that_ignores_sigchld(oracle) -> None:
    host = run_host(
        oracle,
        """
        manager.flush(240)
        manager.broadcast(AppEvent(41, b"<segv 1>", None))
        manager.flush(240)
        os.kill(plugin.delivery.pid, signal.SIGKILL)
        while plugin.delivery.restarts < 2:
            time.sleep(0.01)
        manager.broadcast(AppEvent(40, b"", None))
        manager.flush(240)
        while len(plugin.delivery.reports) < 2:
            time.sleep(0.01)
        print(*[(r.signal, r.exit_code) for r in plugin.delivery.reports], flush=True)
        print(plugin.counters.acknowledged, flush=True)
        manager.close()
        """,
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    )
    out, errors = host.communicate(timeout=240)
    assert host.returncode == 0, errors
    lines = out.splitlines()
    # The worker noted its own SIGSEGV; nobody can tell what killed it the second time.
    assert lines[1:] == ["(11, -1) (0, -1)", "102"], errors


def test_the_worker_says_what_it_is() -> None:
    from slipstream.delivery.supervision import find_program

    done = subprocess.run(
        [str(find_program())],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={},  # it does not get the host's LD_PRELOAD from a host either
    )
    assert done.returncode == 2
    assert re.search("not by hand", done.stderr)


def test_asking_for_the_state_from_many_threads_while_it_ends(manager, oracle) -> None:
    stop = threading.Event()
    errors: list[SlipstreamError] = []
    asked = 0

    def ask() -> None:
        nonlocal asked
        while not stop.is_set():
            for plugin in seen.copy():
                try:
                    _ = (plugin.state, plugin.counters, plugin.metrics, plugin.delivery.pid)
                    plugin.delivery.collect_reports()
                    asked += 1
                except SlipstreamError as error:
                    errors.append(error)

    seen: list = []
    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        seen.append(manager.load_plugin(oracle.config(ring_bytes="64KiB")))
        manager.broadcast(Block(b"x", 1))
        os.kill(seen[-1].delivery.pid, signal.SIGKILL)
        manager.unload_plugin("oracle")
    stop.set()
    for thread in threads:
        thread.join(240)
    assert errors == []
    assert asked > 50
    assert {p.state for p in seen} == {PluginState.UNLOADED}
