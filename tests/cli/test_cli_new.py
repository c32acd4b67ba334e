"""``slipstream new``: what it makes builds, passes its test and the checks, runs, is debugged."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.cargo import TARGET, keep_versions, require_cargo
from support.toolbox import gdb_trouble, is_not_here


def slipstream(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "slipstream.cli", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def make(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["make", "-s", f"PYTHON={sys.executable}", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("lang", ["c", "cpp", "rust"])
def test_it_makes_a_project_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lang: str
) -> None:
    if lang == "rust":
        require_cargo()
        monkeypatch.setenv("CARGO_TARGET_DIR", str(TARGET))
    done = slipstream(tmp_path, "new", "my-first.one", "--lang", lang)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\nNext: make -C my-first.one test check\n")
    folder = tmp_path / "my-first.one"
    if lang == "rust":
        keep_versions(folder)
    assert not [
        file
        for file in folder.rglob("*")
        if file.is_file() and re.search("@[A-Z]+@", file.name + file.read_text())
    ]
    told = make(folder, "test")
    assert "\n2 passed" in told, told
    assert lang != "rust" or "test result: ok. 2 passed" in told
    told = make(folder, "run")
    assert "2 blocks; the last has 2 bytes" in told
    assert "4 blocks in all, 0 lost" in told
    assert (folder / "data" / "my-first.one").is_dir(), "where crash reports go"
    if lang != "rust":
        without = ["make", "PYTHON=python-without-it"]
        done = subprocess.run(without, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "python-without-it has no slipstream: activate its environment" in done.stderr
        assert "not found" not in done.stderr
    checked = slipstream(folder, "check", "--quick", "--fail-on", "note", "./my-first.one.so")
    assert "excellent: nothing was found" in checked.stdout, checked.stdout
    if trouble := gdb_trouble():
        is_not_here(trouble)
    told = make(folder, "debug", "GDB=gdb -q -batch")
    assert "hit Breakpoint 1" in told, told
    make(folder, "clean")
    assert not (folder / "my-first.one.so").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["new", "My Plugin"], 2, "'My Plugin' is not a valid name for a plugin"),
        (["new", "../up"], 2, "'../up' is not a valid name for a plugin"),
        (["new", "there"], 1, "there is there already"),
        (["new", "here", "--folder", "file/below"], 1, "cannot make file/below: Not a directory"),
        (["new", "here", "--lang", "cobol"], 2, "'cobol' is not one of"),
    ],
)
def test_it_refuses_and_says_why(
    tmp_path: Path, arguments: list[str], code: int, text: str
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    done = slipstream(tmp_path, *arguments)
    assert done.returncode == code
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "there"]


def test_the_next_step_can_be_typed(tmp_path: Path) -> None:
    done = slipstream(tmp_path, "new", "x", "--folder", "a b/x")
    assert done.stdout.endswith("\nNext: make -C 'a b/x' test check\n")


def test_a_disk_without_room_keeps_no_half_project(tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", 'ulimit -f 2; exec "$0" -m slipstream.cli new mine', sys.executable],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    assert ": File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
