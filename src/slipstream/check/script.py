"""A script of calls: what is to be done with a plugin, step by step."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slipstream._native import ffi, lib
from slipstream.check.samples import Frame
from slipstream.text import quoted

FOLDER = b"$SLIPSTREAM_FOLDER$"
"""In the data of a step: the folder that the plugin is given."""

_CALLS: Mapping[int, str] = {
    lib.SS_PLAY_SUBSCRIBED: "subscribed_events",
    lib.SS_PLAY_CLAIMS: "slipstream.payload/1, name_at",
    lib.SS_PLAY_EXTENSION: "get_extension",
    lib.SS_PLAY_FLUSH: "flush",
    lib.SS_PLAY_UNLOAD: "on_unload",
    lib.SS_PLAY_DESTROY: "destroy",
    lib.SS_PLAY_SLEEP: "between two calls",
    lib.SS_PLAY_CHILDREN: "after it has forked",
    lib.SS_PLAY_EXIT: "the end of the process",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a script; ``native/check/play.h`` says what each is.

    Attributes:
        what: ``SS_PLAY_*``; the numbers are as that says.
        slot: The plugin's, or the library's, number.
        a: A number.
        b: A number.
        c: A number.
        d: A number.
        data: What the step takes.
        says: What is done, for whoever reads that the process fell there.
        frame: The frame that is delivered, where it is one.
    """

    what: int
    slot: int = 0
    a: int = 0
    b: int = 0
    c: int = 0
    d: int = 0
    data: bytes = b""
    says: str = ""
    frame: Frame | None = None

    @property
    def is_taken_away(self) -> bool:
        """What the plugin gets by it is not there any more when the call has returned."""
        placed = self.what in {lib.SS_PLAY_LOAD, lib.SS_PLAY_DELIVER}
        return placed and bool(self.b & lib.SS_PLAY_PLACE_GONE)

    def packed(self) -> bytes:
        """Return the step as the program reads it."""
        head = ffi.new("ss_play_step *")
        head.what, head.slot, head.a, head.b = self.what, self.slot, self.a, self.b
        head.c, head.d, head.len = self.c, self.d, len(self.data)
        return bytes(ffi.buffer(head)) + self.data + bytes(-len(self.data) % 8)


