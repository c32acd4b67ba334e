"""A plugin's ring, and what thread and process mode share: a plugin behind one."""

from __future__ import annotations

import os
import time
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream import _native
from slipstream._native import ffi, lib
from slipstream._native.handle import Handle
from slipstream.capture import CaptureWriter
from slipstream.config import Mode, Overflow
from slipstream.delivery.description import Flush
from slipstream.delivery.reload import Reloadable, V
from slipstream.errors import CaptureError, PluginFailed, PluginLoadError, Refusal
from slipstream.status import Counters, PluginState, counters_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slipstream._native.cdef import Pointer, ss_queue, ss_queue_stats, uint32_t
    from slipstream.config import PluginConfig
    from slipstream.delivery.host import Host

_SLICE_MS = 100

_OVERFLOW = {
    Overflow.BLOCK: lib.SS_OVERFLOW_BLOCK,
    Overflow.DROP_NEWEST: lib.SS_OVERFLOW_DROP_NEWEST,
    Overflow.DROP_OLDEST: lib.SS_OVERFLOW_DROP_OLDEST,
}
# From these a plugin does not get to its last event by itself.
_HINDERED = {
    PluginState.PAUSED,
    PluginState.QUARANTINED,
    PluginState.FAILED,
    PluginState.UNLOADED,
}


class Queue(Handle):
    """The native ring and its rules for being full."""

    pointer: ss_queue

    def __init__(self, config: PluginConfig, *, shared: bool) -> None:
        """Make a ring and populate it.

        Args:
            config: `ring_bytes`, `overflow` and `block_timeout` are used.
            shared: For a worker process.

        Raises:
            PluginLoadError: There is not enough memory, or no memory files.
        """
        self._stats = ffi.new("ss_queue_stats *")
        pointer = lib.ss_queue_new(
            config.ring_bytes,
            shared,
            _OVERFLOW[config.overflow],
            int(config.block_timeout * 1000),
        )
        if pointer == ffi.NULL:
            reason = os.strerror(ffi.errno)
            raise PluginLoadError(
                f"cannot make a ring of {config.ring_bytes} bytes: {reason}",
                "use a smaller `ring_bytes`; `slipstream doctor` tests what rings need",
                Refusal.CANNOT_OPEN,
            )
        super().__init__(pointer, lib.ss_queue_free)

    def stats(self) -> ss_queue_stats:
        """Return the native counters; the last ones once it is closed."""
        with self.asking():
            if not self.is_closed:
                stats = ffi.new("ss_queue_stats *")
                lib.ss_queue_describe(self.pointer, stats)
                self._stats = stats
            return self._stats

    def counters(self) -> Counters:
        """Return the counters."""
        stats = self.stats()
        return counters_of(stats, stats.calls)

    def pause(self, *, paused: bool) -> None:
        """Hold deliveries back, or let them go on."""
        lib.ss_queue_pause(self.pointer, paused)

    def ask_flush(self, timeout: float, hindrance: Callable[[], str]) -> Flush:
        """Ask for a flush, at whose end everything broadcast so far is acknowledged.

        Args:
            timeout: All the time that it has, in seconds; for the text when it is over.
            hindrance: Why the plugin cannot get there at present; "" if it can.

        Returns:
            What waits for it. That raises `PluginFailed` if the plugin cannot get there, did
            not, or if its `flush` failed.
        """
        target = self.stats().broadcast
        number = ffi.new("uint32_t *", lib.ss_queue_ask_flush(self.pointer))

        def wait(left: float) -> None:
            self._wait_for_flush(number, target, left, timeout, hindrance)

        return Flush(wait, by_itself=True)

    def _wait_for_flush(
        self,
        number: Pointer[uint32_t],
        target: int,
        left: float,
        timeout: float,
        hindrance: Callable[[], str],
    ) -> None:
        end = time.monotonic() + left
        while True:
            left = max(0, min(_SLICE_MS, int((end - time.monotonic()) * 1000)))
            status = lib.ss_queue_flushed(self.pointer, number, target, left)
            if status == lib.SLIPSTREAM_OK:
                return
            if status != lib.SLIPSTREAM_TIMEOUT:
                raise PluginFailed(
                    f"its flush failed ({_native.status_name(status)})",
                    "see its log lines; events since its last acknowledgement may not be durable",
                )
            problem = hindrance()
            if problem:
                raise PluginFailed(problem, "resume it, or unload it")
            if time.monotonic() >= end:
                raise PluginFailed(
                    f"it did not get there within {timeout:.3g} seconds",
                    "give it more time, or look at why it is slow",
                )

    def leftover(self) -> Iterator[bytes]:
        """Yield the frames that were never acknowledged; only after the consumer is gone."""
        ordinal = ffi.new("uint64_t *")
        size = ffi.new("size_t *")
        while (frame := lib.ss_queue_leftover(self.pointer, ordinal, size)) != ffi.NULL:
            yield bytes(ffi.buffer(frame, size[0]))

    def save_leftover(self, folder: Path | None, name: str) -> str:
        """Write what was never acknowledged to a capture.

        Args:
            folder: Where; None: nowhere.
            name: The plugin's name.

        Returns:
            What there is to tell of it; "" if nothing was left.
        """
        count = 0 if self.is_closed else sum(1 for _ in self.leftover())
        if count == 0:
            return ""
        told = f"{count} events were not acknowledged"
        if folder is None:
            return f"{told}, and the host has no data folder to keep them in"
        path = folder / f"undelivered-{name}-{time.time_ns()}.slip"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with CaptureWriter(path) as capture:
                for frame in self.leftover():
                    capture.write(frame)
        except (OSError, CaptureError) as error:
            return f"{told}, and could not be written to {path}: {error}"
        return f"{told}, written to {path}"

    def close(self) -> None:
        """Give the memory back; nobody may use the ring any more. Its last counters stay."""
        if not self.is_closed:
            self.stats()
            super().close()

    def hold_nobody(self) -> None:
        """Let no broadcast wait for room: nobody takes anything out."""
        lib.ss_queue_hold_nobody(self.pointer, True)  # noqa: FBT003 - a native function


