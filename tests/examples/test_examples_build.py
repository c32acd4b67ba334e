"""The example plugins build as their makefile promises, and are safe to load and to unload."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import json5
import pytest

from examples_tools import EXAMPLES, ROOT, make
from support.toolbox import require

IN_C = ["minimal", "tally", "ledger", "mailbox", "hello", "postgres"]
NAMES = [*IN_C, "tally-cpp", "tally-rust"]
STRICT = ["-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes", "-Wvla", "-Wundef"]


def library(built: Path, name: str) -> Path:
    path = built / name / f"{name}.so"
    if name in {"tally-cpp", "tally-rust", "postgres"} and not path.exists():
        pytest.skip("no compiler or library for it on this machine")
    return path


def output(tool: str, *arguments: str) -> str:
    return subprocess.run(
        [tool, *arguments], capture_output=True, text=True, timeout=600, check=True
    ).stdout


def libpq() -> Path | None:
    """Where its headers are: a server alone brings pg_config, too, but none of those."""
    config = shutil.which("pg_config")
    folder = None if config is None else Path(output(config, "--includedir").strip())
    return folder if folder is not None and (folder / "libpq-fe.h").exists() else None


LIBPQ = libpq()


@pytest.mark.parametrize("name", NAMES)
def test_exports_the_constructor_and_the_info_and_nothing_else(built: Path, name: str) -> None:
    lines = output("nm", "-D", "--defined-only", str(library(built, name))).splitlines()
    exported = [line.split()[1:] for line in lines]
    assert exported == [["T", "slipstream_create_plugin_v1"], ["R", "slipstream_info_v1"]]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_keeps_it_mapped(built: Path, name: str) -> None:
    path = str(library(built, name))
    assert "UNIQUE" not in output("readelf", "-sW", path)
    dynamic = output("readelf", "-dW", path)
    assert "NODELETE" not in dynamic
    assert "STATIC_TLS" not in dynamic


@pytest.mark.parametrize("name", NAMES)
def test_is_hardened(built: Path, name: str) -> None:
    path = str(library(built, name))
    dynamic = output("readelf", "-dW", path)
    assert "TEXTREL" not in dynamic
    assert not re.search(r"\(R(UN)?PATH\)", dynamic)
    assert re.search(r"FLAGS\).*BIND_NOW", dynamic)
    segments = output("readelf", "-lW", path)
    assert "GNU_RELRO" in segments
    assert re.search(r"GNU_STACK .* RW ", segments)


@pytest.mark.parametrize("name", NAMES)
def test_config_names_the_library_beside_it(built: Path, name: str) -> None:
    config = json5.loads((EXAMPLES / name / f"{name}.json5").read_text(encoding="utf-8"))
    assert EXAMPLES / name / config["libpath"] == library(built, name)


@pytest.mark.parametrize("name", NAMES)
def test_readme_has_about_ten_lines_and_its_commands_exist(name: str) -> None:
    text = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 26
    for path in re.findall(r"(?<![\w/])examples/[\w./-]+\.(?:json5|jsonl)", text):
        assert (ROOT / path).is_file(), path
    for target in re.findall(r"make -C examples (\S+)", text):
        assert make("-n", target).returncode == 0, target


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("name", IN_C)
@pytest.mark.parametrize("standard", ["c11", "c17"])
def test_compiles_without_a_warning(compiler: str, name: str, standard: str) -> None:
    require(compiler, "-fsyntax-only")
    if name == "postgres" and LIBPQ is None:
        pytest.skip("no libpq on this machine")
    libpq = [] if LIBPQ is None else ["-I", str(LIBPQ)]
    output(
        compiler,
        f"-std={standard}",
        *["-O2", "-fsyntax-only", "-Wall", "-Wextra", "-pedantic", "-Werror", *STRICT],
        f"-I{ROOT / 'include'}",
        *libpq,
        *map(str, sorted((EXAMPLES / name).glob("*.c"))),
    )


def test_asan_copies_go_to_their_own_folder(tmp_path: Path) -> None:
    done = make("asan", f"ASAN_DIR={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "hello.so",
        "host-c",
        "ledger.so",
        "mailbox.so",
        "minimal.so",
        *(["postgres.so"] if LIBPQ else []),
        "tally.so",
    ]
    assert "__asan_init" in output("nm", "-D", str(tmp_path / "ledger.so"))


def test_without_the_headers_of_sqlite_the_error_says_what_to_install(tmp_path: Path) -> None:
    done = make(f"{tmp_path}/ledger.so", f"ASAN_DIR={tmp_path}", CFLAGS="-nostdinc")
    assert done.returncode != 0
    assert "apt-get install libsqlite3-dev" in done.stderr
    assert not list(tmp_path.iterdir())


def test_without_cargo_the_rust_example_is_left_out() -> None:
    done = make("rust", CARGO="no-such-cargo")
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert "tally-rust and host-rust skipped" in done.stdout


def test_with_an_old_cargo_as_well(tmp_path: Path) -> None:
    old = tmp_path / "cargo"
    old.write_text("#!/bin/sh\n[ \"$1\" = --version ] && echo 'cargo 1.65.0 (old 2022)'\n")
    old.chmod(0o755)
    done = make("rust", f"CARGO={old}")
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stderr
    assert "or newer on this machine" in done.stdout


def test_without_libpq_its_example_is_left_out() -> None:
    done = make("-B", "postgres/postgres.so", "pg_config=")
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert "postgres skipped" in done.stdout


def test_with_a_server_of_postgresql_alone_as_well(tmp_path: Path, monkeypatch) -> None:
    config = tmp_path / "pg_config"
    config.write_text(f"#!/bin/sh\necho {tmp_path}\n")
    config.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    done = make("-B", "postgres/postgres.so")
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stderr
    assert "postgres skipped" in done.stdout


def test_without_a_cpp_compiler_its_example_is_left_out() -> None:
    done = make("-B", "tally-cpp/tally-cpp.so", CXX="no-such-compiler")
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert "tally-cpp skipped" in done.stdout


def test_minimal_is_the_example_of_the_header() -> None:
    header = (ROOT / "include" / "slipstream.h").read_text(encoding="utf-8")
    example = header.partition("example:begin\n")[2].partition(" * example:end")[0]
    assert (EXAMPLES / "minimal" / "minimal.c").read_text(encoding="utf-8") == example
