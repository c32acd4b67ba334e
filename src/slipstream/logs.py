"""Log lines from the native side, handed to structlog.

Plugins and the core write lines into a native queue, from any thread and without ever
waiting. One Python thread takes them out; `drain` takes out what is there at once, so that
lines of a load or unload are in the log when the call returns.
"""

from __future__ import annotations

import threading
from typing import Any

import structlog

from slipstream import _native
from slipstream._native import ffi, lib

_QUEUE_BYTES = 1 << 20
_SLICE_MS = 500
_MISBEHAVING = {
    lib.SLIPSTREAM_LOG_HOST_MISBEHAVING: "host misbehaving",
    lib.SLIPSTREAM_LOG_PLUGIN_MISBEHAVING: "plugin misbehaving",
}
LEVELS: dict[str, int] = {
    "trace": lib.SLIPSTREAM_LOG_TRACE,
    "debug": lib.SLIPSTREAM_LOG_DEBUG,
    "info": lib.SLIPSTREAM_LOG_INFO,
    "warning": lib.SLIPSTREAM_LOG_WARN,
    "error": lib.SLIPSTREAM_LOG_ERROR,
}


class LogPump:
    """The queue of log lines and the thread that empties it.

    Attributes:
        queue: The native queue.
        names: From an instance's number to the name that its lines carry.
    """

    def __init__(self, level: str) -> None:
        """Start the thread.

        Args:
            level: The lowest level that is kept: trace, debug, info, warning or error.
        """
        self.queue: Any = lib.ss_logq_new(_QUEUE_BYTES)
        if self.queue == ffi.NULL:
            raise MemoryError
        lib.ss_logq_set_level(self.queue, LEVELS[level])
        self.names: dict[int, str] = {}
        self._log = structlog.get_logger("slipstream")
        self._reader = threading.Lock()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="slipstream-log", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping:
            lib.ss_logq_wait(self.queue, _SLICE_MS)
            self.drain()

    def drain(self) -> None:
        """Hand every waiting line to structlog."""
        if self._stopping or _native.forked():
            return
        with self._reader:
            line = ffi.new("ss_log_line *")
            while lib.ss_logq_next(self.queue, line):
                self._emit(line.level, line.source, _native.text(line.text))
            dropped = lib.ss_logq_dropped(self.queue)
            if dropped:
                self._log.warning("log lines were dropped: the queue was full", count=dropped)

    def _emit(self, level: int, source: int, line: str) -> None:
        fields: dict[str, object] = {}
        if source in self.names:
            fields["plugin"] = self.names[source]
        if level in _MISBEHAVING:
            fields["contract"] = _MISBEHAVING[level]
        if level >= lib.SLIPSTREAM_LOG_ERROR:
            self._log.error(line, **fields)
        elif level == lib.SLIPSTREAM_LOG_WARN:
            self._log.warning(line, **fields)
        elif level == lib.SLIPSTREAM_LOG_INFO:
            self._log.info(line, **fields)
        else:
            self._log.debug(line, **fields)

    def stop(self, *, free: bool) -> None:
        """Empty the queue and end the thread.

        Args:
            free: Give the queue's memory back; only where nothing can write to it any more.
        """
        if self._stopping or _native.forked():
            return
        self.drain()
        self._stopping = True
        lib.ss_logq_wake(self.queue)
        if self._thread is not threading.current_thread():
            self._thread.join(2 * _SLICE_MS / 1000)
        if free and not self._thread.is_alive():
            lib.ss_logq_free(self.queue)
            self.queue = ffi.NULL
