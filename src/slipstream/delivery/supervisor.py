"""The native supervisor from Python's side: its handle, and waiting for what it does."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipstream import _native
from slipstream._native import ffi, lib
from slipstream.errors import SlipstreamError

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("slipstream")

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

    def __init__(self, log: Any) -> None:
        """Take the log queue; nothing is started yet."""
        self._log_queue = log
        self._handle: Any = ffi.NULL

    @property
    def handle(self) -> Any:
        """The native supervisor."""
        if self._handle == ffi.NULL:
            self._handle = lib.ss_supervisor_new(self._log_queue, bytes(find_program()))
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


def wait_for(worker: Any, done: Callable[[Any], bool], timeout: float) -> Any:
    """Wait until a worker's description fits.

    Args:
        worker: The native worker.
        done: Looks at an ``ss_supervised_info``.
        timeout: In seconds.

    Returns:
        The last description; whether it fits is for the caller to look at.
    """
    info = ffi.new("ss_supervised_info *")
    end = time.monotonic() + timeout
    while True:
        lib.ss_supervised_describe(worker, info)
        left = end - time.monotonic()
        if done(info) or left <= 0:
            return info
        lib.ss_supervised_wait(worker, info.changes, int(min(left, 0.1) * 1000) + 1)
