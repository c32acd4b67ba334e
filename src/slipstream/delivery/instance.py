"""One native instance: the steps of its life, each with a deadline.

All code of the library runs on the instance's own native thread; here that thread is only
waited for, in slices, so that signals are seen.
"""

from __future__ import annotations

import contextlib
import enum
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipstream import _native
from slipstream._native import ffi, lib
from slipstream.delivery.description import Description
from slipstream.errors import (
    PluginFailed,
    PluginLoadError,
    PluginStartError,
    Refusal,
    SlipstreamError,
)
from slipstream.status import Metric

if TYPE_CHECKING:
    from collections.abc import Callable

    from slipstream.library import PrivateCopy

_SLICE = 0.1
_LONGEST = 4_000_000.0  # seconds; what 32 bits of milliseconds hold

REFUSALS: dict[int, Refusal] = {
    getattr(lib, f"SS_REFUSED_{refusal.name}"): refusal
    for refusal in Refusal
    if hasattr(lib, f"SS_REFUSED_{refusal.name}")
}


def _ms(seconds: float) -> int:
    return int(max(0.0, min(seconds, _LONGEST)) * 1000)


class LoadReason(enum.IntEnum):
    """Why `on_load` is called."""

    START = lib.SLIPSTREAM_LOAD_START
    RELOAD = lib.SLIPSTREAM_LOAD_RELOAD
    RESTART = lib.SLIPSTREAM_LOAD_RESTART


def neither_started(new: BaseException, old: SlipstreamError) -> PluginFailed:
    """Return the error of a reload after which no version runs.

    Args:
        new: Why the new version was not started.
        old: Why the old one could not be started again.
    """
    text = new.message if isinstance(new, SlipstreamError) else repr(new)
    return PluginFailed(
        f"the new version was not started: {text}; and the old one could not be started "
        f"again: {old.message}",
        "mend one of them and reload, or unload the plugin",
    )


class Mapping(enum.IntEnum):
    """What became of the library's mapping."""

    NONE = lib.SS_MAPPING_NONE
    GONE = lib.SS_MAPPING_GONE
    RESIDENT = lib.SS_MAPPING_RESIDENT
    GO = lib.SS_MAPPING_GO
    THREADS = lib.SS_MAPPING_THREADS
    PINNED = lib.SS_MAPPING_PINNED
    STUCK = 100

    @property
    def meaning(self) -> str:
        """One phrase for people."""
        return _MEANINGS[self]


_MEANINGS = {
    Mapping.NONE: "was never opened",
    Mapping.GONE: "unmapped",
    Mapping.RESIDENT: "stays mapped: it asks for it (RESIDENT)",
    Mapping.GO: "stays mapped: a Go runtime cannot be unmapped",
    Mapping.THREADS: "stays mapped: threads of it still run",
    Mapping.PINNED: "stays mapped: a unique symbol, a thread-local destructor or its own "
    "flags pin it",
    Mapping.STUCK: "stays mapped: a call into it did not return",
}


