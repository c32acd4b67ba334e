"""The ring of a plugin in thread or process mode, with its rules for being full."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

from slipstream import _native
from slipstream._native import ffi, lib
from slipstream._native.handle import Handle
from slipstream._platform import memory_left
from slipstream.config import Overflow
from slipstream.delivery.description import Flush
from slipstream.errors import PluginFailed, PluginLoadError, Refusal
from slipstream.files import limit_hint
from slipstream.status import Counters, counters_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slipstream._native.cdef import Pointer, ss_queue, ss_stats, uint32_t
    from slipstream.config import PluginConfig

_SLICE_MS = 100
_SPARE_BYTES = 16 << 20  # what a host and its workers need beside a ring, to live on

_OVERFLOW = {
    Overflow.BLOCK: lib.SS_OVERFLOW_BLOCK,
    Overflow.DROP_NEWEST: lib.SS_OVERFLOW_DROP_NEWEST,
    Overflow.DROP_OLDEST: lib.SS_OVERFLOW_DROP_OLDEST,
}


def retry_reason(stats: ss_stats) -> str:
    """Say which event is offered again and again, and since when; "" if none is."""
    if not stats.retrying:
        return ""
    since = time.strftime("%H:%M:%S", time.gmtime(stats.retrying_since_ns / 1e9))
    return f"retrying ordinal {stats.retrying} since {since} UTC"


def _refuse_if_too_large(ring_bytes: int) -> None:
    """Raise `PluginLoadError` if there is not that much memory left.

    A ring is there as a whole from the first moment on; without this look the kernel would end
    this process, or another one, instead of refusing it.
    """
    known = memory_left()
    if known is None or ring_bytes + _SPARE_BYTES <= known[0]:
        return
    left, where = known
    raise PluginLoadError(
        f"a ring of {_mib(ring_bytes)} does not fit into the memory that is left: "
        f"{_mib(left)}, by {where}",
        f"use a smaller `ring_bytes`, which leaves {_mib(_SPARE_BYTES)} for all else, or raise "
        "the limit",
        Refusal.CANNOT_OPEN,
    )


def _advice(number: int, *, shared: bool) -> str:
    """Return the next step where memory for a ring could not be had, by the error's number."""
    if hint := limit_hint(number):
        return hint
    if number in {errno.ENOMEM, errno.ENOSPC, errno.EAGAIN}:
        return "use a smaller `ring_bytes`, or raise the limit on memory: ulimit -v"
    mode, other = ("process", "thread") if shared else ("thread", "inline")
    return (
        f"the kernel, or a sandbox around this process (seccomp), refuses what mode {mode} needs: "
        f"allow it there, or use mode: '{other}'; `slipstream doctor` tests all of it"
    )


def _mib(count: int) -> str:
    return f"{count / (1 << 20):.4g} MiB"


class Queue(Handle["ss_queue"]):
    """The native ring and its rules for being full."""

    def __init__(self, config: PluginConfig, *, shared: bool) -> None:
        """Make a ring and populate it.

        Args:
            config: `ring_bytes`, `overflow` and `block_timeout` are used.
            shared: For a worker process.

        Raises:
            PluginLoadError: There is not enough memory, or no memory files.
        """
        self._stats = ffi.new("ss_stats *")
        _refuse_if_too_large(config.ring_bytes)
        pointer = lib.ss_queue_new(
            config.ring_bytes,
            shared,
            _OVERFLOW[config.overflow],
            int(config.block_timeout * 1000),
        )
        if pointer == ffi.NULL:
            number = ffi.errno
            call = _native.text(lib.ss_os_refused_call())
            raise PluginLoadError(
                f"cannot make a ring of {config.ring_bytes} bytes: {call}: {os.strerror(number)}",
                _advice(number, shared=shared),
                Refusal.CANNOT_OPEN,
            )
        super().__init__(pointer, lib.ss_queue_free)

    def stats(self) -> ss_stats:
        """Return the native counters; the last ones once it is closed."""
        with self.asking():
            if not self.is_closed:
                stats = ffi.new("ss_stats *")
                lib.ss_queue_describe(self.pointer, stats)
                self._stats = stats
            return self._stats

    def counters(self) -> Counters:
        """Return the counters."""
        return counters_of(self.stats())

    def retrying(self) -> bool:
        """Return whether an event is offered again and again."""
        return bool(self.stats().retrying)

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
        target = self.stats().accepted
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
                waits = retry_reason(self.stats())
                raise PluginFailed(
                    f"it did not get there within {timeout:.3g} seconds"
                    + (f": {waits}" if waits else ""),
                    "give it more time, or look at why it is slow",
                )

    def leftover(self) -> Iterator[bytes]:
        """Yield what is left, as frames; only after the consumer is gone."""
        ordinal = ffi.new("uint64_t *")
        size = ffi.new("size_t *")
        while (frame := lib.ss_queue_leftover(self.pointer, ordinal, size)) != ffi.NULL:
            yield bytes(ffi.buffer(frame, size[0]))

    def abandon(self) -> None:
        """Count what is left as undelivered; the consumer is gone for good."""
        lib.ss_queue_abandon(self.pointer)

    def close(self) -> None:
        """Give the memory back; nobody may use the ring any more. Its last counters stay."""
        if not self.is_closed:
            self.stats()
            super().close()

    def hold_nobody(self) -> None:
        """Let no broadcast wait for room: nobody takes anything out."""
        lib.ss_queue_hold_nobody(self.pointer, lib.SLIPSTREAM_GAP_PAUSED)
