"""The sequencer: one native core a manager, which orders all events for all plugins."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Protocol, TypeVarTuple

from slipstream import _native
from slipstream._native import Door, ffi, lib
from slipstream._native.handle import Handle
from slipstream.errors import (
    BroadcastError,
    PluginFailed,
    PluginLoadError,
    SlipstreamError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from slipstream._native.cdef import (
        Pointer,
        ss_instance,
        ss_letters,
        ss_sequencer,
        ss_stats,
        uint32_t,
    )
    from slipstream.logs import LogPump

Ts = TypeVarTuple("Ts")

_SLICE_MS = 100

_native.explain(
    "ring",
    {
        lib.SLIPSTREAM_TOO_LARGE: lambda _offset, _index: BroadcastError(
            "an event is larger than the ring of a plugin that wants it; that plugin gets a "
            "GAP instead, the others get the event",
            "raise `ring_bytes` in that plugin's config, or split the event",
        )
    },
)
for _what in ("load", "install"):
    _native.explain(
        _what,
        {
            lib.SLIPSTREAM_TOO_LARGE: lambda _offset, _index: PluginLoadError(
                "this manager cannot take any more plugins", "use a second PluginManager"
            )
        },
    )


class Named(Protocol):
    """What is attached."""

    @property
    def name(self) -> str:
        """The plugin's."""


class Sequencer(Handle["ss_sequencer"]):
    """The native core and its door. Slots are numbers of attached plugins.

    Attributes:
        door: The fast-call functions that send events.
    """

    def __init__(self, pump: LogPump, timeout: float) -> None:
        """Make an empty core.

        Args:
            pump: Takes its log lines.
            timeout: The longest wait for broadcasts under way, in seconds.
        """
        core = lib.ss_sequencer_new(pump.pointer, int.from_bytes(os.urandom(8)) | 1)
        if core == ffi.NULL:
            raise MemoryError
        self._attached: dict[int, Named] = {}  # what must not go while it is in a slot
        super().__init__(core, _release, self._attached)
        self.timeout = timeout
        self.door = Door(_native.address(core))

    def inside_callback(self) -> bool:
        """Say whether this thread is inside of a plugin's callback."""
        return lib.ss_sequencer_inside(self.pointer)

    def _call(self, what: str, function: Callable[[ss_sequencer, *Ts], int], *args: *Ts) -> None:
        """Call a core function that waits for broadcasts under way."""
        end = time.monotonic() + self.timeout
        while True:
            # Signal handlers run between two slices.
            status = function(self.pointer, *args)
            _native.raise_parked()  # of a callback that this call has caused
            if status == lib.SLIPSTREAM_OK:
                return
            if status != lib.SLIPSTREAM_TIMEOUT:
                raise _native.status_error(status, what)
            if time.monotonic() >= end:
                holder = self._attached.get(lib.ss_sequencer_busy_slot(self.pointer))
                whose = "a plugin" if holder is None else holder.name
                raise PluginFailed(
                    f"cannot {what}: a broadcast is under way for more than {self.timeout:g} "
                    f"seconds, in a callback of {whose} or waiting for room in its ring",
                    "an inline plugin blocks its broadcaster: run it in mode thread or process; a "
                    "full ring with overflow: 'block' does so, too",
                )

    def attach(
        self,
        holder: Named,
        what: str,
        function: Callable[[ss_sequencer, *Ts, int, Pointer[uint32_t]], int],
        *args: *Ts,
    ) -> int:
        """Add a plugin behind the others.

        Args:
            holder: What has to stay as long as it is attached.
            what: For messages: what is tried.
            function: One of ``ss_sequencer_attach*``.
            args: Its own arguments.

        Returns:
            The plugin's slot.
        """
        slot = ffi.new("uint32_t *")
        self._call(what, function, *args, _SLICE_MS, slot)
        self._attached[slot[0]] = holder
        return int(slot[0])

    def renew_queue(self, slot: int, kinds: int, log_id: int, claims: Iterable[bytes]) -> None:
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

    def detach(self, slot: int) -> tuple[ss_stats, list[bytes]]:
        """Remove a slot; afterwards no call into it is under way.

        Returns:
            Its last ``ss_stats``, and the GAP of what it missed and was not told of, if any.
        """
        stats = ffi.new("ss_stats *")
        gap = ffi.new("char[]", bytes(lib.SS_GAP_LEN))
        size = ffi.new("size_t *")
        self._call("unload", lib.ss_sequencer_detach, slot, _SLICE_MS, stats, gap, size)
        self._attached.pop(slot, None)
        return stats, [bytes(ffi.buffer(gap, size[0]))] if size[0] else []

    def replace(self, slot: int, instance: ss_instance) -> None:
        """Put another loaded native instance in a slot's place."""
        self._call("reload", lib.ss_sequencer_replace, slot, instance, _SLICE_MS)

    def set_state(self, slot: int, state: int) -> None:
        """Let a slot run, pause or reload (SS_SLOT_*)."""
        self._call("change state", lib.ss_sequencer_set_state, slot, state, _SLICE_MS)

    def set_letters(self, slot: int, letters: ss_letters) -> None:
        """Say where a slot's refused events go."""
        self._call(
            "set the dead-letter file", lib.ss_sequencer_set_letters, slot, letters, _SLICE_MS
        )

    def claim(self, slot: int, name: bytes) -> None:
        """Route payloads of this name to the slot."""
        self._call("claim a payload name", lib.ss_sequencer_claim, slot, name, _SLICE_MS)

    @contextlib.contextmanager
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
            lib.ss_sequencer_unhold(self.pointer, is_stuck())
            _native.raise_parked()

    def stats(self, slot: int) -> ss_stats:
        """Return what is known of a slot, an ``ss_stats``; never waits for a broadcast."""
        stats = ffi.new("ss_stats *")
        with self.asking():
            lib.ss_sequencer_stats(self.pointer, slot, stats)
        return stats

    def close(self) -> None:
        """Refuse every event from now on, and let go of the core."""
        if not self.is_closed:
            with contextlib.suppress(SlipstreamError):
                self._call("close", lib.ss_sequencer_close, _SLICE_MS)
            super().close()


def _release(core: ss_sequencer) -> bool:
    """Let go of a core, to which the door has a reference of its own."""
    inside = lib.ss_sequencer_inside(core)
    if inside or lib.ss_sequencer_close(core, _SLICE_MS) == lib.SLIPSTREAM_TIMEOUT:
        return False  # a callback does not return; what it uses must stay
    lib.ss_sequencer_release(core)
    return True
