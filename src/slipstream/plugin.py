"""One plugin, as its host sees it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from slipstream.config import Mode
    from slipstream.delivery.instance import Metric


class PluginState(StrEnum):
    """Where a plugin is in its life."""

    LOADING = "loading"
    RUNNING = "running"
    STALLED = "stalled"
    PAUSED = "paused"
    BACKOFF = "backoff"
    QUARANTINED = "quarantined"
    UNLOADING = "unloading"
    FAILED = "failed"
    UNLOADED = "unloaded"


@dataclass(frozen=True, slots=True)
class Counters:
    """What happened to a plugin's events. All count from its first load in this host.

    Attributes:
        broadcast: The last ordinal that was given out.
        delivered: Events that the plugin took.
        failed: Events that it refused for good.
        dropped: Events that it was told of by a GAP, or is going to be.
        acknowledged: The last acknowledged ordinal.
        callbacks_timed: How many callbacks were timed (inline: one in 64).
        callback_ns: The time that those took, in nanoseconds.
        callback_buckets: Bucket n counts timed callbacks of at least 2^(n-1) and less than
            2^n nanoseconds.
    """

    broadcast: int = 0
    delivered: int = 0
    failed: int = 0
    dropped: int = 0
    acknowledged: int = 0
    callbacks_timed: int = 0
    callback_ns: int = 0
    callback_buckets: tuple[int, ...] = ()

    @property
    def lag(self) -> int:
        """Events that were broadcast to it and not acknowledged."""
        return self.broadcast - self.acknowledged


def counters_of(stats: Any, callbacks_timed: int) -> Counters:
    """Return the counters of a slot or of a ring.

    Args:
        stats: The core's own.
        callbacks_timed: The one that is not called the same in both.
    """
    return Counters(
        broadcast=stats.broadcast,
        delivered=stats.delivered,
        failed=stats.failed,
        dropped=stats.dropped,
        acknowledged=stats.acknowledged,
        callbacks_timed=callbacks_timed,
        callback_ns=stats.total_ns,
        callback_buckets=tuple(stats.buckets),
    )


@dataclass(frozen=True, slots=True)
class Flush:
    """A flush that was asked for.

    Attributes:
        wait: Waits for its end, so many seconds at most; raises `PluginFailed`.
        by_itself: It goes on while nobody waits; else it begins with `wait`.
    """

    wait: Callable[[float], None]
    by_itself: bool


@dataclass(slots=True)
class Status:
    """A state with its reason, and since when (seconds since 1970)."""

    state: PluginState
    reason: str = ""
    since: float = field(default_factory=time.time)


class Delivery(Protocol):
    """What a mode does for one plugin; see slipstream.delivery."""

    @property
    def source(self) -> int:
        """The number that its log lines carry."""

    def status(self) -> Status:
        """Return the state."""

    def counters(self) -> Counters:
        """Return the counters; may be called at any time."""

    def metrics(self) -> list[Metric]:
        """Return the plugin's own numbers."""

    def pause(self) -> None:
        """Hold events back; what comes meanwhile is told by a GAP."""

    def resume(self) -> None:
        """Deliver again."""

    def ask_flush(self, timeout: float) -> Flush:
        """Ask for everything delivered to be made durable, `timeout` being all the time for it.

        Raises:
            PluginFailed: The plugin cannot get there at present.
        """

    def stop(self, timeout: float) -> str:
        """Unload; returns what became of the library, for the log.

        Raises:
            PluginFailed: It could not even begin; the plugin is loaded as before.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a plugin is: fixed for one generation of it.

    Attributes:
        name: Its name in this host.
        version: Its own version.
        mode: Where its callbacks run.
        path: The library; None for a plugin written in Python.
        digest: SHA-256 of the library, in hexadecimal; "" for a plugin written in Python.
        config_file: The config file that it was loaded from, if it was one.
        flags: SLIPSTREAM_FLAG_*.
        kinds: Set of subscribed kinds, one bit each.
    """

    name: str
    version: str
    mode: Mode
    path: Path | None
    digest: str
    config_file: Path | None
    flags: int
    kinds: int


class Plugin:
    """A loaded plugin. Its values are read when they are asked for; it is never stale."""

    def __init__(self, identity: Identity, delivery: Delivery) -> None:
        """Wrap a plugin that its delivery has loaded."""
        self._identity = identity
        self._delivery = delivery
        self._ended: tuple[Status, Counters] | None = None

    def __repr__(self) -> str:
        return f"<Plugin {self.name} {self.version} {self.mode} {self.state}>"

    @property
    def identity(self) -> Identity:
        """Everything that is fixed about it."""
        return self._identity

    @property
    def name(self) -> str:
        """Its name in this host."""
        return self._identity.name

    @property
    def version(self) -> str:
        """Its own version."""
        return self._identity.version

    @property
    def mode(self) -> Mode:
        """Where its callbacks run."""
        return self._identity.mode

    @property
    def path(self) -> Path | None:
        """The library, or None for a plugin written in Python."""
        return self._identity.path

    @property
    def digest(self) -> str:
        """SHA-256 of the library, in hexadecimal."""
        return self._identity.digest

    @property
    def status(self) -> Status:
        """State, reason and since when."""
        return self._ended[0] if self._ended else self._delivery.status()

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
        return self._ended[1] if self._ended else self._delivery.counters()

    @property
    def metrics(self) -> list[Metric]:
        """The numbers that the plugin itself reports; none after an unload."""
        return [] if self._ended else self._delivery.metrics()

    # The manager's side ------------------------------------------------------------

    @property
    def delivery(self) -> Delivery:
        """The mode's part; for the manager."""
        return self._delivery

    def renew(self, identity: Identity) -> None:
        """Take a new generation's identity, after a reload."""
        self._identity = identity

    def end(self, reason: str, unload: Callable[[], None]) -> None:
        """Unload and keep the last values; if that fails the plugin is as it was."""
        unload()
        self._ended = (Status(PluginState.UNLOADED, reason), self._delivery.counters())
