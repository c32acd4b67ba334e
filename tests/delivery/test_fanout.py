"""Many plugins that sleep: each is woken for what is broadcast, by whomever."""

from __future__ import annotations

import random
import time

import pytest

from slipstream import Block, EventKind, Plugin, PluginManager
from slipstream.testing import RecordingPlugin
from support.gated import wait_until
from support.process_tools import thread_names
from support.recorded import Recorder

PLUGINS = 6
WAKER = "slip-waker"
BY_ITSELF = 3  # seconds: a consumer looks again after some more, whether it was woken or not


@pytest.fixture
def recorders(compile_plugin, tmp_path) -> list[Recorder]:
    return [
        Recorder(compile_plugin, tmp_path, name=f"r{number}", flags=0) for number in range(PLUGINS)
    ]


def broadcast_to_sleepers(manager: PluginManager, plugins: list, rounds: int) -> None:
    """Nothing but the broadcast itself wakes them: no flush, no stop."""
    pauses = random.Random(1)
    already = plugins[0].counters.acknowledged
    for number in range(already + 1, already + rounds + 1):
        time.sleep(pauses.choice((0, 0.001, 0.01)))
        manager.broadcast(Block(b"b", number))
        wait_until(
            lambda number=number: all(p.counters.acknowledged == number for p in plugins),
            "one of them was not woken",
            BY_ITSELF,
        )


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_all_sleepers_are_woken(recorders, tmp_path, mode) -> None:
    with PluginManager(mode, insecure_paths=True, data_dir=tmp_path / "data") as manager:
        plugins = [manager.load_plugin(recorder.config()) for recorder in recorders]
        broadcast_to_sleepers(manager, plugins, 50)
        assert WAKER in thread_names(), "so many were woken one by one"
        manager.unload_plugin(plugins.pop(0).name)  # those behind move up
        broadcast_to_sleepers(manager, plugins, 50)
        for plugin in plugins[2:]:
            manager.unload_plugin(plugin.name)
        broadcast_to_sleepers(manager, plugins[:2], 20)
    assert WAKER not in thread_names()


class Slow(RecordingPlugin):
    """Returns once the others have the event, too."""

    def __init__(self, others: list[Plugin]) -> None:
        super().__init__("slow", {EventKind.BLOCK})
        self._others = others

    def on_broadcast(self, event: object) -> None:
        super().on_broadcast(event)
        wait_until(
            lambda: all(p.counters.acknowledged == 1 for p in self._others), "asleep", BY_ITSELF
        )


def test_sleepers_do_not_wait_for_an_inline_plugin(recorders, tmp_path) -> None:
    """Those before it in the order have the event while it is at work."""
    with PluginManager("thread", insecure_paths=True, data_dir=tmp_path / "data") as manager:
        plugins = [manager.load_plugin(recorder.config()) for recorder in recorders]
        slow = Slow(plugins)
        manager.install(slow)
        time.sleep(0.05)
        manager.broadcast(Block(b"b", 1))
        assert len(slow.events) == 1
