"""The native supervisor from Python's side: its handle, and what it reports of crashes."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from slipstream import _native
from slipstream._native import ffi, lib
from slipstream.errors import SlipstreamError

if TYPE_CHECKING:
    from collections.abc import Callable

_log = structlog.get_logger("slipstream")

PROGRAM = Path(_native.MODULE_FILE).resolve().with_name("slipstream-worker")


def find_program() -> Path:
    """Return the worker program; it is installed beside the native module.

    Raises:
        SlipstreamError: It is missing.
    """
    if not PROGRAM.is_file():
        raise SlipstreamError(
            f"the program {PROGRAM} is missing",
            "install slipstream again; process mode needs it",
        )
    return PROGRAM


class Supervisor:
    """The native thread that starts and watches workers; made when the first is needed."""

    def __init__(self, queue: Any) -> None:
        """Take the log queue; nothing is started yet."""
        self._queue = queue
        self._handle: Any = ffi.NULL

    @property
    def handle(self) -> Any:
        """The native supervisor."""
        if self._handle == ffi.NULL:
            self._handle = lib.ss_supervisor_new(self._queue, bytes(find_program()))
            if self._handle == ffi.NULL:
                raise SlipstreamError(
                    "no thread to be had for supervising workers", "check ulimit -u"
                )
        return self._handle

    def close(self) -> None:
        """Kill what still runs and end the thread. Does nothing the second time."""
        if self._handle != ffi.NULL and not _native.forked():
            lib.ss_supervisor_free(self._handle)
            self._handle = ffi.NULL


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashReport:
    """What is known of a worker's crash.

    Attributes:
        plugin: The plugin's name.
        time: When it was noticed, seconds since 1970 UTC.
        reason: In a sentence.
        pid: The worker's process.
        signal: The signal that it died of, 0 if it ended by itself.
        exit_code: Its exit code, -1 if there is none or it is not known.
        address: The fault's address, of signals that have one.
        pc: The instruction's address.
        module: The file that holds it.
        module_offset: Where in that file, for ``addr2line -e``.
        build_id: The GNU build id of that file in hexadecimal, for finding its debug symbols;
            "" if it has none.
        registers: Their values, in the order of the machine's `gregs`.
        ordinal: The event in flight, 0 if there was none.
        run: How many events were in flight, ending with `ordinal`.
        in_flush: They had been delivered before, and it crashed while it flushed them.
        frame_head: The first 48 bytes of that event's frame, in hexadecimal.
        acknowledged: The last acknowledged ordinal.
        uptime_ms: How long the worker had lived.
        path: The library.
        digest: Its SHA-256.
        lines: The last lines that it logged or printed.
        file: Where the report was written, None if nowhere.
    """

    plugin: str
    time: float
    reason: str
    pid: int
    signal: int
    exit_code: int
    address: int
    pc: int
    module: str
    module_offset: int
    build_id: str
    registers: tuple[int, ...]
    ordinal: int
    run: int
    in_flush: bool
    frame_head: str
    acknowledged: int
    uptime_ms: int
    path: str
    digest: str
    lines: tuple[str, ...]
    file: Path | None = None

    def to_json(self) -> str:
        """Return the report as JSON, addresses in hexadecimal."""
        fields = asdict(self)
        fields.pop("file")
        for name in ("address", "pc", "module_offset"):
            fields[name] = hex(fields[name])
        fields["registers"] = [hex(value) for value in self.registers]
        return json.dumps(fields, indent=2)


def take_reports(
    worker: Any, plugin: str, path: Path, digest: str, folder: Path | None
) -> list[CrashReport]:
    """Take a worker's waiting crash reports, and write each to a file.

    Args:
        worker: The native worker.
        plugin: The plugin's name.
        path: The library.
        digest: Its SHA-256.
        folder: Where reports are written; None writes none.

    Returns:
        The reports, oldest first.
    """
    found: list[CrashReport] = []
    raw = ffi.new("ss_report *")
    while lib.ss_worker_take_report(worker, raw) == lib.SLIPSTREAM_OK:
        lines = tuple(_native.text(line) for line in raw.lines)
        report = CrashReport(
            plugin=plugin,
            time=raw.time_ns / 1e9,
            reason=_native.text(raw.reason),
            pid=raw.pid,
            signal=raw.signal,
            exit_code=raw.exit_code,
            address=raw.address,
            pc=raw.pc,
            module=_native.text(raw.module),
            module_offset=raw.module_offset,
            build_id=_native.text(raw.build_id),
            registers=tuple(raw.values)[: raw.registers],
            ordinal=raw.ordinal,
            run=raw.run,
            in_flush=bool(raw.in_flush),
            frame_head=bytes(ffi.buffer(raw.frame_head)).hex() if raw.ordinal else "",
            acknowledged=raw.acknowledged,
            uptime_ms=raw.uptime_ms,
            path=str(path),
            digest=digest,
            lines=tuple(line for line in lines if line),
        )
        file = (
            None
            if folder is None
            else _write(report, folder / f"crash-{plugin}-{raw.time_ns}.json")
        )
        found.append(replace(report, file=file))
    return found


def _write(report: CrashReport, file: Path) -> Path | None:
    """Write a report; None if that cannot be done, which the log then says."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(report.to_json() + "\n", encoding="utf-8")
    except OSError as error:
        _log.error("crash report not written", plugin=report.plugin, problem=str(error))
        return None
    return file


def wait_for(worker: Any, done: Callable[[Any], bool], timeout: float) -> Any:
    """Wait until a worker's description fits.

    Args:
        worker: The native worker.
        done: Looks at an ``ss_worker_info``.
        timeout: In seconds.

    Returns:
        The last description; whether it fits is for the caller to look at.
    """
    info = ffi.new("ss_worker_info *")
    end = time.monotonic() + timeout
    while True:
        lib.ss_worker_describe(worker, info)
        left = end - time.monotonic()
        if done(info) or left <= 0:
            return info
        lib.ss_worker_wait(worker, info.changes, int(min(left, 0.1) * 1000) + 1)
