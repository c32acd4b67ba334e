"""Log lines from the native side and from here, handed to the standard `logging`.

Plugins and the core write lines into a native queue, from any thread and without ever
waiting; what is said in Python about plugins waits beside it. One thread hands all of them to
`logging`, in the order in which they were made. So a handler that raises, fails or waits for
ever holds up that thread alone. `drain` waits until it has handed on what is there, so that
lines of a load or unload are in the log when the call returns; it gives up where nobody reads.

The logger is ``slipstream``. What a line says beside its text stands in fields of the record
(`extra`), such as ``plugin``; `FieldFormatter` shows them behind the text.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import sys
import threading
import time
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slipstream import _native
from slipstream._native import ffi, lib
from slipstream._native.handle import Handle
from slipstream._platform import at_fork_in_child, write_patiently
from slipstream.errors import ConfigError, SlipstreamError
from slipstream.text import counted

if TYPE_CHECKING:
    from slipstream._native.cdef import ss_log_line, ss_log_queue

_QUEUE_BYTES = 1 << 20
_SAID_MAX = 10_000
_TAKEN_MAX = 32
_SLICE_MS = 500
_PATIENCE = 1.0  # seconds without headway after which a log counts as unread
_DRAIN_WAIT = 5.0  # seconds
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
    """Writes the fields of a record after its text, as ``name=value``."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """Return the text of a record, its fields included."""
        shown = (f" {name}={value}" for name, value in fields_of(record).items())
        return super().formatMessage(record) + "".join(shown)


class _StandardError:
    """Standard error, past Python's buffers: nobody waits long for whoever does not read it."""

    def __init__(self) -> None:
        self._begin()
        at_fork_in_child(self._begin)  # the lock may be held for good there

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._patience = _PATIENCE
        self._lost = 0

    def write(self, text: str) -> None:
        """Write lines to what is standard error at that moment; what cannot be is counted."""
        stream, real = sys.stderr, sys.__stderr__
        if stream is None:
            return  # closed by whoever started the program
        if stream is not real or real is None:  # a progress bar, or a test
            stream.write(text)
            stream.flush()
            return
        data = text.encode(real.encoding or "utf-8", "backslashreplace")
        with self._lock:
            if self._lost:
                data = b"%d log lines were lost: nobody read them\n" % self._lost + data
            if write_patiently(real.fileno(), data, self._patience):
                self._patience, self._lost = _PATIENCE, 0
            else:
                self._patience = 0.0  # until somebody reads again
                self._lost += 1


standard_error = _StandardError()


class StandardErrorHandler(logging.Handler):
    """Writes to standard error; a failure is nobody's but its own."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        with contextlib.suppress(Exception):
            standard_error.write(self.format(record) + "\n")


class _LastResort(StandardErrorHandler):
    """Shows warnings, fields included, where the program has configured no logging at all."""

    def filter(self, record: logging.LogRecord) -> bool:
        # Who only looks on, aside, shows nothing to anybody.
        others = [h for h in _log.handlers if h is not self and not getattr(h, "aside", False)]
        return not others and not logging.root.handlers and super().filter(record)


_last_resort = _LastResort(logging.WARNING)
_last_resort.setFormatter(FieldFormatter())
_log.addHandler(_last_resort)


class Seldom:
    """Lets a line through now and then, and counts those in between."""

    def __init__(self, every: float = 10.0) -> None:
        """Let one of each kind through in so many seconds."""
        self._every = every
        self._kinds: dict[str, tuple[float, int]] = {}
        self._lock = threading.Lock()

    def due(self, kind: str) -> int | None:
        """Say whether a line of this kind is due: None, or how many were left out before it."""
        now = time.monotonic()
        with self._lock:
            last, left = self._kinds.get(kind, (-self._every, 0))
            if now - last < self._every:
                self._kinds[kind] = last, left + 1
                return None
            self._kinds[kind] = now, 0
            return left


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a plugin or of the core.

    Attributes:
        level: SLIPSTREAM_LOG_*.
        log_id: The number of the instance; 0 is the core itself.
        text: Without control characters.
        time_ns: When it was made, in nanoseconds since 1970 UTC.
    """

    level: int
    log_id: int
    text: str
    time_ns: int = field(default=0, compare=False)

    @property
    def contract(self) -> str:
        """Who broke the contract, if the line says so: "plugin misbehaving", or ""."""
        return _MISBEHAVING.get(self.level, "")


