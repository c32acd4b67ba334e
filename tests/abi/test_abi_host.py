"""slipstream_host.h: its writers make the golden bytes, and it takes over only sound tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from abi_frames import WRITTEN, golden
from abi_tools import COMPILERS, HERE, INCLUDE, WARNINGS, header_with, run, succeed
from support.toolbox import require
from test_abi_frames import records

HOST_HEADER = INCLUDE / "slipstream_host.h"
SANITIZE = ("-O1", "-fsanitize=undefined,address", "-fno-sanitize-recover=all")


def build(compiler: str, folder: Path, *include: object) -> Path:
    program = folder / f"rewritten-{compiler}"
    warnings = [flag for flag in WARNINGS if flag != "-Wpadded"]
    command = (compiler, "-std=c11", *warnings, *SANITIZE, "-iquote", HERE)
    includes = [part for folder in (*include, INCLUDE) for part in ("-I", folder)]
    succeed((*command, *includes, HERE / "rewritten_frames.c", "-o", program))
    return program


@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_writers_make_the_golden_bytes(compiler: str, tmp_path: Path) -> None:
    require(compiler, "-fsanitize=undefined,address")
    program = build(compiler, tmp_path)
    frames = [golden(name) for name in WRITTEN]
    lines = succeed((program,), records([*frames, golden("kind_9_reserved")])).decode().split()
    assert lines.pop() == "none"
    for name, frame, line in zip(WRITTEN, frames, lines, strict=True):
        assert line == frame.hex(), name


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("frame_len > room)", "frame_len > room + 8)"),
        ("const size_t start = (end + 7) / 8 * 8;", "const size_t start = end;"),
        ("len > room - start ? 0", "start + len > room ? 0"),
        ("        buffer[i] = 0;\n", "        (void)0;\n"),
        ("given->struct_size < sizeof *out ? given->struct_size : sizeof *out", "sizeof *out"),
        ("if (given->struct_size < SLIPSTREAM_PLUGIN_SIZE_1_0)", "if (given->struct_size < 8)"),
        ("len == SLIPSTREAM_NAME_MAX ||", "len == 1000 ||"),
    ],
)
def test_a_header_without_this_is_caught(tmp_path: Path, old: str, new: str) -> None:
    require("gcc", "-fsanitize=undefined,address")
    include = header_with(tmp_path / "include", (old, new), source=HOST_HEADER)
    (include / "slipstream.h").rename(include / "slipstream_host.h")
    program = build("gcc", tmp_path, include)
    frames = [golden(name) for name in WRITTEN]
    done = run((program,), records(frames))
    assert done.returncode != 0 or done.stdout.decode().split() != [f.hex() for f in frames]
