"""The sequencer: one native core a manager, which orders all events for all plugins."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from slipstream import _native
from slipstream._native import Door, ffi, lib
from slipstream.errors import (
    BroadcastError,
    PluginFailed,
    PluginLoadError,
    SlipstreamError,
)
from slipstream.status import Counters, counters_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slipstream.delivery.instance import Instance

_SLICE_MS = 100

_native.explain(
    "ring",
    {
        lib.SLIPSTREAM_TOO_LARGE: lambda _offset, _index: BroadcastError(
            "an event is larger than the ring of a plugin that wants it; that plugin is told by a "
            "GAP, the others have it",
            "raise `ring_bytes` in that plugin's config, or split the event",
        )
    },
)
for _what in ("load", "install"):
    _native.explain(
        _what,
        {
            lib.SLIPSTREAM_TOO_LARGE: lambda _offset, _index: PluginLoadError(
                "this manager has as many plugins as it takes", "use a second PluginManager"
            )
        },
    )


class Sequencer:
    """The native core and its door. Slots are numbers of attached plugins.

    Attributes:
        door: The fast-call functions that send events.
    """

    def __init__(self, log: Any, timeout: float) -> None:
        """Make an empty core.

        Args:
            log: The native log queue; must outlive this.
            timeout: The longest wait for broadcasts under way, in seconds.
        """
        self._core: Any = lib.ss_sequencer_new(log, int.from_bytes(os.urandom(8)) | 1)
        if self._core == ffi.NULL:
            raise MemoryError
        self.timeout = timeout
        self.door = Door(_native.address(self._core))

    def inside_callback(self) -> bool:
        """Say whether this thread is inside of a plugin's callback."""
        return bool(lib.ss_sequencer_inside(self._core))

    def _call(self, what: str, function: Callable[..., int], *args: object) -> None:
        """Call a core function that waits for broadcasts under way."""
        end = time.monotonic() + self.timeout
        while True:
            # Signal handlers run between two slices.
            status = function(self._core, *args)
            _native.raise_parked()  # of a callback that this call has caused
            if status != lib.SLIPSTREAM_TIMEOUT:
                _native.check(status, what)
                return
            if time.monotonic() >= end:
                raise PluginFailed(
                    f"cannot {what}: a broadcast is under way for more than "
                    f"{self.timeout:g} seconds, in the callback of plugin number "
                    f"{lib.ss_sequencer_busy_slot(self._core)}, or waiting for room in its ring",
                    "an inline plugin blocks its broadcaster: run it in mode thread or process; a "
                    "full ring with overflow: 'block' does so, too",
                )

    def attach(self, instance: Instance) -> int:
        """Add a loaded instance behind the others; returns its slot."""
        slot = ffi.new("uint32_t *")
        self._call("load", lib.ss_sequencer_attach, instance.handle, _SLICE_MS, slot)
        return int(slot[0])

    def attach_function(self, kinds: int, context: Any, log_id: int) -> int:
        """Add a plugin written in Python; `context` is a cffi handle of its callback."""
        slot = ffi.new("uint32_t *")
        callback = lib.ss_python_on_broadcast
        self._call(
            "install",
            lib.ss_sequencer_attach_function,
            kinds,
            context,
            log_id,
            callback,
            _SLICE_MS,
            slot,
        )
        return int(slot[0])

    def attach_queue(self, queue: Any, kinds: int, log_id: int) -> int:
        """Add a plugin behind a ring; returns its slot."""
        slot = ffi.new("uint32_t *")
        self._call("load", lib.ss_sequencer_attach_queue, queue, kinds, log_id, _SLICE_MS, slot)
        return int(slot[0])

    def renew_queue(self, slot: int, kinds: int, log_id: int, claims: list[bytes]) -> None:
        """Change what a plugin behind a ring wants, and which payload names it claims."""
        texts = [ffi.new("char[]", claim) for claim in claims]
        names = ffi.new("const char *[]", texts)
        self._call(
            "reload",
            lib.ss_sequencer_renew_queue,
            slot,
            kinds,
            log_id,
            names,
            len(texts),
            _SLICE_MS,
        )

    def detach(self, slot: int) -> Counters:
        """Remove a slot; afterwards no call into it is under way. Returns its last counters."""
        stats = ffi.new("ss_stats *")
        self._call("unload", lib.ss_sequencer_detach, slot, _SLICE_MS, stats)
        return counters_of(stats)

    def replace(self, slot: int, instance: Instance) -> None:
        """Put another loaded instance in a slot's place."""
        self._call("reload", lib.ss_sequencer_replace, slot, instance.handle, _SLICE_MS)

    def set_state(self, slot: int, state: int) -> None:
        """Let a slot run, pause or reload (SS_SLOT_*)."""
        self._call("change state", lib.ss_sequencer_set_state, slot, state, _SLICE_MS)

    def set_dead_letter(self, slot: int, fd: int) -> None:
        """Let a slot write refused events to an open capture; -1 to none."""
        self._call(
            "set the dead-letter file", lib.ss_sequencer_set_dead_letter, slot, fd, _SLICE_MS
        )

    def claim(self, slot: int, name: bytes) -> None:
        """Route payloads of this name to the slot."""
        self._call("claim a payload name", lib.ss_sequencer_claim, slot, name, _SLICE_MS)

    @contextmanager
    def held(self, slot: int, is_stuck: Callable[[], bool]) -> Iterator[None]:
        """Let all broadcasts wait meanwhile; `slot` is named as the busy one.

        Args:
            slot: Whose plugin is called meanwhile.
            is_stuck: Asked at the end: has that call not returned? Then the slot is paused,
                since calls into one plugin must not overlap.
        """
        self._call("flush", lib.ss_sequencer_hold, slot, _SLICE_MS)
        try:
            yield
        finally:
            lib.ss_sequencer_unhold(self._core, is_stuck())
            _native.raise_parked()

    def _stats(self, slot: int) -> Any:
        if self._core == ffi.NULL or _native.forked():
            raise _native.closed_error()
        stats = ffi.new("ss_stats *")
        lib.ss_sequencer_stats(self._core, slot, stats)
        return stats

    def state(self, slot: int) -> tuple[int, int]:
        """Return a slot's state (SS_SLOT_*) and its last status that was not OK."""
        stats = self._stats(slot)
        return stats.state, stats.status

    def counters(self, slot: int) -> Counters:
        """Return a slot's counters; never waits for a broadcast."""
        return counters_of(self._stats(slot))

    def close(self) -> None:
        """Refuse every event from now on, and let go of the core."""
        if self._core == ffi.NULL or _native.forked():
            return
        try:
            self._call("close", lib.ss_sequencer_close, _SLICE_MS)
        except SlipstreamError:
            return  # a callback never returns; what it uses must stay
        lib.ss_sequencer_release(self._core)  # the door keeps its own reference
        self._core = ffi.NULL