class Instance:
    """A library's instance, from opening to unmapping."""

    def __init__(self, log: Any, log_id: int, copy: PrivateCopy, config_dir: Path) -> None:
        """Make the instance's thread; nothing of the library runs yet.

        Args:
            log: The native log queue.
            log_id: The number that its log lines carry.
            copy: The private copy to open; removed when the instance is closed.
            config_dir: What `slipstream.config/1` gives as the config's folder.
        """
        self.copy = copy
        self.log_id = log_id
        self._freeing = threading.Lock()  # metrics are asked for by any thread
        self._handle: Any = lib.ss_instance_new(
            log, log_id, bytes(copy.path), bytes(copy.original), bytes(config_dir)
        )
        if self._handle == ffi.NULL:
            copy.close()
            raise PluginLoadError(
                f"no thread or memory for {copy.original}",
                "check the limits on processes and memory: ulimit -u, ulimit -v",
                Refusal.CANNOT_OPEN,
            )
        self._stuck_in = ""

    @property
    def handle(self) -> Any:
        """The native handle, for the dispatcher."""
        return self._handle

    def _info(self) -> Any:
        info = ffi.new("ss_instance_info *")
        lib.ss_instance_describe(self._handle, info)
        return info

    def _run(self, what: str, timeout: float, start: Callable[[], int]) -> bool:
        """Start a step and wait for it. False if it, or the one before, did not end in time."""
        end = time.monotonic() + timeout
        if not self._settle(end):
            return False
        self._stuck_in = what  # also if we are left by a KeyboardInterrupt
        status = start()
        if status != lib.SLIPSTREAM_OK:
            self._stuck_in = ""
            raise _native.status_error(status, what)
        return self._settle(end)

    def _settle(self, end: float) -> bool:
        """Wait for the step under way, if there is one; False if it does not end in time."""
        while self._stuck_in:
            left = end - time.monotonic()
            if lib.ss_instance_wait(self._handle, _ms(min(left, _SLICE))) == lib.SLIPSTREAM_OK:
                self._stuck_in = ""
            elif left <= 0:
                return False
        return True

    def is_stuck(self) -> bool:
        """Say whether a call into the library has not returned in time, and has not since."""
        return not self._settle(0.0)

    def _late(self, what: str, timeout: float) -> PluginLoadError:
        return PluginLoadError(
            f"{self.copy.original}: {what} did not return within {timeout:.3g} seconds",
            "raise `load_timeout` if it needs longer; else attach a debugger to this process, "
            f"thread slip-{self.log_id}",
            Refusal.TIMED_OUT,
        )

    def open(self, timeout: float) -> None:
        """Look at the file, open it, construct the instance and check its table.

        Raises:
            PluginLoadError: It was refused; `refusal` says why.
        """
        if not self._run("open", timeout, lambda: lib.ss_instance_open(self._handle)):
            raise self._late("opening and constructing", timeout)
        self._raise_refusal()

    def _raise_refusal(self) -> None:
        info = self._info()
        if info.refusal != lib.SS_REFUSED_NOTHING:
            raise PluginLoadError(
                _native.text(info.text), _native.text(info.hint), REFUSALS[info.refusal]
            )

    def set_data_dir(self, folder: Path) -> None:
        """Set the plugin's own folder, before `load`."""
        _native.check(lib.ss_instance_set_data_dir(self._handle, bytes(folder)), "load")

    def load(self, config: bytes, reason: LoadReason, timeout: float) -> None:
        """Call `on_load` and read what the plugin subscribes to.

        Raises:
            PluginStartError: `on_load` failed.
            PluginLoadError: It took too long, or the table lacks a function.
        """
        if not self._run(
            "on_load",
            timeout,
            lambda: lib.ss_instance_load(self._handle, config, len(config), reason),
        ):
            raise self._late("on_load", timeout)
        self._raise_refusal()
        info = self._info()
        if info.status != lib.SLIPSTREAM_OK:
            name = _native.text(info.name)
            raise PluginStartError(
                f"{name} did not start ({_native.status_name(info.status)}): "
                f"{_native.text(info.text)}",
                "the text is the plugin's own; look at its part of the config",
            )

    def describe(self) -> Description:
        """Return what the plugin says of itself, after `open`; kinds after `load`."""
        info = self._info()
        return Description(
            _native.text(info.name),
            _native.text(info.version),
            info.flags,
            info.abi_minor,
            info.kinds,
        )

    def claims(self) -> list[bytes]:
        """Return the payload names that the plugin claims."""
        found: list[bytes] = []
        while (name := lib.ss_instance_claim(self._handle, len(found))) != ffi.NULL:
            found.append(ffi.string(name))
        return found

    def finish(self, timeout: float) -> bool:
        """Wait for a step that was started elsewhere; False if it does not end in time."""
        self._stuck_in = "on_broadcast"
        return self._settle(time.monotonic() + timeout)

    def metrics(self) -> list[Metric]:
        """Return the numbers that the plugin reports by `slipstream.metrics/1`."""
        found: list[Metric] = []
        if _native.forked():
            raise _native.closed_error()
        with self._freeing:
            if self._handle == ffi.NULL:
                return found
            metric = ffi.new("ss_metric *")
            while lib.ss_instance_metric(self._handle, len(found), metric) == lib.SLIPSTREAM_OK:
                value = metric.gauge if metric.is_gauge else metric.count
                found.append(Metric(_native.text(metric.name), _native.text(metric.label), value))
        return found

    def acknowledged(self) -> int:
        """Return the last ordinal that a plugin with EXPLICIT_ACK has acknowledged."""
        return int(self._info().acknowledged)

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
            The status and, unless it is OK, the plugin's text.

        Raises:
            PluginFailed: It did not return in time.
        """
        if not self._run(
            "on_broadcast",
            timeout,
            lambda: lib.ss_instance_deliver(
                self._handle, attempt, count, first_ordinal, frames, len(frames)
            ),
        ):
            raise PluginFailed(
                f"on_broadcast did not return within {timeout:.3g} seconds",
                "attach a debugger to this process, thread slip-" + str(self.log_id),
            )
        info = self._info()
        failed = info.status != lib.SLIPSTREAM_OK
        return info.status, _native.text(info.text) if failed else ""

    def flush(self, timeout: float) -> None:
        """Call the plugin's `flush`, if it has one.

        Raises:
            PluginFailed: It failed, or did not return in time.
        """
        ms = _ms(timeout)
        if not self._run("flush", timeout, lambda: lib.ss_instance_flush(self._handle, ms)):
            raise PluginFailed(
                f"flush did not return within {timeout:.3g} seconds",
                "look at what it writes to: a full disk, a lock, a slow network",
            )
        info = self._info()
        if info.status != lib.SLIPSTREAM_OK:
            raise PluginFailed(
                f"flush failed ({_native.status_name(info.status)}): {_native.text(info.text)}",
                "events since its last acknowledgement may not be durable",
            )

    def unload(self, timeout: float) -> str:
        """Call `on_unload`; returns the plugin's error, "" if there was none."""
        ms = _ms(timeout)
        lib.ss_instance_stop(self._handle)
        if not self._run("on_unload", timeout, lambda: lib.ss_instance_unload(self._handle, ms)):
            return f"{self._stuck_in} did not return within {timeout:.3g} seconds"
        info = self._info()
        if info.status != lib.SLIPSTREAM_OK:
            return f"on_unload failed ({_native.status_name(info.status)}): " + _native.text(
                info.text
            )
        return ""

    def close(self, timeout: float) -> Mapping:
        """Destroy the instance, join its thread and close the library.

        Returns:
            What became of the mapping. While a call into the library does not return its
            thread is not joined and the library not unmapped; should it return after all,
            the core does what is left: `on_unload`, destroy, unmap.
        """
        if self._handle == ffi.NULL:
            return Mapping.NONE
        closed = False
        with contextlib.suppress(SlipstreamError):  # no thread to be had
            closed = not self._stuck_in and self._run(
                "destroy", timeout, lambda: lib.ss_instance_close(self._handle)
            )
        mapping = Mapping(self._info().mapping) if closed else Mapping.STUCK
        with self._freeing:
            handle, self._handle = self._handle, ffi.NULL
        if closed:
            lib.ss_instance_free(handle)
        else:
            lib.ss_instance_abandon(handle)
        self.copy.close()
        return mapping

    def discard(self, timeout: float) -> Mapping:
        """Close an instance that will not serve; if it was loaded, unload it first."""
        if not self._stuck_in:
            self.unload(timeout)
        return self.close(timeout)
