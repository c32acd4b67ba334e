"""Process delivery: the plugin runs in a supervised worker process."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from slipstream import _native
from slipstream._native import ffi, lib
from slipstream.capture import open_for_append
from slipstream.config import Reload
from slipstream.delivery.crash_report import CrashReport, take_reports
from slipstream.delivery.description import Description, Flush
from slipstream.delivery.instance import REFUSALS, LoadReason
from slipstream.delivery.queue import Queue
from slipstream.delivery.supervisor import wait_for
from slipstream.errors import PluginFailed, PluginLoadError, PluginStartError, Refusal
from slipstream.status import Counters, Metric, PluginState, Status

if TYPE_CHECKING:
    from pathlib import Path

    from slipstream.config import PluginConfig
    from slipstream.delivery.sequencer import Sequencer
    from slipstream.delivery.supervisor import Supervisor
    from slipstream.library import PrivateCopy

_log = logging.getLogger("slipstream")

_STATES = {
    lib.SS_SUPERVISED_LOADING: PluginState.LOADING,
    lib.SS_SUPERVISED_RUNNING: PluginState.RUNNING,
    lib.SS_SUPERVISED_BACKOFF: PluginState.BACKOFF,
    lib.SS_SUPERVISED_QUARANTINED: PluginState.QUARANTINED,
    lib.SS_SUPERVISED_UNLOADING: PluginState.UNLOADING,
    lib.SS_SUPERVISED_FAILED: PluginState.FAILED,
    lib.SS_SUPERVISED_UNLOADED: PluginState.UNLOADED,
}
_REPORTS_KEPT = 16
_SPARE = 5.0  # seconds more than the native side's own deadlines


class ProcessPlugin:
    """A plugin in a worker process, behind a ring in shared memory.

    Attributes:
        reports: The last crash reports, oldest first.
    """

    def __init__(
        self, supervisor: Supervisor, config: PluginConfig, state_dir: Path | None
    ) -> None:
        """Make ring and worker; nothing runs yet.

        Args:
            supervisor: Starts and watches the worker.
            config: The plugin's config.
            state_dir: Where crash reports and undelivered events go; None: nowhere.
        """
        self._config = config
        self._state_dir = state_dir
        self._sequencer: Sequencer | None = None
        self._slot = -1
        self._copy: PrivateCopy | None = None
        self._tried: PrivateCopy | None = None  # until the first generation runs
        self._name = ""
        self.log_id = 0
        self._opened_log_id = 0
        self._last: tuple[Status, Counters] | None = None
        self.reports: deque[CrashReport] = deque(maxlen=_REPORTS_KEPT)
        self._dead_letter = -1
        # Any thread may ask for the state. Re-entrant: a signal handler may, too.
        self._freeing = threading.RLock()
        self._worker: Any = ffi.NULL
        handle = supervisor.handle
        self._queue = Queue(config, shared=True)
        try:
            if config.dead_letter is not None:
                self._dead_letter = open_for_append(config.dead_letter)
            self._worker = lib.ss_supervised_new(handle, self._queue.handle, self._dead_letter)
            if self._worker == ffi.NULL:
                raise MemoryError
        except BaseException:
            self._free()
            raise

    # ---- Loading ------------------------------------------------------------------

    def open(
        self, copy: PrivateCopy, log_id: int, config: PluginConfig, data_dir: str, log_level: int
    ) -> Description:
        """Open, check and construct a generation in a new worker, beside the one that runs.

        Args:
            copy: The library's private copy; kept once `load` has succeeded.
            log_id: The number that its log lines carry.
            config: Its config.
            data_dir: The plugin's own folder, "" for none.
            log_level: The lowest level of its log lines.

        Returns:
            What the plugin says of itself.

        Raises:
            PluginLoadError: It was refused; `refusal` says why.
        """
        if self._copy is None:
            self._name = self._name or config.name or copy.original.stem
            self._tried = copy
        spec, _kept = _spec(copy, log_id, config, data_dir, log_level)
        self._prepare(spec)
        info = wait_for(
            self._worker,
            lambda i: bool(i.next_opened) or not i.busy,
            config.load_timeout + _SPARE,
        )
        if not info.next_opened:
            raise _refused(info, copy)
        self._opened_log_id = log_id
        return _description(info, info.next_flags)

    def _prepare(self, spec: Any) -> None:
        """Have a generation opened; a restart that is under way comes to its end first."""
        end = time.monotonic() + self._config.load_timeout + _SPARE
        while status := lib.ss_supervised_prepare(self._worker, spec):
            if status != lib.SLIPSTREAM_WRONG_STATE:
                raise _native.status_error(status, "open")
            if time.monotonic() > end:
                raise PluginLoadError(
                    "its worker is being restarted, and neither comes up nor ends",
                    "see the log lines of its worker",
                    Refusal.TIMED_OUT,
                )
            wait_for(self._worker, lambda i: not i.busy, end - time.monotonic())

    def check_overlap(self, config: PluginConfig, fresh: Description) -> None:
        """Raise if the config wants both versions loaded at once, and they cannot be.

        Args:
            config: The new config.
            fresh: What the new version says of itself.

        Raises:
            PluginLoadError: One of them lacks the flag MULTI_INSTANCE.
        """
        multiple = lib.SLIPSTREAM_FLAG_MULTI_INSTANCE
        both = self.describe().has(multiple) and fresh.has(multiple)
        if config.reload is Reload.OVERLAP and not both:
            raise PluginLoadError(
                "reload: overlap needs a plugin with the flag MULTI_INSTANCE, in both versions",
                "use reload: 'replace' in the config",
            )

    def describe(self) -> Description:
        """Return what the generation that runs says of itself."""
        info = self._info()
        return _description(info, info.flags)

    def cancel(self) -> None:
        """Give an opened generation up; the one that runs goes on."""
        lib.ss_supervised_cancel(self._worker)
        wait_for(self._worker, lambda i: not i.busy, _SPARE)

    def load(
        self, copy: PrivateCopy, name: str, settled: bytes, config: PluginConfig, reason: LoadReason
    ) -> None:
        """Let the opened generation take over.

        Args:
            copy: Its private copy; belongs to this object afterwards.
            name: The plugin's effective name.
            settled: The JSON for its `on_load`.
            config: Its config.
            reason: Start, or reload.

        Raises:
            PluginStartError: Its `on_load` failed.
            PluginLoadError: It ended, or took too long. If another generation ran before,
                that one goes on or was started again.
        """
        before = self._info().generation
        overlap = config.reload is Reload.OVERLAP
        if lib.ss_supervised_switch(self._worker, reason, overlap, settled, len(settled)):
            raise _refused(self._info(), copy)  # it is gone, or so is the one that served
        # The old one drains, is hurried, unloads, exits; the new one loads; else the old one again.
        timeout = 4 * self._config.unload_timeout
        timeout += 2 * (config.load_timeout + self._config.load_timeout)
        info = wait_for(self._worker, lambda i: not i.busy, timeout + _SPARE)
        failed = info.status != lib.SLIPSTREAM_OK or info.refusal != lib.SS_REFUSED_NOTHING
        if info.busy or failed or info.generation == before:
            raise _refused(info, copy)
        old, self._copy = self._copy, copy
        self._config, self._name, self.log_id = config, name, self._opened_log_id
        if old is not None:
            old.close()

    def attach(self, sequencer: Sequencer, log_id: int) -> None:
        """Let the sequencer put events into the ring."""
        info = self._info()
        self._slot = sequencer.attach_queue(self._queue.handle, info.kinds, log_id)
        self._sequencer = sequencer
        for name in self._claims():
            sequencer.claim(self._slot, name)

    def refresh(self) -> None:
        """Take over what a new generation subscribes to."""
        if self._sequencer is not None:
            self._sequencer.renew_queue(self._slot, self._info().kinds, self.log_id, self._claims())

    def _claims(self) -> list[bytes]:
        found: list[bytes] = []
        while (name := lib.ss_supervised_claim(self._worker, len(found))) != ffi.NULL:
            found.append(ffi.string(name))
        return found

    # ---- Asking -------------------------------------------------------------------

    def _alive(self) -> threading.RLock:
        """Return the lock under which nobody frees the worker.

        Raises:
            ClosedError: In a forked child; there the lock may be held for good.
        """
        if _native.forked():
            raise _native.closed_error()
        return self._freeing

    def _info(self) -> Any:
        if _native.forked():  # whoever holds a lock here may be no part of this process
            raise _native.closed_error()
        info = ffi.new("ss_supervised_info *")
        with self._alive():
            if self._worker != ffi.NULL:
                lib.ss_supervised_describe(self._worker, info)
        return info

    @property
    def config(self) -> PluginConfig:
        """The config of the present generation."""
        return self._config

    @property
    def restarts(self) -> int:
        """How often its worker has crashed."""
        return int(self._info().restarts)

    @property
    def pid(self) -> int:
        """The worker's process, 0 while there is none."""
        return int(self._info().pid)

    def status(self) -> Status:
        """Return the state with its reason."""
        with self._alive():
            if self._last is not None:
                return self._last[0]
            info = self._info()
            state = _STATES[info.state]
            reason = _native.text(info.reason)
        if state is PluginState.RUNNING:
            stats = self._queue.stats()
            if stats.state == lib.SS_SLOT_PAUSED:
                state = PluginState.PAUSED
            elif stats.state == lib.SS_SLOT_STALLED:
                state, reason = PluginState.STALLED, "its ring stayed full for block_timeout"
        return Status(state, reason, info.since_ns / 1e9)

    def counters(self) -> Counters:
        """Return the counters."""
        return self._last[1] if self._last is not None else self._queue.counters()

    def metrics(self) -> list[Metric]:
        """Return the numbers that the plugin reported last."""
        found: list[Metric] = []
        metric = ffi.new("ss_metric *")
        with self._alive():
            while (
                self._worker != ffi.NULL
                and lib.ss_supervised_metric(self._worker, len(found), metric) == lib.SLIPSTREAM_OK
            ):
                value = metric.gauge if metric.is_gauge else metric.count
                found.append(Metric(_native.text(metric.name), _native.text(metric.label), value))
        return found

    def collect_reports(self) -> None:
        """Take waiting crash reports and write them to files."""
        with self._alive():
            copy = self._copy or self._tried
            if self._worker == ffi.NULL or copy is None:
                return
            found = take_reports(
                self._worker, self._name, copy.original, copy.digest, self._state_dir
            )
            self.reports.extend(found)
        for report in found:
            _log.error("worker crashed", extra=report.fields())

    # ---- Steering -----------------------------------------------------------------

    def pause(self) -> None:
        """Hold events back; they are kept until the ring is full, then told of by a GAP."""
        self._queue.pause(paused=True)

    def resume(self) -> None:
        """Deliver again; leaves quarantine and back-off, too."""
        self._queue.pause(paused=False)
        lib.ss_supervised_resume(self._worker)

    def _hindrance(self) -> str:
        status = self.status()
        hindered = {
            PluginState.PAUSED,
            PluginState.QUARANTINED,
            PluginState.FAILED,
            PluginState.UNLOADED,
        }
        if status.state in hindered:
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

    def stop(self, timeout: float) -> str:
        """Drain, flush, unload and end the worker; what is left is written to a capture.

        Returns:
            What did not go well, "" if all did.
        """
        if self._last is not None:
            return ""
        if self._sequencer is not None:
            self._sequencer.detach(self._slot)
            self._sequencer = None  # once, however often this is called
        lib.ss_supervised_stop(self._worker, int(timeout * 1000))
        ended = {lib.SS_SUPERVISED_UNLOADED, lib.SS_SUPERVISED_FAILED}
        info = wait_for(
            self._worker,
            lambda i: i.state in ended and not i.busy and i.pid == 0,
            4 * timeout + _SPARE,  # drain, hurry, unload, exit
        )
        problem = _native.text(info.reason)
        if info.state != lib.SS_SUPERVISED_UNLOADED:
            problem = problem or "its worker did not end in time; it was killed"
        self.abandon()
        left = self._queue.save_leftover(self._state_dir, self._name)
        self._free()
        return "; ".join(filter(None, (problem, left)))

    def abandon(self) -> None:
        """Kill the worker if it still runs; the ring stays."""
        self.collect_reports()
        with self._freeing:
            if self._last is None:
                self._last = (self.status(), self._queue.counters())
            worker, self._worker = self._worker, ffi.NULL
        if worker != ffi.NULL:
            lib.ss_supervised_free(worker)

    def _free(self) -> None:
        self.abandon()
        self._queue.free()
        if self._dead_letter >= 0:
            os.close(self._dead_letter)
            self._dead_letter = -1
        if self._copy is not None:
            self._copy.close()
            self._copy = None

    def discard(self) -> None:
        """Free everything, after a failed load."""
        if self._last is None:
            self._last = (Status(PluginState.FAILED), Counters())
            if self._sequencer is not None:
                self._sequencer.detach(self._slot)
            self._free()


