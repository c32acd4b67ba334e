"""Errors as people and programs see them, and what the command exits with.

0 is success; 1: a plugin failed, or not every event was delivered and acknowledged; 2: the
command was not understood; 3: a config, or loading or starting a plugin, failed; 4: a file of
events; of `check`: the checker failed; 130, 143, 129: stopped by Ctrl-C, SIGTERM, SIGHUP.
"""

from __future__ import annotations

import errno
import signal
import traceback as tracebacks
from dataclasses import dataclass

import click

from slipstream.errors import (
    CaptureError,
    ConfigError,
    PackageError,
    PluginAlreadyLoaded,
    PluginLoadError,
    PluginStartError,
    SlipstreamError,
)

from ._output import say

FAILED = 1
USAGE = 2
NOT_STARTED = 3
BAD_EVENTS = 4
CHECKER_FAILED = 4

_NOT_STARTED = (
    ConfigError,
    PackageError,
    PluginLoadError,
    PluginStartError,
    PluginAlreadyLoaded,
)


class Stopped(BaseException):  # a signal is not an Exception, as KeyboardInterrupt is none
    """A signal asked the command to stop.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Ended(SlipstreamError):
    """The end of a command that has an exit code of its own.

    Args:
        message: As of every error.
        hint: As of every error.
        code: What to exit with.
    """

    def __init__(self, message: str, hint: str, code: int) -> None:
        super().__init__(message, hint)
        self.code = code


@dataclass(frozen=True, slots=True)
class Failure:
    """An error, ready to be told.

    Attributes:
        type: The error's class; for a signal its name.
        message: What happened.
        hint: The next step; may be empty.
        code: What the command exits with.
        cause: The exception.
    """

    type: str
    message: str
    hint: str
    code: int
    cause: BaseException

    def as_json(self) -> dict[str, object]:
        """Return what --json says of it."""
        said: dict[str, object] = {"type": self.type, "message": self.message, "hint": self.hint}
        return said | {"exit_code": self.code}


def failure_of(error: BaseException) -> Failure:
    """Return what is told of an exception."""
    message, hint, code = _told(error)
    name = type(error).__name__
    if isinstance(error, Stopped):
        name = signal.Signals(error.number).name
    return Failure(name, message, hint, code, error)


def _told(error: BaseException) -> tuple[str, str, int]:
    match error:
        case Stopped():
            return f"stopped by {signal.Signals(error.number).name}", "", 128 + error.number
        case KeyboardInterrupt() | click.Abort():
            return "stopped by SIGINT", "", 128 + signal.SIGINT
        case click.UsageError():
            command = error.ctx.command_path if error.ctx else "slipstream"
            return error.format_message(), f"{command} --help", USAGE
        case click.ClickException():
            return error.format_message(), "", USAGE
        case Ended():
            return error.message, error.hint, error.code
        case CaptureError():
            return error.message, error.hint, BAD_EVENTS
        case SlipstreamError():
            code = NOT_STARTED if isinstance(error, _NOT_STARTED) else FAILED
            return error.message, error.hint, code
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return str(error), "make room on that disk, and run it again", FAILED
        case OSError():
            return str(error), "see what that says of the file, disk or device", FAILED
    return (
        f"internal error: {type(error).__name__}: {error}",
        "run it again as slipstream --debug ..., and report what it shows",
        FAILED,
    )


def report(failure: Failure, *, traceback: bool) -> None:
    """Tell of a failure on standard error, with the traceback if it is wanted."""
    if traceback:
        say("".join(tracebacks.format_exception(failure.cause)))
    say(f"error: {failure.message}")
    if failure.hint:
        say(f"  next: {failure.hint}")
