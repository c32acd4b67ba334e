"""The header's readers under a fuzzer and the sanitizers.

SLIPSTREAM_FUZZ_RUNS sets how many mutated runs each of these tests reads; 3,000,000 take
about five seconds.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import abi_frames
from abi_tools import COMPILERS, FUZZER, INCLUDE, SANITIZERS, header_with, run, succeed
from support.toolbox import require
from test_abi_frames import MUTANTS

RUNS = int(os.environ.get("SLIPSTREAM_FUZZ_RUNS", "200000"))
FLAGS = ("-std=c11", "-Wall", "-Wextra", "-pedantic", "-Werror", "-g", "-O1", *SANITIZERS)
# Quicker to compile, and enough to see a byte too far.
MUTANT_FLAGS = ("-std=c11", "-fsanitize=address")
DRIVER = FUZZER.with_name("driver.c")


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("seeds")
    abi_frames.write_golden(folder)
    return sorted(folder.iterdir())


def build(compiler: str, include: Path, folder: Path, *flags: str) -> Path:
    program = folder / "fuzz_frame"
    libfuzzer = "-fsanitize=fuzzer" in flags
    sources = (FUZZER,) if libfuzzer else (FUZZER, DRIVER)
    succeed((compiler, *flags, "-I", include, *sources, "-o", program))
    return program


@pytest.mark.parametrize("compiler", COMPILERS)
def test_mutated_frames_under_the_sanitizers(
    compiler: str, tmp_path: Path, seeds: list[Path]
) -> None:
    require(compiler, *SANITIZERS)
    program = build(compiler, INCLUDE, tmp_path, *FLAGS)
    summary = succeed((program, str(RUNS), "1", *seeds)).decode()
    numbers = [int(number) for number in re.findall(r"\d+", summary)]
    runs, frames, views, malformed = numbers
    assert runs == RUNS + len(seeds)
    assert min(frames, views, malformed) > runs // 10, summary


def test_libfuzzer_finds_nothing(tmp_path: Path, seeds: list[Path]) -> None:
    require("clang", *SANITIZERS, "-fsanitize=fuzzer")
    program = build("clang", INCLUDE, tmp_path, *FLAGS, "-fsanitize=fuzzer")
    limits = (f"-runs={RUNS // 4}", "-seed=1", "-max_len=1024", f"-artifact_prefix={tmp_path}/")
    new = tmp_path / "corpus"
    new.mkdir()
    succeed((program, *limits, new, seeds[0].parent))


@pytest.mark.parametrize(
    "mutant",
    [
        "the shortest header",
        "frame_len against the end",
        "header_len against the frame",
        "payload_len, wrapping",
        "payload against fixed part",
        "fixed_len against the payload",
        "span end",
        "span end, wrapping",
    ],
)
def test_fuzzer_catches_a_missing_check(mutant: str, tmp_path: Path, seeds: list[Path]) -> None:
    require("gcc", "-fsanitize=address")
    program = build("gcc", header_with(tmp_path, MUTANTS[mutant]), tmp_path, *MUTANT_FLAGS)
    done = run((program, str(RUNS), "1", *seeds))
    assert done.returncode != 0, f"{RUNS} runs noticed nothing"
    assert b"AddressSanitizer" in done.stderr or b"does not hold" in done.stderr
