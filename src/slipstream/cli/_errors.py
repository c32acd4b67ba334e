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
from slipstream.files import limit_hint

from ._output import say

FAILED = 1
USAGE = 2
NOT_STARTED = 3
BAD_EVENTS = 4
CHECKER_FAILED = 4

_NETWORKS = ("mainnet", "testnet", "canary")
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
            return *_not_understood(error), USAGE
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
        case OSError(errno=number):
            hint = limit_hint(number) or "see what that says of the file, disk or device"
            return str(error), hint, FAILED
    return (
        f"internal error: {type(error).__name__}: {error}",
        "run it again as slipstream --debug ..., and report what it shows",
        FAILED,
    )


def _not_understood(error: click.UsageError) -> tuple[str, str]:
    command = error.ctx.command_path if error.ctx else "slipstream"
    if not isinstance(error, click.NoSuchOption):
        message = error.format_message()
        asked = _command_meant(error) if message.startswith("No such command") else ""
        return message, f"{asked or _config_meant(error)}{command} --help"
    if error.ctx is not None and error.ctx.parent is None:
        asked = f"options come after their command: slipstream run {error.option_name} ...; "
    else:
        meant = _meant(error)
        asked = f"did you mean {meant}? " if meant else ""
    return f"No such option '{error.option_name}'", f"{asked}{command} --help"


def _command_meant(error: click.UsageError) -> str:
    """Return the question whether another command was meant, or what to do with a file."""
    from slipstream.config import closest  # noqa: PLC0415 - only for mistakes

    given = error.message.split("'")[1]
    if given.endswith((".json5", ".json")):
        return f"to load a plugin: slipstream run --slipstream-config {given} EVENTS; "
    if given.endswith((".so", ".dylib", ".dll")):
        return f"to try a plugin: slipstream check {given}; "
    context = error.ctx
    group = None if context is None else context.command
    names = group.list_commands(context) if isinstance(group, click.Group) and context else []
    near = closest(given, names)
    return f"did you mean {near}? " if near and "Did you mean" not in error.message else ""


def _config_meant(error: click.UsageError) -> str:
    """Return what to do with a config that stands there without its option."""
    context = error.ctx
    if context is None or "--slipstream-config" not in _options_of(context.command):
        return ""
    given = [word for value in context.params.values() for word in _words(value)]
    extra = error.message.partition("extra argument")[2].strip("s ()").split()
    named = [word for key in ("configs", "config_path") for word in _words(context.params.get(key))]
    configs = [
        word
        for word in (*given, *extra)
        if word.endswith((".json5", ".json")) and word not in named
    ]
    return f"name a config by its option: --slipstream-config {configs[0]}; " if configs else ""


def _words(value: object) -> list[str]:
    if isinstance(value, list | tuple):
        return [str(one) for one in value]
    return [] if value is None else [str(value)]


def _meant(error: click.NoSuchOption) -> str:
    """Return the option that was meant: one that ends so, and best takes a value, or is near."""
    options = {} if error.ctx is None else _options_of(error.ctx.command)
    value = error.option_name.lstrip("-")
    if value in _NETWORKS and "--network" in options:
        return f"--network {value}"
    ends = [name for name in options if name.endswith(error.option_name[1:])]
    best = sorted(ends, key=lambda name: (not options[name], len(name)))
    return next(iter(best or error.possibilities or ()), "")


def _options_of(command: click.Command) -> dict[str, bool]:
    """Return the options of a command by name, and whether each takes a value."""
    return {
        name: not parameter.is_flag
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for name in parameter.opts
    }


def report(failure: Failure, *, traceback: bool) -> None:
    """Tell of a failure on standard error, with the traceback if it is wanted."""
    if traceback:
        say("".join(tracebacks.format_exception(failure.cause)))
    say(f"error: {failure.message}")
    if failure.hint:
        say(f"  next: {failure.hint}")
