"""One native instance: the steps of its life, each with a deadline.

All code of the library runs on the instance's own native thread; here that thread is only
waited for, in slices, so that signals are seen.
"""

from __future__ import annotations

import enum
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Self, TypeVar, TypeVarTuple

from slipstream import _native
from slipstream._native import ffi, lib
from slipstream._native.handle import Handle
from slipstream.delivery.description import Description
from slipstream.delivery.hurry import Hurry
from slipstream.errors import (
    PluginFailed,
    PluginLoadError,
    PluginStartError,
    Refusal,
    SlipstreamError,
)
from slipstream.library import REFUSALS
from slipstream.status import Metric

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from slipstream._native.cdef import ss_instance, ss_instance_info, ss_metric
    from slipstream.config import PluginConfig
    from slipstream.delivery.desk import Desk
    from slipstream.library import PrivateCopy
    from slipstream.logs import LogPump

P = TypeVar("P")
Ts = TypeVarTuple("Ts")

_SLICE = 0.1
_LONGEST = 4_000_000.0  # seconds; what 32 bits of milliseconds hold


def to_ms(seconds: float) -> int:
    """Return seconds as the core's milliseconds: more than those hold is no limit."""
    return lib.SLIPSTREAM_NO_TIMEOUT if seconds > _LONGEST else int(max(0.0, seconds) * 1000)


class LoadReason(enum.IntEnum):
    """Why `on_load` is called."""

    START = lib.SLIPSTREAM_LOAD_START
    RELOAD = lib.SLIPSTREAM_LOAD_RELOAD
    RESTART = lib.SLIPSTREAM_LOAD_RESTART


class Mapping(enum.IntEnum):
    """What became of the library's mapping.

    Attributes:
        meaning: One phrase for people.
        problem: The same if it stays mapped, else "".
    """

    meaning: str
    problem: str

    def __new__(cls, value: int, meaning: str = "") -> Self:
        """Make one of them, or find it by its number."""
        self = int.__new__(cls, value)
        self._value_ = value
        self.meaning = meaning
        self.problem = meaning if meaning.startswith("stays") else ""
        return self

    NONE = lib.SS_MAPPING_NONE, "was never opened"
    GONE = lib.SS_MAPPING_GONE, "unmapped"
    RESIDENT = lib.SS_MAPPING_RESIDENT, "stays mapped: it asks for it (RESIDENT)"
    GO = lib.SS_MAPPING_GO, "stays mapped: a Go runtime cannot be unmapped"
    THREADS = (
        lib.SS_MAPPING_THREADS,
        "stays mapped: threads of it, or of a library that came with it, still run",
    )
    UNSEEN = (
        lib.SS_MAPPING_UNSEEN,
        "stays mapped: threads of it may still run, which cannot be seen (busy, or no /proc)",
    )
    KEY = (
        lib.SS_MAPPING_KEY,
        "stays mapped: a thread that called it may hold data (pthread_key_create) that it destroys",
    )
    SIGNAL = lib.SS_MAPPING_SIGNAL, "stays mapped: one of its functions still handles a signal"
    PINNED = (
        lib.SS_MAPPING_PINNED,
        "stays mapped: a unique symbol, a thread-local destructor or its own flags pin it",
    )
    NEVER = (
        lib.SS_MAPPING_NEVER,
        "stays mapped: the loader of this system's C library (musl) unmaps nothing",
    )
    STUCK = 100, "stays mapped: a call into it did not return"
    UNCLOSED = 101, "stays mapped for now: cannot start a thread that closes it (see ulimit -u)"


def _own_threads() -> list[int]:
    """Return the system's numbers of the threads that Python has started."""
    foreign = threading._DummyThread  # noqa: SLF001 - one that only called Python
    found = (one.native_id for one in threading.enumerate() if not isinstance(one, foreign))
    return [number for number in found if number is not None]


def metrics_of(handle: Handle[P], read: Callable[[P, int, ss_metric], int]) -> list[Metric]:
    """Return the numbers that a plugin reports; none once the handle is closed.

    Args:
        handle: What may be asked for them.
        read: The core's function that gives them one by one.
    """
    found: list[Metric] = []
    metric = ffi.new("ss_metric *")
    with handle.asking():
        while (
            not handle.is_closed and read(handle.pointer, len(found), metric) == lib.SLIPSTREAM_OK
        ):
            value = metric.gauge if metric.is_gauge else metric.count
            found.append(Metric(_native.text(metric.name), _native.text(metric.label), value))
    return found


