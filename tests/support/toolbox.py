"""Which tools are here: found out by using them as the tests do, not by their names."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import pytest

PROGRAM = '#include <stdio.h>\nint main(void) { return puts("here") < 0; }\n'
CXX_PROGRAM = '#include <stdexcept>\nint main() { return std::runtime_error("").what() == 0; }\n'
FREESTANDING = "#include <stdint.h>\nint main(void) { return 0; }\n"
FUZZER = "int LLVMFuzzerTestOneInput(const char *data, long len) { return data && len < 0; }\n"


def promtool() -> str:
    """Prometheus's checker, of the machine or of the folder for Python's packages."""
    beside = Path(sys.executable).parent
    found = shutil.which("promtool", path=f"{beside}:{os.environ['PATH']}")
    return found or is_not_here("there is no promtool (Debian: prometheus)")


def output_of(*command: str) -> tuple[bool, str]:
    """Whether a command succeeds, and what it says."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=600, check=False
        )
    except OSError as error:
        return False, f"it cannot be run: {error.strerror}"
    return done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace").strip()


@functools.cache
def trouble_with(compiler: str, *flags: str) -> str:
    """Why a compiler does not make a program with these flags, or the program does not run.

    Returns:
        The compiler's or the program's own words; "" if all is well. With -fsyntax-only no
        program is made, with -ffreestanding there need be no library.
    """
    is_cxx = compiler.endswith("++")
    source = CXX_PROGRAM if is_cxx else PROGRAM
    if "-ffreestanding" in flags:
        source = FREESTANDING
    if any(flag.startswith("-fsanitize=fuzzer") for flag in flags):
        source = FUZZER
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / ("probe.cpp" if is_cxx else "probe.c")
        file.write_text(source)
        program = str(file.with_suffix(""))
        output = () if "-fsyntax-only" in flags else ("-o", program)
        works, text = output_of(compiler, *flags, str(file), *output)
        if works and output:
            works, text = output_of(program, "-runs=1")
    return "" if works else text or "it fails without a word"


@functools.cache
def gdb_trouble() -> str:
    """Why gdb does not stop a program at a breakpoint; "" if it does."""
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / "probe.c", Path(folder) / "probe"
        source.write_text(PROGRAM)
        works, text = output_of("cc", "-g", "-O0", "-o", str(program), str(source))
        if works:
            steps = ("-ex", "break main", "-ex", "run", "-ex", "continue")
            works, text = output_of("gdb", "-q", "-batch", *steps, str(program))
            works = works and "Breakpoint 1, main" in text
    return "" if works else text


def is_not_here(reason: str) -> NoReturn:
    """Skip the test; under CI, where all tools have to be there, fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def require(compiler: str, *flags: str) -> None:
    """Skip the test where the compiler or its flags do not work; fail there under CI."""
    trouble = trouble_with(compiler, *flags)
    if trouble:
        is_not_here(f"{' '.join((compiler, *flags))} does not work here: {trouble}")