@dataclass(slots=True)
class Script:
    """A script that is being written; each method adds a step, and returns its index."""

    steps: list[Step] = field(default_factory=list)

    def add(self, step: Step) -> int:
        """Add a step."""
        self.steps.append(step)
        return len(self.steps) - 1

    def call(self, what: int, slot: int = 0, a: int = 0, b: int = 0, c: int = 0) -> int:
        """Add a step that takes numbers."""
        return self.add(Step(what, slot, a, b, c, says=_CALLS.get(what, "")))

    def open(self, path: Path, library: int = 0) -> int:
        """Open a library."""
        data = os.fsencode(path) + b"\0" + os.fsencode(path.name) + b"\0"
        return self.add(Step(lib.SS_PLAY_OPEN, library, data=data, says="opening the library"))

    def close(self, library: int = 0) -> int:
        """Close a library."""
        return self.add(Step(lib.SS_PLAY_CLOSE, library, says="closing the library"))

    def construct(self, slot: int = 0, *, library: int = 0, host: int = 0) -> int:
        """Call the constructor, with a host of a kind (``SS_PLAY_HOST_*``)."""
        data = FOLDER + (b"-%d" % slot if slot else b"") + b"\0"  # each its own
        return self.add(
            Step(lib.SS_PLAY_CONSTRUCT, slot, library, host, data=data, says="the constructor")
        )

    def load(
        self, config: bytes | None, slot: int = 0, *, reason: int = 0, place: int = 0,
        raw: bool = False, says: str = "",
    ) -> int:  # fmt: skip
        """Call on_load with a packed config, with one as it is (`raw`), or with NULL (None)."""
        form = 2 if config is None else int(raw)
        words = f"on_load{', ' if says else ''}{says}"
        return self.add(
            Step(lib.SS_PLAY_LOAD, slot, reason, place, form, data=config or b"", says=words)
        )

    def deliver(
        self, frame: Frame, slot: int = 0, *, ordinal: int = 1, count: int = 1, place: int = 0,
        attempt: int = 1, times: int = 1, says: str = "",
    ) -> int:  # fmt: skip
        """Call on_broadcast with a frame, or with a run of `count` of them."""
        words = f"on_broadcast, {frame.label}{', ' if says else ''}{says}"
        numbers = attempt | times << 32
        return self.add(
            Step(
                lib.SS_PLAY_DELIVER, slot, count, place, ordinal, numbers, frame.data, words, frame
            )
        )

    def mutate(self, frame: Frame, seed: int, count: int, slot: int = 0, first: int = 1) -> int:
        """Call on_broadcast with `count` changes of a frame."""
        words = f"on_broadcast, {frame.label}, changed (seed {seed})"
        return self.add(
            Step(lib.SS_PLAY_MUTATE, slot, first, count, seed, data=frame.data, says=words,
                 frame=frame)
        )  # fmt: skip

    def fuzz(self, frames: Sequence[Frame], seed: int, milliseconds: int, limit: int = 0) -> int:
        """Call on_broadcast with events made of others, for so long, or so often."""
        data = b"".join(frame.data for frame in frames)
        return self.add(
            Step(lib.SS_PLAY_FUZZ, 0, limit, 0, seed, milliseconds, data, "on_broadcast, fuzzed")
        )

    def race(self, frame: Frame, threads: int, times: int, ordinal: int = 1) -> int:
        """Call on_broadcast from several threads at once."""
        words = f"on_broadcast, {frame.label}, from {threads} threads"
        return self.add(
            Step(lib.SS_PLAY_CONCURRENT, 0, threads, 0, ordinal, times, frame.data, words, frame)
        )

    def extension(self, name: bytes, slot: int = 0) -> int:
        """Ask the plugin for an extension."""
        return self.add(
            Step(
                lib.SS_PLAY_EXTENSION,
                slot,
                data=name + b"\0",
                says=f"get_extension, {quoted(name)}",
            )
        )

    def mapped(self, path: Path) -> int:
        """Ask whether a file is mapped."""
        return self.add(Step(lib.SS_PLAY_MAPPED, data=os.fsencode(path) + b"\0"))

    def subscribed(self, slot: int = 0) -> int:
        """Call subscribed_events."""
        return self.call(lib.SS_PLAY_SUBSCRIBED, slot)

    def flush(self, slot: int = 0, timeout: int = 10_000) -> int:
        """Call flush, if the plugin acknowledges explicitly."""
        return self.call(lib.SS_PLAY_FLUSH, slot, timeout)

    def unload(self, slot: int = 0, timeout: int = 10_000) -> int:
        """Call on_unload."""
        return self.call(lib.SS_PLAY_UNLOAD, slot, timeout)

    def destroy(self, slot: int = 0) -> int:
        """Call destroy."""
        return self.call(lib.SS_PLAY_DESTROY, slot)

    def thread(self, at: int, stack: int = 0) -> int:
        """Call the plugin from another thread from now on; 0 is the main one."""
        return self.call(lib.SS_PLAY_THREAD, a=at, c=stack)

    def keep(self, at: int = 0) -> int:
        """Keep how the process is."""
        return self.call(lib.SS_PLAY_KEEP, a=at)

    def compare(self, *parts: int, at: int = 0) -> int:
        """Say what of these (``SS_STATE_*``) is not as it was kept."""
        return self.call(lib.SS_PLAY_COMPARE, a=at, b=sum(1 << part for part in parts))

    def heap(self) -> int:
        """Say how many bytes of the heap and how many mappings are in use."""
        return self.call(lib.SS_PLAY_HEAP)

    def sleep(self, milliseconds: int) -> int:
        """Wait."""
        return self.call(lib.SS_PLAY_SLEEP, a=milliseconds)

    def children(self, milliseconds: int) -> int:
        """Wait for copies of the process that were forked in calls, if there are any."""
        return self.call(lib.SS_PLAY_CHILDREN, a=milliseconds)

    def again(self, since: int, times: int, *, while_fuzzing: bool = False) -> int:
        """Do all steps from index `since` on again, so that they are done `times` times.

        Args:
            since: The index of the first of them.
            times: How often; the first time counts.
            while_fuzzing: Not any more once the fuzzer's time is over.
        """
        back = len(self.steps) - since
        return self.add(Step(lib.SS_PLAY_AGAIN, a=back, c=times, d=int(while_fuzzing)))
