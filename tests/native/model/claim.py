"""Claim and drop: `drop_oldest` in native/ring/ring.c, `take_copy` in native/ring/cursor.c.

A ring of two places, each with two words, so that a torn copy shows. The producer moves the
tail, then looks at the claim, and at what was taken; the consumer claims, then looks at the
tail, and says what it has taken before it gives the claim back. It says each of both by a check
and a value: where they differ, nothing is dropped. While the producer has not decided, the
sequence number is odd.
"""

from __future__ import annotations

from collections.abc import Callable

from tso import (
    Machine,
    Memory,
    Program,
    Registers,
    check,
    fence,
    ghost,
    jump,
    let,
    load,
    store,
    without,
)

PLACES = 2
EVENTS = 4
CLAIMS = 2


def producer() -> Program:
    """Put events; drop the oldest if there is no room, or the new one if that is claimed."""

    def dropped(registers: Registers, memory: Memory) -> None:
        if registers["tail"] >= registers["taken"]:
            memory["dropped"] |= 1 << registers["tail"]

    def may_drop(r: Registers) -> bool:
        heard = r["claim"] == r["claim check"] and r["taken"] == r["taken check"]
        return heard and r["claim"] != 1 + r["tail"]

    code: Program = [let("head", 0), let("tail", 0), let("sequence", 0)]
    for event in range(1, EVENTS + 1):
        code += [
            jump(f"room {event}", lambda r: r["head"] - r["tail"] < PLACES),
            let("sequence", lambda r: r["sequence"] + 1),
            "-odd",
            store("sequence", lambda r: r["sequence"]),
            store("tail", lambda r: r["tail"] + 1),
            "-producer fence",
            fence(),
            load("claim", "claim"),
            load("claim check", "claim check"),
            load("taken", "taken"),
            load("taken check", "taken check"),
            let("sequence", lambda r: r["sequence"] + 1),
            jump(f"free {event}", may_drop),
            store("tail", lambda r: r["tail"]),
            "-even",
            store("sequence", lambda r: r["sequence"]),
            jump(f"next {event}"),
            f"free {event}:",
            ghost(dropped),
            let("tail", lambda r: r["tail"] + 1),
            "-even",
            store("sequence", lambda r: r["sequence"]),
            f"room {event}:",
            store(lambda r: f"a{r['head'] % PLACES}", lambda r: r["head"]),
            store(lambda r: f"b{r['head'] % PLACES}", lambda r: r["head"]),
            let("head", lambda r: r["head"] + 1),
            store("head", lambda r: r["head"]),
            f"next {event}:",
        ]
    return code


def tell(word: str, value: Callable[[Registers], int], *marks: str) -> Program:
    """`ss_tell`: the check, then the value."""
    told: Program = [store(f"{word} check", value), store(word, value)]
    return [part for one in told for part in (*marks, one)]


def consumer() -> Program:
    """Copy out what is there; go to the tail if it was dropped."""

    def all_dropped(registers: Registers, memory: Memory) -> bool:
        skipped = range(registers["at"], registers["tail"])
        return all(memory["dropped"] >> place & 1 for place in skipped)

    def copied(registers: Registers, memory: Memory) -> None:
        memory["copied"] |= 1 << registers["at"]

    code: Program = [let("at", 0)]
    for claim in range(CLAIMS):
        code += [
            load("head", "head"),
            jump(f"next {claim}", lambda r: r["head"] == r["at"]),
            *tell("claim", lambda r: 1 + r["at"], "-claim"),
            "-consumer fence",
            fence(),
            load("tail", "tail"),
            jump(f"gone {claim}", lambda r: r["tail"] > r["at"]),
            load("a", lambda r: f"a{r['at'] % PLACES}"),
            load("b", lambda r: f"b{r['at'] % PLACES}"),
            check(lambda r, _: r["a"] == r["at"] == r["b"], "a torn copy"),
            ghost(copied),
            let("at", lambda r: r["at"] + 1),
            *tell("taken", lambda r: r["at"], "-taken"),
            *tell("claim", lambda _: 0),
            jump(f"next {claim}"),
            f"gone {claim}:",
            *tell("claim", lambda _: 0),
            f"undecided {claim}:",
            load("before", "sequence"),
            jump(f"undecided {claim}", lambda r: r["before"] % 2),
            load("tail", "tail"),
            load("after", "sequence"),
            jump(f"undecided {claim}", lambda r: r["before"] != r["after"]),
            jump(f"next {claim}", lambda r: r["tail"] <= r["at"]),
            check(all_dropped, "an event is given up that was not dropped"),
            let("at", lambda r: r["tail"]),
            *tell("taken", lambda r: r["at"]),
            f"next {claim}:",
        ]
    return code


def model(*left_out: str) -> int:
    """Explore it; `left_out` names the marked instructions that are not there."""
    words = ["head", "tail", "sequence", "dropped", "copied"]
    words += [f"{word}{check}" for word in ("claim", "taken") for check in ("", " check")]
    words += [f"{word}{place}" for word in "ab" for place in range(PLACES)]
    machine = Machine(
        dict.fromkeys(words, 0), without(producer(), *left_out), without(consumer(), *left_out)
    )
    return machine.explore(lambda memory: memory["copied"] & memory["dropped"] == 0)