class LogPump(Handle["ss_log_queue"]):
    """The queue of log lines, which is its pointer, and the thread that empties it.

    Attributes:
        names: From the number that lines carry to the plugin that they are of.
        on_report: Called where a crash report waits to be taken.
    """

    on_report: Callable[[], None] | None = None

    def __init__(self, level: str, emit: Callable[[LogLine], None] | None = None) -> None:
        """Start the thread.

        Args:
            level: The lowest level that is kept: trace, debug, info, warning or error.
            emit: Gets each line; None hands it to `logging`.

        Raises:
            ConfigError: There is no such level.
            SlipstreamError: There is no thread to be had.
        """
        if level not in LEVELS:
            raise ConfigError(f"{level!r} is not a log level", f"use one of {', '.join(LEVELS)}")
        queue = lib.ss_log_queue_new(_QUEUE_BYTES)
        if queue == ffi.NULL:
            raise MemoryError
        super().__init__(queue, _end)
        lib.ss_log_queue_set_level(queue, LEVELS[level])
        self.names: dict[int, str] = {}
        self._emit = emit
        self._said: deque[tuple[int, Callable[[], object]]] = deque()  # by time
        self._unsaid = 0
        self._turn = threading.Condition()
        self._asked = self._served = 0  # passes
        self._headway = 0  # lines
        self._is_stuck = False
        self._thread = threading.Thread(
            target=_read, args=(queue, weakref.ref(self)), name="slipstream-log", daemon=True
        )
        lib.ss_log_queue_retain(queue)  # the thread's own, since nobody waits for its end
        try:
            self._thread.start()
        except RuntimeError:
            lib.ss_log_queue_release(queue)
            super().close()
            raise SlipstreamError(
                "cannot start a thread for log lines", "check the limit on processes: ulimit -u"
            ) from None

    def open_log(self, name: str) -> int:
        """Return a number for log lines, which then carry this name."""
        number = next(_numbers)
        self.names[number] = name
        return number

    def close_log(self, log_id: int) -> None:
        """Forget the name of a number, once its last lines are handed on."""
        self._tell_withheld()
        self._wait_in_line(time.time_ns(), lambda: self.names.pop(log_id, None))

    def say(  # noqa: PLR0913 - the last three are rarely given, and by name
        self,
        level: int,
        text: str,
        fields: dict[str, object],
        *,
        log_id: int = 0,
        time_ns: int = 0,
        error: BaseException | None = None,
    ) -> None:
        """Log a line in its place among those of the core.

        Args:
            level: As `logging` has them.
            text: The line.
            fields: What it says beside its text.
            log_id: Whose rate it counts for; 0: it is always let through.
            time_ns: When it was made; 0: now.
            error: What it tells of.
        """
        if not _log.isEnabledFor(level) or not self._may_say(log_id):
            return
        made = time_ns or time.time_ns()
        record = _record(level, text, made, fields, error)
        if self.is_closed:  # there is no line to stand in any more
            _guard(_log.handle, record)
        elif len(self._said) < _SAID_MAX:
            self._wait_in_line(made, lambda: _log.handle(record))
        else:
            self._unsaid += 1

    def drain(self) -> None:
        """Wait until every line is handed on that was there at the call; not where nobody reads."""
        if self.is_closed:
            return
        if threading.current_thread() is self._thread:  # a handler that asks for something
            self._pass_on(self.pointer)
            return
        with self._turn:
            self._asked += 1
            number = self._asked
        with self.asking():
            if not self.is_closed:
                lib.ss_log_queue_poke(self.pointer)
        with self._turn:
            now = since = time.monotonic()
            end, seen = now + _DRAIN_WAIT, self._headway
            while self._served < number and not self._is_stuck and self._thread.is_alive():
                self._turn.wait(min(since + _PATIENCE, end) - now)
                now = time.monotonic()
                if self._headway != seen:
                    since, seen = now, self._headway
                self._is_stuck = now >= min(since + _PATIENCE, end) and self._served < number

    # ---- The thread -----------------------------------------------------------------------

    def serve(self, queue: ss_log_queue) -> None:
        """Hand on what is there, and say so to those who wait for it; called by its thread."""
        with self._turn:
            number = self._asked
        self._pass_on(queue)
        with self._turn:
            self._served = number
            self._is_stuck = False
            self._turn.notify_all()

    def _pass_on(self, queue: ss_log_queue) -> None:
        """Hand on what was there when this began: what comes meanwhile is for the next time."""
        lib.ss_log_queue_tell_withheld(queue, 0)
        until, now = lib.ss_log_queue_end(queue), time.time_ns()
        line = ffi.new("ss_log_line *")
        while some := list(_take(queue, line, until)):
            for one in sorted(some, key=lambda line: line.time_ns):  # workers' were on their way
                if one.level == lib.SS_LOG_REPORT:
                    _guard(self.on_report or _nothing)
                self._pass_on_said(one.time_ns)
                if one.level != lib.SS_LOG_REPORT:
                    self._hand_on(one)
        self._pass_on_said(now)
        unsaid, self._unsaid = self._unsaid, 0
        dropped = lib.ss_log_queue_dropped(queue) + unsaid
        if dropped:
            text = counted(dropped, "log line was", "log lines were")
            text += " dropped: the queue was full"
            self._hand_on(LogLine(lib.SLIPSTREAM_LOG_WARN, 0, text, time.time_ns()))

    def _pass_on_said(self, until_ns: int) -> None:
        while self._said and self._said[0][0] <= until_ns:
            _guard(self._said.popleft()[1])
            self._headway += 1

    def _hand_on(self, line: LogLine) -> None:
        _guard(self._emit or self._to_logging, line)
        self._headway += 1

    def _to_logging(self, line: LogLine) -> None:
        level = next(level for least, level in _STANDARD_LEVELS if line.level >= least)
        if not _log.isEnabledFor(level):
            return
        fields: dict[str, object] = {}
        if line.log_id in self.names:
            fields["plugin"] = self.names[line.log_id]
        if line.contract:
            fields["contract"] = line.contract
        _log.handle(_record(level, line.text, line.time_ns, fields, None))

    # ---- Beside the queue -----------------------------------------------------------------

    def _may_say(self, log_id: int) -> bool:
        with self.asking():
            return self.is_closed or bool(lib.ss_log_queue_may_say(self.pointer, log_id))

    def _tell_withheld(self) -> None:
        with self.asking():
            if not self.is_closed:
                lib.ss_log_queue_tell_withheld(self.pointer, 1)

    def _wait_in_line(self, time_ns: int, do: Callable[[], object]) -> None:
        self._said.append((time_ns, do))
        with self.asking():
            if not self.is_closed:
                lib.ss_log_queue_poke(self.pointer)

    def close(self) -> None:
        """Hand the last lines on, and end the thread. The queue lives as long as its writers."""
        self._tell_withheld()
        self.drain()
        super().close()
        if self._thread is not threading.current_thread() and not self._is_stuck:
            self._thread.join(2 * _SLICE_MS / 1000)


