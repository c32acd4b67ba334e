"""Files that are no plugin for this machine, or none at all: said as what they are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from slipstream.check.given import subject_of
from slipstream.check.suite import explore, run_checks
from slipstream.check.verdict import Result, Verdict
from slipstream.testing import build_plugin
from support.foreign_libraries import CODE, WRITABLE, Export, macho, pe, plugin

INFO = b'SLIPINFO1\n{"name": "far", "version": "2", "abi": 1, "kinds": ["BLOCK"]}\0'
NAMES = [
    "binary.kind",
    "binary.constructor",
    "binary.info",
    "binary.info-agrees",
    "binary.exports",
    "binary.interposes",
    "binary.writable-code",
    "binary.relro",
    "entry.loads",
]


def checked(path: Path, *names: str) -> dict[str, Result]:
    subject = subject_of(path)
    if not subject.foreign:
        explore(subject)
    return {r.check.id: r for r in run_checks(subject, names or NAMES, jobs=1)}


def verdicts(found: dict[str, Result], verdict: Verdict) -> dict[str, str]:
    return {name: r.findings[0] for name, r in found.items() if r.verdict is verdict}


@pytest.mark.parametrize(("writer", "name"), [(pe, "Windows"), (macho, "macOS")])
def test_a_plugin_of_another_system_is_only_looked_at(tmp_path: Path, writer, name) -> None:
    exports = plugin(INFO)
    path = tmp_path / "far"
    path.write_bytes(writer(exports))
    found = checked(path)
    assert verdicts(found, Verdict.FAIL) == {}
    skipped = verdicts(found, Verdict.SKIP)
    assert name in skipped["entry.loads"]
    assert name in skipped["binary.info-agrees"]
    assert "have no such thing" in skipped["binary.relro"]
    assert found["binary.exports"].verdict is Verdict.PASS
    exports["helper"] = exports["malloc"] = Export(CODE, b"\xc3" * 16)
    path.write_bytes(writer(exports))
    found = checked(path)
    assert verdicts(found, Verdict.WARN) == {"binary.exports": "it exports helper"}
    assert verdicts(found, Verdict.FAIL) == {"binary.interposes": "it exports malloc"}
    path.write_bytes(writer(plugin(INFO, WRITABLE)))
    assert "can be written to" in verdicts(checked(path), Verdict.FAIL)["binary.info"]


def test_a_plugin_for_another_machine(tmp_path: Path, examples) -> None:
    data = bytearray((examples / "minimal" / "minimal.so").read_bytes())
    data[18:20] = (243).to_bytes(2, "little")  # RISC-V
    path = tmp_path / "far.so"
    path.write_bytes(data)
    found = checked(path)
    assert verdicts(found, Verdict.FAIL) == {}
    assert "is built for RISC-V" in verdicts(found, Verdict.SKIP)["entry.loads"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.mkdir(), "it is a folder"),
        (lambda path: None, "No such file"),
        (lambda path: path.write_bytes(b""), "is an empty file"),
        (lambda path: path.write_bytes(b"#!/bin/sh\n"), "is not a shared library"),
        (lambda path: path.write_bytes(b"\x7fELF\2\1\1" + bytes(99)), "ends too early"),
        (lambda path: path.write_bytes(b"!<arch>\n"), "static library"),
    ],
    ids=["folder", "missing", "empty", "script", "damaged", "archive"],
)
def test_what_is_no_library(tmp_path: Path, make, said: str) -> None:
    path = tmp_path / "x.so"
    make(path)
    found = checked(path)
    assert said in verdicts(found, Verdict.FAIL)["binary.kind"]
    assert {r.verdict for name, r in found.items() if name != "binary.kind"} == {Verdict.SKIP}


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("PyInit_words", "a Python extension module"),
        ("JNI_OnLoad", "a library for Java"),
        ("sqlite3_words_init", "an extension of SQLite"),
        ("plugin_get_required_api_version", "a Falco plugin"),
        ("_create_plugin", "a Rust-ABI plugin of snarkVM or Geyser"),
        ("slipstream_create_plugin_v3", "ABI major 3"),
        ("words", "does not export slipstream_create_plugin_v1"),
    ],
)
def test_a_library_of_another_kind_is_named(tmp_path: Path, code: str, said: str) -> None:
    source = f'#define API __attribute__((visibility("default")))\nAPI int {code}(void);\n'
    source += f"int {code}(void) {{ return 1; }}\n"
    path = build_plugin(source, folder=tmp_path)
    found = checked(path, "binary.constructor", "entry.loads")
    assert said in " ".join(found["binary.constructor"].findings)
    assert found["entry.loads"].findings == ("needs binary.constructor",)


@pytest.mark.parametrize(
    ("holds", "said"),
    [
        ("/registry/src/agave-geyser-plugin-interface-2", "it is a Geyser plugin of Solana"),
        ("Error updating slot status. Error message: (", "it is a Geyser plugin of Solana"),
        ("_ZN35snarkvm_slipstream_plugin_interface27", "it is a plugin of snarkVM"),
        ("/src/snark/geyser.rs", ""),
    ],
)
def test_rust_plugins_are_told_apart(tmp_path: Path, holds: str, said: str) -> None:
    source = f"""
    __attribute__((visibility("default"))) const char *_create_plugin(void);
    const char *_create_plugin(void) {{ return "{holds}"; }}
    """
    found = checked(build_plugin(source, folder=tmp_path), "binary.constructor")
    rust, *others = found["binary.constructor"].findings
    assert "a Rust-ABI plugin of snarkVM or Geyser" in rust
    assert [other.partition(",")[0] for other in others] == [said][: bool(said)]


def test_without_lief_it_is_said_how_to_get_it(examples, monkeypatch) -> None:
    from slipstream.check import linked

    linked._read.cache_clear()
    monkeypatch.setitem(sys.modules, "lief", None)
    found = checked(examples / "minimal" / "minimal.so")
    assert "pip install 'slipstream[check]'" in verdicts(found, Verdict.SKIP)["binary.exports"]
    assert found["binary.info-agrees"].verdict is Verdict.PASS
    assert verdicts(found, Verdict.FAIL) == {}
