"""Progress on a terminal: a bar by the bytes of a file, a line that names checks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeAlias

from slipstream.streams import EventFile
from slipstream.text import counted, printable

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
        bars.TextColumn("{task.fields[events]}"),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True), redirect_stdout=False) as bar:
        task = bar.add_task(file.name, total=file.size, events="")

        def update() -> None:
            bar.update(task, completed=file.position, events=counted(file.count, "event"))

        try:
            yield update
        finally:
            update()


class Running(Protocol):
    """Is told which checks run."""

    def started(self, name: str) -> None:
        """A check begins; from any thread."""

    def ended(self, name: str) -> None:
        """A check has ended."""


class _Silent:
    def started(self, name: str) -> None:
        pass

    def ended(self, name: str) -> None:
        pass


@contextmanager
def check_progress(file: str, total: int) -> Iterator[Running]:
    """Show which checks run, and how many are done, on standard error if that is a terminal.

    Args:
        file: What is checked.
        total: How many checks there are.
    """
    if not sys.stderr.isatty():
        yield _Silent()
        return
    from rich import progress as bars  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415 - 30 ms that only terminals need

    columns = (
        bars.TextColumn("{task.completed}/{task.total} of {task.description}", markup=False),
        bars.BarColumn(12),
        bars.TextColumn("{task.fields[names]}", markup=False),
    )
    console = Console(stderr=True)
    with bars.Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(printable(file), total=total, names="")

        class Shown:
            def __init__(self) -> None:
                self._names: dict[str, None] = {}

            def started(self, name: str) -> None:
                self._names[name] = None
                self._show()

            def ended(self, name: str) -> None:
                self._names.pop(name, None)
                bar.advance(task)
                self._show()

            def _show(self) -> None:
                bar.update(task, names=", ".join(list(self._names)[:2]), refresh=True)

        yield Shown()
