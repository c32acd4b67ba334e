"""Park and wake: `ss_ring_wake` in native/ring/ring.c, `ss_cursor_park` in native/ring/cursor.c.

The producer publishes and then looks whether the consumer sleeps. The consumer says that it
sleeps and then looks whether there is something. Each sleep has a number and is ended once.
"""

from __future__ import annotations

from tso import Machine, Program, add, barrier, fence, jump, let, load, store, wait, wake, without

EVENTS = 3


def producer(*, fences: bool) -> Program:
    """Publish event after event; with `fences`, for a machine without membarrier."""
    code: Program = [let("woken", 0)]
    for event in range(1, EVENTS + 1):
        code += [
            store("head", event),
            *(["-producer fence", fence()] if fences else []),
            load("sleep", "sleeping"),
            jump(f"next {event}", lambda r: r["sleep"] in (0, r["woken"])),
            let("woken", lambda r: r["sleep"]),
            add("wake"),
            wake("wake"),
            f"next {event}:",
        ]
    return code


def consumer(*, fences: bool) -> Program:
    """Take events until all are there; sleep when there is none."""
    return [
        let("got", 0),
        let("number", 0),
        "again:",
        load("head", "head"),
        jump("take", lambda r: r["head"] > r["got"]),
        let("number", lambda r: r["number"] + 1),
        "-seen first",
        load("seen", "wake"),
        store("sleeping", lambda r: r["number"]),
        "-consumer barrier",
        fence() if fences else barrier(),
        "-look again",
        load("head", "head"),
        "-seen late",
        load("seen", "wake"),
        jump("rise", lambda r: r["head"] > r["got"]),
        wait("wake", lambda r: r["seen"]),
        "rise:",
        store("sleeping", 0),
        jump("again"),
        "take:",
        let("got", lambda r: r["head"]),
        jump("again", lambda r: r["got"] < EVENTS),
    ]


def model(*left_out: str, fences: bool = False, late: bool = False) -> int:
    """Explore it; `left_out` names the marked instructions that are not there.

    `late` reads the futex word behind the barrier instead of before `sleeping`.
    """
    order = "seen first" if late else "seen late"
    machine = Machine(
        {"head": 0, "wake": 0, "sleeping": 0},
        without(producer(fences=fences), *left_out),
        without(consumer(fences=fences), *left_out, order),
    )
    return machine.explore(lambda memory: memory["head"] == EVENTS)
