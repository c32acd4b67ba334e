"""What is left when a plugin is gone."""

from __future__ import annotations

import shutil
from itertools import pairwise

from slipstream._native import lib
from slipstream.check.script import Script
from slipstream.check.trial import DEADLINE, Findings, Trial, check

_CYCLES = 100
_SLOPE = 24  # bytes of the heap that a cycle may seem to leave: less than the smallest block

_WHY = {
    lib.SS_MAPPING_GO: "a Go runtime in it cannot be unmapped",
    lib.SS_MAPPING_THREADS: "threads of it, or of a library that came with it, are still there",
    lib.SS_MAPPING_UNSEEN: "threads that never wait are there, and may be of it",
    lib.SS_MAPPING_SIGNAL: "one of its functions still handles a signal",
    lib.SS_MAPPING_PINNED: "the loader keeps it: a thread-local value with a destructor, a unique "
    "symbol, or nodelete",
}


def _life(trial: Trial) -> int:
    script = trial.loaded()
    trial.send(script)
    script.flush()
    trial.end(script)
    closed = trial.play(script).one(lib.SS_PLAYED_VALUE, len(script.steps) - 1)
    return lib.SS_MAPPING_NONE if closed is None else closed.a


@check("unload.unmapped")
def unmapped(trial: Trial) -> Findings:
    """It is unmapped, or says that it is not."""
    mapping = _life(trial)
    if mapping in {lib.SS_MAPPING_GONE, lib.SS_MAPPING_NEVER} or trial.subject.has("RESIDENT"):
        return
    yield f"it stays mapped after it was closed: {_WHY.get(mapping, 'for an unknown reason')}"


@check("unload.hundred")
def hundred(trial: Trial) -> Findings:
    """A hundred lives from open to close leave nothing."""
    life = trial.loaded()
    trial.send(life)
    life.flush()
    trial.end(life)
    yield from slope(trial, Script(), life, _CYCLES // 2, "life")


def slope(trial: Trial, script: Script, cycle: Script, times: int, what: str) -> Findings:
    """Yield what grows when steps are done again and again: bytes of the heap, mappings.

    Args:
        trial: The check.
        script: What comes before.
        cycle: What is done again and again.
        times: How often, in each of two stretches; what grows in both is told.
        what: What a cycle is called.
    """
    heaps = []
    # At first until our own memory is used again.
    for rounds in (1 + lib.SS_PLAY_GUESTS, times, times):
        since = len(script.steps)
        script.steps += cycle.steps
        script.again(since, rounds)
        heaps.append(script.heap())
    played = trial.play(script, 3 * DEADLINE)
    values = [v for at in heaps if (v := played.one(lib.SS_PLAYED_VALUE, at)) is not None]
    pairs = list(pairwise(values))
    heap = min(after.a - before.a for before, after in pairs)
    mappings = min(after.b - before.b for before, after in pairs)
    if heap >= times * _SLOPE:
        yield f"the heap grows by {heap // times:,} bytes with each {what}"
    if mappings * 2 >= times:
        yield f"mappings left after each {what}: {mappings / times:.3g}"


@check("unload.two-copies")
def two_copies(trial: Trial) -> Findings:
    """Two copies of the file live side by side."""
    copy = trial.folder / f"copy-{trial.subject.path.name}"
    shutil.copy(trial.subject.path, copy)
    script = trial.loaded()
    script.open(copy, 1)
    script.construct(1, library=1)
    second = script.load(trial.subject.config(name="second"), 1, says="a second copy of the file")
    script.subscribed(1)
    frames = list(trial.subject.samples())
    for slot, given in ((0, 0), (1, 0), (0, len(frames))):
        for at, frame in enumerate(frames, given + 1):
            script.deliver(frame, slot, ordinal=at, says=f"copy {slot + 1}")
    for slot in (1, 0):
        script.unload(slot)
        script.destroy(slot)
        script.close(slot)
    played = trial.play(script)
    trial.skip_if_in_use(played, second)
    for failure in trial.failures(played):
        yield f"two copies side by side: {failure}"


@check("unload.exit")
def exits(trial: Trial) -> Findings:
    """The process ends well after it was closed."""
    script = trial.loaded()
    trial.send(script)
    trial.end(script)
    script.call(lib.SS_PLAY_EXIT)
    trial.play(script)
    return ()
