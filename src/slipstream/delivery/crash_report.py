"""What is known of a worker's crash, and the file that says so."""

from __future__ import annotations

import json
import logging
import os
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream import _native
from slipstream._native import ffi, lib
from slipstream._platform import create_private, make_private_folder

MOST = 100
"""So many reports are kept of each plugin."""
MOST_BYTES = 1 << 30
"""So many bytes do they take, with the libraries that they name."""

_told: set[Path] = set()  # the folders from which reports were removed

if TYPE_CHECKING:
    from slipstream._native.cdef import ss_report, ss_supervised
    from slipstream.library import PrivateCopy
    from slipstream.logs import LogPump


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
        thread: The thread that the signal came to, by number and name; "" if it is not known.
        backtrace: The calls that were under way on it, innermost first, each as file and offset.
        registers: Their values, in the order of the machine's `gregs`.
        ordinal: The event in flight, 0 if there was none.
        run: How many events were in flight, ending with `ordinal`.
        in_flush: They had been delivered before, and it crashed while it flushed them.
        frame_head: The first 48 bytes of that event's frame, in hexadecimal.
        acknowledged: The last acknowledged ordinal.
        uptime_ms: How long the worker had lived.
        path: The library.
        copy: The private copy of it that ran.
        library: The same, kept beside the report as long as a report there names it; None if it is
            not.
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
    thread: str
    backtrace: tuple[tuple[str, int], ...]
    registers: tuple[int, ...]
    ordinal: int
    run: int
    in_flush: bool
    frame_head: str
    acknowledged: int
    uptime_ms: int
    path: str
    copy: str
    digest: str
    lines: tuple[str, ...]
    library: str | None = None
    file: Path | None = None

    def fields(self) -> dict[str, object]:
        """Return what the log says of it; without what is not known."""
        said: dict[str, object] = {"plugin": self.plugin, "reason": self.reason, "pid": self.pid}
        if self.module:
            said |= {"crashed_in": self.module, "offset": hex(self.module_offset)}
        for name, text in (("in_thread", self.thread), ("build_id", self.build_id)):
            if text:
                said[name] = text
        said |= {
            "ordinal": self.ordinal,
            "in_flush": self.in_flush,
            "acknowledged": self.acknowledged,
        }
        return said if self.file is None else {**said, "report": str(self.file)}

    def to_json(self) -> str:
        """Return the report as JSON, addresses in hexadecimal."""
        fields = asdict(self)
        fields.pop("file")
        for name in ("address", "pc", "module_offset"):
            fields[name] = hex(fields[name])
        fields["backtrace"] = [
            {"module": module, "offset": hex(offset)} for module, offset in self.backtrace
        ]
        fields["registers"] = [hex(value) for value in self.registers]
        return json.dumps(fields, indent=2)


def take_reports(
    worker: ss_supervised, plugin: str, copy: PrivateCopy, folder: Path | None, pump: LogPump
) -> list[CrashReport]:
    """Take a worker's waiting crash reports, and write each to a file.

    Args:
        worker: The native worker.
        plugin: The plugin's name.
        copy: The library.
        folder: Where reports are written; None writes none.
        pump: Is told of each.

    Returns:
        The reports, oldest first.
    """
    found: list[CrashReport] = []
    raw = ffi.new("ss_report *")
    while lib.ss_supervised_take_report(worker, raw) == lib.SLIPSTREAM_OK:
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
            thread=f"{raw.thread} {_native.text(raw.thread_name)}" if raw.has_fault else "",
            backtrace=_backtrace(raw),
            registers=tuple(raw.values)[: raw.registers],
            ordinal=raw.ordinal,
            run=raw.run,
            in_flush=bool(raw.in_flush),
            frame_head=bytes(ffi.buffer(raw.frame_head)).hex() if raw.ordinal else "",
            acknowledged=raw.acknowledged,
            uptime_ms=raw.uptime_ms,
            path=str(copy.original),
            copy=str(copy.path),
            digest=copy.digest,
            lines=tuple(line for line in lines if line),
        )
        if folder is not None:
            report = _keep(report, copy.path, folder / f"crash-{plugin}-{raw.time_ns}.json", pump)
        found.append(report)
        pump.say(logging.ERROR, "worker crashed", report.fields(), time_ns=raw.time_ns)
    return found


