"""The C core alone, with sanitizers: parsers against random bytes, queues and the sequencer
with many threads, the loader with real plugins."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support.hostile_libraries import source

HERE = Path(__file__).resolve().parent
pytestmark = pytest.mark.no_asan  # they bring their own
# SLIPSTREAM_LONG=1 tries many more random inputs.
MORE = 20 if os.environ.get("SLIPSTREAM_LONG") else 1


def run(program: Path, *arguments: object) -> str:
    done = subprocess.run(
        [program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={
            **os.environ,
            "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=1:detect_stack_use_after_return=1",
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
            "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
        },
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-6000:]
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("kind", ["asan", "tsan"])
def test_platform(built, kind, tmp_path) -> None:
    library = tmp_path / "witness.so"
    shutil.copy(built / kind / "witness0.so", library)
    assert "all that it promises" in run(built / kind / "platform", tmp_path, library)


def test_text(built) -> None:
    assert "random texts" in run(built / "asan" / "text", 200_000 * MORE)


def test_fuzzer(built) -> None:
    assert "is as it was" in run(built / "asan" / "fuzzer")


def test_usual_frames(built) -> None:
    assert "well formed" in run(built / "asan" / "usual", 1_000_000 * MORE)


def test_outcomes(built) -> None:
    assert "one run of a thousand" in run(built / "asan" / "outcomes", 30 * MORE)


def test_file(built, examples, compile_plugin) -> None:
    libraries = [
        examples / "minimal" / "minimal.so",
        compile_plugin(source(), "-Wl,--hash-style=sysv", name="sysv"),
    ]
    assert "still libraries" in run(built / "asan" / "file", 200_000 * MORE, *libraries)


def test_tables(built) -> None:
    assert "taken" in run(built / "asan" / "table", 20_000 * MORE)


@pytest.mark.parametrize("kind", ["asan", "tsan"])
def test_log_queue(built, kind) -> None:
    assert "lines of 4 writers" in run(built / kind / "log_queue", 20_000 * MORE)


@pytest.mark.parametrize("kind", ["asan", "tsan"])
def test_sequencer(built, kind) -> None:
    assert "rounds of slots" in run(built / kind / "sequencer", 2_000 * MORE)


@pytest.mark.parametrize("kind", ["asan", "tsan"])
def test_hatch(built, kind) -> None:
    assert "questions answered" in run(built / kind / "hatch", 100 * MORE)


def test_losses(built) -> None:
    assert "losses told of" in run(built / "asan" / "losses")


def test_park(built) -> None:
    assert "gives way" in run(built / "asan" / "park")


def test_blame(built) -> None:
    assert "blamed" in run(built / "asan" / "blame")


def test_step(built) -> None:
    assert "standings" in run(built / "asan" / "step")


@pytest.mark.parametrize("kind", ["asan", "tsan"])
def test_watch(built, kind) -> None:
    assert "rounds watched" in run(built / kind / "watch", 3 * MORE)


@pytest.mark.parametrize("kind", ["asan", "tsan"])
def test_thread_mode(built, kind, tmp_path) -> None:
    witnesses = []
    for flags in (8, 24, 0):
        witnesses.append(tmp_path / f"witness{flags}.so")
        shutil.copy(built / kind / f"witness{flags}.so", witnesses[-1])
    assert "generations" in run(built / kind / "threads", 4 * MORE, 1, *witnesses)


def test_loader(built, tmp_path, compile_plugin) -> None:
    (tmp_path / "text.so").write_text("no library\n")
    refused = [
        tmp_path / "text.so",
        tmp_path / "nowhere.so",
        "/dev/null",
        compile_plugin("int x;\n\n", name="empty"),
    ]
    first, second = tmp_path / "first.so", tmp_path / "second.so"
    for copy in (first, second):
        shutil.copy(built / "asan" / "recorder.so", copy)
    arguments = (24 * MORE, first, second, tmp_path, *refused)
    assert "rounds" in run(built / "asan" / "loader", *arguments)
