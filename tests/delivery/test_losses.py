"""What is said of events that are lost, and of those that come again, when it happens."""

from __future__ import annotations

import os
import signal

import pytest

from slipstream import GapReason, PluginState
from support.gated import Gated
from support.logs import capture_logs
from support.recorded import Recorder
from support.workers import Sender, block, wait

MODES = ("inline", "thread", "process")


def lines_of(logs: list[dict], text: str) -> list[dict]:
    return [line for line in logs if text in line["event"]]


@pytest.mark.parametrize("mode", MODES)
def test_a_paused_plugin_s_losses_are_told_at_once(manager, compile_plugin, tmp_path, mode) -> None:
    recorder = Recorder(compile_plugin, tmp_path)
    plugin = manager.load_plugin(recorder.config(mode=mode, ring_bytes="64KiB"))
    manager.pause("recorder")
    with capture_logs() as logs:
        for number in range(3000):
            manager.broadcast(block(number))
        wait(lambda: lines_of(logs, "events are lost"))
    told = lines_of(logs, "events are lost")
    assert len(told) == 1
    first = plugin.counters.accepted - plugin.counters.lost + 1
    assert (
        told[0]["event"] == f"events are lost from ordinal {first} on: it is paused, or has failed"
    )
    assert (told[0]["log_level"], told[0]["plugin"]) == ("warning", "recorder")


def test_a_quarantined_plugin_s_losses_are_told_at_once_and_at_the_end(manager, oracle) -> None:
    plugin = manager.load_plugin(
        oracle.config(ring_bytes="64KiB", overflow="drop_newest", restart={"max_crashes": 1})
    )
    os.kill(plugin.pid, signal.SIGKILL)
    wait(lambda: plugin.state is PluginState.QUARANTINED)
    with capture_logs() as logs:
        for number in range(3000):
            manager.broadcast(block(number))
        wait(lambda: lines_of(logs, "events are lost"))
        lost = plugin.counters.lost
        manager.unload_plugin("oracle")
    assert [line["event"] for line in lines_of(logs, "events are lost")] == [
        f"events are lost from ordinal {3001 - lost} on: it is quarantined, and its ring is full"
    ]
    end = lines_of(logs, "plugin unloaded")
    assert f"{3000 - lost} kept, {lost} lost before" in end[0]["problem"]


@pytest.mark.parametrize("overflow", ["drop_newest", "drop_oldest", "block"])
def test_a_full_ring_s_losses_are_told_at_once(manager, compile_plugin, tmp_path, overflow) -> None:
    gated = Gated(compile_plugin, tmp_path)
    gated.let_pass(0)
    manager.load_plugin(
        gated.config(mode="thread", ring_bytes="64KiB", overflow=overflow, block_timeout=0.1)
    )
    with capture_logs() as logs:
        for number in range(3000):
            manager.broadcast(block(number))
        wait(lambda: lines_of(logs, "events are lost from"))
        gated.open()
    told = lines_of(logs, "events are lost from")
    assert len(told) == 1
    assert {"block": "stays full"}.get(overflow, overflow) in told[0]["event"]


def test_the_reason_is_that_nobody_takes_them(manager, compile_plugin, tmp_path) -> None:
    """Not that the ring has stalled before."""
    gated = Gated(compile_plugin, tmp_path)
    gated.let_pass(0)
    plugin = manager.load_plugin(
        gated.config(
            mode="process", ring_bytes="64KiB", block_timeout=0.1, restart={"max_crashes": 1}
        )
    )
    sent = 0
    while plugin.state is not PluginState.STALLED:
        manager.broadcast(block(sent))
        sent += 1
    os.kill(plugin.pid, signal.SIGKILL)
    wait(lambda: plugin.state is PluginState.QUARANTINED)
    for number in range(100):
        manager.broadcast(block(number))
    gated.open()
    manager.resume("gated")
    manager.flush(240)
    reasons = 0
    for gap in gated.gaps:
        reasons |= gap.reason
    assert reasons & GapReason.QUARANTINED
    assert not reasons & GapReason.PAUSED


def test_a_restart_says_what_comes_again(manager, oracle) -> None:
    plugin = manager.load_plugin(oracle.config())
    sender = Sender(manager)
    sender.many(10)
    manager.flush(240)
    with capture_logs() as logs:
        os.kill(plugin.pid, signal.SIGKILL)
        wait(lambda: plugin.delivery.restarts == 1 and plugin.state is PluginState.RUNNING)
        wait(lambda: lines_of(logs, "restarted after"))
    told = lines_of(logs, "restarted after")
    again = "0 events are delivered again from ordinal 11 on"
    assert [line["event"] for line in told] == [
        f"restarted after it died of signal 9 (Killed); {again}"
    ]
    assert told[0]["plugin"] == "oracle"
