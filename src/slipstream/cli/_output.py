"""Writing to the two standard streams, whatever is behind them."""

from __future__ import annotations

import contextlib
import os
import sys

import click

from slipstream.logs import standard_error
from slipstream.text import printable


def set_apart() -> None:
    """Keep standard output for the result: what a plugin prints there goes to standard error.

    A stream that whoever started the program has closed leads nowhere from now on, so that no
    other file gets its number.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    elif sys.__stdout__ is not None and sys.stdout is sys.__stdout__:
        encoding, errors = sys.stdout.encoding, sys.stdout.errors
        own = os.dup(1)
        os.dup2(2, 1)
        sys.stdout = os.fdopen(
            own, "w", 1 if os.isatty(own) else -1, encoding=encoding, errors=errors
        )


def say(text: str) -> None:
    """Write lines to standard error, with control characters escaped."""
    with contextlib.suppress(OSError, ValueError):
        standard_error.write("".join(f"{printable(line)}\n" for line in text.splitlines()))


def emit(text: str) -> None:
    """Write to standard output.

    Raises:
        Exit: The reader of a pipe has gone; it has seen enough, so that is success.
    """
    try:
        click.echo(text, nl=False, color=False if os.environ.get("NO_COLOR") else None)
    except BrokenPipeError:
        raise click.exceptions.Exit(0) from None


def close_streams() -> None:
    """Write out what is buffered; what cannot be written any more is forgotten."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            # Else the interpreter tries again when it exits, and complains.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
