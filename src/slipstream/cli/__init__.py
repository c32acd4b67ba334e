"""The command ``slipstream``.

Results go to standard output, everything else (logs, errors, progress) to standard error.
Exit codes: see `slipstream.cli._errors`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import signal
import sys
from collections.abc import Sequence

import click

from slipstream import __version__
from slipstream._native import lib

from ._errors import USAGE, Failure, Stopped, failure_of, report
from ._logging import FORMATS, LEVELS, Settings, configure
from ._output import close_streams, emit, set_apart

# The commands: the module that holds each, and a line for the list of them. A module is imported
# when its command is wanted, since some need a while for that.
COMMANDS = {
    "bench": ("bench", "Measure what an event costs with a plugin."),
    "check": ("check", "Test whether plugins keep the contract."),
    "checks": ("checks", "List the checks, and explain one."),
    "completion": ("completion", "Write a completion script for bash, zsh or fish."),
    "config": ("config", "Say what plugins are built with, and what a config may hold."),
    "convert": ("show", "Write events in another form: JSON lines, or a capture."),
    "doctor": ("doctor", "Say what this machine can do, and why a library does not load."),
    "inspect": ("inspect", "Show what libraries and configs say, without running anything."),
    "new": ("new", "Begin a plugin: source, config, test, makefile and readme."),
    "package": ("package", "Make, sign, install and serve packages of plugins."),
    "plugins": ("plugins", "See and steer the plugins of a running daemon."),
    "record": ("record", "Write what producers send to a capture."),
    "redeliver": ("redeliver", "Offer a plugin again what it refused: its dead letters."),
    "replay": ("replay", "Send the events of a file to a daemon, as a producer."),
    "run": ("run", "Load plugins, stream events to them, flush and unload."),
    "show": ("show", "Show the events of a file."),
    "start": ("start", "Run plugins as a daemon."),
    "symbolize": ("symbolize", "Name the functions of a crash report."),
    "token": ("token", "Issue, list and revoke tokens of a daemon; rotate its key."),
    "top": ("top", "Watch the plugins of a running daemon."),
}


_LINES = ("show", "convert")  # their --json is no object, but lines of them


class _Commands(click.Group):
    def list_commands(self, _context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"slipstream.cli.{COMMANDS[name][0]}")
        command: click.Command = getattr(module, name)
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: slipstream run --slipstream-config tally.json5 events.jsonl",
)
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
@click.option(
    "--log-format",
    type=click.Choice(FORMATS),
    default=FORMATS[0],
    show_default=True,
    help="How log lines are written to standard error.",
)
@click.option(
    "--log-level",
    type=click.Choice(LEVELS),
    default="info",
    show_default=True,
    help="The lowest level of log lines, of plugins too.",
)
@click.version_option(__version__, prog_name="slipstream")
@click.pass_context
def cli(context: click.Context, debug: bool, log_format: str, log_level: str) -> None:  # noqa: FBT001
    """Host native plugins and stream events to them."""
    context.obj = Settings(debug=debug, log_format=log_format, log_level=log_level)
    configure(context.obj)
    lib.ss_crash_tell_all()


def _answer(failure: Failure, given: Sequence[str]) -> None:
    """Write the object that --json asks for, of a command that did not get to it."""
    command = next((word for word in given if word in COMMANDS), "")
    if "--json" not in given or command in _LINES:
        return
    with contextlib.suppress(Exception, click.exceptions.Exit):  # nobody reads it
        emit(json.dumps({"error": failure.as_json()}) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code.

    Args:
        arguments: Without the program's name; None takes those of the process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    set_apart()
    try:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # see slipstream.__main__
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = cli.main(given, prog_name="slipstream", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = USAGE
    except (Exception, KeyboardInterrupt, Stopped) as error:  # noqa: BLE001 - the outermost handler
        failure = failure_of(error)
        _answer(failure, given)
        report(failure, traceback="--debug" in given)
        code = failure.code
    finally:
        close_streams()
    return code if isinstance(code, int) else 0
