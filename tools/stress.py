"""Random load under sanitizers: `make stress`; writes build/stress.json.

python tools/stress.py [--seconds 600] [--seed S] [--jobs 2]

Four programs run for so many seconds each: thread mode from C (tests/native/test_threads.c) under
ASan with UBSan and under TSan, thread mode from Python (tests/stress/threads.py) and process mode
(tests/stress/faults.py) under ASan with UBSan, the worker too.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import asan

BUILD = asan.ROOT / "build"
NATIVE = BUILD / "native-tests"
STRESS = asan.ROOT / "tests" / "stress"
# That much longer than it was told to, and it hangs.
SPARE = 300
# What the programs print of what they have done: "12 events", or as JSON.
DONE = re.compile(r"\b(\d+) (events|gaps|generations|rounds)\b")
DONE_JSON = re.compile(
    r'^  "(faults|reloads|restarts|broadcast|repeats|hosts_killed|cycles)": (\d+)', re.MULTILINE
)
REPORT = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|: runtime error: ")
# One run of process mode is short; it is repeated, each time with another seed.
FAULTS = ("--faults", "160", "--reloads", "60", "--hosts", "8", "--cycles", "40")


@dataclass(frozen=True)
class Program:
    """One of the four; SECONDS and SEED stand for their values."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]


def from_c(kind: str, options: dict[str, str]) -> Program:
    """Return thread mode from C, with one kind of sanitizers."""
    folder = NATIVE / kind
    witnesses = (str(folder / f"witness{flags}.so") for flags in (8, 24, 0))
    command = (str(folder / "threads"), "SECONDS", "SEED", *witnesses)
    return Program(f"thread mode, C, {kind}", command, options)


def programs() -> list[Program]:
    """Build everything and return the four.

    Raises:
        SystemExit: Something cannot be built.
    """
    python = str(asan.set_up())
    build = ("make", "-s", "-C", str(asan.ROOT / "tests" / "native"), f"BUILD={NATIVE}")
    if code := asan.run(*build):
        raise SystemExit(code)
    timed = ("--seconds", "SECONDS", "--seed", "SEED")
    output = ("--output", str(BUILD / "stress-faults.json"))
    threads = (python, str(STRESS / "threads.py"), *timed)
    faults = (python, str(STRESS / "faults.py"), *timed, *FAULTS, *output)
    return [
        from_c("tsan", {"TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1"}),
        from_c("asan", {"ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1"}),
        Program("thread mode, Python, asan", threads, asan.environment()),
        Program("process mode, Python, asan", faults, asan.environment()),
    ]


def run_once(program: Program, seconds: float, seed: int) -> tuple[bool, str]:
    """Run a program; return whether it ended well, and what it printed."""
    values = {"SECONDS": str(round(seconds)), "SEED": str(seed)}
    try:
        done = subprocess.run(
            [values.get(word, word) for word in program.command],
            env={**os.environ, **program.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=seconds + SPARE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        printed = error.stdout or b""
        text = printed.decode(errors="replace") if isinstance(printed, bytes) else printed
        return False, f"{text}\nit hangs\n"
    return done.returncode == 0, done.stdout


def stress(program: Program, seconds: float, seed: int) -> dict[str, object]:
    """Run a program until the time is up; return its figures."""
    begin = time.monotonic()
    done: Counter[str] = Counter()
    runs = 0
    good = True
    reports = 0
    while good and (runs == 0 or time.monotonic() - begin < seconds - 1):
        left = seconds - (time.monotonic() - begin)
        good, text = run_once(program, left, seed + runs)
        runs += 1
        for count, what in DONE.findall(text):
            done[what] += int(count)
        for what, count in DONE_JSON.findall(text):
            done[what] += int(count)
        reports += len(REPORT.findall(text))
        if not good:
            print(f"{program.name}, seed {seed + runs - 1}:\n{text[-20_000:]}", flush=True)
    figures = {"runs": runs, "seconds": round(time.monotonic() - begin, 1), **done}
    print(f"{program.name}: {'good' if good else 'FAILED'}, {figures}", flush=True)
    return {**figures, "good": good, "reports": reports}


def main() -> int:
    """Run all of them and write the summary; return 1 if anything was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600, help="for each program")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--jobs", type=int, default=2, help="programs at a time")
    parser.add_argument("--output", type=Path, default=BUILD / "stress.json")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    found = programs()
    with ThreadPoolExecutor(options.jobs) as pool:
        figures = list(pool.map(lambda p: stress(p, options.seconds, options.seed), found))
    written = asan.reports()
    for report in written:
        print(report.read_text(encoding="utf-8", errors="replace"))
    summary = {
        "seed": options.seed,
        "seconds": options.seconds,
        "reports": len(written) + sum(int(str(one["reports"])) for one in figures),
        "programs": {p.name: one for p, one in zip(found, figures, strict=True)},
    }
    options.output.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    print(f"sanitizer reports: {summary['reports']}; written to {options.output}")
    return 0 if all(one["good"] for one in figures) and summary["reports"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
