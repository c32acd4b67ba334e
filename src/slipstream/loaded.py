"""The plugins that a manager has loaded: which there are, and how they end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from slipstream._native import lib
from slipstream.errors import (
    ChangeUnderWay,
    FlushTimeout,
    PluginAlreadyLoaded,
    PluginNotLoaded,
    SlipstreamError,
)
from slipstream.status import Calls, Counters, Metric, PluginState, Status
from slipstream.tables import html_table

if TYPE_CHECKING:
    from pathlib import Path

    from slipstream.config import Mode, PluginConfig
    from slipstream.delivery.crash_report import CrashReport
    from slipstream.delivery.description import Flush, Identity
    from slipstream.delivery.plugin import Delivery
    from slipstream.library import PluginInfo
    from slipstream.logs import LogPump

# States from which what was broadcast is still going to be delivered.
_GETTING_THERE = {
    PluginState.LOADING,
    PluginState.RUNNING,
    PluginState.STALLED,
    PluginState.BACKOFF,
}


HEADS = ("plugin", "version", "mode", "state", "delivered", "waiting", "dead", "lost")


class Plugin:
    """A loaded plugin. Its values are read when they are asked for; it is never stale.

    In a forked child of its host all that may change raises `ClosedError`, its `repr` too.
    """

    def __init__(self, delivery: Delivery) -> None:
        """Wrap a plugin that its delivery has loaded."""
        self.delivery = delivery  # the mode's part; for the manager
        self._turn = threading.Lock()

    @contextmanager
    def turn(self, what: str, wait: float) -> Iterator[None]:
        """Take the turn for a change of this plugin; questions wait for nobody's turn.

        Args:
            what: For the message: what is tried.
            wait: The longest wait for another change, in seconds.

        Raises:
            ChangeUnderWay: Another one takes longer.
        """
        if not self._turn.acquire(timeout=wait):
            raise ChangeUnderWay(
                f"cannot {what}: another change of {self.name} is under way",
                "wait for its end and try again; its state says what is under way",
            )
        try:
            yield
        finally:
            self._turn.release()

    def __repr__(self) -> str:
        return f"<Plugin {self.name} {self.version} {self.mode} {self.state}>"

    def row(self) -> tuple[object, ...]:
        """Its row in a table, whose columns `HEADS` names."""
        status, counters = self.status, self.counters
        state = f"{status.state}: {status.reason}" if status.reason else str(status.state)
        events = (counters.delivered, counters.waiting, counters.dead, counters.lost)
        return (self.name, self.version, str(self.mode), state, *events)

    def _repr_html_(self) -> str:
        return html_table(HEADS, [self.row()])

    @property
    def identity(self) -> Identity:
        """Everything that is fixed about it."""
        return self.delivery.identity

    @property
    def name(self) -> str:
        """Its name in this host."""
        return self.delivery.identity.name

    @property
    def version(self) -> str:
        """Its own version."""
        return self.delivery.identity.version

    @property
    def mode(self) -> Mode:
        """Where its callbacks run."""
        return self.delivery.identity.mode

    @property
    def path(self) -> Path | None:
        """The library, or None for a plugin written in Python."""
        return self.delivery.identity.path

    @property
    def digest(self) -> str:
        """SHA-256 of the library, in hexadecimal."""
        return self.delivery.identity.digest

    @property
    def info(self) -> PluginInfo | None:
        """What its file says about it; None if that is nothing, or it is written in Python."""
        return self.delivery.identity.info

    @property
    def status(self) -> Status:
        """State, reason and since when."""
        self.delivery.require_own()
        return self.delivery.status()

    @property
    def state(self) -> PluginState:
        """Where it is in its life."""
        return self.status.state

    @property
    def reason(self) -> str:
        """Why it is in that state; "" where nothing needs to be said."""
        return self.status.reason

    @property
    def since(self) -> float:
        """Since when, in seconds since 1970 UTC."""
        return self.status.since

    @property
    def counters(self) -> Counters:
        """What happened to its events; after an unload the last values."""
        self.delivery.require_own()
        return self.delivery.counters()

    @property
    def restarts(self) -> int:
        """How often its worker has crashed, in mode process."""
        return self.delivery.restarts

    @property
    def pid(self) -> int | None:
        """The process of its worker; None in other modes, and while a crashed one is not back."""
        return self.delivery.pid

    @property
    def last_crash(self) -> CrashReport | None:
        """What is known of the last crash of its worker; None if it has not crashed."""
        return self.delivery.last_crash

    @property
    def config(self) -> PluginConfig | None:
        """Its config, secrets as references; None for a plugin written in Python."""
        return self.delivery.settings

    @property
    def folder(self) -> Path | None:
        """Its own folder, which need not be there; None if its host gives none."""
        return self.delivery.folder

    @property
    def dead_letter_file(self) -> Path | None:
        """The file with the events that it refuses for good; None: they are not kept."""
        return self.delivery.dead_letter_file

    @property
    def calls(self) -> Calls | None:
        """What became of what it asked of the application; None if that offers nothing."""
        self.delivery.require_own()
        return self.delivery.calls()

    @property
    def metrics(self) -> list[Metric]:
        """The numbers that the plugin itself reports; none after an unload."""
        self.delivery.require_own()
        return self.delivery.metrics()


# Seconds. A flush that runs while the caller waits is not begun with less, unless the caller
# himself gave less: it would hardly end in time, and a plugin whose flush is late is paused.
_LEAST_TIME = 0.1


class Loaded:
    """The loaded plugins. Changed by one thread at a time, which the manager sees to.

    Attributes:
        plugins: By name, in the order of loading.
    """

    def __init__(self, pump: LogPump) -> None:
        """Nothing is loaded yet; ends are told to `pump`."""
        self.plugins: dict[str, Plugin] = {}
        self._pump = pump

    def find(self, name: str) -> Plugin:
        """Return a plugin.

        Raises:
            PluginNotLoaded: There is none of this name.
        """
        plugin = self.plugins.get(name)
        if plugin is None:
            loaded = ", ".join(self.plugins) or "none"
            raise PluginNotLoaded(f"no plugin {name} is loaded", f"loaded: {loaded}")
        return plugin

    def refuse_same_library(self, path: Path) -> None:
        """Raise `PluginAlreadyLoaded` for a library that is loaded and may not be twice."""
        for plugin in self.plugins.values():
            multiple = plugin.identity.flags & lib.SLIPSTREAM_FLAG_MULTI_INSTANCE
            if plugin.path == path and not multiple:
                raise PluginAlreadyLoaded(
                    f"the library {path} is loaded already, as plugin {plugin.name}",
                    "unload that one first; a plugin that may be loaded several times says so "
                    "by the flag MULTI_INSTANCE",
                )

    def refuse_same_name(self, name: str) -> None:
        """Raise `PluginAlreadyLoaded` for a name that is taken."""
        if name in self.plugins:
            raise PluginAlreadyLoaded(
                f"a plugin of the name {name} is loaded already",
                "give this one another `name` in its config, or unload the other",
            )

    def add(self, delivery: Delivery) -> Plugin:
        """Take in a plugin that runs; return it."""
        plugin = self.plugins[delivery.name] = Plugin(delivery)
        return plugin

    def flush(self, timeout: float, plugins: list[Plugin]) -> None:
        """Wait until each plugin has acknowledged everything.

        Args:
            timeout: The longest wait for all of them, in seconds.
            plugins: Those that are meant.

        Raises:
            FlushTimeout: Some plugin did not get there; its message says which and how far.
        """
        problems = _flush(plugins, timeout)
        late = [
            f"{plugin.name} ({plugin.state}): acknowledged {plugin.counters.acknowledged} "
            f"of {plugin.counters.accepted}: {problems[plugin.name]}"
            for plugin in plugins
            if problems[plugin.name]
        ]
        if late:
            raise FlushTimeout(
                "not everything is acknowledged: " + "; ".join(late),
                "see the state and reason of each (plugin.status; slipstream plugins list); let a "
                "paused one go on (manager.resume; slipstream plugins resume)",
            )

    def unload(self, name: str, timeout: float | None, wait: float) -> None:
        """Unload a plugin.

        Args:
            name: Its name.
            timeout: The longest wait for each step, in seconds; None: its `unload_timeout`.
            wait: The longest wait for another change of it, in seconds.

        Raises:
            PluginNotLoaded: There is none of this name.
            ChangeUnderWay: Another change of it takes longer.
            PluginFailed: It could not even begin; the plugin is loaded as before.
        """
        plugin = self.find(name)
        with plugin.turn("unload it", wait):
            self._end(plugin, timeout)
            self.plugins.pop(name)

    def unload_all(self, timeout: float | None, wait: float) -> None:
        """Unload all plugins, the last loaded first. Problems are logged, none stops it.

        Args:
            timeout: The longest wait for each step, in seconds; None: each one's
                `unload_timeout`.
            wait: The longest wait for another change of one, in seconds.
        """
        interrupt: BaseException | None = None
        for name in reversed(list(self.plugins)):
            try:
                try:
                    self.unload(name, timeout, wait)
                except (KeyboardInterrupt, SystemExit) as error:  # hurry, but leave none behind
                    interrupt = error
                    timeout = 1.0 if timeout is None else min(timeout, 1.0)
                    self.unload(name, timeout, wait)
            except Exception as error:  # noqa: BLE001 - the others end all the same
                self._pump.say(
                    logging.ERROR,
                    "plugin could not be unloaded",
                    {"plugin": name, "problem": getattr(error, "message", repr(error))},
                )
        if interrupt is not None:
            raise interrupt

    def _end(self, plugin: Plugin, timeout: float | None) -> None:
        delivery = plugin.delivery
        problem = delivery.close(delivery.unload_timeout if timeout is None else timeout)
        if problem:
            self._pump.say(
                logging.WARNING,
                "plugin unloaded, but not cleanly",
                {"plugin": plugin.name, "problem": problem},
            )
        else:
            self._pump.say(logging.INFO, "plugin unloaded", {"plugin": plugin.name})


def _flush(plugins: list[Plugin], timeout: float) -> dict[str, str]:
    """Flush plugins; the reason why each cannot, or "".

    All that go on by themselves are asked before anybody is waited for, and are waited for
    last: so each of them has the whole time, however late the others are. Only those whose
    flush runs while the caller waits can take each other's time.
    """
    end = time.monotonic() + timeout
    problems = {plugin.name: "" for plugin in plugins}
    asked: list[tuple[Plugin, Flush]] = []
    for plugin in plugins:
        status = plugin.status
        if status.state not in _GETTING_THERE:
            problems[plugin.name] = status.reason or f"it is {status.state}"
            continue
        try:
            asked.append((plugin, plugin.delivery.ask_flush(timeout)))
        except SlipstreamError as error:
            problems[plugin.name] = error.message
    took: dict[str, float] = {}
    for plugin, flush in sorted(asked, key=lambda one: one[1].by_itself):
        begin = time.monotonic()
        left = max(0.0, end - begin) if took or flush.by_itself else timeout
        if took and not flush.by_itself and left < min(_LEAST_TIME, timeout / 10):
            # Such a flush would be late through no fault of its own, and its plugin paused.
            if plugin.counters.lag:
                problems[plugin.name] = f"no time was left for its flush: {_who(took, timeout)}"
            continue
        try:
            flush.wait(left)
        except SlipstreamError as error:
            others = ""
            if took and not flush.by_itself and time.monotonic() >= end:
                others = f", all that was left: {_who(took, timeout)}"
            problems[plugin.name] = error.message + others
        if not flush.by_itself:
            took[plugin.name] = time.monotonic() - begin
    return problems


def _who(took: dict[str, float], timeout: float) -> str:
    """Say which plugins took a flush's time: those with a tenth of it, or the one with most."""
    most = max(took.values())
    takers = [
        f"{name} took {min(seconds, timeout):.2g}"
        for name, seconds in took.items()
        if seconds >= min(most, timeout / 10)
    ]
    return f"{', '.join(takers)} of the {timeout:.3g} seconds"
