"""Crash and replay: `call` and `ss_acks_finish` in native/consumer, ss_ring_prepare_resume.

The consumer tells what it starts, calls, and tells what is done; each told value has a check
that is written first. It may be killed between any two instructions; what it has stored is
seen all the same. The host looks at any time, and after a death starts the next consumer.
"""

from __future__ import annotations

from collections.abc import Iterator

from tso import (
    Machine,
    Memory,
    ModelError,
    Program,
    Registers,
    State,
    check,
    ghost,
    jump,
    let,
    load,
    replaced,
    store,
    without,
)

EVENTS = 4
CRASHES = 2
LOOKS = 2


def last(registers: Registers) -> int:
    """The last event of this call: one by one while replaying, else runs of two."""
    one = registers["at"] < registers["until"]
    return min(registers["at"] + (1 if one else 2), EVENTS)


def consumer() -> Program:
    """Deliver all events from where the host says."""

    def offer(registers: Registers, memory: Memory) -> None:
        memory["offered"] |= mask(registers)

    def take(registers: Registers, memory: Memory) -> None:
        memory["taken"] |= mask(registers)

    def mask(registers: Registers) -> int:
        return (1 << last(registers)) - (1 << registers["at"])

    def marked(registers: Registers, memory: Memory) -> bool:
        attempt = memory["attempt"] if registers["at"] < registers["until"] else 1
        return attempt > 1 or not memory["offered"] & mask(registers)

    return [
        load("at", "after"),
        load("until", "until"),
        "again:",
        jump("end", lambda r: r["at"] == EVENTS),
        "-acked early",
        store("acked check", last),
        "-acked early",
        store("acked", last),
        "-started",
        store("started check", last),
        "-started",
        store("started", last),
        check(marked, "a repeated event is not marked"),
        ghost(offer),
        ghost(take),
        "-started late",
        store("started check", last),
        "-started late",
        store("started", last),
        "-check",
        store("acked check", last),
        "-acked",
        store("acked", last),
        "-check late",
        store("acked check", last),
        let("at", last),
        jump("again"),
        "end:",
    ]


def host() -> Program:
    """Look at what is acknowledged, from time to time."""

    def sane(registers: Registers, memory: Memory) -> bool:
        return memory["heard"] <= registers["value"] <= registers["check"] <= EVENTS

    def all_taken(registers: Registers, memory: Memory) -> bool:
        return memory["taken"] & (1 << registers["value"]) - 1 == (1 << registers["value"]) - 1

    def keep(registers: Registers, memory: Memory) -> None:
        memory["heard"] = registers["value"]

    return [
        let("looks", 0),
        "idle:",
        jump("end", lambda r: r["looks"] == LOOKS),
        load("value", "acked"),
        load("check", "acked check"),
        check(sane, "an honest consumer is taken for damaged"),
        check(all_taken, "an event is acknowledged that was not taken"),
        ghost(keep),
        let("looks", lambda r: r["looks"] + 1),
        jump("idle"),
        "end:",
    ]


class Mortal(Machine):
    """A machine whose first thread may be killed, and is then started anew."""

    forgetful = False

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        """All that may happen next, a death among it."""
        yield from super().steps(state)
        frozen, threads = state
        memory = dict(frozen)
        idle = threads[1][0] in (self.labels[1]["idle"], self.labels[1]["end"])
        done = threads[0][0] == len(self.programs[0])
        if memory["crashes"] > 0 and idle and not done and not threads[0][2]:
            memory["crashes"] -= 1
            self.prepare_resume(memory)
            reborn = replaced(threads, 0, (0, (), (), ""))
            yield f"killed; from {memory['after']}", (tuple(sorted(memory.items())), reborn)

    def prepare_resume(self, memory: Memory) -> None:
        """What the host does when the consumer is dead."""
        acked = memory["acked"]
        started = memory["started"]
        if not memory["heard"] <= acked <= memory["acked check"] <= EVENTS:
            raise ModelError("a killed consumer is taken for damaged")
        if memory["taken"] & (1 << acked) - 1 != (1 << acked) - 1:
            raise ModelError("an event that was not taken is not delivered again")
        if memory["until"] <= acked:
            memory["attempt"] = 1
        if started > memory["after"] and started > acked:
            memory["attempt"] += 1
        old = 0 if self.forgetful else memory["until"]
        memory["until"] = max(old, acked, started)
        memory["after"] = memory["heard"] = acked
        for word in ("acked", "acked check", "started", "started check"):
            memory[word] = acked


def model(*changes: str) -> int:
    """Explore it, with some of these changes.

    `acked early` and `started late` tell at the wrong side of the call, `check late` writes a
    value before its check, `forgetful` forgets the replay that a crash has interrupted.
    """
    absent = {"acked early", "started late", "check late"} - set(changes)
    absent |= {"started"} if "started late" in changes else set()
    absent |= {"check"} if {"acked early", "check late"} & set(changes) else set()
    absent |= {"acked"} if "acked early" in changes else set()
    words = ("acked", "acked check", "started", "started check", "after", "until", "heard")
    memory = {**dict.fromkeys((*words, "offered", "taken"), 0), "attempt": 1, "crashes": CRASHES}
    machine = Mortal(memory, without(consumer(), *absent), host())
    machine.forgetful = "forgetful" in changes
    return machine.explore(lambda memory: memory["taken"] == (1 << EVENTS) - 1)
