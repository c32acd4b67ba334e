"""Process mode: unloads, and what is kept of events that were not acknowledged."""

from __future__ import annotations

import os
import shutil
import signal
import time

import pytest

from slipstream import PluginManager, PluginState
from support.logs import capture_logs
from support.oracle import EXPLICIT_ACK, Oracle, command
from support.process_tools import Footprint, copies_in, native_threads
from support.workers import Sender, Streamer, alive, block, capture_of, wait


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
    pid = plugin.pid
    manager.broadcast(block(1))
    manager.flush(240)
    with capture_logs() as logs:
        manager.unload_plugin("oracle", timeout=2)
    assert not alive(pid)
    problems = [line["problem"] for line in logs if "not cleanly" in line["event"]]
    assert len(problems) == 1
    assert says in problems[0]
    assert [r.ordinal for r in bad.events] == [1]


@pytest.mark.parametrize("hangs_in", ["on_broadcast", "flush"])
def test_an_unload_of_what_hangs_keeps_its_events(
    manager, compile_plugin, tmp_path, hangs_in
) -> None:
    flags = EXPLICIT_ACK if hangs_in == "flush" else 0
    oracle = Oracle(compile_plugin, tmp_path, '-DON_FLUSH="hang"', flags=flags)
    plugin = manager.load_plugin(oracle.config(callback_timeout=0, flush_interval=60))
    pid = plugin.pid
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


@pytest.mark.parametrize("state", [PluginState.BACKOFF, PluginState.QUARANTINED])
def test_an_unload_of_what_does_not_run_keeps_its_events(manager, oracle, tmp_path, state) -> None:
    crashes = 1 if state is PluginState.QUARANTINED else 0
    plugin = manager.load_plugin(
        oracle.config(restart={"initial_delay": 100, "max_delay": 100, "max_crashes": crashes})
    )
    sender = Sender(manager)
    sender.many(3)
    manager.flush(240)
    os.kill(plugin.pid, signal.SIGKILL)
    wait(lambda: plugin.state is state)
    sender.many(7)
    with capture_logs() as logs:
        manager.unload_plugin("oracle")
    assert plugin.state is PluginState.UNLOADED
    assert (plugin.counters.accepted, plugin.counters.acknowledged) == (10, 3)
    problem = next(line["problem"] for line in logs if "not cleanly" in line["event"])
    assert "7 events were not acknowledged" in problem
    kept = list((tmp_path / "data" / "oracle").glob("undelivered-oracle-*.slip"))
    assert len(kept) == 1
    assert str(kept[0]) in problem
    assert len(capture_of(kept[0])) == 7
    assert copies_in(oracle.library.parent) == []


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_nothing_stops_where_the_data_folder_cannot_be_written_to(
    manager, oracle, tmp_path, mode
) -> None:
    config = oracle.config(mode=mode, callback_timeout=0)
    plugin = manager.load_plugin(config)
    shutil.rmtree(tmp_path / "data" / "oracle")
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


def test_an_unload_and_a_close_while_events_stream(compile_plugin, tmp_path) -> None:
    oracles = [Oracle(compile_plugin, tmp_path, name=f"oracle-{n}") for n in range(5)]
    wait(lambda: native_threads() == [], "a callback of an earlier test still has not returned")
    before = Footprint.now()
    manager = PluginManager(insecure_paths=True, log_level="trace", data_dir=tmp_path / "data")
    plugins = [manager.load_plugin(o.config(ring_bytes="64KiB")) for o in oracles]
    pids = [p.pid for p in plugins]
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
        assert 320 < c.accepted <= len(streamer.hashes) + 32
        verdict = oracle.judge((streamer.hashes + streamer.hashes[:32])[: c.accepted])
        assert verdict.good, verdict
        assert c.acknowledged == c.accepted
    after = Footprint.now()
    assert after == before
    assert list(tmp_path.rglob("*.slipstream-copy")) == []


def test_what_is_let_go_without_an_unload_is_dead(manager, oracle) -> None:
    plugin = manager.load_plugin(oracle.config())
    pid = plugin.pid
    plugin.delivery.kill()
    assert not alive(pid)
