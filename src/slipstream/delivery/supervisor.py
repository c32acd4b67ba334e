"""The native supervisor and the workers that it looks after, from Python's side."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream import _native
from slipstream._native import ffi, lib
from slipstream._native.handle import Handle
from slipstream.errors import SlipstreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from slipstream._native.cdef import ss_supervised, ss_supervised_info, ss_supervisor
    from slipstream.delivery.queue import Queue
    from slipstream.logs import LogPump

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


class Supervisor(Handle["ss_supervisor"]):
    """The native thread that starts and watches workers, and kills them when it ends."""

    def __init__(self, pump: LogPump) -> None:
        """Start the thread.

        Raises:
            SlipstreamError: There is no program for workers, or no thread to be had.
        """
        pointer = lib.ss_supervisor_new(pump.pointer, bytes(find_program()))
        if pointer == ffi.NULL:
            raise SlipstreamError("no thread to be had for supervising workers", "check ulimit -u")
        super().__init__(pointer, lib.ss_supervisor_free)


class Supervised(Handle["ss_supervised"]):
    """A plugin in the supervisor's hands, over all its processes. Killed when it is closed."""

    def __init__(self, supervisor: Supervisor, queue: Queue, dead_letter: Handle[int]) -> None:
        """Announce it; nothing runs yet."""
        pointer = lib.ss_supervised_new(supervisor.pointer, queue.pointer, dead_letter.pointer)
        if pointer == ffi.NULL:
            raise MemoryError
        super().__init__(pointer, lib.ss_supervised_free, supervisor, queue, dead_letter)

    def info(self) -> ss_supervised_info:
        """Return what is known of it, an ``ss_supervised_info``: nothing once it is closed.

        Its texts are good until somebody asks again: read them under `asking`.
        """
        info = ffi.new("ss_supervised_info *")
        with self.asking():
            if not self.is_closed:
                lib.ss_supervised_describe(self.pointer, info)
        return info

    def wait(
        self, done: Callable[[ss_supervised_info], bool], timeout: float
    ) -> ss_supervised_info:
        """Wait until what is known of it fits.

        Args:
            done: Looks at an ``ss_supervised_info``.
            timeout: In seconds.

        Returns:
            What is known at last; whether it fits is for the caller to look at.
        """
        end = time.monotonic() + timeout
        info = ffi.new("ss_supervised_info *")
        while True:
            lib.ss_supervised_describe(self.pointer, info)
            left = end - time.monotonic()
            if done(info) or left <= 0:
                return info
            lib.ss_supervised_wait(self.pointer, info.changes, int(min(left, 0.1) * 1000) + 1)
