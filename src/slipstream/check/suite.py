"""Which checks run on a library, in which order, side by side."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path

from slipstream._native import lib
from slipstream.check import sections
from slipstream.check.catalogue import Check, catalogue
from slipstream.check.play import CannotPlayError, play
from slipstream.check.samples import Frame
from slipstream.check.script import Script
from slipstream.check.subject import Subject, table_of
from slipstream.check.trial import DEADLINE, function_of, run
from slipstream.check.verdict import Result, Verdict

__all__ = ["explore", "run_checks", "sections"]

_CLAIMS = 8  # names that are tried, however many a plugin claims
_GOES_ON = {Verdict.PASS, Verdict.NOTE, Verdict.WARN}


# What a plugin answers to bytes that are not of the form that it knows.
_NO_FORM = {
    lib.SLIPSTREAM_FAILED, lib.SLIPSTREAM_UNSUPPORTED, lib.SLIPSTREAM_INVALID_ARGUMENT,
    lib.SLIPSTREAM_MALFORMED, lib.SLIPSTREAM_OUT_OF_RANGE, lib.SLIPSTREAM_WRONG_TYPE,
    lib.SLIPSTREAM_TOO_LARGE, lib.SLIPSTREAM_NOT_FOUND,
}  # fmt: skip


def explore(subject: Subject) -> None:
    """Look at what a library's plugin is: its table, what it subscribes to, and what it claims.

    What goes wrong here goes wrong in the checks again, which say so.

    Raises:
        CannotPlayError: Nothing can be played here.
    """
    script = Script()
    script.open(subject.path)
    constructed = script.construct()
    script.load(subject.config())
    subscribed = script.subscribed()
    claimed = script.call(lib.SS_PLAY_CLAIMS)
    script.unload()
    script.destroy()
    script.close()
    played = play(script, DEADLINE * subject.slow, 3 * DEADLINE * subject.slow)
    table = played.one(lib.SS_PLAYED_TABLE, constructed)
    kinds = played.one(lib.SS_PLAYED_VALUE, subscribed)
    subject.table = None if table is None else table_of(table.text)
    subject.kinds = 0 if kinds is None else kinds.a
    if table is None or kinds is None:
        subject.unexplored = "what kinds of events it takes could not be found out before"
    names = [name.text for name in played.of(lib.SS_PLAYED_TEXT, claimed) if name.status > 0]
    subject.claims = tuple(dict.fromkeys(names))[:_CLAIMS]
    if subject.claims or any(subject.of_application()):
        _explore_forms(subject)


def _explore_forms(subject: Subject) -> None:
    """Find out what it takes of which only its author knows the form.

    That is payloads that it claims, and kinds of an application's own.
    """
    script = Script()
    script.open(subject.path)
    script.construct()
    script.load(subject.config())
    names = {script.deliver(frame, ordinal=at): name
             for at, (name, frame) in enumerate(_first_of_each(subject), 1)}  # fmt: skip
    own = enumerate(subject.of_application(), len(names) + 1)
    kinds = {script.deliver(frame, ordinal=at): kind for at, (kind, frame) in own}
    script.unload()
    script.destroy()
    played = play(script, DEADLINE * subject.slow, 3 * DEADLINE * subject.slow)
    answers = {p.step: p.status for p in played.of(lib.SS_PLAYED_CALL)}
    subject.taken = tuple(
        name for step, name in names.items() if answers.get(step) == lib.SLIPSTREAM_OK
    )
    subject.formless = frozenset(
        kind for step, kind in kinds.items() if answers.get(step, 0) in _NO_FORM
    )


def _first_of_each(subject: Subject) -> Iterator[tuple[bytes, Frame]]:
    return ((name, next(subject.routed([name]))) for name in subject.claims)


def run_checks(
    subject: Subject,
    names: Sequence[str],
    *,
    jobs: int,
    started: Callable[[Check], None] = lambda _: None,
) -> Iterator[Result]:
    """Run checks; yield what each found, as they end.

    A check whose needs do not hold is skipped; those needs are looked into even if they are not
    among `names`, but not told of. What other checks may have kept from passing is tried once more
    alone: two instances of a plugin may be in each other's way, as at one database.

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
    alone: set[str] = set()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="slipstream-check-"))
        pool = stack.enter_context(ThreadPoolExecutor(jobs))
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)

        def one(name: str) -> Result:
            started(catalogue()[name])
            return _tried(subject, name, Path(folder) / f"{name}{'.alone' * (name in alone)}")

        while order or running:
            for name in [n for n in order if all(need in done for need in _needs(n))]:
                order.remove(name)
                why_not = _why_not(subject, name, done)
                if why_not:
                    done[name] = Result(catalogue()[name], Verdict.SKIP, (why_not,))
                    if name in wanted:
                        yield done[name]
                elif _may_start(name, running.values(), alone, 2 * jobs):
                    running[pool.submit(one, name)] = name
                else:
                    order.insert(0, name)
                    break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(future)
                result = future.result()
                if result.others_may_be_why and jobs > 1 and name not in alone:
                    alone.add(name)
                    order.append(name)
                    continue
                done[name] = result
                if name in wanted:
                    yield done[name]


def _may_start(name: str, running: Collection[str], alone: set[str], most: int) -> bool:
    if alone.isdisjoint(running):
        return len(running) < (1 if name in alone else most)
    return False


def _tried(subject: Subject, name: str, folder: Path) -> Result:
    try:
        folder.mkdir()
        return run(subject, name, folder)
    except (CannotPlayError, OSError) as error:  # no place on the disk, no descriptors
        return _untried(name, error)
    except Exception as error:  # noqa: BLE001 - a mistake of ours is no finding
        said = f"{type(error).__name__}: {error}"
    return Result(catalogue()[name], Verdict.BROKEN, (said,))


def _untried(name: str, why: object) -> Result:
    return Result(catalogue()[name], Verdict.UNTRIED, (str(why),))


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


def _why_not(subject: Subject, name: str, done: Mapping[str, Result]) -> str:
    """Return why a check is skipped, "" if it is not."""
    static = name.startswith("binary.") and name != "binary.info-agrees"
    if subject.foreign and not static:
        return subject.foreign
    missing = next((need for need in _needs(name) if not _holds(done[need])), None)
    return f"needs {missing}" if missing is not None else ""


def _holds(result: Result) -> bool:
    """Say whether what stands on a check may run."""
    return result.verdict in _GOES_ON
