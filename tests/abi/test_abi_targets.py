"""The headers on other machines: 32 bit and 64, big-endian, Windows, macOS, WebAssembly.

clang and Zig's clang compile for all of them on any machine; no library is needed.
"""

from __future__ import annotations

import functools
import re
import shutil
import sys

import pytest

from abi_tools import (
    INCLUDE,
    STRICT_C_WARNINGS,
    STRICT_CXX_WARNINGS,
    STRICT_WARNINGS,
    WARNINGS,
    run,
)
from support.toolbox import require
from test_abi_layout import TABLES, asserts

TARGETS = (
    "x86_64-linux-gnu",
    "i686-linux-gnu",
    "aarch64-linux-gnu",
    "armv7-linux-gnueabihf",
    "riscv64-linux-gnu",
    "powerpc64-linux-gnu",
    "s390x-linux-gnu",
    "mips-linux-gnu",
    "x86_64-windows-msvc",
    "i686-windows-msvc",
    "x86_64-apple-macos",
    "arm64-apple-macos",
    "wasm32-unknown-unknown",
)
ZIG = (shutil.which("zig"),) if shutil.which("zig") else (sys.executable, "-m", "ziglang")


@functools.cache
def clang_of_zig() -> tuple[object, ...]:
    """Zig's clang as it is: `zig c++` would build a C++ library for each target first."""
    done = run((*ZIG, "env"))
    found = re.search(rb'lib_dir"? ?[=:] ?"([^"]+)"', done.stdout)
    if done.returncode != 0 or found is None:
        pytest.skip("no Zig here: pip install ziglang")
    return (*ZIG, "clang", "-isystem", f"{found[1].decode()}/include")


SOURCE = (
    "#include <slipstream_host.h>\n"
    + asserts(TABLES)
    + (
        "int32_t first(const uint8_t *data, size_t len, slipstream_gap *gap);\n"
        "int32_t first(const uint8_t *data, size_t len, slipstream_gap *gap) {\n"
        "    slipstream_frame frame;\n"
        "    int32_t status = slipstream_read_frame(data, len, &frame);\n"
        "    return status == SLIPSTREAM_OK ? slipstream_read_gap(&frame, gap) : status; }\n"
    )
)


@pytest.mark.parametrize("standard", ["c11", "c2x", "c++11", "c++2b"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("compiler", ["clang", "zig"])
def test_the_headers_compile_for(compiler: str, target: str, standard: str) -> None:
    is_cxx = "++" in standard
    if compiler == "clang":
        require("clang", "-fsyntax-only", "-ffreestanding", f"--target={target}")
    command = ("clang",) if compiler == "clang" else clang_of_zig()
    language = ("-x", "c++", "-nostdinc++") if is_cxx else ("-x", "c")
    strict = STRICT_CXX_WARNINGS["clang"] if is_cxx else STRICT_C_WARNINGS
    flags = (*WARNINGS, *STRICT_WARNINGS, *strict, "-ffreestanding", "-fsyntax-only")
    done = run(
        (*command, f"--target={target}", *language, f"-std={standard}", *flags, "-I", INCLUDE, "-"),
        SOURCE.encode(),
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")
