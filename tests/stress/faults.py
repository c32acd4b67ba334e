"""Breaks a worker thousands of times while events stream, and checks that none is lost.

Two plugins in process mode get the same events at full speed. One of them is told by events to
crash, to hang, to write over its memory and so on, and its worker is killed from outside, too.
What both have written to their files before they acknowledged decides. Then a plugin is reloaded
again and again in both ways, by good versions and bad ones, while events stream and its workers
are killed. Then hosts are killed, and no worker may outlive its own. Then a plugin is loaded,
reloaded and unloaded many times, and nothing may be left of it.

    python tests/stress/faults.py --seed 7 --faults 2000 --seconds 600
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import structlog

from oracle import (
    BATCH,
    EVENT,
    EXPLICIT_ACK,
    LOADED,
    MULTI,
    Oracle,
    Verdict,
    command,
    digest,
    version_hash,
)
from process_tools import Footprint
from slipstream import (
    AppEvent,
    Block,
    FlushTimeout,
    MappingUpdate,
    Plugin,
    PluginLoadError,
    PluginManager,
    PluginStartError,
    frames,
)
from slipstream.testing import build_plugin

ROOT = Path(__file__).resolve().parents[2]

# What is done, and how often in relation to the others.
PLAN = {
    "segv": 10, "-segv": 10, "abort": 6, "-abort": 4, "exit": 6, "kill": 6, "-kill": 6,
    "hang": 2, "spin": 2, "stop": 2, "stopped": 1, "scribble": 6, "-scribble": 2, "attack": 3,
    "unmap": 6, "garbage": 6, "close": 6, "outside": 12,
}  # fmt: skip

SIGNALS = (signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM)

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

# The same for reloads, with the way to reload in front.
RELOAD_ROUNDS = [
    ("overlap", MULTI, "block", 0),
    ("replace", 0, "block", 0),
    ("overlap", MULTI | EXPLICIT_ACK, "block", 7),
    ("replace", EXPLICIT_ACK | BATCH, "block", 100),
    ("overlap", MULTI | BATCH, "drop_oldest", 0),
    ("replace", BATCH, "drop_newest", 0),
]

# A broadcast never waits that long for a worker that is restarted; if one does, the worker does
# not get on, and the round has to come to its end and say so.
BLOCK_TIMEOUT = 60

INVARIANTS = ("lost", "order_violations", "unmarked_repeats", "hash_mismatches")


@dataclass(frozen=True)
class Process:
    """A process, told by its start from a later one that got the same number."""

    pid: int
    started: int  # in ticks since boot

    @classmethod
    def seen(cls, pid: int) -> Self | None:
        """The process that has this number now, if any."""
        stat = _stat(pid)
        return None if stat is None else cls(pid, stat[1])

    @property
    def lives(self) -> bool:
        stat = _stat(self.pid)
        return stat is not None and stat[0] != "Z" and stat[1] == self.started

    def kill(self, number: int) -> bool:
        """Send a signal to this process and to no other; False if it is gone."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if not self.lives:  # the descriptor may be of a later one
                return False
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True


def _stat(pid: int) -> tuple[str, int] | None:
    """State and start of a process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields[0], int(fields[19])


def children(pid: int) -> list[Process]:
    """The processes that this one has started."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        pids = [int(c) for task in tasks for c in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [child for child in map(Process.seen, pids) if child is not None]


