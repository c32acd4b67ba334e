"""An event for which a plugin asks again: offered until it is taken, and kept when delivery stops."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slipstream import FlushTimeout, PluginManager
from slipstream.capture import CaptureWriter, read_frames, read_header
from slipstream.delivery.queue import Queue
from support.gated import Gated, wait_until
from support.logs import capture_logs
from support.rings import heights_in, small

BATCH, EXPLICIT_ACK = 16, 8
MODES = ("thread", "process")

# How long a plugin asks for an event again; SLIPSTREAM_LONG=1 makes it half a minute.
A_WHILE = 30.0 if os.environ.get("SLIPSTREAM_LONG") else 2.0


@pytest.fixture
def stored(tmp_path):
    """A manager with a data folder."""
    with PluginManager(insecure_paths=True, data_dir=tmp_path / "data") as manager:
        yield manager


def undelivered(tmp_path) -> list[Path]:
    return sorted((tmp_path / "data").glob("*/undelivered-*.slip"))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("flags", [0, BATCH, EXPLICIT_ACK | BATCH])
def test_nothing_is_lost_however_long_it_asks(
    stored, compile_plugin, tmp_path, mode, flags
) -> None:
    gated = Gated(compile_plugin, tmp_path, flags=flags)
    plugin = stored.load_plugin(
        gated.config(mode=mode, retry={"max_delay": 0.1}, callback_timeout=1)
    )
    stored.broadcast(small(1))
    wait_until(lambda: gated.events, "nothing comes")
    gated.busy.touch()
    with capture_logs() as logs:
        stored.broadcast_many([small(height) for height in range(2, 50)])
        wait_until(lambda: "retrying ordinal" in plugin.reason, "it does not say that it waits")
        assert re.fullmatch(r"retrying ordinal 2 since \d\d:\d\d:\d\d UTC", plugin.reason)
        assert str(plugin.state) == "running"
        with pytest.raises(FlushTimeout, match=r"retrying ordinal 2 since"):
            stored.flush(0.05)
        time.sleep(A_WHILE)
        assert str(plugin.state) == "running"
        gated.busy.unlink()
        stored.flush(240)
        wait_until(lambda: plugin.reason == "", "it still says that it waits")
        wait_until(lambda: "retrying ordinal 2 is over" in str(logs), "it does not say the end")
        assert "offered again until it is taken: busy" in str(logs)
    assert [seen.ordinal for seen in gated.events] == list(range(1, 50))
    attempts = [int(line[2]) for line in gated.of("busy")]
    assert attempts[-1] > A_WHILE / 0.2
    singles = attempts[1:] if flags & BATCH else attempts
    assert singles == list(range(singles[0], singles[0] + len(singles)))
    assert plugin.counters.acknowledged == 49


@pytest.mark.parametrize("mode", MODES)
def test_a_bound_makes_it_a_failure(stored, compile_plugin, tmp_path, mode) -> None:
    gated = Gated(compile_plugin, tmp_path)
    letters = tmp_path / "dead.slip"
    plugin = stored.load_plugin(
        gated.config(mode=mode, retry={"max_time": 0.3}, dead_letter=str(letters))
    )
    gated.busy.touch()
    start = time.monotonic()
    with capture_logs() as logs:
        stored.broadcast(small(1))
        wait_until(lambda: plugin.counters.dead, "it never ends")
        assert time.monotonic() - start > 0.25
        gated.busy.unlink()
        stored.broadcast(small(2))
        stored.flush(240)
        wait_until(lambda: "max_time is over" in str(logs), "it does not say why")
    assert plugin.counters.delivered == 1
    assert heights_in(letters) == [1]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("busy_us", [0, 300_000])
@pytest.mark.parametrize("way", ["unload", "close"])
def test_the_end_comes_in_time_and_keeps_the_event(
    compile_plugin, tmp_path, mode, busy_us, way
) -> None:
    gated = Gated(compile_plugin, tmp_path)
    gated.busy.touch()
    with PluginManager(insecure_paths=True, data_dir=tmp_path / "data") as manager:
        plugin = manager.load_plugin(
            gated.config(mode=mode, busy_us=busy_us, unload_timeout=20, retry={"max_delay": 30})
        )
        manager.broadcast_many([small(height) for height in range(1, 4)])
        wait_until(lambda: len(gated.of("busy")) > 1, "it is not offered again")
        start = time.monotonic()
        if way == "unload":
            manager.unload_plugin("gated")
        else:
            manager.close()
        assert time.monotonic() - start < 15
    counters = plugin.counters
    assert (counters.acknowledged, counters.undelivered, counters.waiting) == (0, 3, 0)
    [capture] = undelivered(tmp_path)
    assert heights_in(capture) == [1, 2, 3]
    assert gated.of("unload")


AT_SECOND = """
#include <slipstream.h>
static void destroy(void *unused) { (void)unused; }
static uint64_t subscribed_events(void *unused) { (void)unused; return ~(uint64_t)0; }
static int32_t on_broadcast(void *unused, const slipstream_delivery *delivery,
                            const uint8_t *frames, size_t len) {
    (void)unused, (void)frames, (void)len;
    return delivery->attempt > 1 ? SLIPSTREAM_OK : SLIPSTREAM_RETRY;
}
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    static const slipstream_plugin table = {
        sizeof table, SLIPSTREAM_ABI_MINOR, 0, 0, NULL, "second", "1", destroy, NULL, NULL,
        subscribed_events, on_broadcast, NULL, NULL};
    (void)host;
    return &table;
}
"""


@pytest.mark.parametrize("mode", MODES)
def test_what_is_tried_first_at_the_end_is_tried_once_more(
    stored, compile_plugin, tmp_path, mode
) -> None:
    """At once, however long the pause before the second time would be."""
    plugin = stored.load_plugin(
        {
            "libpath": str(compile_plugin(AT_SECOND, name="second")),
            "mode": mode,
            "unload_timeout": 20,
            "retry": {"initial_delay": 60, "max_delay": 60},
        }
    )
    stored.pause("second")
    stored.broadcast_many([small(height) for height in range(1, 4)])
    stored.unload_plugin("second")
    assert (plugin.counters.delivered, plugin.counters.undelivered) == (3, 0)
    assert undelivered(tmp_path) == []


def test_what_an_unload_lets_go_is_not_taken_for_what_was_retried_before(
    stored, compile_plugin, tmp_path, monkeypatch
) -> None:
    """Even if the plugin asks for it again before the unload goes on."""
    config = {"libpath": str(compile_plugin(AT_SECOND, name="second")), "mode": "thread"}
    retry = {"initial_delay": 60, "max_delay": 60}
    plugin = stored.load_plugin({**config, "unload_timeout": 20, "retry": retry})
    stored.pause("second")
    stored.broadcast_many([small(height) for height in range(1, 4)])
    pause = Queue.pause

    def pause_and_wait(queue: Queue, *, paused: bool) -> None:
        pause(queue, paused=paused)
        wait_until(queue.retrying, "nothing was tried")

    monkeypatch.setattr(Queue, "pause", pause_and_wait)
    stored.unload_plugin("second")
    assert (plugin.counters.delivered, plugin.counters.undelivered) == (3, 0)
    assert undelivered(tmp_path) == []


@pytest.mark.parametrize("mode", MODES)
def test_a_slow_call_is_cut_short_in_time(stored, compile_plugin, tmp_path, mode) -> None:
    """A worker is killed then; a thread cannot be, and is left behind."""
    gated = Gated(compile_plugin, tmp_path)
    gated.busy.touch()
    stored.load_plugin(gated.config(mode=mode, busy_us=6_000_000, unload_timeout=1))
    stored.broadcast(small(1))
    wait_until(lambda: len(gated.of("busy")) > 1, "it is not offered again")
    start = time.monotonic()
    stored.unload_plugin("gated")
    assert time.monotonic() - start < 5
    if mode == "process":
        [capture] = undelivered(tmp_path)
        assert heights_in(capture) == [1]


@pytest.mark.parametrize("mode", MODES)
def test_a_reload_hands_the_event_over(stored, compile_plugin, tmp_path, mode) -> None:
    gated = Gated(compile_plugin, tmp_path)
    plugin = stored.load_plugin(gated.config(mode=mode, retry={"max_delay": 30}))
    gated.busy.touch()
    stored.broadcast_many([small(1), small(2)])
    wait_until(lambda: len(gated.of("busy")) > 1, "it is not offered again")
    start = time.monotonic()
    stored.reload_plugin("gated", gated.config(mode=mode, busy=""))
    assert time.monotonic() - start < 15
    stored.flush(240)
    assert [(seen.ordinal, seen.attempt > 1) for seen in gated.events] == [(1, True), (2, False)]
    assert (plugin.reason, plugin.counters.acknowledged) == ("", 2)


@pytest.mark.parametrize("mode", MODES)
def test_a_pause_holds_it_back_meanwhile(stored, compile_plugin, tmp_path, mode) -> None:
    gated = Gated(compile_plugin, tmp_path)
    plugin = stored.load_plugin(gated.config(mode=mode, retry={"max_delay": 0.02}))
    gated.busy.touch()
    stored.broadcast(small(1))
    wait_until(lambda: len(gated.of("busy")) > 1, "it is not offered again")
    stored.pause("gated")
    assert str(plugin.state) == "paused"
    time.sleep(0.2)  # what was under way is over
    tries = len(gated.of("busy"))
    time.sleep(0.3)
    assert len(gated.of("busy")) == tries
    gated.busy.unlink()
    stored.resume("gated")
    stored.flush(240)
    assert plugin.counters.delivered == 1


@pytest.mark.parametrize("mode", MODES)
def test_a_run_that_is_terminated_meanwhile_keeps_it(compile_plugin, tmp_path, mode) -> None:
    gated = Gated(compile_plugin, tmp_path)
    gated.busy.touch()
    config = tmp_path / "gated.json5"
    keys = gated.config(mode=mode, unload_timeout=20, retry={"max_delay": 30})
    config.write_text(str(keys).replace("True", "true"))
    events = tmp_path / "events.slip"
    with CaptureWriter(events) as capture:
        for height in range(1, 6):
            capture.write(small(height))
    command = [sys.executable, "-m", "slipstream.cli", "run", "--slipstream-config", str(config)]
    command += ["--insecure-paths", "--data-dir", str(tmp_path / "data"), "--json", str(events)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        wait_until(lambda: len(gated.of("busy")) > 2, "it is not offered again")
        start = time.monotonic()
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=240)
        assert time.monotonic() - start < 20
    [kept] = undelivered(tmp_path)
    with kept.open("rb") as file:
        read_header(file, str(kept))
        assert len(list(read_frames(file, str(kept)))) == 5
