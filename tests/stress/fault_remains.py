"""Hosts that are killed, and what a load must not leave behind; part of faults.py."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from slipstream import AppEvent, PluginManager, frames
from stress.fault_tools import Process, children, compiler, wait
from support.oracle import Oracle, digest
from support.outcomes import excess
from support.process_tools import Footprint

# ---- Hosts that are killed -----------------------------------------------------------------------

ENOUGH = 20  # workers that lived on: more do not tell more

_HOST = """
import sys
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
    compile_it = compiler(folder)
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


# ---- What must not be left behind ----------------------------------------------------------------


def run_cycles(folder: Path, cycles: int, end: float) -> dict:
    """Load, stream, reload, stream, unload, again and again; returns what was left behind."""
    oracle = Oracle(compiler(folder), folder, name="cycle")
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
            workers.append(Process.seen(plugin.pid))
            manager.broadcast_frames(run)
            manager.unload_plugin("cycle")
            verdict = oracle.judge(hashes)
            if not verdict.good or verdict.repeats or plugin.counters.acknowledged != 200:
                leaks.append(f"{plugin.counters.acknowledged} of 200 events, {verdict}")
            oracle.log.unlink()

        def leave() -> None:
            """Unload what cannot be delivered: it is counted, and kept."""
            plugin = manager.load_plugin(
                oracle.config(
                    restart={"initial_delay": 60, "max_delay": 60}, overflow="drop_newest"
                )
            )
            Process.seen(plugin.pid).kill(signal.SIGKILL)
            wait(lambda: str(plugin.state) == "backoff")
            manager.broadcast_frames(run)
            manager.unload_plugin("cycle")
            if plugin.counters.undelivered != 100 or excess(plugin.counters):
                leaks.append(f"100 events are left: {plugin.counters}")
            oracle.log.unlink()
            for kept in (folder / "data" / "cycle").glob("undelivered-*"):
                kept.unlink()

        cycle()
        leave()
        before, maps = Footprint.now(), _count_mappings()
        while len(workers) < cycles and time.monotonic() < end:
            cycle()
            if len(workers) % 5 == 0:
                leave()
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
