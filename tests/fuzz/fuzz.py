"""Feed the core's parsers of foreign bytes with libFuzzer, under ASan and UBSan: `make fuzz`.

python tests/fuzz/fuzz.py [--seconds 1200] [--jobs 2] [--seed N] [--only elf,pe] [--output FILE]

Each target (tests/fuzz/*.c) begins with its seeds and with what was found worth keeping before, in
build/fuzz/corpus. The figures of all go to build/fuzz.json. An input that crashes one is kept in
build/fuzz/crashes; `build/native-tests/fuzz/fuzz/TARGET FILE` repeats it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(HERE)]

import seeds  # noqa: E402 - from this folder

from support.making import make_native_tests  # noqa: E402
from support.toolbox import trouble_with  # noqa: E402

FUZZ = ROOT / "build" / "fuzz"
SANITIZERS = "-fsanitize=fuzzer,address,undefined"
ROOM = 4096  # bytes that an input may have, where no seed is larger
SPARE = 120  # seconds beyond its time after which one hangs
# "#123 NEW cov: 45 ft: 67 corp: 8/9b ...": executions, edges of the code, inputs worth keeping.
LINE = re.compile(r"^#(\d+)\s.* cov: (\d+) .*corp: (\d+)/")
EXECUTED = re.compile(r"^stat::number_of_executed_units: (\d+)")
ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}


class Target:
    """One fuzzer while it runs, and what came of it."""

    def __init__(self, name: str, program: Path) -> None:
        self.name = name
        self.program = program
        self.executions = self.edges = self.kept = 0
        self.took = 0.0
        self.crashed = False
        self.is_running = False
        self.last: list[str] = []

    def hear(self, line: str) -> None:
        """Take figures from a line of its output."""
        if found := LINE.match(line):
            self.executions, self.edges, self.kept = map(int, found.groups())
        elif found := EXECUTED.match(line):
            self.executions = int(found[1])
        else:
            self.last = [*self.last[-200:], line]

    def run(self, seconds: float, seed: int) -> None:
        """Run it for so many seconds, or until an input crashes it."""
        begins, crashes = FUZZ / "seeds" / self.name, FUZZ / "crashes"
        corpus = FUZZ / "corpus" / self.name
        for folder in (corpus, crashes):
            folder.mkdir(parents=True, exist_ok=True)
        room = max(ROOM, *(seed.stat().st_size for seed in begins.iterdir()))
        command = (
            self.program, f"-max_len={room}", f"-max_total_time={seconds:.0f}", f"-seed={seed}", "-timeout=20",
            "-rss_limit_mb=2048", "-print_final_stats=1", "-reload=0",
            f"-artifact_prefix={crashes}/{self.name}-", corpus, begins,
        )  # fmt: skip
        begin = time.monotonic()
        self.is_running = True
        with subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, **ENVIRONMENT},
        ) as process:
            assert process.stderr is not None
            watch = threading.Timer(seconds + SPARE, process.kill)
            watch.start()
            for line in process.stderr:
                self.hear(line.rstrip("\n"))
            watch.cancel()
        self.is_running = False
        self.took = time.monotonic() - begin
        self.crashed = process.returncode != 0
        if self.crashed:
            print("\n".join([f"\n{self.name}:", *self.last]), flush=True)

    def figures(self) -> dict[str, Any]:
        """What goes to build/fuzz.json."""
        return {
            "executions": self.executions,
            "edges": self.edges,
            "corpus": self.kept,
            "seconds": round(self.took, 1),
            "crashes": int(self.crashed),
        }


def show(targets: list[Target], done: threading.Event) -> None:
    """Say once a second on a terminal how far those are that run."""
    while not done.wait(1):
        running = [t for t in targets if t.is_running]
        words = (f"{t.name}: {t.executions:,} executions, {t.edges} edges" for t in running)
        ended = sum(t.took > 0 for t in targets)
        line = f"{ended} of {len(targets)} done; " + "; ".join(words)
        sys.stderr.write("\r\x1b[K" + line[: os.get_terminal_size(2).columns - 1])
    sys.stderr.write("\r\x1b[K")


def choose(only: str | None) -> list[str]:
    """The names of the targets that were asked for."""
    wanted = only.split(",") if only else list(seeds.TARGETS)
    if unknown := set(wanted).difference(seeds.TARGETS):
        names = ", ".join(seeds.TARGETS)
        raise SystemExit(f"fuzz: there is no {', '.join(sorted(unknown))}, but: {names}")
    return wanted


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=1200, help="for each target")
    parser.add_argument("--jobs", type=int, default=2, help="targets at a time")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 2**31)
    parser.add_argument("--only", metavar="NAMES", help="these targets, with commas between them")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "fuzz.json")
    options = parser.parse_args()
    names = choose(options.only)
    if trouble := trouble_with("clang", SANITIZERS):
        raise SystemExit(f"fuzz: clang {SANITIZERS} does not work here: {trouble}")
    programs = make_native_tests("fuzzers") / "fuzz" / "fuzz"
    seeds.write(FUZZ / "seeds")
    targets = [Target(name, programs / name) for name in names]
    print(f"{len(targets)} targets, {options.seconds:.0f} s each, seed {options.seed}", flush=True)
    done = threading.Event()
    progress = threading.Thread(target=show, args=(targets, done))
    if sys.stderr.isatty():
        progress.start()
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda target: target.run(options.seconds, options.seed), targets))
    done.set()
    if progress.is_alive():
        progress.join()
    whole = {"seed": options.seed, "targets": {t.name: t.figures() for t in targets}}
    options.output.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    for target in targets:
        end = "CRASHED" if target.crashed else "ok"
        print(
            f"{target.name:14} {target.executions:>12,} executions {target.edges:>6} edges "
            f"{target.kept:>6} kept {target.took:>7.0f} s  {end}"
        )
    return int(any(target.crashed for target in targets))


if __name__ == "__main__":
    sys.exit(main())
