"""Plugins in C, C++ and Rust for Windows make of the mainnet's genesis what they make of it here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.wine import (
    LONG_MARKS,
    ROOT,
    compile_for_windows,
    compile_here,
    convert,
    folder_there,
    results,
    there,
    under_wine,
)
from support.wine_rust import compile_rust

HERE = ROOT / "tests" / "windows"
STREAM = ROOT / "examples" / "streams" / "mainnet_genesis.jsonl"
EXAMPLES = ROOT / "examples"
HEADERS = ("-I", str(ROOT / "sdk" / "cpp"))
# The name of a library by which streaming.py knows what it does: "written" wants a file.
SOURCES = {
    "stream-digest": (HERE / "digest.c", ()),
    "stream-minimal": (EXAMPLES / "minimal" / "minimal.c", ()),
    "stream-tally": (EXAMPLES / "tally" / "tally.c", ()),
    "stream-tally-cpp": (EXAMPLES / "tally-cpp" / "tally-cpp.cpp", HEADERS),
    "stream-written-cpp": (ROOT / "tests" / "languages" / "cpp" / "digest.cpp", ("-std=c++20",)),
}
RUST = ROOT / "tests" / "languages" / "rust" / "src" / "lib.rs"

pytestmark = LONG_MARKS


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with folder_there() as made:
        convert(STREAM, made / "stream.capture")
        for name, (source, flags) in SOURCES.items():
            compile_here(made / f"{name}.so", source, *flags)
            compile_for_windows(made / f"{name}.dll", source, *flags)
        compile_rust(RUST, made / "stream-written-rust.dll")
        yield made


@pytest.fixture(scope="module")
def here(folder) -> dict[str, dict[str, object]]:
    """What the libraries for this system make of it."""
    command = [sys.executable, str(HERE / "streaming.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    return results(done)["streams"]


@pytest.fixture(scope="module")
def on_windows(folder, here) -> dict[str, dict[str, object]]:
    return results(under_wine(HERE / "streaming.py", there(folder)))["streams"]


def test_what_is_expected_says_something(here) -> None:
    assert len(here) == 2 * len(SOURCES)
    assert {found["delivered"] for name, found in here.items() if "minimal" not in name} == {397}
    assert here["stream-minimal thread"]["delivered"] == 1
    assert here["stream-digest inline"]["digest"][0].startswith("digest 397 ")
    assert len(here["stream-tally inline"]["sums"]) > 3
    assert here["stream-written-cpp thread"]["written"].startswith("events 397 ")


@pytest.mark.parametrize("mode", ["inline", "thread"])
@pytest.mark.parametrize("name", SOURCES)
def test_it_is_the_same_under_windows(here, on_windows, name, mode) -> None:
    assert on_windows[f"{name} {mode}"] == here[f"{name} {mode}"]


@pytest.mark.parametrize("mode", ["inline", "thread"])
def test_a_plugin_in_rust_writes_what_that_in_cpp_writes(here, on_windows, mode) -> None:
    if "stream-written-rust inline" not in on_windows:
        pytest.skip("no Rust for Windows: apt-get download rustc libstd-rust-dev-windows")
    assert on_windows[f"stream-written-rust {mode}"] == here[f"stream-written-cpp {mode}"], (
        json.dumps(on_windows)
    )
