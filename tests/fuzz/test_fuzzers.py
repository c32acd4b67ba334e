"""The fuzzers of this folder in short, without libFuzzer: each on its seeds, and on changes of them.

`make fuzz` runs them for long, led by what they reach.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import seeds

from support.making import make_native_tests

pytestmark = pytest.mark.no_asan  # they bring their own
# SLIPSTREAM_LONG=1 tries many more inputs.
MORE = 20 if os.environ.get("SLIPSTREAM_LONG") else 1
# How many, by what one takes; and what they have to reach, as the target itself says.
RUNS = {
    "channel": (1_000, "steps beside a worker that runs"),
    "config": (40_000, "values found"),
    "elf": (4_000, "infos read"),
    "frame": (40_000, "views"),
    "frames": (40_000, "frames taken"),
    "hatch_host": (3_000, "taken of hostile plugins"),
    "hatch_plugin": (3_000, "answers believed"),
    "lines": (10_000, "frames made"),
    "macho": (6_000, "infos read"),
    "pe": (6_000, "infos read"),
    "worker": (500, "loads"),
}


@pytest.fixture(scope="module")
def programs() -> Path:
    return make_native_tests("short-fuzzers") / "asan" / "fuzz"


@pytest.fixture(scope="module")
def begin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeds")
    seeds.write(folder)
    return folder


@pytest.mark.parametrize("target", seeds.TARGETS)
def test_a_short_run_finds_nothing(target: str, programs: Path, begin: Path) -> None:
    runs, reached = RUNS[target]
    done = subprocess.run(
        [programs / target, str(runs * MORE), "1", *sorted((begin / target).iterdir())],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=800,
        check=False,
        env={
            **os.environ,
            "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1",
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        },
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-6000:]
    assert done.stderr == ""
    words = done.stdout.replace(",", "").split(": ")[1]
    number = int(words[: words.index(reached)].split()[-1])
    assert number > runs // 200, done.stdout
