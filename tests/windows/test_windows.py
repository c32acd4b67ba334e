"""The core for Windows x86-64 under wine, with a real CPython for Windows: modes inline and thread.

What that needs is downloaded and built once, into build/windows and build/cross; where something
of it is not to be had, this is skipped. `SLIPSTREAM_LONG=1` (as `make test-windows` has it) does more.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from support.wine import (
    LONG,
    MARKS,
    ROOT,
    compile_for_windows,
    compile_here,
    convert,
    results,
    shared_folder,
    there,
    under_wine,
)

HERE = ROOT / "tests" / "windows"
STREAM = ROOT / "examples" / "streams" / "mainnet_genesis.jsonl"
CYCLES = 1000 if LONG else 20

# The first test does what all look at.
pytestmark = [*MARKS, pytest.mark.timeout(3000)]


def fill(folder: Path) -> None:
    """Plugins, and what is none, with the events that they get."""
    digest = HERE / "digest.c"
    compile_for_windows(folder / "digest.dll", digest)
    compile_for_windows(folder / "pinned.dll", digest, "-DSTAYS=1")
    compile_for_windows(folder / "keeps.dll", digest, "-DSTAYS=2")
    compile_here(folder / "linux.so", digest)
    shutil.copy(folder / "linux.so", folder / "linux.dll")
    whole = (folder / "digest.dll").read_bytes()
    machine = int.from_bytes(whole[0x3C:0x40], "little") + 4
    changed = {
        "cut.dll": whole[:3000],
        "text.dll": b"no library\n",
        "empty.dll": b"",
        "arm.dll": whole[:machine] + b"\x64\xaa" + whole[machine + 2 :],
        "none.dll": whole.replace(b"slipstream_create_plugin_v1", b"slipstream_create_plugin_w1"),
        "needy.dll": whole.replace(b"KERNEL32.dll", b"KERNEL99.dll"),
        "process.json5": b'{ libpath: "digest.dll", mode: "process" }',
        "plain.json5": b'{ libpath: "digest.dll" }',
        "stream.jsonl": STREAM.read_bytes(),
    }
    for name, data in changed.items():
        (folder / name).write_bytes(data)
    (folder / "open").mkdir(exist_ok=True)
    (folder / "open").chmod(0o777)
    (folder / "open" / "digest.dll").write_bytes(whole)


@pytest.fixture(scope="module")
def folder() -> Path:
    """Where inside.py has run, with what came of it in found.json."""
    with shared_folder() as made:
        if not (made / "found.json").exists():
            fill(made)
            convert(STREAM, made / "linux.capture")
            done = under_wine(HERE / "inside.py", there(made), str(CYCLES), timeout=2900)
            (made / "found.json").write_text(json.dumps(results(done)))
    return made


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    """What came of each function of inside.py."""
    return json.loads((folder / "found.json").read_text())


def test_what_the_core_asks_for_works(found) -> None:
    works = found["what_the_core_asks_for_works"]
    assert len(works) == 7
    assert all(works.values()), works


def test_a_library_that_others_could_replace_is_refused(found) -> None:
    assert found["paths"]["own"] == "safe"
    assert "can be changed by Everyone, who could replace" in found["paths"]["open"]


def test_nothing_is_left_of_what_was_unloaded(found) -> None:
    unmapped = found["unmapped"]
    assert unmapped["before"] == unmapped["after"]
    assert all(unmapped["loaded"][what] > unmapped["after"][what] for what in unmapped["after"])
    assert unmapped["stays"] == []


def test_what_stays_mapped_is_told(found) -> None:
    stays = found["stays"]
    assert any("pin it" in line for line in stays["pinned"]), stays
    assert any("threads of it" in line for line in stays["keeps"]), stays


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("text.dll", "is not a shared library"),
        ("empty.dll", "is an empty file"),
        ("linux.dll", "is a Linux library (ELF)\n  next: use the plugin's build for Windows"),
        ("cut.dll", "the file ends too early, or contradicts itself"),
        ("arm.dll", "is built for AArch64 (64 bit), this host is x86-64"),
        ("none.dll", "is a library, but does not export slipstream_create_plugin_v1"),
        ("needy.dll", "dumpbin /dependents"),
        ("process", 'mode "process" exists on Linux only'),
        ("process in a call", 'mode "process" exists on Linux only'),
    ],
)
def test_refusals(found, name, says) -> None:
    assert says in found["refusals"][name]


def test_files_of_one_system_are_those_of_the_other(found, folder, tmp_path) -> None:
    commands = found["commands"]
    assert commands["convert"] == 0
    assert commands["back"] == 0
    assert (folder / "kept.capture").read_bytes() == (folder / "linux.capture").read_bytes()
    convert(folder / "linux.capture", tmp_path / "back.jsonl")
    assert (folder / "back.jsonl").read_bytes() == (tmp_path / "back.jsonl").read_bytes()


def test_commands(found) -> None:
    commands = found["commands"]
    for name in ("show", "doctor", "inspect", "run", "doctor FILE"):
        assert commands[name][0] == 0, commands[name]
    assert "PE file for x86-64" in commands["inspect"][1]


@pytest.mark.parametrize("name", ["check", "check all"])
def test_what_can_be_checked_without_running_it_is_checked(found, name) -> None:
    code, text = found["commands"][name]
    assert code == 3, text
    assert "of its own, as mode process does, which exists on Linux only" in " ".join(text.split())
    if name == "check all":
        (file,) = json.loads(text)["files"]
        assert file["counts"]["pass"] >= 10, text
        assert {check["verdict"] for check in file["checks"]} == {"pass", "skip"}, text


def test_what_a_checked_file_is_not_is_told(found) -> None:
    code, text = found["commands"]["check a wrong one"]
    assert code == 1, text
    assert "not conformant" in text
    code, text = found["commands"]["check a Linux library"]
    assert code == 3, text
    assert "no verdict: nothing of it runs here: it is a Linux library (ELF)" in text
    code, text = found["commands"]["fuzz"]
    assert code == 3, text
    assert "try it on Linux" in text


def test_what_takes_mode_process_elsewhere_says_once_that_it_is_missing(found) -> None:
    commands = found["commands"]
    assert commands["run"][1].count("mode process exists on Linux only") == 1
    code, text = commands["bench"]
    assert code == 0, text
    assert text.count("exists on Linux only") == 1
    assert [line.split()[0] for line in text.splitlines() if " ns " in line] == ["inline", "thread"]
    assert commands["bench process"][0] == 3
    assert 'mode "process" exists on Linux only' in commands["bench process"][1]
    assert commands["doctor"][1].count("exists on Linux only") == 1


def test_a_new_plugin_is_one_for_windows(found, folder) -> None:
    code, text = found["commands"]["new"]
    assert code == 0, text
    assert 'libpath: "counter.dll"' in (folder / "counter" / "counter.json5").read_text()
    assert "counter.dll: counter.c" in (folder / "counter" / "Makefile").read_text()
