"""The native supervisor and the workers that it looks after, from Python's side."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from slipstream import _native
from slipstream._native import ffi, lib
from slipstream._native.handle import Handle
from slipstream.errors import SlipstreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from slipstream._native.cdef import ss_supervised, ss_supervised_info, ss_supervisor
    from slipstream.delivery.hurry import Hurry
    from slipstream.delivery.letters import Letters
    from slipstream.delivery.queue import Queue
    from slipstream.logs import LogPump

_LOOK_EVERY = 0.25  # seconds
_END_WAIT = 5.0  # seconds; it may be writing a report
_CLAIM_ROOM = 256  # bytes of a payload name, the NUL included
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


class HasWorker(Protocol):
    """A plugin whose worker is supervised."""

    def collect_reports(self) -> None:
        """Take waiting crash reports and write them to files."""

    def kill(self) -> None:
        """Kill the worker if it still runs."""


class Supervisor(Handle["ss_supervisor"]):
    """The native thread that starts and watches workers, and kills them when it ends.

    Beside it a thread of Python's writes crash reports down that nobody asks for.
    """

    def __init__(self, pump: LogPump) -> None:
        """Start the threads.

        Raises:
            SlipstreamError: There is no program for workers, or no thread to be had.
        """
        pointer = lib.ss_supervisor_new(pump.pointer, bytes(find_program()))
        if pointer == ffi.NULL:
            raise _no_thread()
        ended = threading.Event()
        super().__init__(pointer, partial(_end, ended))
        self._plugins: weakref.WeakSet[HasWorker] = weakref.WeakSet()
        self._pump = pump
        pump.on_report = partial(_collect_all, weakref.ref(self))
        self._thread = threading.Thread(
            target=_collect, args=(ended, weakref.ref(self)), name="slipstream-crashes", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError:
            super().close()
            raise _no_thread() from None

    def look_after(self, plugin: HasWorker) -> None:
        """Write its crash reports down, and kill it at the end."""
        with self._lock:
            self._plugins.add(plugin)

    def _all(self) -> list[HasWorker]:
        with self._lock:
            return list(self._plugins)

    @property
    def beats(self) -> int:
        """Grows at least once a second as long as its thread makes headway."""
        with self.asking():
            return 0 if self.is_closed else int(lib.ss_supervisor_beats(self.pointer))

    def collect_reports(self) -> None:
        """Write down the crash reports that wait."""
        for plugin in self._all():
            try:
                plugin.collect_reports()
            except Exception as error:  # noqa: BLE001 - others may have crashed as well
                self._pump.say(logging.ERROR, "a crash report is lost", {}, error=error)

    def close(self) -> None:
        """Kill what still runs, and end the threads."""
        if not self.is_closed:
            for plugin in self._all():
                plugin.kill()
        super().close()
        if self._thread is not threading.current_thread():
            self._thread.join(_END_WAIT)


def _no_thread() -> SlipstreamError:
    return SlipstreamError(
        "cannot start a thread for supervising workers",
        "check the limits on processes and open files: ulimit -u, ulimit -n",
    )


def _collect_all(supervisor: weakref.ref[Supervisor]) -> None:
    if (held := supervisor()) is not None and not held.is_closed:
        held.collect_reports()


def _collect(ended: threading.Event, supervisor: weakref.ref[Supervisor]) -> None:
    """Take crash reports now and then, until the supervisor is closed, or gone."""
    while not ended.wait(_LOOK_EVERY) and (held := supervisor()) is not None:
        held.collect_reports()
        del held  # while this waits, others may let go of it


def _end(ended: threading.Event, supervisor: ss_supervisor) -> None:
    ended.set()
    lib.ss_supervisor_free(supervisor)


class Supervised(Handle["ss_supervised"]):
    """A plugin in the supervisor's hands, over all its processes. Killed when it is closed."""

    def __init__(
        self, supervisor: Supervisor, queue: Queue, letters: Letters, hurry: Hurry
    ) -> None:
        """Announce it; nothing runs yet."""
        self._hurry = hurry
        pointer = lib.ss_supervised_new(supervisor.pointer, queue.pointer, letters.pointer)
        if pointer == ffi.NULL:
            raise MemoryError
        super().__init__(pointer, lib.ss_supervised_free, supervisor, queue, letters)

    def info(self) -> ss_supervised_info:
        """Return what is known of it, an ``ss_supervised_info``: nothing once it is closed."""
        info = ffi.new("ss_supervised_info *")
        with self.asking():
            if not self.is_closed:
                lib.ss_supervised_describe(self.pointer, info)
        return info

    def claims(self) -> tuple[bytes, ...]:
        """Return the payload names that the plugin claims."""
        found: list[bytes] = []
        name = ffi.new("char[]", bytes(_CLAIM_ROOM))
        while lib.ss_supervised_claim(self.pointer, len(found), name, _CLAIM_ROOM):
            found.append(ffi.string(name))
        return tuple(found)

    def wait(
        self, done: Callable[[ss_supervised_info], bool], timeout: float
    ) -> ss_supervised_info:
        """Wait until what is known of it fits.

        Args:
            done: Looks at an ``ss_supervised_info``.
            timeout: In seconds; less if there is a hurry.

        Returns:
            What is known at last; whether it fits is for the caller to look at.
        """
        began = time.monotonic()
        info = ffi.new("ss_supervised_info *")
        while True:
            lib.ss_supervised_describe(self.pointer, info)
            left = self._hurry.left(began, began + timeout)
            if done(info) or left <= 0:
                return info
            lib.ss_supervised_wait(self.pointer, info.changes, int(min(left, 0.1) * 1000) + 1)
