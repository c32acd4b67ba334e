"""Workers that are broken from inside and outside while events stream; part of faults.py."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

from slipstream import FlushTimeout, Plugin, PluginManager
from stress.fault_tools import (
    BLOCK_TIMEOUT,
    INVARIANTS,
    SIGNALS,
    Process,
    Stream,
    children,
    compare_outcomes,
    compiler,
    wait,
)
from support.oracle import BATCH, EXPLICIT_ACK, Oracle, Verdict
from support.outcomes import Auditor

# What is done, and how often in relation to the others.
PLAN = {
    "segv": 10, "-segv": 10, "abort": 6, "-abort": 4, "exit": 6, "kill": 6, "-kill": 6,
    "hang": 2, "spin": 2, "stop": 2, "stopped": 1, "scribble": 6, "-scribble": 2, "attack": 3,
    "unmap": 6, "garbage": 6, "close": 6, "outside": 12, "fork": 6, "-fork": 2, "chatter": 4,
    "refuse": 12, "frozen": 1,
}  # fmt: skip

# Each round is a part of all faults: flags of the plugin, overflow, acknowledges every so many.
ROUNDS = [
    (0, "block", 0),
    (EXPLICIT_ACK, "block", 7),
    (BATCH, "block", 0),
    (EXPLICIT_ACK | BATCH, "block", 100),
    (EXPLICIT_ACK, "block", 0),
    (0, "drop_newest", 0),
    (0, "drop_oldest", 0),
    (BATCH, "drop_oldest", 0),
]


def run_round(
    folder: Path,
    part: tuple[int, str, int],
    faults: int,
    seed: int,
    end: float,
) -> dict:
    """One round; returns its figures."""
    flags, overflow, ack_every = part
    rng = random.Random(seed)
    compile_it = compiler(folder)
    faulty = Oracle(compile_it, folder, flags=flags, name="faulty")
    healthy = Oracle(compile_it, folder, flags=0, name="healthy")
    done: Counter[str] = Counter()
    common = {
        "ring_bytes": "64KiB",
        "flush_interval": 0.05,
        "block_timeout": BLOCK_TIMEOUT,
    }
    with PluginManager(insecure_paths=True, log_level="error", data_dir=folder / "data") as manager:
        sick = manager.load_plugin(
            faulty.config(
                **common,
                callback_timeout=0.5,
                overflow=overflow,
                ack_every=ack_every,
                restart={"initial_delay": 0, "max_delay": 0.001, "max_crashes": 0},
            )
        )
        well = manager.load_plugin(healthy.config(**common, obeys=0))
        stream = Stream(manager, rng)
        stuck = []
        auditor = Auditor(manager)
        auditor.start()
        while done.total() < faults and time.monotonic() < end and not stuck:
            stream.burst(rng.choice((1, 5, 50, 300, 1000)))
            _break(sick, stream, rng, done)
            # An order is obeyed once: if it is again and again, a round would not end.
            if sick.delivery.restarts > 2 * done.total() + 5:
                stuck.append(f"{sick.delivery.restarts} restarts after {done.total()} faults")
        stream.burst(1000)
        try:
            manager.flush(0 if stuck else 240)
        except FlushTimeout as error:
            stuck.append(error.message)
        workers = children(os.getpid())
        counts = sick.counters, well.counters
        restarts = sick.delivery.restarts, well.delivery.restarts
    auditor.stop()
    lived_on = [worker.pid for worker in workers if worker.lives]
    verdicts = faulty.judge(stream.sent), healthy.judge(stream.sent)
    wrong = stuck + auditor.wrong + _compare_counters(counts, verdicts, len(stream.sent))
    if restarts[1] != 0:
        wrong.append(f"the healthy worker was restarted {restarts[1]} times")
    if overflow == "block" and counts[0].lost:
        wrong.append(f"{counts[0].lost} dropped, where the broadcast should have waited")
    if lived_on:
        wrong.append(f"workers {lived_on} outlived the manager")
    figures = {
        "flags": flags,
        "overflow": overflow,
        "faults": done.total(),
        "kinds": dict(done),
        "broadcast": len(stream.sent),
        "restarts": restarts[0],
        "dropped": counts[0].lost,
        "repeats": verdicts[0].repeats,
        "healthy_delivered": counts[1].delivered,
        "wrong_counters": wrong,
        "examples": [e for v in verdicts for e in v.examples],
    }
    for key in INVARIANTS:
        figures[key] = sum(getattr(v, key) for v in verdicts)
    for file in (faulty.log, healthy.log):
        file.unlink()
    return figures


def _break(plugin: Plugin, stream: Stream, rng: random.Random, done: Counter[str]) -> None:
    """Do one thing of the plan to a plugin's worker, and count it."""
    what = rng.choices(list(PLAN), list(PLAN.values()))[0]
    if what in {"outside", "frozen"}:
        worker = Process.seen(plugin.pid)
        if worker is None or not worker.kill(
            signal.SIGSTOP if what == "frozen" else rng.choice(SIGNALS)
        ):
            return
    else:
        if plugin.delivery.config.overflow != "block":
            wait(lambda: plugin.counters.lag == 0)  # else the order itself is dropped
        stream.order(what, 99 if what == "refuse" else 1)
    done[what] += 1


def _compare_counters(counts, verdicts: tuple[Verdict, Verdict], total: int) -> list[str]:
    wrong = []
    for name, counters, verdict in zip(("faulty", "healthy"), counts, verdicts, strict=True):
        if not counters.accepted == counters.acknowledged == total:
            wrong.append(
                f"{name}: broadcast {counters.accepted}, acknowledged {counters.acknowledged}, "
                f"sent {total}"
            )
        wrong += compare_outcomes(name, counters, verdict)
    return wrong
