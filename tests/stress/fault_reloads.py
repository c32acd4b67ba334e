"""Reloads under fire, by good versions and bad ones; part of faults.py."""

from __future__ import annotations

import os
import random
import threading
import time
from bisect import bisect_left
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Self

from slipstream import FlushTimeout, PluginLoadError, PluginManager, PluginStartError
from stress.fault_tools import (
    BLOCK_TIMEOUT,
    INVARIANTS,
    SIGNALS,
    Stream,
    children,
    compare_outcomes,
    compiler,
    wait,
)
from support.oracle import BATCH, EVENT, EXPLICIT_ACK, LOADED, MULTI, REFUSED, Oracle, version_hash
from support.outcomes import Auditor

# Each round is a part of all reloads: the way to reload; the rest as in fault_rounds.py.
RELOAD_ROUNDS = [
    ("overlap", MULTI, "block", 0),
    ("replace", 0, "block", 0),
    ("overlap", MULTI | EXPLICIT_ACK, "block", 7),
    ("replace", EXPLICIT_ACK | BATCH, "block", 100),
    ("overlap", MULTI | BATCH, "drop_oldest", 0),
    ("replace", BATCH, "drop_newest", 0),
]

# Versions that are tried, and how often in relation to the others. A good one is told from the
# next by its version; the others must fail, and the version that serves must go on.
TRIES = {"good": 12, "create": 2, "fail": 3, "segv": 3, "hang": 1, "text": 1}


class Trouble:
    """Two threads: events at full speed with deadly ones among them; kills of any worker."""

    def __init__(self, manager: PluginManager, seed: int) -> None:
        self._manager = manager
        self._seed = seed
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=run) for run in (self._send, self._kill)]
        self.stream = Stream(manager, random.Random(seed))
        self.done: Counter[str] = Counter()
        self.shots = 0  # counted before each, so that no effect is seen before its cause
        self.problem = ""

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(240)
            if thread.is_alive():
                self.problem = "a broadcast does not end"

    def _full(self) -> bool:
        return any(plugin.counters.lag > 1000 for plugin in self._manager.plugins.values())

    def _send(self) -> None:
        rng = random.Random(self._seed + 1)
        try:
            while not self._stop.is_set():
                self.stream.burst(rng.choice((1, 5, 50, 300)))
                if self._full():  # nobody would hold it up, and most of it would be dropped
                    time.sleep(0.001)
                if rng.random() < 0.02:
                    what = rng.choice(("segv", "-segv", "abort", "exit", "refuse", "refuse"))
                    self.stream.order(what, 99 if what == "refuse" else 1)
                    self.done[what] += 1
        except Exception as error:  # noqa: BLE001 - told by whoever waits
            self.problem = f"{type(error).__name__}: {error}"

    def _kill(self) -> None:
        """Also of a worker that is not running yet, or not any more."""
        rng = random.Random(self._seed + 2)
        while not self._stop.wait(rng.uniform(0, 0.1)):
            workers = children(os.getpid())
            self.shots += 1
            if workers and rng.choice(workers).kill(rng.choice(SIGNALS[:2])):
                self.done["outside"] += 1


