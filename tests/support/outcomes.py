"""What must be true of a plugin's counters at every moment."""

from __future__ import annotations

import threading
from typing import Self

from slipstream import PluginManager
from slipstream.status import Counters


def excess(counters: Counters) -> int:
    """By how much the five outcomes are more than what was accepted; 0 as it must be."""
    c = counters
    return c.delivered + c.dead + c.told + c.undelivered + c.waiting - c.accepted


def assert_adds_up(counters: Counters) -> None:
    assert excess(counters) == 0, counters
    assert counters.dead_unkept <= counters.dead, counters


class Auditor:
    """A thread that asks for the counters of all plugins, over and over, and adds them up."""

    def __init__(self, manager: PluginManager) -> None:
        self._manager = manager
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="auditor")
        self.looks = 0
        self.wrong: list[str] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        known: dict[str, object] = {}
        while not self._stop.wait(0.0005):
            known.update({str(id(p)): p for p in self._manager.plugins.copy().values()})
            for plugin in list(known.values()):  # those that were unloaded, too
                self._look(plugin)

    def _look(self, plugin: object) -> None:
        counters = plugin.counters
        self.looks += 1
        if (excess(counters) or counters.dead_unkept > counters.dead) and len(self.wrong) < 10:
            self.wrong.append(f"{plugin.name} does not add up by {excess(counters)}: {counters}")
