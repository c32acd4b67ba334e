"""Which checks run on a library, in which order, side by side."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from slipstream._native import lib
from slipstream.check import sections
from slipstream.check.catalogue import Check, catalogue
from slipstream.check.play import CannotPlayError, play
from slipstream.check.script import Script
from slipstream.check.subject import Subject, table_of
from slipstream.check.trial import DEADLINE, function_of, run
from slipstream.check.verdict import Result, Verdict

__all__ = ["explore", "run_checks", "sections"]

_GOES_ON = {Verdict.PASS, Verdict.NOTE, Verdict.WARN}


def explore(subject: Subject) -> None:
    """Look at what a library's plugin is: its table, and what it subscribes to.

    What goes wrong here goes wrong in the checks again, which say so.

    Raises:
        CannotPlayError: Nothing can be played here.
    """
    script = Script()
    script.open(subject.path)
    constructed = script.construct()
    script.load(subject.config())
    subscribed = script.subscribed()
    script.unload()
    script.destroy()
    script.close()
    played = play(script, DEADLINE * subject.slow)
    table = played.one(lib.SS_PLAYED_TABLE, constructed)
    kinds = played.one(lib.SS_PLAYED_VALUE, subscribed)
    subject.table = None if table is None else table_of(table.text)
    subject.kinds = 0 if kinds is None else kinds.a


def run_checks(
    subject: Subject,
    names: Sequence[str],
    *,
    jobs: int,
    started: Callable[[Check], None] = lambda _: None,
) -> Iterator[Result]:
    """Run checks; yield what each found, as they end.

    A check whose needs do not hold is skipped; those needs are looked into even if they are not
    among `names`, but not told of.

    Args:
        subject: The library.
        names: Ids of checks.
        jobs: How many may run at once.
        started: Is told of each that begins, from any thread.
    """
    wanted = set(names)
    order = [name for name in catalogue() if name in _with_needs(wanted)]
    done: dict[str, Result] = {}
    running: dict[Future[Result], str] = {}
    with (
        tempfile.TemporaryDirectory(prefix="slipstream-check-") as folder,
        ThreadPoolExecutor(jobs) as pool,
    ):

        def one(name: str) -> Result:
            started(catalogue()[name])
            place = Path(folder) / name
            place.mkdir()
            try:
                return run(subject, name, place)
            except CannotPlayError as error:
                return Result(catalogue()[name], Verdict.BROKEN, (str(error),))

        while order or running:
            for name in [n for n in order if all(need in done for need in _needs(n))]:
                order.remove(name)
                missing = next((n for n in _needs(name) if not _holds(done[n])), None)
                if missing is not None:
                    done[name] = Result(catalogue()[name], Verdict.SKIP, (f"needs {missing}",))
                    if name in wanted:
                        yield done[name]
                elif len(running) < 2 * jobs:
                    running[pool.submit(one, name)] = name
                else:
                    order.insert(0, name)
                    break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(future)
                done[name] = future.result()
                if name in wanted:
                    yield done[name]


def _needs(name: str) -> tuple[str, ...]:
    return tuple(need for need in catalogue()[name].needs if function_of(need))


def _with_needs(names: set[str]) -> set[str]:
    """Return checks with all that they stand on."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found and function_of(name):
            found.add(name)
            waiting += catalogue()[name].needs
    return found


def _holds(result: Result) -> bool:
    """Say whether what stands on a check may run."""
    return result.verdict in _GOES_ON