class Instance(Handle["ss_instance"]):
    """A library's instance, from opening to unmapping. An instance that is dropped ends itself.

    Attributes:
        copy: The private copy that is open.
        config: The config of this version.
        log_id: The number that its log lines carry.
        description: What the plugin says of itself.
        loaded_with: What `load` got, for doing it again.
        is_loaded: Between a `load` that succeeded and `unload`.
    """

    description: Description

    def __init__(  # noqa: PLR0913 - the last two by name
        self,
        pump: LogPump,
        copy: PrivateCopy,
        config: PluginConfig,
        name: str,
        hurry: Hurry | None = None,
        desk: Desk | None = None,
    ) -> None:
        """Look at the file, open it, construct the instance and check its table.

        Args:
            pump: Takes its log lines.
            copy: The private copy to open; closed with the instance.
            config: `folder` and the deadlines are used.
            name: The name that its log lines carry.
            hurry: Makes its waits short.
            desk: Where it may ask the application; None: nowhere.

        Raises:
            PluginLoadError: It was refused; `refusal` says why. Nothing is left of it.
        """
        self.copy, self.config = copy, config
        self.log_id = pump.open_log(name)
        self.loaded_with: tuple[bytes, Path | None] = (b"", None)
        self.is_loaded = False
        self._pump = pump
        self._hurry = hurry or Hurry()
        self._stuck_in = ""
        self._ended: Mapping | None = None
        try:
            info = copy.info
        except BaseException:
            copy.close()
            pump.close_log(self.log_id)
            raise
        pointer = lib.ss_instance_new(
            pump.pointer, self.log_id, bytes(copy.path), bytes(copy.original), bytes(config.folder)
        )
        if pointer == ffi.NULL:
            copy.close()
            pump.close_log(self.log_id)
            raise PluginLoadError(
                f"no thread or memory for {copy.original}",
                "check the limits on processes and memory: ulimit -u, ulimit -v",
                Refusal.CANNOT_OPEN,
            )
        # What is closed it frees; any other then ends itself, on threads of its own.
        super().__init__(pointer, lib.ss_instance_abandon, pump, copy)
        if info is not None:
            lib.ss_instance_allow_kinds(pointer, info.kind_bits)
        try:
            if desk is not None:
                terms = desk.terms(config.grants, config.call_timeout)
                if lib.ss_instance_set_desk(pointer, desk.pointer, terms):
                    raise MemoryError
            table = self._begin("opening and constructing", lib.ss_instance_open)
            self.description = Description(
                _native.text(table.name),
                _native.text(table.version),
                table.flags,
                table.abi_minor,
                table.min_host_minor,
            )
            self.description.agrees(info, copy.original)
        except BaseException:
            self.close(self._hurry.short(config.unload_timeout))
            raise

    # ---- Steps --------------------------------------------------------------------

    def _step(
        self, what: str, timeout: float, start: Callable[[ss_instance, *Ts], int], *args: *Ts
    ) -> ss_instance_info | None:
        """Run a step on the instance's thread and wait for it.

        Returns:
            What is known of the instance afterwards (``ss_instance_info``); None if the step, or
            the one before, does not end in time.
        """
        end = time.monotonic() + timeout
        if not self._settle(end):
            return None
        self._stuck_in = what  # also if we are left by a KeyboardInterrupt
        status = start(self.pointer, *args)
        if status != lib.SLIPSTREAM_OK:
            self._stuck_in = ""
            raise _native.status_error(status, what)
        if not self._settle(end):
            return None
        info = ffi.new("ss_instance_info *")
        lib.ss_instance_describe(self.pointer, info)
        return info

    def _settle(self, end: float) -> bool:
        """Wait for the step under way, if there is one; False if it does not end in time."""
        began = time.monotonic()
        while self._stuck_in:
            left = self._hurry.left(began, end)
            if lib.ss_instance_wait(self.pointer, to_ms(min(left, _SLICE))) == lib.SLIPSTREAM_OK:
                self._stuck_in = ""
            elif left <= 0:
                return False
        return True

    def _begin(
        self, what: str, start: Callable[[ss_instance, *Ts], int], *args: *Ts
    ) -> ss_instance_info:
        """Run a step of loading; what is known afterwards."""
        timeout = self.config.load_timeout
        info = self._step(what, timeout, start, *args)
        if info is None:
            raise PluginLoadError(
                f"{self.copy.original}: {what} did not return within {timeout:.3g} seconds",
                "raise `load_timeout` if it needs longer; else attach a debugger to this process, "
                f"thread slip-{self.log_id}",
                Refusal.TIMED_OUT,
            )
        if info.refusal != lib.SS_REFUSED_NOTHING:
            raise PluginLoadError(
                _native.text(info.text), _native.text(info.hint), REFUSALS[info.refusal]
            )
        return info

    def load(self, settled: bytes, data_dir: Path | None, reason: LoadReason) -> None:
        """Call `on_load` and read what the plugin subscribes to.

        Args:
            settled: The config that it gets, packed.
            data_dir: The plugin's own folder, if it has one.
            reason: Why.

        Raises:
            PluginStartError: `on_load` failed.
            PluginLoadError: It took too long, or the table lacks a function.
        """
        self.loaded_with = settled, data_dir
        if data_dir is not None and lib.ss_instance_set_data_dir(self.pointer, bytes(data_dir)):
            raise MemoryError
        info = self._begin("on_load", lib.ss_instance_load, settled, len(settled), reason)
        if info.status != lib.SLIPSTREAM_OK:
            raise PluginStartError(
                f"{self.description.name} did not start ({_native.status_name(info.status)}): "
                f"{_native.text(info.text)}",
                "the text is the plugin's own; look at its part of the config",
            )
        claims: list[bytes] = []
        while (name := lib.ss_instance_claim(self.pointer, len(claims))) != ffi.NULL:
            claims.append(ffi.string(name))
        self.description = replace(self.description, kinds=info.kinds, claims=tuple(claims))
        self.is_loaded = True

    def deliver(
        self, frames: bytes, count: int, first_ordinal: int, attempt: int, timeout: float
    ) -> tuple[int, str]:
        """Call `on_broadcast` on the instance's own thread, without a sequencer.

        Args:
            frames: A run of whole frames.
            count: Their number.
            first_ordinal: The ordinal of the first.
            attempt: 1 the first time.
            timeout: The longest wait, in seconds.

        Returns:
            The status and, of a failure, the plugin's text.

        Raises:
            PluginFailed: It did not return in time.
        """
        run = (attempt, count, first_ordinal, frames, len(frames))
        info = self._step("on_broadcast", timeout, lib.ss_instance_deliver, *run)
        if info is None:
            raise PluginFailed(
                f"on_broadcast did not return within {timeout:.3g} seconds",
                f"attach a debugger to this process, thread slip-{self.log_id}",
            )
        failed = info.status not in {lib.SLIPSTREAM_OK, lib.SLIPSTREAM_IGNORED}
        return info.status, _native.text(info.text) if failed else ""

    def flush(self, timeout: float) -> None:
        """Call the plugin's `flush`, if it has one.

        Raises:
            PluginFailed: It failed, or did not return in time.
        """
        info = self._step("flush", timeout, lib.ss_instance_flush, to_ms(timeout))
        if info is None:
            raise PluginFailed(
                f"flush did not return within {timeout:.3g} seconds",
                "look at what it writes to: a full disk, a lock, a slow network",
            )
        if info.status != lib.SLIPSTREAM_OK:
            raise PluginFailed(
                f"flush failed ({_native.status_name(info.status)}): {_native.text(info.text)}",
                "events since its last acknowledgement may not be durable",
            )

    def unload(self, timeout: float) -> str:
        """Call `on_unload` if it is loaded; returns the plugin's error, "" if there was none."""
        self.is_loaded = False
        lib.ss_instance_stop(self.pointer)
        info = self._step("on_unload", timeout, lib.ss_instance_unload, to_ms(timeout))
        if info is None:
            return f"{self._stuck_in} did not return within {timeout:.3g} seconds"
        if info.status != lib.SLIPSTREAM_OK:
            text = _native.text(info.text)
            return f"on_unload failed ({_native.status_name(info.status)}): {text}"
        return ""

    def close(self, timeout: float = 10.0) -> Mapping:
        """Unload, destroy the instance, join its thread and close the library.

        Args:
            timeout: The longest wait for each step, in seconds.

        Returns:
            What became of the mapping. While a call into the library does not return its
            thread is not joined and the library not unmapped; should it return after all,
            the core does what is left: `on_unload`, destroy, unmap.
        """
        if self.is_closed:
            return Mapping.NONE
        mapping = self.end(timeout)
        super().close()
        self.copy.close()
        if not mapping.problem:
            self._pump.close_log(self.log_id)
        return mapping

    def end(self, timeout: float) -> Mapping:
        """Do all of `close` but for giving back what others may still look into: its numbers."""
        if self._ended is not None:
            return self._ended
        mapping = Mapping.STUCK
        try:
            if self._settle(0.0):
                self.unload(timeout)
            if self._settle(0.0):
                found = _own_threads()
                threads = ffi.new("int32_t[]", found)
                lib.ss_instance_know_threads(self.pointer, threads, len(found))
                info = self._step("destroy", timeout, lib.ss_instance_close)
                mapping = mapping if info is None else Mapping(info.mapping)
        except SlipstreamError:  # the core tries again
            mapping = Mapping.UNCLOSED
        self._ended = None if mapping in {Mapping.STUCK, Mapping.UNCLOSED} else mapping
        return mapping

    # ---- Asking -------------------------------------------------------------------

    def is_stuck(self) -> bool:
        """Say whether a call into the library has not returned in time, and has not since."""
        return not self._settle(0.0)

    def finish(self, timeout: float) -> bool:
        """Wait for a step that was started elsewhere; False if it does not end in time."""
        self._stuck_in = "on_broadcast"
        return self._settle(time.monotonic() + timeout)

    def metrics(self) -> list[Metric]:
        """Return the numbers that the plugin reports by `slipstream.metrics/1`."""
        return metrics_of(self, lib.ss_instance_metric)

    def acknowledged(self) -> int:
        """Return the last ordinal that a plugin with EXPLICIT_ACK has acknowledged."""
        info = ffi.new("ss_instance_info *")
        lib.ss_instance_describe(self.pointer, info)
        return int(info.acknowledged)