def _keep(report: CrashReport, copy: Path, file: Path, pump: LogPump) -> CrashReport:
    """Write a report, and keep the library that it speaks of beside it."""
    kept = _keep_library(copy, file.parent, report.digest)
    report = replace(report, library=None if kept is None else str(kept))
    report = replace(report, file=_write(report, file, pump))
    try:
        _remove_oldest(file, kept, pump)
    except OSError as error:
        fields: dict[str, object] = {"plugin": report.plugin, "problem": str(error)}
        pump.say(logging.WARNING, "old crash reports not removed", fields)
    return report


def _age(report: Path) -> int:
    """Return a number by which a report's file is younger than others."""
    number = report.stem.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def _remove_oldest(newest: Path, library: Path | None, pump: LogPump) -> None:
    """Keep so many reports and so many bytes, and the newest with its library in any case."""
    folder = newest.parent
    reports = sorted(folder.glob("crash-*.json"), key=_age)
    removed = len(reports) - MOST
    for oldest in reports[: max(removed, 0)]:
        oldest.unlink(missing_ok=True)
    reports = [path for path in reports[max(removed, 0) :] if path != newest]
    _remove_unnamed(folder, library)
    while reports and sum(path.stat().st_size for path in folder.glob("crash-*")) > MOST_BYTES:
        reports.pop(0).unlink(missing_ok=True)
        _remove_unnamed(folder, library)
        removed = 1
    if removed > 0 and folder not in _told:
        _told.add(folder)
        fields: dict[str, object] = {"folder": str(folder), "most": MOST, "most_bytes": MOST_BYTES}
        pump.say(logging.INFO, "old crash reports are removed from now on", fields)


def _remove_unnamed(folder: Path, library: Path | None) -> None:
    """Remove the libraries that no report names any more. Mostly there is one, which is named."""
    others = [path for path in folder.glob("crash-*.so") if path != library]
    if not others:
        return
    named = b"".join(report.read_bytes() for report in folder.glob("crash-*.json"))
    for path in others:
        if os.fsencode(path.name) not in named:
            path.unlink(missing_ok=True)


def _keep_library(copy: Path, folder: Path, digest: str) -> Path | None:
    """Keep a library, once; None if it cannot."""
    kept = folder / f"crash-{digest[:16]}.so"
    if kept.exists():
        return kept
    try:
        make_private_folder(folder)
        draft = kept.with_suffix(".new")
        draft.unlink(missing_ok=True)
        try:
            draft.hardlink_to(copy)
        except OSError:  # on another disk
            shutil.copyfile(copy, draft)
        draft.rename(kept)
    except OSError:
        return None
    return kept


def _backtrace(raw: ss_report) -> tuple[tuple[str, int], ...]:
    """Return the calls under way; of one that lies in no file the address."""
    frames: list[tuple[str, int]] = []
    for index in range(raw.frames):
        number = raw.frame_module[index]
        module = _native.text(raw.modules[number - 1]) if number else ""
        frames.append((module, raw.frame_offset[index] if number else raw.frame_pc[index]))
    return tuple(frames)


def _write(report: CrashReport, file: Path, pump: LogPump) -> Path | None:
    """Write a report; None if that cannot be done, which the log then says."""
    try:
        make_private_folder(file.parent)
        with os.fdopen(create_private(file), "w", encoding="utf-8") as written:
            written.write(report.to_json() + "\n")
    except OSError as error:
        fields: dict[str, object] = {"plugin": report.plugin, "problem": str(error)}
        pump.say(logging.ERROR, "crash report not written", fields)
        return None
    return file