class Queued(Reloadable[V]):
    """A plugin behind a ring, with a consumer that takes the events out of it."""

    # Events wait in the ring while a new version takes over.
    _kept = ("ring_bytes", "overflow", "block_timeout", "dead_letter")

    def __init__(self, host: Host, config: PluginConfig, name: str) -> None:
        """Make the ring; nothing runs yet."""
        super().__init__(host, config, name)
        self._queue = Queue(config, shared=self.mode is Mode.PROCESS)

    def _attach(self, fresh: V) -> None:
        """Let the sequencer put into the ring what the version wants that serves now."""
        sequencer, described = self._host.sequencer, fresh.description
        if self._slot < 0:
            attach, queue = lib.ss_sequencer_attach_queue, self._queue.pointer
            self._slot = sequencer.attach(
                self, "load", attach, queue, described.kinds, fresh.log_id
            )
        sequencer.renew_queue(self._slot, described.kinds, fresh.log_id, described.claims)

    def _look(self) -> tuple[PluginState, str, float]:
        state, reason, since = self._look_at_consumer()
        if state is PluginState.RUNNING:
            stats = self._queue.stats()
            if stats.is_paused:
                state = PluginState.PAUSED
            elif stats.is_stalled:
                state, reason = PluginState.STALLED, "its ring stayed full for block_timeout"
        return state, reason, since

    @abstractmethod
    def _look_at_consumer(self) -> tuple[PluginState, str, float]:
        """Return the state, its reason and its beginning, without what the ring adds."""

    def counters(self) -> Counters:
        """Return the counters."""
        return self._queue.counters()

    def pause(self) -> None:
        """Hold events back; they are kept until the ring is full, then told of by a GAP."""
        self._queue.pause(paused=True)

    def resume(self) -> None:
        """Deliver again."""
        self._queue.pause(paused=False)

    def _hindrance(self) -> str:
        status = self.status()
        if status.state in _HINDERED:
            return f"it is {status.state}" + (f": {status.reason}" if status.reason else "")
        return ""

    def ask_flush(self, timeout: float) -> Flush:
        """Ask for a flush, at whose end everything broadcast so far is acknowledged.

        Raises:
            PluginFailed: It cannot get there.
        """
        problem = self._hindrance()
        if problem:
            raise PluginFailed(problem, "resume it, or unload it")
        return self._queue.ask_flush(timeout, self._hindrance)

    def _end(self, timeout: float) -> list[str]:
        problems = self._end_consumer(timeout)
        problems.append(self._queue.save_leftover(self._host.folder(self.name), self.name))
        self._queue.close()
        self._dead_letter.close()
        return problems

    @abstractmethod
    def _end_consumer(self, timeout: float) -> list[str]:
        """Drain, unload and end the consumer; what did not go well."""
