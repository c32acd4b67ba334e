"""Process delivery: the plugin runs in a supervised worker process."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from slipstream import _native
from slipstream._native import ffi, lib
from slipstream.config import Mode, Reload
from slipstream.delivery.crash_report import CrashReport, take_reports
from slipstream.delivery.description import Description
from slipstream.delivery.instance import LoadReason, metrics_of, to_ms
from slipstream.delivery.queued import Queued
from slipstream.delivery.supervisor import Supervised
from slipstream.errors import PluginLoadError, PluginStartError, Refusal
from slipstream.library import REFUSALS
from slipstream.status import SUPERVISED_STATES, Metric, PluginState, Status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from slipstream._native.cdef import Pointer, char, ss_spec, ss_supervised_info
    from slipstream.config import PluginConfig
    from slipstream.delivery.desk import Desk
    from slipstream.delivery.host import Host
    from slipstream.library import PrivateCopy

_REPORTS_KEPT = 16
_SPARE = 5.0  # seconds more than the native side's own deadlines


class Generation:
    """One version of the plugin, in a process of its own.

    Attributes:
        copy: The private copy that is open.
        config: The config of this version.
        name: That the worker bears in `ps`.
        log_id: The number that its log lines carry.
        description: What the plugin says of itself.
        before: How many generations had run when this was opened.
        is_waiting: It is opened, or going to be, and was not told to take over.
    """

    description: Description
    before: int
    is_waiting = True

    def __init__(  # noqa: PLR0913 - all of it is the plugin's
        self,
        host: Host,
        worker: Supervised,
        copy: PrivateCopy,
        config: PluginConfig,
        name: str,
        desk: Desk | None = None,
    ) -> None:
        """Open, check and construct it in a new process, beside the one that runs.

        Raises:
            PluginLoadError: It was refused; `refusal` says why. Nothing is left of it.
        """
        self.copy, self.config = copy, config
        self.name = config.name or (name if copy.info is None else copy.info.name)
        self.log_id = host.pump.open_log(name)
        self._pump, self._worker = host.pump, worker
        try:
            self._open(host.log_level, desk)
        except BaseException:
            self.close()
            raise

    def _open(self, log_level: int, desk: Desk | None) -> None:
        spec, _kept = _spec(self, log_level)
        if desk is not None:
            spec.desk = desk.pointer
            terms = desk.terms(self.config.grants, self.config.call_timeout)
            spec.terms = terms
        end = time.monotonic() + self.config.load_timeout + _SPARE
        # A restart that is under way comes to its end first.
        while status := lib.ss_supervised_prepare(self._worker.pointer, spec):
            if status != lib.SLIPSTREAM_WRONG_STATE:
                raise _native.status_error(status, "open")
            if time.monotonic() > end:
                raise PluginLoadError(
                    "its worker is being restarted, and neither comes up nor ends",
                    "see the log lines of its worker",
                    Refusal.TIMED_OUT,
                )
            self._worker.wait(lambda i: not i.busy, end - time.monotonic())
        info = self._worker.wait(
            lambda i: bool(i.next_opened) or not i.busy, self.config.load_timeout + _SPARE
        )
        if not info.next_opened:
            raise _refused(info, self.copy)
        name, version = _native.text(info.name), _native.text(info.version)
        self.description = Description(name, version, info.next_flags, 0, info.next_min_host_minor)
        self.description.agrees(self.copy.info, self.copy.original)
        self.before = info.generation

    def close(self, timeout: float = _SPARE) -> None:
        """Give it up if it was not told to take over; its library is not needed any more."""
        if self.is_waiting and self._worker.info().busy:
            lib.ss_supervised_cancel(self._worker.pointer)
            self._worker.wait(lambda i: not i.busy, timeout)
        self.copy.close()
        self._pump.close_log(self.log_id)


class ProcessPlugin(Queued[Generation]):
    """A plugin in a worker process, behind a ring in shared memory.

    Attributes:
        reports: The last crash reports, oldest first.
    """

    mode = Mode.PROCESS
    _restarts = 0  # at the last look

    def __init__(self, host: Host, config: PluginConfig, name: str) -> None:
        """Make the ring and announce the worker; nothing runs yet."""
        super().__init__(host, config, name)
        self.reports: deque[CrashReport] = deque(maxlen=_REPORTS_KEPT)
        self._worker = Supervised(host.supervisor, self._queue, self._letters, host.hurry)
        self._copy: PrivateCopy | None = None  # the one that crash reports speak of
        host.supervisor.look_after(self)

    # ---- Versions -----------------------------------------------------------------

    def _open(self, copy: PrivateCopy, config: PluginConfig) -> Generation:
        if self.present is None:
            self._copy = copy
        with self._naming_its_report():
            return Generation(self._host, self._worker, copy, config, self.name, self._desk)

    @contextlib.contextmanager
    def _naming_its_report(self) -> Iterator[None]:
        """Add the file of its crash report to the next step of an error, where there is one."""
        before = self.reports[-1] if self.reports else None
        try:
            yield
        except PluginLoadError as error:
            self.collect_reports()
            newest = self.reports[-1] if self.reports else None
            if newest is not None and newest is not before and newest.file is not None:
                error.hint = f"see its crash report {newest.file}, and {error.hint}"
            raise

    def _switch(self, fresh: Generation, settled: bytes, data_dir: Path | None) -> str:
        old, config = self.present, fresh.config
        reason = LoadReason.START if old is None else LoadReason.RELOAD
        # The old one drains, is hurried, unloads, exits; the new one loads; else the old one again.
        timeout = 4 * self.config.unload_timeout
        timeout += 2 * (config.load_timeout + self.config.load_timeout) + _SPARE
        fresh.is_waiting = False
        try:
            with self._naming_its_report():
                self._take_over(fresh, settled, data_dir, reason, timeout)
        except BaseException:
            fresh.close()
            raise
        fresh.description = replace(
            fresh.description, kinds=self._worker.info().kinds, claims=self._worker.claims()
        )
        self.present, self.config, self._copy = fresh, config, fresh.copy
        if old is not None:
            old.close()
        self._attach(fresh)
        return ""

    def _take_over(
        self,
        fresh: Generation,
        settled: bytes,
        data_dir: Path | None,
        reason: LoadReason,
        timeout: float,
    ) -> None:
        """Let an opened version take over, and wait until it has.

        Raises:
            SlipstreamError: It has not; the one before serves.
        """
        status = lib.ss_supervised_switch(
            self._worker.pointer,
            reason,
            fresh.config.reload is Reload.OVERLAP,
            b"" if data_dir is None else bytes(data_dir),
            settled,
            len(settled),
        )
        info = self._worker.wait(lambda i: not i.busy, 0 if status else timeout)
        failed = info.status != lib.SLIPSTREAM_OK or info.refusal != lib.SS_REFUSED_NOTHING
        if status or info.busy or failed or info.generation == fresh.before:
            raise _refused(info, fresh.copy)

    # ---- Asking -------------------------------------------------------------------

    @property
    def restarts(self) -> int:
        """How often its worker has crashed."""
        self.collect_reports()
        return self._restarts

    @property
    def last_crash(self) -> CrashReport | None:
        """What is known of the last crash."""
        self.collect_reports()
        return self.reports[-1] if self.reports else None

    @property
    def pid(self) -> int | None:
        """The worker's process, None while there is none."""
        return int(self._worker.info().pid) or None

    def _look_at_consumer(self) -> tuple[PluginState, str, float]:
        info = self._worker.info()
        return SUPERVISED_STATES[info.state], _native.text(info.reason), info.since_ns / 1e9

    def metrics(self) -> list[Metric]:
        """Return the numbers that the plugin reported last."""
        return metrics_of(self._worker, lib.ss_supervised_metric)

    def collect_reports(self) -> None:
        """Take waiting crash reports and write them to files."""
        with self._worker.asking():
            if self._worker.is_closed or self._copy is None:
                return
            self._restarts = int(self._worker.info().restarts)
            found = take_reports(
                self._worker.pointer,
                self.name,
                self._copy,
                self._host.folder(self.name),
                self._host.pump,
            )
            self.reports.extend(found)

    # ---- Steering -----------------------------------------------------------------

    def resume(self) -> None:
        """Deliver again; leaves quarantine and back-off, too."""
        super().resume()
        lib.ss_supervised_resume(self._worker.pointer)

    def _end_consumer(self, timeout: float) -> list[str]:
        problem = ""
        if not self._worker.is_closed:
            lib.ss_supervised_stop(self._worker.pointer, to_ms(timeout))
            ended = {lib.SS_SUPERVISED_UNLOADED, lib.SS_SUPERVISED_FAILED}
            info = self._worker.wait(
                lambda i: i.state in ended and not i.busy and i.pid == 0,
                4 * timeout + _SPARE,  # drain, hurry, unload, exit
            )
            problem = _native.text(info.reason)
            if info.state != lib.SS_SUPERVISED_UNLOADED:
                problem = problem or "its worker did not end in time; it was killed"
        self.kill()
        if self.present is not None:
            self.present.close()
        return [problem]

    def kill(self) -> None:
        """Kill the worker if it still runs; the ring stays."""
        self.collect_reports()
        self._beside = self._beside or Status(PluginState.FAILED, "its worker was killed")
        self._worker.close()


