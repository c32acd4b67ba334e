"""Stopping on Ctrl-C, SIGTERM and SIGHUP: orderly at first, then at once.

The first signal raises `Stopped`, but only where the command says that it may; everywhere
else it is kept until then, so that an unload is never cut short. The second signal ends the
process at once. That, and the deadline for the first one to be noticed, is a thread's work:
the main thread may be inside of a plugin that does not return.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType
from typing import Self

from slipstream._platform import STOP_SIGNALS, wait_readable, wake_pipe, write_patiently
from slipstream.errors import SlipstreamError

from ._errors import Stopped

NOTICE_TIMEOUT = 30.0
"""Seconds from the first signal until the main thread must have noticed it."""

_TWICE_AT_ONCE = 0.5
"""Seconds; a terminal and a wrapper around the command may both send the first signal."""

_TELL_WAIT = 1.0  # seconds; nobody may read it

_SHOW_CURSOR = "\x1b[?25h"


class StopSignals:
    """Handles the signals that stop a command, while it is entered; for the main thread.

    Args:
        doing: What the command does at the first signal.
        undone: What is left undone by the second, and the next step.

    Attributes:
        number: The first signal that came, None before.
    """

    def __init__(
        self,
        doing: str = "unloading the plugins",
        undone: str = "plugins were not unloaded; look at what they write to",
    ) -> None:
        self.number: int | None = None
        self._doing = doing
        self._undone = undone
        self._allowed = False
        self._noticed = threading.Event()

    def __enter__(self) -> Self:
        self._reader, self._writer = wake_pipe()
        self._watcher = threading.Thread(target=self._watch, name="slipstream-stop", daemon=True)
        try:
            self._watcher.start()
        except RuntimeError:
            os.close(self._writer)
            os.close(self._reader)
            raise SlipstreamError(
                "cannot start a thread for watching signals",
                "check the limit on processes: ulimit -u",
            ) from None
        self._old_fd = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        # What the parent has ignored (nohup, a shell's &) stays ignored.
        self._old = {
            number: signal.signal(number, self._handle)
            for number in STOP_SIGNALS
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_fd)
        os.close(self._writer)  # the watcher sees the end of the pipe
        self._watcher.join()
        os.close(self._reader)

    def interruptible(self) -> _Interruptible:
        """Return a context in which the first signal raises `Stopped`, also one from before."""
        return _Interruptible(self)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.number is None:
            self.number = number
            self._noticed.set()
        if self._allowed:
            self._allowed = False
            raise Stopped(self.number)

    def allow(self) -> None:
        """Let a signal raise from here on."""
        self._allowed = True
        if self.number is not None:
            self._allowed = False
            raise Stopped(self.number)

    def forbid(self) -> None:
        """Keep a signal until it is allowed again."""
        self._allowed = False

    def _watch(self) -> None:
        """Read the numbers of signals, which the interpreter writes as soon as they come."""
        first: int | None = None
        since = 0.0
        while True:
            left = None
            if first is not None and not self._noticed.is_set():
                left = max(0.0, since + NOTICE_TIMEOUT - time.monotonic())
            if not wait_readable(self._reader, left):
                if not self._noticed.is_set() and first is not None:
                    why = f"a plugin's callback did not return in {NOTICE_TIMEOUT:g} s"
                    _leave(first, why, self._undone)
                continue
            numbers = os.read(self._reader, 64)
            if not numbers:
                return
            for number in numbers:
                if number not in STOP_SIGNALS:
                    continue
                if first is None:
                    first, since = number, time.monotonic()
                    _tell(f"stopping: {self._doing}; a second signal ends this at once")
                elif time.monotonic() - since > _TWICE_AT_ONCE:
                    _leave(number, "it came a second time", self._undone)


class _Interruptible:
    def __init__(self, signals: StopSignals) -> None:
        self._signals = signals

    def __enter__(self) -> None:
        self._signals.allow()

    def __exit__(self, *_: object) -> None:
        self._signals.forbid()


def _tell(text: str) -> None:
    """Write to standard error past Python's buffers, whose locks another thread may hold."""
    write_patiently(2, f"{text}\n".encode(), _TELL_WAIT)


def _leave(number: int, why: str, undone: str) -> None:
    """End the process at once."""
    cursor = _SHOW_CURSOR if os.isatty(2) else ""
    _tell(f"{cursor}error: ended by {signal.Signals(number).name}: {why}")
    _tell(f"  next: {undone}")
    os._exit(128 + number)
