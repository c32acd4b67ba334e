"""Breaks a worker thousands of times while events stream, and checks that none is lost.

Two plugins in process mode get the same events at full speed. One of them is told by events to
crash, to hang, to write over its memory and so on, and its worker is killed from outside, too.
What both have written to their files before they acknowledged decides. Then hosts are killed,
and no worker may outlive its own. Then a plugin is loaded, reloaded and unloaded many times, and
nothing may be left of it.

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
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import structlog

from oracle import BATCH, EXPLICIT_ACK, Oracle, Verdict, command, digest
from process_tools import Footprint
from slipstream import AppEvent, Block, FlushTimeout, MappingUpdate, PluginManager, frames
from slipstream.testing import build_plugin

ROOT = Path(__file__).resolve().parents[2]

# What is done, and how often in relation to the others.
PLAN = {
    "segv": 10, "-segv": 10, "abort": 6, "-abort": 4, "exit": 6, "kill": 6, "-kill": 6,
    "hang": 2, "spin": 2, "stop": 2, "stopped": 1, "scribble": 6, "-scribble": 2, "attack": 3,
    "unmap": 6, "garbage": 6, "close": 6, "outside": 12,
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
        "callback_timeout": 0.2,
        "flush_interval": 0.05,
        "block_timeout": 60,
    }
    with PluginManager(insecure_paths=True, log_level="error", data_dir=folder / "data") as manager:
        sick = manager.load_plugin(
            faulty.config(
                **common,
                overflow=overflow,
                ack_every=ack_every,
                restart={"initial_delay": 0, "max_delay": 0.001, "max_crashes": 0},
            )
        )
        well = manager.load_plugin(healthy.config(**common, obeys=0))
        stream = Stream(manager, rng)
        names, weights = list(PLAN), list(PLAN.values())
        while sum(done.values()) < faults and time.monotonic() < end:
            stream.burst(rng.choice((1, 5, 50, 300, 1000)))
            what = rng.choices(names, weights)[0]
            if what == "outside":
                pid = sick.delivery.pid
                if pid == 0:
                    continue
                os.kill(pid, rng.choice((signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM)))
            else:
                if overflow != "block":
                    _wait(lambda: sick.counters.lag == 0)  # else the order itself is dropped
                stream.order(what)
            done[what] += 1
        stream.burst(1000)
        stuck = []
        try:
            manager.flush(60)
        except FlushTimeout as error:
            stuck.append(error.message)
        sick_pid, well_pid = sick.delivery.pid, well.delivery.pid
        counts = sick.counters, well.counters
        restarts = sick.delivery.restarts, well.delivery.restarts
    lived_on = [pid for pid in (sick_pid, well_pid) if _alive(pid)]
    verdicts = faulty.judge(stream.sent), healthy.judge(stream.sent)
    wrong = stuck + _compare_counters(counts, verdicts, len(stream.sent))
    if restarts[1] != 0:
        wrong.append(f"the healthy worker was restarted {restarts[1]} times")
    if lived_on:
        wrong.append(f"workers {lived_on} outlived the manager")
    figures = {
        "flags": flags,
        "overflow": overflow,
        "faults": sum(done.values()),
        "kinds": dict(done),
        "broadcast": len(stream.sent),
        "restarts": restarts[0],
        "dropped": counts[0].dropped,
        "repeats": verdicts[0].repeats,
        "healthy_delivered": counts[1].delivered,
        "wrong_counters": wrong,
        "examples": [e for v in verdicts for e in v.examples],
    }
    for key in ("lost", "order_violations", "unmarked_repeats", "hash_mismatches"):
        figures[key] = sum(getattr(v, key) for v in verdicts)
    for file in (faulty.log, healthy.log):
        file.unlink()
    return figures


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


def _wait(ready: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


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


# ---- Hosts that are killed ---------------------------------------------------------------------

_HOST = """
import sys, structlog
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
from slipstream import AppEvent, PluginManager, frames
manager = PluginManager(insecure_paths=True, log_level="error")
for number, library in enumerate(sys.argv[2:]):
    manager.load_plugin({"libpath": library, "mode": "process", "log": f"{sys.argv[1]}-{number}",
                         "ring_bytes": "64KiB", "name": f"plugin-{number}"})
pids = [plugin.delivery.pid for plugin in manager.plugins.values()]
print(*pids, flush=True)
run = b"".join([frames.encode(AppEvent(40, b"x" * 50, None))] * 50)
while True:
    manager.broadcast_frames(run)
