"""What a plugin takes and does not give back."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

from slipstream._native import lib
from slipstream.check.blame import blame
from slipstream.check.script import Script
from slipstream.check.sections.unload import slope
from slipstream.check.trial import DEADLINE, Findings, Trial, check

_EVENTS = 5_000
_ALLOCATIONS = 60  # so many of a plugin's are made to fail, one by one
_LANGUAGES = re.compile(
    r"memory allocation of \d+ bytes failed|std::bad_alloc|fatal error: (runtime: )?out of memory"
)


def _lived(
    trial: Trial, *parts: int, then: Callable[[Script], object] = Script.destroy
) -> Findings:
    """Yield what of the process is not as it was, after a life in it."""
    script = trial.kept()
    trial.send(script)
    script.flush()
    script.unload()
    then(script)
    script.compare(*parts)
    return trial.changes(trial.play(script), *parts)


@check("resources.descriptors")
def descriptors(trial: Trial) -> Findings:
    """No descriptor is left."""
    return _lived(trial, lib.SS_STATE_DESCRIPTORS)


@check("resources.children")
def children(trial: Trial) -> Findings:
    """No child process is left after on_unload."""
    return _lived(trial, lib.SS_STATE_CHILDREN, then=lambda _: None)


@check("resources.files")
def files(trial: Trial) -> Findings:
    """No file is left in the folder for temporary ones."""
    return _lived(trial, lib.SS_STATE_FILES)


def _instance(trial: Trial) -> Script:
    cycle = Script()
    cycle.construct()
    cycle.load(trial.subject.config())
    cycle.subscribed()
    trial.send(cycle)
    cycle.flush()
    cycle.unload()
    cycle.destroy()
    return cycle


@check("resources.heap")
def heap(trial: Trial) -> Findings:
    """The heap is as large after each instance."""
    grown = slope(trial, trial.opened(), _instance(trial), 50, "instance")
    return (finding for finding in grown if "heap" in finding)


@check("resources.mappings")
def mappings(trial: Trial) -> Findings:
    """There are as many mappings after each instance."""
    grown = slope(trial, trial.opened(), _instance(trial), 50, "instance")
    return (finding for finding in grown if "mappings" in finding)


@check("resources.events-heap")
def events_heap(trial: Trial) -> Findings:
    """The heap is as large after each event."""
    trial.needs_samples()
    cycle = Script()
    for frame in trial.subject.samples():
        cycle.deliver(frame)
    if trial.subject.has("EXPLICIT_ACK"):
        cycle.flush()
    return slope(trial, trial.loaded(), cycle, _EVENTS, "event")


@check("resources.valgrind")
def valgrind(trial: Trial) -> Findings:
    """Valgrind finds nothing wrong."""
    tool = shutil.which("valgrind")
    if tool is None:
        trial.skip("valgrind is not installed")
    if trial.subject.has("RESIDENT"):
        trial.skip("valgrind cannot judge a runtime that stays")
    log = trial.folder / "valgrind"
    script = trial.loaded()
    for at, frame in enumerate(trial.subject.samples(), 1):
        script.deliver(frame, ordinal=at, times=3)
    script.flush()
    trial.end(script)
    options = ("--soname-synonyms=somalloc=NONE", "--num-callers=12", "--xml=yes")
    wrap = (tool, *options, f"--xml-file={log}.%p")
    played = trial.attempt(script, 3 * DEADLINE, wrap=wrap)
    if not played.said_end:
        trial.skip(f"it does not run under valgrind: {blame(played)}")
    files = sorted(trial.folder.glob("valgrind.*"))
    reports = [report for file in files if (report := _read(file)) is not None]
    if not reports:
        trial.skip("valgrind wrote no report that can be read")
    for report in reports:
        yield from _errors_in(report, trial.subject.path)


def _read(file: Path) -> ET.Element | None:
    """Return what valgrind has written; None: its process was ended meanwhile."""
    try:
        return ET.parse(file).getroot()  # noqa: S314 - valgrind has written it
    except ET.ParseError:
        return None


def _errors_in(report: ET.Element, library: Path) -> Findings:
    """Yield the errors that valgrind has found in code of a library, or in what that has called."""
    for error in report.iter("error"):
        places = [frame for frame in error.iter("frame") if frame.findtext("obj") == str(library)]
        if places:
            what = error.findtext("what") or error.findtext("xwhat/text") or "an error"
            line = places[0].findtext("line")
            where = f" at {places[0].findtext('file')}:{line}" if line else ""
            yield f"{what}, in {places[0].findtext('fn') or 'it'}{where}"


@check("resources.allocations")
def allocations(trial: Trial) -> Findings:
    """Memory that it does not get makes a call fail, and nothing else."""
    counted = _failing(trial, 0)
    played = trial.play(counted)
    values = [p.a for p in played.of(lib.SS_PLAYED_VALUE)]
    count = min(values[-1] if values else 0, _ALLOCATIONS)
    for number in range(1, count + 1):
        played = trial.attempt(_failing(trial, number), may_refuse=True)
        if played.is_whole:
            continue
        if _LANGUAGES.search(played.output):
            trial.skip("its language ends the process when memory runs out")
        yield f"allocation {number} failed, and {blame(played)}"


def _failing(trial: Trial, number: int) -> Script:
    """Return a life in which an allocation of the plugin fails; 0: none."""
    script = trial.opened()
    script.call(lib.SS_PLAY_ALLOCATIONS, a=1, c=number)
    script.construct()
    script.load(trial.subject.config())
    trial.send(script)
    script.flush()
    script.unload()
    script.destroy()
    script.call(lib.SS_PLAY_ALLOCATIONS)
    return script