class Reloads:
    """One plugin, and the version that has to serve."""

    def __init__(self, folder: Path, part: tuple[str, int, str, int], seed: int) -> None:
        self.how, flags, overflow, ack_every = part
        self._rng = random.Random(seed)
        self._folder = folder
        compile_it = compiler(folder)

        def version(number: str, *defines: str) -> Oracle:
            return Oracle(compile_it, folder, *defines, flags=flags, name="anew", version=number)

        self.one = version("1")
        self._other = version("2")
        self._dies = version("3", '-DON_CREATE="segv"')
        self._keys: dict[str, object] = {
            "ring_bytes": "64KiB",
            "flush_interval": 0.05,
            "load_timeout": 8,
            "block_timeout": BLOCK_TIMEOUT,
            "overflow": overflow,
            "ack_every": ack_every,
            "reload": self.how,
            "restart": {"initial_delay": 0, "max_delay": 0.001, "max_crashes": 0},
        }
        if self.how == "replace":  # both may hold the same thing, one after the other
            self._keys["lock"] = str(folder / "anew.lock")
        self.serves = self.one
        self.spans: list[tuple[int, int, str]] = []  # ordinals, and who has to have got them
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []

    def config(self, version: Oracle, **more: object) -> dict[str, object]:
        return version.config(**self._keys, **more)

    def _choose(self) -> tuple[str, Oracle, dict[str, object]]:
        what = self._rng.choices(list(TRIES), list(TRIES.values()))[0]
        good = self._other if self.serves is self.one else self.one
        if what == "good":
            return what, good, self.config(good)
        if what == "create":
            return what, self._dies, self.config(self._dies)
        if what == "text":
            text = self._folder / "text.so"
            text.write_text("no library\n")
            return what, good, self.config(good) | {"libpath": str(text)}
        return what, good, self.config(good, on_load=what)

    def one_more(self, manager: PluginManager, trouble: Trouble) -> None:
        """Reload once; then the right version has to get what comes."""
        what, version, config = self._choose()
        plugin = manager.plugins["anew"]
        shots = trouble.shots
        text = ""
        try:
            manager.reload_plugin("anew", config)
        except (PluginLoadError, PluginStartError) as error:
            text = error.message
        if text == "" and what == "good":
            self.serves = version
            self.done["reloads"] += 1
        elif text == "":
            self.wrong.append(f"a version that fails ({what}) was loaded")
        elif what != "good":
            self.done["reloads_refused"] += 1
        elif trouble.shots > shots:
            self.done["reloads_killed"] += 1
        else:
            self.wrong.append(f"a good version was refused: {text}")
        first = plugin.counters.accepted + 1
        if not wait(lambda: plugin.counters.accepted > first):
            self.wrong.append(f"nothing streams behind ordinal {first} {trouble.problem}")
        last = plugin.counters.accepted
        try:
            manager.flush(240)
        except FlushTimeout as error:
            self.wrong.append(error.message)
        name = "1" if self.serves is self.one else "2"
        self.spans.append((first, last, name))
        if plugin.version != name:
            self.wrong.append(f"version {plugin.version} is shown, {name} serves")

    def compare_versions(self) -> None:
        """Each event between two reloads was got by the version that had to serve then."""
        names = {version_hash(name): name for name in "123"}
        serving: dict[int, str] = {}
        lasts = [last for _, last, _ in self.spans]
        for record in self.one.records:
            if record.type == LOADED:
                serving[record.pid] = names[record.hash]
            elif record.type in {EVENT, REFUSED}:
                at = bisect_left(lasts, record.ordinal)
                if at == len(lasts) or record.ordinal < self.spans[at][0]:
                    continue
                if serving.get(record.pid) != self.spans[at][2]:
                    self.wrong.append(
                        f"version {serving.get(record.pid)} got {record.ordinal}, "
                        f"{self.spans[at][2]} had to"
                    )


def run_reloads(
    folder: Path, part: tuple[str, int, str, int], reloads: int, seed: int, end: float
) -> dict:
    """One round of reloads; returns its figures."""
    plan = Reloads(folder, part, seed)
    with PluginManager(insecure_paths=True, log_level="error", data_dir=folder / "data") as manager:
        plugin = manager.load_plugin(plan.config(plan.one))
        with Auditor(manager) as auditor, Trouble(manager, seed) as trouble:
            while len(plan.spans) < reloads and time.monotonic() < end and not plan.wrong:
                plan.one_more(manager, trouble)
        with suppress(FlushTimeout):  # then something is lost, which the judge sees
            manager.flush(0 if plan.wrong else 240)
        workers = children(os.getpid())
        counters, restarts = plugin.counters, plugin.delivery.restarts
    verdict = plan.one.judge(trouble.stream.sent)
    plan.compare_versions()
    wrong = plan.wrong[:10] + auditor.wrong + ([trouble.problem] if trouble.problem else [])
    wrong += compare_outcomes("anew", counters, verdict)
    if not counters.accepted == counters.acknowledged == len(trouble.stream.sent):
        wrong.append(f"{counters}, sent {len(trouble.stream.sent)}")
    wrong += [f"worker {w.pid} outlived the manager" for w in workers if w.lives]
    wrong += [f"{path} is left" for path in folder.glob("anew-*/.*.slipstream-copy")]
    plan.one.log.unlink()
    figures = {
        "reload": plan.how,
        "flags": part[1],
        "overflow": part[2],
        **{key: plan.done[key] for key in ("reloads", "reloads_refused", "reloads_killed")},
        "faults": trouble.done.total(),
        "kinds": dict(trouble.done),
        "broadcast": len(trouble.stream.sent),
        "restarts": restarts,
        "dropped": counters.lost,
        "repeats": verdict.repeats,
        "wrong_counters": wrong,
        "examples": verdict.examples,
    }
    return figures | {key: getattr(verdict, key) for key in INVARIANTS}
