"""Log lines from the native side, handed to the standard `logging`.

Plugins and the core write lines into a native queue, from any thread and without ever
waiting. One Python thread takes them out; `drain` takes out what is there at once, so that
lines of a load or unload are in the log when the call returns.

The logger is ``slipstream``. What a line says beside its text stands in fields of the record
(`extra`), such as ``plugin``; `FieldFormatter` shows them behind the text.
"""

from __future__ import annotations

import itertools
import logging
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slipstream import _native
from slipstream._native import ffi, lib
from slipstream._native.handle import Handle
from slipstream.errors import ConfigError

if TYPE_CHECKING:
    from slipstream._native.cdef import ss_log_queue

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
_numbers = itertools.count(1)
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


class LogPump(Handle["ss_log_queue"]):
    """The queue of log lines, which is its pointer, and the thread that empties it.

    Attributes:
        names: From the number that lines carry to the plugin that they are of.
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
        queue = lib.ss_log_queue_new(_QUEUE_BYTES)
        if queue == ffi.NULL:
            raise MemoryError
        super().__init__(queue, _end)
        lib.ss_log_queue_set_level(queue, LEVELS[level])
        self.names: dict[int, str] = {}
        self._emit = emit
        self._thread = threading.Thread(
            target=_read, args=(queue, weakref.ref(self)), name="slipstream-log", daemon=True
        )
        self._thread.start()
        lib.ss_log_queue_retain(queue)  # the thread's own, since nobody waits for its end

    def open_log(self, name: str) -> int:
        """Return a number for log lines, which then carry this name."""
        number = next(_numbers)
        self.names[number] = name
        return number

    def close_log(self, log_id: int) -> None:
        """Hand on the last lines of a number, and forget its name."""
        self.drain()
        self.names.pop(log_id, None)

    def drain(self) -> None:
        """Hand every waiting line on."""
        if self.is_closed:
            return
        with self._lock:
            line = ffi.new("ss_log_line *")
            while not self.is_closed and lib.ss_log_queue_next(self.pointer, line):
                self._hand_on(LogLine(line.level, line.log_id, _native.text(line.text)))
            dropped = 0 if self.is_closed else lib.ss_log_queue_dropped(self.pointer)
            if dropped:
                text = f"{dropped} log lines were dropped: the queue was full"
                self._hand_on(LogLine(lib.SLIPSTREAM_LOG_WARN, 0, text))

    def _hand_on(self, line: LogLine) -> None:
        try:
            (self._emit or self._to_logging)(line)
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

    def close(self) -> None:
        """Hand the last lines on, and end the thread. The queue lives as long as its writers."""
        self.drain()
        super().close()
        if self._thread is not threading.current_thread():
            self._thread.join(2 * _SLICE_MS / 1000)


def _read(queue: ss_log_queue, pump: weakref.ref[LogPump]) -> None:
    """Empty the queue until the pump is closed, or gone."""
    while (reader := pump()) is not None and not reader.is_closed:
        reader.drain()
        del reader  # while this waits, others may let go of it
        lib.ss_log_queue_wait(queue, _SLICE_MS)
    lib.ss_log_queue_release(queue)


def _end(queue: ss_log_queue) -> None:
    lib.ss_log_queue_wake(queue)
    lib.ss_log_queue_release(queue)