def _take(queue: ss_log_queue, line: ss_log_line, until: int) -> Iterator[LogLine]:
    """Yield the next lines, few at once: what is taken is lost if the process falls."""
    for _ in range(_TAKEN_MAX):
        if line.end >= until or not lib.ss_log_queue_next(queue, line):
            return
        yield LogLine(line.level, line.log_id, _native.text(line.text), line.time_ns)


def _nothing() -> None:
    """Nobody takes crash reports."""


def _record(
    level: int,
    text: str,
    time_ns: int,
    fields: dict[str, object],
    error: BaseException | None,
) -> logging.LogRecord:
    """Return a record that carries the time at which its line was made."""
    exc_info = None if error is None else (type(error), error, error.__traceback__)
    record = _log.makeRecord(_log.name, level, "(slipstream)", 0, text, (), exc_info, extra=fields)
    started = record.created - record.relativeCreated / 1000
    record.created = time_ns / 1e9
    record.msecs = float(time_ns // 1_000_000 % 1000)
    record.relativeCreated = (record.created - started) * 1000
    return record


def _guard(do: Callable[..., object], *arguments: object) -> None:
    """Do something for the log: what it raises must not break what is logged."""
    try:
        do(*arguments)
    except BaseException:  # noqa: BLE001 - SystemExit of a handler, too
        with contextlib.suppress(Exception):
            standard_error.write(traceback.format_exc())


def _read(queue: ss_log_queue, pump: weakref.ref[LogPump]) -> None:
    """Empty the queue until the pump is closed, or gone."""
    while (reader := pump()) is not None and not reader.is_closed:
        reader.serve(queue)
        del reader  # while this waits, others may let go of it
        lib.ss_log_queue_wait(queue, _SLICE_MS)
    lib.ss_log_queue_release(queue)


def _end(queue: ss_log_queue) -> None:
    lib.ss_log_queue_wake(queue)
    lib.ss_log_queue_release(queue)
