"""Writing to the two standard streams, whatever is behind them."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

import click

from slipstream.text import printable

if TYPE_CHECKING:
    from rich.table import Table

_PIPE_WIDTH = 160


def say(text: str) -> None:
    """Write lines to standard error, with control characters escaped."""
    with contextlib.suppress(OSError):
        click.echo("\n".join(map(printable, text.splitlines())), err=True)


def emit(text: str) -> None:
    """Write to standard output.

    Raises:
        Exit: The reader of a pipe has gone; it has seen enough, so that is success.
    """
    try:
        click.echo(text, nl=False, color=False if os.environ.get("NO_COLOR") else None)
    except BrokenPipeError:
        raise click.exceptions.Exit(0) from None


def show_table(table: Table) -> None:
    """Write a table to standard output; its cells are shown as they are."""
    from rich.console import Console  # noqa: PLC0415 - 30 ms that only tables need

    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, markup=False)
    # Rich would end the program when the reader of a pipe has gone.
    with console.capture() as captured:
        console.print(table)
    emit(captured.get())


def close_stdout() -> None:
    """Write out what is buffered; what cannot be written any more is forgotten."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        # Else the interpreter tries again when it exits, and complains.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