def _description(info: Any, flags: int) -> Description:
    return Description(_native.text(info.name), _native.text(info.version), flags, 0, info.kinds)


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _spec(
    copy: PrivateCopy, log_id: int, config: PluginConfig, data_dir: str, log_level: int
) -> tuple[Any, list[Any]]:
    """Return an ``ss_spec`` and what has to stay alive as long as it is used."""
    texts = {
        "path": bytes(copy.path),
        "shown": bytes(copy.original),
        "config_dir": bytes(config.folder),
        "data_dir": data_dir.encode(),
        "user": (config.user or "").encode(),
    }
    kept = {name: ffi.new("char[]", value) for name, value in texts.items()}
    restart, limits = config.restart, config.limits
    spec = ffi.new(
        "ss_spec *",
        {
            **kept,
            "config": ffi.NULL,
            "config_len": 0,
            "memory": limits.memory or 0,
            "open_files": limits.open_files or 0,
            "log_id": log_id,
            "log_level": log_level,
            "load_timeout_ms": _ms(config.load_timeout),
            "unload_timeout_ms": _ms(config.unload_timeout),
            "callback_timeout_ms": _ms(config.callback_timeout),
            "flush_idle_ms": _ms(config.flush_interval),
            "max_attempts": 5,
            "core_files": limits.core_files,
            "initial_delay_ms": _ms(restart.initial_delay),
            "max_delay_ms": _ms(restart.max_delay),
            "max_crashes": restart.max_crashes,
            "window_ms": _ms(restart.window),
        },
    )
    return spec, list(kept.values())


def _refused(info: Any, copy: PrivateCopy) -> Exception:
    text = _native.text(info.text)
    hint = _native.text(info.hint)
    if info.status != lib.SLIPSTREAM_OK:
        return PluginStartError(
            f"{_native.text(info.name) or copy.original} did not start "
            f"({_native.status_name(info.status)}): {text}",
            "the text is the plugin's own; look at its part of the config",
        )
    refusal = REFUSALS.get(info.refusal, Refusal.TIMED_OUT if "took longer" in text else None)
    return PluginLoadError(
        text or f"{copy.original} did not come up in time",
        hint or "see the log lines of its worker",
        refusal,
    )
