"""What is said of a plugin: its states, its counters, its own numbers. Words, no machinery."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from slipstream._native import lib

if TYPE_CHECKING:
    from slipstream._native.cdef import ss_stats


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


# What each layer's own states are to whoever asks. Beside them stand a ring that is paused or
# stalled while it is delivered from, and what a reload, an unload or a failure of both is in.
SLOT_STATES = {
    lib.SS_SLOT_RUNNING: PluginState.RUNNING,
    lib.SS_SLOT_PAUSED: PluginState.PAUSED,
    lib.SS_SLOT_RELOADING: PluginState.LOADING,
    lib.SS_SLOT_FAILED: PluginState.FAILED,
}
CONSUMER_STATES = {
    lib.SS_THREAD_RUNNING: PluginState.RUNNING,
    lib.SS_THREAD_ENDED: PluginState.LOADING,  # between two versions
    lib.SS_THREAD_FAILED: PluginState.FAILED,
}
SUPERVISED_STATES = {
    lib.SS_SUPERVISED_LOADING: PluginState.LOADING,
    lib.SS_SUPERVISED_RUNNING: PluginState.RUNNING,
    lib.SS_SUPERVISED_BACKOFF: PluginState.BACKOFF,
    lib.SS_SUPERVISED_QUARANTINED: PluginState.QUARANTINED,
    lib.SS_SUPERVISED_UNLOADING: PluginState.UNLOADING,
    lib.SS_SUPERVISED_FAILED: PluginState.FAILED,
    lib.SS_SUPERVISED_UNLOADED: PluginState.UNLOADED,
}


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


def counters_of(stats: ss_stats) -> Counters:
    """Return the core's counters of a slot or of a ring."""
    return Counters(
        broadcast=stats.broadcast,
        delivered=stats.delivered,
        failed=stats.failed,
        dropped=stats.dropped,
        acknowledged=stats.acknowledged,
        callbacks_timed=stats.samples,
        callback_ns=stats.total_ns,
        callback_buckets=tuple(stats.buckets),
    )


@dataclass(slots=True)
class Status:
    """A state with its reason, and since when (seconds since 1970)."""

    state: PluginState
    reason: str = ""
    since: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that the plugin reports: a counter (int) or a gauge (float)."""

    name: str
    label: str
    value: int | float
