"""Process mode: reloads, by good versions and by bad ones."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import threading
import time
from contextlib import closing

import pytest

from slipstream import Block, PluginLoadError, PluginStartError, PluginState
from support.oracle import BATCH, EXPLICIT_ACK, LOADED, MULTI, Oracle
from support.workers import Sender, Streamer, block, wait


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
    assert plugin.counters.lost == 0
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
    pid = plugin.pid
    with pytest.raises(PluginLoadError, match=says):
        manager.reload_plugin("oracle", new.config(**more))
    manager.broadcast(block(1))
    manager.flush(240)
    assert (plugin.state, plugin.pid) == (PluginState.RUNNING, pid)


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
    pid = plugin.pid
    with Streamer(manager) as streamer:
        with pytest.raises(error) as caught:
            manager.reload_plugin("oracle", new.config(**lock, **more))
        assert says in caught.value.message
        time.sleep(0.05)
    manager.flush(240)
    assert streamer.error is None
    assert (plugin.version, plugin.state) == ("1", PluginState.RUNNING)
    assert (plugin.pid == pid) == bool(defines), "refused before the old one was touched"
    verdict = old.judge(streamer.hashes)
    assert verdict.good, verdict
    assert verdict.repeats == 0
    # And it is still the kept copy of the old library that is started after a crash.
    os.kill(plugin.pid, signal.SIGKILL)
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
    os.kill(plugin.pid, signal.SIGKILL)
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
    killer = threading.Timer(0.25, os.kill, (plugin.pid, signal.SIGKILL))
    killer.start()
    manager.reload_plugin("oracle", new.config())
    assert plugin.delivery.restarts == 1
    sender.many(5)
    manager.flush(240)
    assert (plugin.version, plugin.state) == ("2", PluginState.RUNNING)
    assert old.judge(sender.hashes).good
    assert len(set(versions_of(old))) == len(versions_of(old)) == 2


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