def _spec(generation: Generation, log_level: int) -> tuple[ss_spec, list[Pointer[char]]]:
    """Return an ``ss_spec`` and what has to stay alive as long as it is used."""
    copy, config = generation.copy, generation.config
    texts = {
        "name": generation.name.encode("utf-8", "surrogateescape"),
        "path": bytes(copy.path),
        "shown": bytes(copy.original),
        "config_dir": bytes(config.folder),
        "user": (config.user or "").encode(),
    }
    kept = {name: ffi.new("char[]", value) for name, value in texts.items()}
    restart, limits, info = config.restart, config.limits, copy.info
    spec = ffi.new(
        "ss_spec *",
        {
            **kept,
            "memory": limits.memory or 0,
            "open_files": limits.open_files or 0,
            "kinds": 2**64 - 1 if info is None else info.kind_bits,
            "log_id": generation.log_id,
            "log_level": log_level,
            "load_timeout_ms": to_ms(config.load_timeout),
            "unload_timeout_ms": to_ms(config.unload_timeout),
            "callback_timeout_ms": to_ms(config.callback_timeout),
            "flush_idle_ms": to_ms(config.flush_interval),
            "retry_initial_ms": to_ms(config.retry.initial_delay),
            "retry_max_ms": to_ms(config.retry.max_delay),
            "retry_max_time_ms": to_ms(config.retry.max_time),
            "core_files": limits.core_files,
            "initial_delay_ms": to_ms(restart.initial_delay),
            "max_delay_ms": to_ms(restart.max_delay),
            "max_crashes": restart.max_crashes,
            "window_ms": to_ms(restart.window),
        },
    )
    return spec, list(kept.values())


def _refused(info: ss_supervised_info, copy: PrivateCopy) -> Exception:
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
