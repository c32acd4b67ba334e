"""A progress bar on a terminal, by the bytes of the file that were read."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

from slipstream.streams import EventFile

Advance: TypeAlias = Callable[[], None]
Progress: TypeAlias = AbstractContextManager[Advance]


@contextmanager
def progress_bar(file: EventFile, *, shown: bool) -> Iterator[Advance]:
    """Show a bar on standard error while this is entered; nothing where that is no terminal.

    Args:
        file: Its size and position are what is shown.
        shown: Whether a bar is wanted at all.

    Returns:
        A context manager that gives a function to call after each step.
    """
    if not shown or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich import progress as bars  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415 - 30 ms that only terminals need

    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.DownloadColumn(),
        bars.TextColumn("{task.fields[events]:,} events"),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True), redirect_stdout=False) as bar:
        task = bar.add_task(file.name, total=file.size, events=0)
        try:
            yield lambda: bar.update(task, completed=file.position, events=file.count)
        finally:
            bar.update(task, completed=file.position, events=file.count)