"""


def kill_hosts(folder: Path, rounds: int, seed: int) -> dict:
    """Kill hosts at random moments; returns how many workers lived on."""
    rng = random.Random(seed)
    compile_it = _compiler(folder)
    library = Oracle(compile_it, folder, name="victim", flags=4).library
    survivors = []
    latest = 0.0
    for number in range(rounds):
        host = subprocess.Popen(
            [sys.executable, "-c", _HOST, str(folder / "victim"), str(library), str(library)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        pids: list[int] = []
        if number % 4 == 3:  # somewhere in between, maybe before a worker is there
            time.sleep(rng.uniform(0.05, 0.5))
            pids = _children(host.pid)
        else:
            pids = [int(pid) for pid in host.stdout.readline().split()]
            time.sleep(rng.uniform(0, 0.02))
        host.kill()
        host.wait()
        killed = time.monotonic()
        while (left := [pid for pid in pids if _alive(pid)]) and time.monotonic() < killed + 1:
            time.sleep(0.002)
        latest = max(latest, time.monotonic() - killed)
        survivors += left
        host.stdout.close()
        for file in folder.glob("victim-[0-9]"):
            file.unlink()
    return {"hosts_killed": rounds, "survivors": len(survivors), "slowest_end": round(latest, 3)}


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(c) for task in tasks for c in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


# ---- What must not be left behind --------------------------------------------------------------


def run_cycles(folder: Path, cycles: int, end: float) -> dict:
    """Load, stream, reload, stream, unload, again and again; returns what was left behind."""
    oracle = Oracle(_compiler(folder), folder, name="cycle")
    run = b"".join([frames.encode(AppEvent(40, b"event", None))] * 100)
    pids: list[int] = []
    leaks: list[str] = []
    with PluginManager(insecure_paths=True, log_level="error", data_dir=folder / "data") as manager:

        def cycle() -> None:
            plugin = manager.load_plugin(oracle.config(ring_bytes="64KiB"))
            manager.broadcast_frames(run)
            manager.reload_plugin("cycle")
            pids.append(plugin.delivery.pid)
            manager.broadcast_frames(run)
            manager.unload_plugin("cycle")
            if plugin.counters.acknowledged != 200:
                leaks.append(f"{plugin.counters.acknowledged} of 200 events")

        cycle()
        before, maps = Footprint.now(), _count_mappings()
        while len(pids) < cycles and time.monotonic() < end:
            cycle()
        after = Footprint.now()
        if after != before:
            leaks.append(f"{before} became {after}")
        if _count_mappings() > maps + 10:
            leaks.append(f"{maps} mappings became {_count_mappings()}")
    leaks += [f"worker {pid} lives" for pid in pids if _alive(pid)]
    leaks += [f"{path} is left" for path in oracle.library.parent.glob(".*.slipstream-copy")]
    attempts = Counter(r.attempt for r in oracle.events)
    if attempts != {1: 200 * len(pids)}:
        leaks.append(f"{attempts} instead of {200 * len(pids)} events")
    return {"cycles": len(pids), "leaks": leaks}


def _count_mappings() -> int:
    return Path("/proc/self/maps").read_text().count("\n")


# ---- All of it ---------------------------------------------------------------------------------


def run(faults: int, seconds: float, seed: int, hosts: int, cycles: int) -> dict:
    """Everything; returns the summary."""
    begin = time.monotonic()
    end = begin + seconds
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    rounds = []
    with tempfile.TemporaryDirectory(prefix="slipstream-faults-") as name:
        folder = Path(name)
        for number, part in enumerate(ROUNDS):
            left = len(ROUNDS) - number
            todo = (faults - sum(r["faults"] for r in rounds) + left - 1) // left
            rounds.append(run_round(folder, part, todo, seed + number, end))
        killed = kill_hosts(folder, hosts, seed) | run_cycles(folder, cycles, end)
    summary: dict = {
        "seed": seed,
        "host_alive": True,
        "duration": round(time.monotonic() - begin, 1),
        "threads_left": [t.name for t in threading.enumerate() if t.name.startswith("slip-")],
    }
    for key in (
        *("faults", "lost", "order_violations", "unmarked_repeats", "hash_mismatches"),
        *("restarts", "broadcast", "dropped", "repeats", "healthy_delivered"),
    ):
        summary[key] = sum(r[key] for r in rounds)
    summary["wrong_counters"] = [w for r in rounds for w in r["wrong_counters"]]
    summary |= killed
    summary["rounds"] = rounds
    return summary


def is_good(summary: dict) -> bool:
    """Whether nothing was found."""
    bad = ("lost", "order_violations", "unmarked_repeats", "hash_mismatches", "survivors")
    return not any(summary[key] for key in (*bad, "wrong_counters", "leaks"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    parser.add_argument("--faults", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=900)
    parser.add_argument("--hosts", type=int, default=200, help="hosts to kill")
    parser.add_argument("--cycles", type=int, default=1000, help="loads and unloads")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "faults.json")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    summary = run(options.faults, options.seconds, options.seed, options.hosts, options.cycles)
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
