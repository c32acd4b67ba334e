"""Rings and their consumers, in C, under ThreadSanitizer and under ASan with UBSan.

Each program runs for a few seconds. `SLIPSTREAM_RING_SCALE=100` makes that a hundred times as
long, `SLIPSTREAM_RING_SEED` starts from elsewhere.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NATIVE = ROOT / "native"
# Mode process is more than a consumer and its ring, and the door is Python's.
OTHERS = {"process", "python"}
SOURCES = [
    path
    for path in sorted(NATIVE.glob("**/*.c"))
    if path.relative_to(NATIVE).parts[0] not in OTHERS
]
FLAGS = (
    *("-std=c11", "-O2", "-g", "-fno-omit-frame-pointer", "-D_GNU_SOURCE", '-DSS_VERSION="0"'),
    *("-Wall", "-Wextra", "-Werror", "-pedantic", "-Wshadow", "-Wconversion"),
)
SANITIZERS = {
    # It does not know fences, but the orders that acquire and release give.
    "thread": ("-fsanitize=thread", "-Wno-tsan"),
    "address": ("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
}
SCALE = os.environ.get("SLIPSTREAM_RING_SCALE", "1")
SEED = os.environ.get("SLIPSTREAM_RING_SEED", "1")
SECONDS = 60 * int(SCALE) + 3000

Build = Callable[[str, str], Path]

pytestmark = [pytest.mark.no_asan, pytest.mark.timeout(SECONDS + 120)]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """``build(program, sanitizer)``: the program; each file is compiled once."""
    folder = tmp_path_factory.mktemp("ring")

    def gcc(sanitizer: str, output: Path, *arguments: str) -> Path:
        if not output.exists():
            flags = [*FLAGS, *SANITIZERS.get(sanitizer, ()), f"-I{ROOT / 'include'}"]
            flags += ["-iquote", str(NATIVE)]
            done = subprocess.run(
                ["gcc", *flags, *arguments, "-o", str(output), "-pthread", "-ldl"],
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
            assert done.returncode == 0, done.stderr[-4000:]
        return output

    def build_it(program: str, sanitizer: str) -> Path:
        objects = [
            str(
                gcc(
                    sanitizer,
                    folder / f"{'-'.join(path.parts[-2:])}-{sanitizer}.o",
                    "-c",
                    str(path),
                )
            )
            for path in SOURCES
        ]
        source = str(HERE / f"{program}.c")
        return gcc(sanitizer, folder / f"{program}-{sanitizer}", source, *objects)

    return build_it


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


@pytest.mark.parametrize("sanitizer", SANITIZERS)
@pytest.mark.parametrize("test", ["script", "flow", "crash", "wake", "status", "hostile"])
def test_threads(build: Build, test: str, sanitizer: str) -> None:
    program = "test_ring_script" if test == "script" else "test_ring"
    assert run(build(program, sanitizer), test, SEED, SCALE)


@pytest.mark.parametrize("sanitizer", SANITIZERS)
@pytest.mark.parametrize("test", ["attack", "crash"])
def test_processes(build: Build, test: str, sanitizer: str) -> None:
    assert run(build("test_ring_process", sanitizer), test, SEED, SCALE)


@pytest.mark.parametrize("test", ["flow", "crash", "wake"])
def test_at_full_speed(build: Build, test: str) -> None:
    """Without the sanitizers, which hide races behind their slowness."""
    assert run(build("test_ring", "nothing"), test, SEED, SCALE)


def test_the_benchmark_builds(build: Build) -> None:
    assert build("bench_ring", "nothing").exists()
