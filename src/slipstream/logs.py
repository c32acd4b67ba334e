"""Log lines from the native side, handed to the standard `logging`.

Plugins and the core write lines into a native queue, from any thread and without ever
waiting. One Python thread takes them out; `drain` takes out what is there at once, so that
lines of a load or unload are in the log when the call returns.

The logger is ``slipstream``. What a line says beside its text stands in fields of the record
(`extra`), such as ``plugin``; `FieldFormatter` shows them behind the text.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slipstream import _native
from slipstream._native import ffi, lib
from slipstream.errors import ConfigError

_QUEUE_BYTES = 1 << 20
_SLICE_MS = 500
_MISBEHAVING = {
    lib.SLIPSTREAM_LOG_HOST_MISBEHAVING: "host misbehaving",
    lib.SLIPSTREAM_LOG_PLUGIN_MISBEHAVING: "plugin misbehaving",
}
_STANDARD_LEVELS = (
    (lib.SLIPSTREAM_LOG_ERROR, logging.ERROR),
    (lib.SLIPSTREAM_LOG_WARN, logging.WARNING),
    (lib.SLIPSTREAM_LOG_INFO, logging.INFO),
    (0, logging.DEBUG),
)
LEVELS: dict[str, int] = {
    "trace": lib.SLIPSTREAM_LOG_TRACE,
    "debug": lib.SLIPSTREAM_LOG_DEBUG,
    "info": lib.SLIPSTREAM_LOG_INFO,
    "warning": lib.SLIPSTREAM_LOG_WARN,
    "error": lib.SLIPSTREAM_LOG_ERROR,
}

_log = logging.getLogger("slipstream")
# What every record has; all else came as a field.
_RECORD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Return the fields that a record carries beside its text."""
    return {name: value for name, value in vars(record).items() if name not in _RECORD}


class FieldFormatter(logging.Formatter):
    """Writes the fields of a record behind its text, as ``name=value``."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """Return the text of a record, its fields included."""
        shown = (f" {name}={value}" for name, value in fields_of(record).items())
        return super().formatMessage(record) + "".join(shown)


class StandardErrorHandler(logging.Handler):
    """Writes to what is standard error at that moment: a progress bar may have replaced it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:  # noqa: BLE001 - as logging's own handlers do
            self.handleError(record)


class _LastResort(StandardErrorHandler):
    """Shows warnings, fields included, where the program has configured no logging at all."""

    def filter(self, record: logging.LogRecord) -> bool:
        return _log.handlers == [self] and not logging.root.handlers and super().filter(record)


_last_resort = _LastResort(logging.WARNING)
_last_resort.setFormatter(FieldFormatter())
_log.addHandler(_last_resort)


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a plugin or of the core.

    Attributes:
        level: SLIPSTREAM_LOG_*.
        log_id: The number of the instance; 0 is the core itself.
        text: Without control characters.
    """

    level: int
    log_id: int
    text: str

    @property
    def contract(self) -> str:
        """Who broke the contract, if the line says so: "plugin misbehaving", or ""."""
        return _MISBEHAVING.get(self.level, "")


class LogPump:
    """The queue of log lines and the thread that empties it.

    Attributes:
        queue: The native queue.
        names: From an instance's number to the name that its lines carry.
        afterwards: Called by the thread whenever it has looked for lines.
    """

    def __init__(self, level: str, emit: Callable[[LogLine], None] | None = None) -> None:
        """Start the thread.

        Args:
            level: The lowest level that is kept: trace, debug, info, warning or error.
            emit: Gets each line; None hands it to `logging`.

        Raises:
            ConfigError: There is no such level.
        """
        if level not in LEVELS:
            raise ConfigError(f"{level!r} is no log level", f"use one of {', '.join(LEVELS)}")
        self.queue: Any = lib.ss_log_queue_new(_QUEUE_BYTES)
        if self.queue == ffi.NULL:
            raise MemoryError
        lib.ss_log_queue_set_level(self.queue, LEVELS[level])
        self.names: dict[int, str] = {}
        self.afterwards: Callable[[], None] | None = None
        self._emit = self._to_logging if emit is None else emit
        # Re-entrant: a signal handler may close the manager while this thread drains.
        self._reader = threading.RLock()
        self._stopping = False
        lib.ss_log_queue_retain(self.queue)  # the thread's own, since nobody waits for its end
        self._thread = threading.Thread(
            target=self._run, args=(self.queue,), name="slipstream-log", daemon=True
        )
        self._thread.start()

    def _run(self, queue: Any) -> None:
        while not self._stopping:
            lib.ss_log_queue_wait(queue, _SLICE_MS)
            self.drain()
            if self.afterwards is not None and not self._stopping and not _native.forked():
                self._look_after(self.afterwards)
        lib.ss_log_queue_release(queue)

    @staticmethod
    def _look_after(afterwards: Callable[[], None]) -> None:
        try:
            afterwards()
        except Exception:  # noqa: BLE001 - whatever it is, lines have to be read further on
            traceback.print_exc(file=sys.stderr)

    def forget(self, log_id: int) -> None:
        """Hand on the last lines of an instance that is closed, and forget its name."""
        self.drain()
        self.names.pop(log_id, None)

    def drain(self) -> None:
        """Hand every waiting line on."""
        if _native.forked():
            return
        with self._reader:
            if self._stopping:
                return
            line = ffi.new("ss_log_line *")
            while lib.ss_log_queue_next(self.queue, line):
                self._hand_on(LogLine(line.level, line.log_id, _native.text(line.text)))
            dropped = lib.ss_log_queue_dropped(self.queue)
            if dropped:
                text = f"{dropped} log lines were dropped: the queue was full"
                self._hand_on(LogLine(lib.SLIPSTREAM_LOG_WARN, 0, text))

    def _hand_on(self, line: LogLine) -> None:
        try:
            self._emit(line)
        except Exception:  # noqa: BLE001 - a broken log must not break what is logged
            traceback.print_exc(file=sys.stderr)

    def _to_logging(self, line: LogLine) -> None:
        level = next(level for least, level in _STANDARD_LEVELS if line.level >= least)
        if not _log.isEnabledFor(level):
            return
        fields: dict[str, object] = {}
        if line.log_id in self.names:
            fields["plugin"] = self.names[line.log_id]
        if line.contract:
            fields["contract"] = line.contract
        _log.log(level, line.text, extra=fields)

    def stop(self) -> None:
        """Empty the queue and end the thread. The queue lives as long as its last writer."""
        if _native.forked():
            return
        self.drain()
        with self._reader:
            if self._stopping:
                return
            self._stopping = True
        lib.ss_log_queue_wake(self.queue)
        if self._thread is not threading.current_thread():
            self._thread.join(2 * _SLICE_MS / 1000)
        lib.ss_log_queue_release(self.queue)
        self.queue = ffi.NULL
