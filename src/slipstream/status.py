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


# Why events are lost, in the order of the bits of SLIPSTREAM_GAP_*.
LOSSES = (
    *("dropped_newest", "dropped_oldest", "block_timeout", "dead_letter"),
    *("too_large", "paused", "reload", "quarantined"),
)


@dataclass(frozen=True, slots=True)
class Counters:
    """What became of a plugin's events. All count from its first load in this host.

    At every moment `accepted` is the sum of `delivered`, `dead`, `told`, `undelivered` and
    `waiting`.

    Attributes:
        accepted: Events that were accepted for it, and so the last ordinal that was given out.
        delivered: Those that it took and acknowledged.
        dead: Those that it refused for good, by a status or by crashing on them.
        told: Those that were lost, and whose GAP it acknowledged.
        undelivered: Those left at an unload, with lost ones that it was not told of.
        waiting: Those of which none of this is known yet.
        dead_unkept: How many of the dead are in no dead-letter file.
        lost: Events that were lost so far, told or not.
        lost_for: The same by reason, as a GAP names it; only reasons that occurred.
        ring_bytes: The size of its ring; 0 where it has none.
        ring_used: How much of it is in use.
        acknowledged: The last acknowledged ordinal.
        retrying: The ordinal that is offered again until it is taken; 0 if none is.
        retrying_since: Since when, in seconds since 1970 UTC; 0 if none is.
        callbacks_timed: How many callbacks were timed (inline: one in 64).
        callback_ns: The time that those took, in nanoseconds.
        callback_buckets: Bucket n counts timed callbacks of at least 2^(n-1) and less than
            2^n nanoseconds.
    """

    accepted: int = 0
    delivered: int = 0
    dead: int = 0
    told: int = 0
    undelivered: int = 0
    waiting: int = 0
    dead_unkept: int = 0
    lost: int = 0
    acknowledged: int = 0
    retrying: int = 0
    retrying_since: float = 0.0
    callbacks_timed: int = 0
    callback_ns: int = 0
    callback_buckets: tuple[int, ...] = ()
    lost_for: dict[str, int] = field(default_factory=dict)
    ring_bytes: int = 0
    ring_used: int = 0

    @property
    def lag(self) -> int:
        """Events that were accepted for it and not acknowledged."""
        return self.accepted - self.acknowledged


def counters_of(stats: ss_stats) -> Counters:
    """Return the core's counters of a slot or of a ring."""
    return Counters(
        accepted=stats.accepted,
        delivered=stats.delivered,
        dead=stats.dead,
        told=stats.told,
        undelivered=stats.undelivered,
        waiting=stats.waiting,
        dead_unkept=stats.dead_unkept,
        lost=stats.lost,
        acknowledged=stats.acknowledged,
        retrying=stats.retrying,
        retrying_since=stats.retrying_since_ns / 1e9 if stats.retrying else 0.0,
        callbacks_timed=stats.samples,
        callback_ns=stats.total_ns,
        callback_buckets=tuple(stats.buckets),
        lost_for={word: n for word, n in zip(LOSSES, stats.lost_for, strict=True) if n},
        ring_bytes=stats.ring_bytes,
        ring_used=stats.ring_used,
    )


@dataclass(frozen=True, slots=True)
class Calls:
    """What became of what a plugin asked of the application. All count from its first load.

    Attributes:
        sent: Messages that were handed to the application.
        unsent: Messages that it did not take: it refused them, took too long, or was gone.
        waiting: Messages that wait to be handed over.
        answered: Questions that were answered: look-ups, and uses of the identity.
        denied: Calls that its config does not grant.
        retries: Calls that were told to come again, since too much waited already.
        timeouts: Questions whose answer did not come in time.
        nonsense: How often its calls could not be read; more than 0 means a broken plugin.
    """

    sent: int = 0
    unsent: int = 0
    waiting: int = 0
    answered: int = 0
    denied: int = 0
    retries: int = 0
    timeouts: int = 0
    nonsense: int = 0


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
