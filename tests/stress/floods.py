"""A million calls of the application, from eight threads of one plugin, in each mode: `make floods`.

python tests/stress/floods.py [--calls 1000000] [--output build/floods.json]

Every call has an answer, OK or RETRY, and a plugin beside gets every event that is sent meanwhile.
How many events a second that are is compared with how many there are beside eight threads that only
spin, in turns, five times each; the median ratio is told, and at least half is wanted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from slipstream import PluginManager, Services  # noqa: E402
from slipstream.testing import build_plugin  # noqa: E402
from support.calling import Calling, Directory, Key, Sender, until  # noqa: E402

MODES = ("inline", "thread", "process")
CALLS = ("lookup", "send")
THREADS = 8
TURNS = 5
SPIN_SECONDS = 1.0
WANTED = 0.5
OK, RETRY = 0, -2


def compile_once(source: str, *flags: str, name: str, folder: Path) -> Path:
    """The library of a file in tests/plugins."""
    library = folder / f"{name}.so"
    if library.exists():
        return library
    text = (ROOT / "tests" / "plugins" / source).read_text(encoding="utf-8")
    return build_plugin(text, *flags, folder=folder, name=name)


def beside(folder: Path, mode: str, doing: str, calls: int, turn: int) -> dict[str, Any]:
    """Events a second of a plugin beside eight threads of another, and what these were answered."""
    services = Services(peers=Directory(), control=Sender(), identity=Key())
    with PluginManager(insecure_paths=True, log_level="error", services=services) as manager:
        tally = manager.load_plugin({"libpath": str(ROOT / "examples/tally/tally.so")})
        name = f"{mode}-{doing}-{turn}"
        caller = Calling(
            lambda source, *flags, name: compile_once(source, *flags, name=name, folder=folder),
            folder, manager, mode, name=name,
        )  # fmt: skip
        spins = doing == "spin"
        caller.tell(f"aside flood {doing} {THREADS} {10**12 if spins else calls // THREADS}")
        sent, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < SPIN_SECONDS if spins else not caller.out.exists():
            for _ in range(100):
                manager.mapping_update(b"p", b"m", b"k", b"v", 1)
            sent += 100
        took = time.perf_counter() - begin
        if spins:
            manager.unload_plugin(name)
        until(caller.lines)
        manager.flush(60)
        return {
            "rate": sent / took,
            "lost": sent - tally.counters.acknowledged,
            "answers": caller.answers(),
        }


def judge(mode: str, what: str, calls: int, folder: Path) -> dict[str, Any]:
    """All turns of one call in one mode."""
    ratios, lost, answers = [], 0, dict.fromkeys((OK, RETRY), 0)
    for turn in range(TURNS):
        spun = beside(folder, mode, "spin", 0, 2 * turn)
        called = beside(folder, mode, what, calls // TURNS, 2 * turn + 1)
        ratios.append(called["rate"] / spun["rate"])
        lost += spun["lost"] + called["lost"]
        for status, count in called["answers"].items():
            answers[status] = answers.get(status, 0) + count
    ratio = statistics.median(ratios)
    every = calls // TURNS // THREADS * THREADS * TURNS
    right = sum(answers.values()) == every and set(answers) == {OK, RETRY} and not lost
    return {
        "calls": sum(answers.values()), "ok": answers[OK], "retry": answers[RETRY], "lost": lost,
        "of_spinning": round(ratio, 3), "good": bool(right and answers[RETRY] and ratio >= WANTED),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "floods.json")
    options = parser.parse_args()
    found: dict[str, Any] = {"load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as folder:
        for mode in MODES:
            for what in CALLS:
                place = Path(folder) / f"{mode}-{what}"
                place.mkdir()
                figures = judge(mode, what, options.calls, place)
                found[f"{mode} {what}"] = figures
                print(f"{mode:8} {what:7} {figures}", flush=True)
    options.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return int(not all(f["good"] for f in found.values() if isinstance(f, dict)))


if __name__ == "__main__":
    sys.exit(main())
