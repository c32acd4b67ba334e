"""Rings and their consumers, in C, under ThreadSanitizer and under ASan with UBSan.

Each program runs for a few seconds. `SLIPSTREAM_RING_SCALE=100` makes that a hundred times as
long, `SLIPSTREAM_RING_SEED` starts from elsewhere.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCALE = os.environ.get("SLIPSTREAM_RING_SCALE", "1")
SEED = os.environ.get("SLIPSTREAM_RING_SEED", "1")
SECONDS = 60 * int(SCALE) + 3000

pytestmark = [pytest.mark.no_asan, pytest.mark.timeout(SECONDS + 120)]


def run(binary: Path, *arguments: str) -> str:
    """Run a test program to its end; what it prints."""
    # A consumer that crashes leaves behind what it had.
    leaks = "0" if "crash" in arguments else "1"
    done = subprocess.run(
        [str(binary), *arguments],
        env={
            **os.environ,
            "ASAN_OPTIONS": f"detect_leaks={leaks}",
            "TSAN_OPTIONS": "halt_on_error=1",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return done.stdout


@pytest.mark.parametrize("kind", ["tsan", "asan"])
@pytest.mark.parametrize("test", ["script", "flow", "crash", "wake", "status", "hostile", "stray"])
def test_threads(built: Path, test: str, kind: str) -> None:
    """TSan does not know fences, but the orders that acquire and release give."""
    program = "ring_script" if test == "script" else "ring"
    assert run(built / kind / program, test, SEED, SCALE)


@pytest.mark.parametrize("kind", ["tsan", "asan"])
@pytest.mark.parametrize("test", ["attack", "crash"])
def test_processes(built: Path, test: str, kind: str) -> None:
    assert run(built / kind / "ring_process", test, SEED, SCALE)


@pytest.mark.parametrize("test", ["flow", "crash", "wake"])
def test_at_full_speed(built: Path, test: str) -> None:
    """Without the sanitizers, which hide races behind their slowness."""
    assert run(built / "plain" / "ring", test, SEED, SCALE)


def test_the_benchmark_builds(built: Path) -> None:
    assert (built / "plain" / "bench_ring").exists()
