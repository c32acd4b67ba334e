"""One native instance: the steps of its life, each with a deadline.

All code of the library runs on the instance's own native thread; here that thread is only
waited for, in slices, so that signals are seen.
"""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipstream import _native
from slipstream._native import ffi, lib
from slipstream.errors import PluginFailed, PluginLoadError, PluginStartError, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from slipstream.library import PrivateCopy

_SLICE = 0.1

_REFUSALS: dict[int, Refusal] = {
    getattr(lib, f"SS_REFUSED_{refusal.name}"): refusal
    for refusal in Refusal
    if hasattr(lib, f"SS_REFUSED_{refusal.name}")
}


class LoadReason(enum.IntEnum):
    """Why `on_load` is called."""

    START = lib.SLIPSTREAM_LOAD_START
    RELOAD = lib.SLIPSTREAM_LOAD_RELOAD
    RESTART = lib.SLIPSTREAM_LOAD_RESTART


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


@dataclass(frozen=True, slots=True)
class Description:
    """What a plugin says of itself."""

    name: str
    version: str
    flags: int
    abi_minor: int
    kinds: int

    def has(self, flag: int) -> bool:
        """Say whether a SLIPSTREAM_FLAG_* is set."""
        return self.flags & flag != 0


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that the plugin reports: a counter (int) or a gauge (float)."""

    name: str
    label: str
    value: int | float


class Instance:
    """A library's instance, from opening to unmapping."""

    def __init__(
        self, queue: Any, source: int, copy: PrivateCopy, config_dir: Path, data_dir: Path | None
    ) -> None:
        """Make the instance's thread; nothing of the library runs yet.

        Args:
            queue: The native log queue.
            source: The number that its log lines carry.
            copy: The private copy to open; removed when the instance is closed.
            config_dir: What `slipstream.config/1` gives as the config's folder.
            data_dir: The plugin's own folder, or None.
        """
        self.copy = copy
        self.source = source
        self._handle: Any = lib.ss_instance_new(
            queue,
            source,
            bytes(copy.path),
            bytes(copy.source),
            bytes(config_dir),
            ffi.NULL if data_dir is None else bytes(data_dir),
        )
        if self._handle == ffi.NULL:
            copy.close()
            raise PluginLoadError(
                f"no thread or memory for {copy.source}",
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
        """Start a step and wait for it. False if it did not end in time."""
        if self._stuck_in:
            return False
        _native.check(start(), what)
        self._stuck_in = what  # also if the wait is left by an exception
        end = time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            slice_ms = max(0, int(min(left, _SLICE) * 1000))
            if lib.ss_instance_wait(self._handle, slice_ms) == lib.SLIPSTREAM_OK:
                self._stuck_in = ""
                return True
            if left <= 0:
                return False

    def _late(self, what: str, timeout: float) -> PluginLoadError:
        return PluginLoadError(
            f"{self.copy.source}: {what} did not return within {timeout:g} seconds",
            "raise `load_timeout` if it needs longer; else attach a debugger to this process, "
            f"thread slip-{self.source}",
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
                _native.text(info.text), _native.text(info.hint), _REFUSALS[info.refusal]
            )

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

    def metrics(self) -> list[Metric]:
        """Return the numbers that the plugin reports by `slipstream.metrics/1`."""
        found: list[Metric] = []
        metric = ffi.new("ss_metric *")
        while lib.ss_instance_metric(self._handle, len(found), metric) == lib.SLIPSTREAM_OK:
            value = metric.gauge if metric.is_gauge else metric.count
            found.append(Metric(_native.text(metric.name), _native.text(metric.label), value))
        return found

    def flush(self, timeout: float) -> None:
        """Call the plugin's `flush`, if it has one.

        Raises:
            PluginFailed: It failed, or did not return in time.
        """
        ms = int(timeout * 1000)
        if not self._run("flush", timeout, lambda: lib.ss_instance_flush(self._handle, ms)):
            raise PluginFailed(
                f"flush did not return within {timeout:g} seconds",
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
        ms = int(timeout * 1000)
        lib.ss_instance_stop(self._handle)
        if not self._run("on_unload", timeout, lambda: lib.ss_instance_unload(self._handle, ms)):
            return f"{self._stuck_in} did not return within {timeout:g} seconds"
        info = self._info()
        if info.status != lib.SLIPSTREAM_OK:
            return f"on_unload failed ({_native.status_name(info.status)}): " + _native.text(
                info.text
            )
        return ""

    def close(self, timeout: float) -> Mapping:
        """Destroy the instance, join its thread and close the library.

        Returns:
            What became of the mapping. A call that never returns leaves everything as it
            is: the thread is not joined, the library not unmapped.
        """
        if self._handle == ffi.NULL:
            return Mapping.NONE
        if self._stuck_in and lib.ss_instance_wait(self._handle, 0) == lib.SLIPSTREAM_OK:
            self._stuck_in = ""  # it came back after all
        closed = self._run("destroy", timeout, lambda: lib.ss_instance_close(self._handle))
        mapping = Mapping.STUCK
        if closed:
            mapping = Mapping(self._info().mapping)
            lib.ss_instance_free(self._handle)
        self._handle = ffi.NULL
        self.copy.close()
        return mapping