class Stream:
    """Broadcasts blocks of ready events, and remembers what it sent."""

    def __init__(self, manager: PluginManager, rng: random.Random) -> None:
        self._manager = manager
        self._rng = rng
        events = [self._event(i) for i in range(64)]
        self._hashes = [digest(event) for event in events]
        self._frames = [frames.encode(event) for event in events]
        self.sent = array("Q")

    def _event(self, number: int) -> object:
        body = self._rng.randbytes(self._rng.choice((0, 1, 8, 40, 200, 3000)))
        kind = number % 3
        if kind == 0:
            return Block(body, number)
        if kind == 1:
            return AppEvent(40, body, None)
        return MappingUpdate(b"program", b"map", body, body, number)

    def burst(self, count: int) -> None:
        """Send so many events at full speed."""
        while count > 0:
            start = self._rng.randrange(60)
            run = self._frames[start : start + count]
            self._manager.broadcast_frames(b"".join(run))
            self.sent.extend(self._hashes[start : start + len(run)])
            count -= len(run)

    def order(self, what: str) -> None:
        """Send one event that is an order."""
        event = command(what)
        self._manager.broadcast(event)
        self.sent.append(digest(event))


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
    compile_it = _compiler(folder)
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
    lived_on = [worker.pid for worker in workers if worker.lives]
    verdicts = faulty.judge(stream.sent), healthy.judge(stream.sent)
    wrong = stuck + _compare_counters(counts, verdicts, len(stream.sent))
    if restarts[1] != 0:
        wrong.append(f"the healthy worker was restarted {restarts[1]} times")
    if overflow == "block" and counts[0].dropped:
        wrong.append(f"{counts[0].dropped} dropped, where the broadcast should have waited")
    if lived_on:
        wrong.append(f"workers {lived_on} outlived the manager")
    figures = {
        "flags": flags,
        "overflow": overflow,
        "faults": done.total(),
        "kinds": dict(done),
        "broadcast": len(stream.sent),
        "restarts": restarts[0],
        "dropped": counts[0].dropped,
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
    if what == "outside":
        worker = Process.seen(plugin.delivery.pid)
        if worker is None or not worker.kill(rng.choice(SIGNALS)):
            return
    else:
        if plugin.delivery.config.overflow != "block":
            wait(lambda: plugin.counters.lag == 0)  # else the order itself is dropped
        stream.order(what)
    done[what] += 1


def _compare_counters(counts, verdicts: tuple[Verdict, Verdict], total: int) -> list[str]:
    wrong = []
    for name, counters, verdict in zip(("faulty", "healthy"), counts, verdicts, strict=True):
        if not counters.broadcast == counters.acknowledged == total:
            wrong.append(
                f"{name}: broadcast {counters.broadcast}, acknowledged {counters.acknowledged}, "
                f"sent {total}"
            )
        if name == "healthy" and counters.delivered != verdict.events + verdict.gaps:
            wrong.append(f"{name}: delivered {counters.delivered}, in its file {verdict.events}")
    return wrong


def wait(ready: Callable[[], bool], seconds: float = 240) -> bool:
    """Whether it comes true in time."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


def _compiler(folder: Path):
    built: dict[tuple[str, ...], Path] = {}

    def compile_it(source: str, *flags: str, name: str) -> Path:
        key = (*flags, name)
        if key not in built:
            place = folder / f"{name}-{abs(hash(key))}"
            place.mkdir(exist_ok=True)
            text = (ROOT / "tests" / "plugins" / source).read_text()
            built[key] = build_plugin(text, *flags, folder=place, name=name)
        return built[key]

    return compile_it


# ---- Reloads under fire ------------------------------------------------------------------------

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
                    what = rng.choice(("segv", "-segv", "abort", "exit"))
                    self.stream.order(what)
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
        compile_it = _compiler(folder)

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
        first = plugin.counters.broadcast + 1
        if not wait(lambda: plugin.counters.broadcast > first):
            self.wrong.append(f"nothing streams behind ordinal {first} {trouble.problem}")
        last = plugin.counters.broadcast
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
            elif record.type == EVENT:
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
        with Trouble(manager, seed) as trouble:
            while len(plan.spans) < reloads and time.monotonic() < end and not plan.wrong:
                plan.one_more(manager, trouble)
        with suppress(FlushTimeout):  # then something is lost, which the judge sees
            manager.flush(0 if plan.wrong else 240)
        workers = children(os.getpid())
        counters, restarts = plugin.counters, plugin.delivery.restarts
    verdict = plan.one.judge(trouble.stream.sent)
    plan.compare_versions()
    wrong = plan.wrong[:10] + ([trouble.problem] if trouble.problem else [])
    if not counters.broadcast == counters.acknowledged == len(trouble.stream.sent):
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
        "dropped": counters.dropped,
        "repeats": verdict.repeats,
        "wrong_counters": wrong,
        "examples": verdict.examples,
    }
    return figures | {key: getattr(verdict, key) for key in INVARIANTS}


# ---- Hosts that are killed ---------------------------------------------------------------------

ENOUGH = 20  # workers that lived on: more do not tell more

_HOST = """
import sys, structlog
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
from slipstream import AppEvent, PluginManager, frames
manager = PluginManager(insecure_paths=True, log_level="error")
for number, library in enumerate(sys.argv[2:]):
    manager.load_plugin({"libpath": library, "mode": "process", "log": f"{sys.argv[1]}-{number}",
                         "ring_bytes": "64KiB", "name": f"plugin-{number}"})
print("ready", flush=True)
run = b"".join([frames.encode(AppEvent(40, b"x" * 50, None))] * 50)
while True:
    manager.broadcast_frames(run)
"""


def kill_hosts(folder: Path, rounds: int, seed: int, end: float) -> dict:
    """Kill hosts at random moments; returns how many workers lived on."""
    rng = random.Random(seed)
    compile_it = _compiler(folder)
    library = Oracle(compile_it, folder, name="victim", flags=4).library
    survivors: list[Process] = []
    latest = 0.0
    number = 0
    while number < rounds and time.monotonic() < end and len(survivors) < ENOUGH:
        host = subprocess.Popen(
            [sys.executable, "-c", _HOST, str(folder / "victim"), str(library), str(library)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        if number % 4 == 3:  # somewhere in between, maybe before a worker is there
            time.sleep(rng.uniform(0.05, 0.5))
        else:
            host.stdout.readline()
            time.sleep(rng.uniform(0, 0.02))
        workers = children(host.pid)
        host.kill()
        host.wait()
        killed = time.monotonic()
        while (left := [w for w in workers if w.lives]) and time.monotonic() < killed + 60:
            time.sleep(0.002)
        latest = max(latest, time.monotonic() - killed)
        survivors += left
        for worker in left:  # it would run for ever, and slow down all that follows
            worker.kill(signal.SIGKILL)
        number += 1
        host.stdout.close()
        for file in folder.glob("victim-[0-9]"):
            file.unlink()
    return {"hosts_killed": number, "survivors": len(survivors), "slowest_end": round(latest, 3)}


# ---- What must not be left behind --------------------------------------------------------------


def run_cycles(folder: Path, cycles: int, end: float) -> dict:
    """Load, stream, reload, stream, unload, again and again; returns what was left behind."""
    oracle = Oracle(_compiler(folder), folder, name="cycle")
    event = AppEvent(40, b"event", None)
    run = frames.encode(event) * 100
    hashes = [digest(event)] * 200
    workers: list[Process | None] = []
    leaks: list[str] = []
    with PluginManager(insecure_paths=True, log_level="error", data_dir=folder / "data") as manager:

        def cycle() -> None:
            plugin = manager.load_plugin(oracle.config(ring_bytes="64KiB"))
            manager.broadcast_frames(run)
            manager.reload_plugin("cycle")
            workers.append(Process.seen(plugin.delivery.pid))
            manager.broadcast_frames(run)
            manager.unload_plugin("cycle")
            verdict = oracle.judge(hashes)
            if not verdict.good or verdict.repeats or plugin.counters.acknowledged != 200:
                leaks.append(f"{plugin.counters.acknowledged} of 200 events, {verdict}")
            oracle.log.unlink()

        cycle()
        before, maps = Footprint.now(), _count_mappings()
        while len(workers) < cycles and time.monotonic() < end:
            cycle()
        after = Footprint.now()
        if after != before:
            leaks.append(f"{before} became {after}")
        if _count_mappings() > maps + 10:
            leaks.append(f"{maps} mappings became {_count_mappings()}")
    leaks += [f"worker {w.pid} lives" for w in workers if w is not None and w.lives]
    leaks += [f"{path} is left" for path in oracle.library.parent.glob(".*.slipstream-copy")]
    return {"cycles": len(workers), "leaks": leaks}


def _count_mappings() -> int:
    return Path("/proc/self/maps").read_text().count("\n")


# ---- All of it ---------------------------------------------------------------------------------


def run(options: argparse.Namespace) -> dict:
    """Everything; returns the summary."""
    begin = time.monotonic()
    end = begin + options.seconds
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    rounds: list[dict] = []
    with tempfile.TemporaryDirectory(prefix="slipstream-faults-") as name:
        folder = Path(name)
        work = [(run_round, *one) for one in _shares(options.faults, ROUNDS)]
        work += [(run_reloads, *one) for one in _shares(options.reloads, RELOAD_ROUNDS)]
        for number, (run_it, part, todo) in enumerate(work):
            rounds.append(run_it(folder, part, todo, options.seed + number, end))
            if any(rounds[-1][key] for key in (*INVARIANTS, "wrong_counters")):
                break  # what is broken makes the next ones slow, and tells no more
        killed = kill_hosts(folder, options.hosts, options.seed, end)
        killed |= run_cycles(folder, options.cycles, end)
    summary: dict = {
        "seed": options.seed,
        "host_alive": True,
        "duration": round(time.monotonic() - begin, 1),
        "threads_left": [t.name for t in threading.enumerate() if t.name.startswith("slip-")],
    }
    for key in (
        *("faults", *INVARIANTS, "reloads", "reloads_refused", "reloads_killed"),
        *("restarts", "broadcast", "dropped", "repeats", "healthy_delivered"),
    ):
        summary[key] = sum(r.get(key, 0) for r in rounds)
    summary["wrong_counters"] = [w for r in rounds for w in r["wrong_counters"]]
    summary |= killed
    summary["rounds"] = rounds
    return summary


def _shares(total: int, parts: list) -> list[tuple]:
    """Each part with what it does of the total."""
    count = len(parts)
    ends = [total * number // count for number in range(count + 1)]
    return [(part, ends[n + 1] - ends[n]) for n, part in enumerate(parts)]


def is_good(summary: dict) -> bool:
    """Whether nothing was found."""
    bad = (*INVARIANTS, "survivors", "wrong_counters", "leaks")
    return not any(summary[key] for key in bad)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    parser.add_argument("--faults", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=900)
    parser.add_argument("--reloads", type=int, default=300, help="reloads under fire")
    parser.add_argument("--hosts", type=int, default=200, help="hosts to kill")
    parser.add_argument("--cycles", type=int, default=1000, help="loads and unloads")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "faults.json")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    summary = run(options)
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps(summary, indent=2) + "\n")
    print(json.dumps({k: v for k, v in summary.items() if k != "rounds"}, indent=2))
    for part in summary["rounds"]:
        for example in part["examples"]:
            print(f"flags {part['flags']}, {part['overflow']}: {example}")
    print(f"written to {options.output}")
    return 0 if is_good(summary) else 1


if __name__ == "__main__":
    sys.exit(main())
