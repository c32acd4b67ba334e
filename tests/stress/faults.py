"""Breaks a worker thousands of times while events stream, and checks that none is lost.

Two plugins in process mode get the same events at full speed. One of them is told by events to
crash, to hang, to write over its memory and so on, and its worker is killed from outside, too.
What both have written to their files before they acknowledged decides. Then a plugin is reloaded
again and again in both ways, by good versions and bad ones, while events stream and its workers
are killed. Then what a plugin needs is replaced and the plugin reloaded, plugins chatter in hosts
whose log cannot be written, and two managers load at once. Then hosts are killed, and no worker may
outlive its own. Then a plugin is loaded, reloaded and unloaded many times, and nothing may be left
of it.

    python tests/stress/faults.py --seed 7 --faults 2000 --seconds 600
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stress.fault_managers import run_logs, run_managers, run_replaced
from stress.fault_reloads import RELOAD_ROUNDS, run_reloads
from stress.fault_remains import kill_hosts, run_cycles
from stress.fault_rounds import ROUNDS, run_round
from stress.fault_tools import INVARIANTS, ROOT


def run(options: argparse.Namespace) -> dict:
    """Everything; returns the summary."""
    begin = time.monotonic()
    end = begin + options.seconds
    logging.getLogger("slipstream").setLevel(logging.CRITICAL)
    rounds: list[dict] = []
    with tempfile.TemporaryDirectory(prefix="slipstream-faults-") as name:
        folder = Path(name)
        work = [(run_round, *one) for one in _shares(options.faults, ROUNDS)]
        work += [(run_reloads, *one) for one in _shares(options.reloads, RELOAD_ROUNDS)]
        for number, (run_it, part, todo) in enumerate(work):
            rounds.append(run_it(folder, part, todo, options.seed + number, end))
            if any(rounds[-1][key] for key in (*INVARIANTS, "wrong_counters")):
                break  # what is broken makes the next ones slow, and tells no more
        modes = ("process", "thread", "inline")
        rounds += [run_replaced(folder, mode, options.replaced, end) for mode in modes]
        rounds.append(run_logs(folder, options.mute, end))
        rounds.append(run_managers(folder, options.loads, end))
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
        *("mute_hosts", "manager_loads"),
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
    parser.add_argument("--replaced", type=int, default=50, help="libraries replaced, each mode")
    parser.add_argument("--mute", type=int, default=18, help="hosts whose log cannot be written")
    parser.add_argument("--loads", type=int, default=2000, help="loads by two managers at once")
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
        for example in part.get("examples", ()):
            print(f"flags {part['flags']}, {part['overflow']}: {example}")
    print(f"written to {options.output}")
    return 0 if is_good(summary) else 1


if __name__ == "__main__":
    sys.exit(main())
