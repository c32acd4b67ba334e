"""The command ``slipstream``.

Results go to standard output, everything else (logs, errors, progress) to standard error.
Exit codes: see `slipstream.cli._errors`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from slipstream import __version__

from ._errors import USAGE, failure_of, report
from ._logging import FORMATS, LEVELS, Settings, configure
from ._output import close_stdout
from .doctor import doctor
from .run import run
from .show import convert, show


@click.group(
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


for _command in (run, show, convert, doctor):
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code.

    Args:
        arguments: Without the program's name; None takes those of the process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = cli.main(given, prog_name="slipstream", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = USAGE
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the outermost handler
        failure = failure_of(error)
        report(failure, traceback="--debug" in given)
        code = failure.code
    finally:
        close_stdout()
    return code if isinstance(code, int) else 0
