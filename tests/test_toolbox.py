"""What is missing on a machine is found out by use, in tools/bootstrap.sh and in the tests."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from support import toolbox

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.no_asan


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def lame(tmp_path, monkeypatch) -> Path:
    """A folder in front of PATH: what is put there takes the place of the machine's own."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    toolbox.trouble_with.cache_clear()
    toolbox.gdb_trouble.cache_clear()
    yield tmp_path
    toolbox.trouble_with.cache_clear()
    toolbox.gdb_trouble.cache_clear()


def bootstrap(tmp_path: Path) -> str:
    """What bootstrap.sh says that it lacks, where it can install nothing."""
    script(tmp_path / "apt-get", "exit 1")
    script(tmp_path / "sudo", "exit 1")
    venv = tmp_path / "venv" / "bin"
    venv.mkdir(parents=True)
    script(venv / "python", "exit 0")  # as if it was made already
    done = subprocess.run(
        ["sh", ROOT / "tools" / "bootstrap.sh", venv.parent, "--tests"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return done.stderr


NO_SANITIZERS = """
case "$*" in *-fsanitize=*) echo "cannot find libclang_rt" >&2; exit 1;; esac
exec {real} "$@"
"""


def test_a_compiler_without_its_sanitizers(lame) -> None:
    toolbox.require("clang")
    real = subprocess.run(
        ["sh", "-c", "command -v clang"], capture_output=True, text=True, check=True
    ).stdout.strip()
    script(lame / "clang", NO_SANITIZERS.format(real=real))
    toolbox.trouble_with.cache_clear()
    assert toolbox.trouble_with("clang") == ""
    assert toolbox.trouble_with("clang", "-fsanitize=address") == "cannot find libclang_rt"
    version = subprocess.run(
        ["clang", "-dumpversion"], capture_output=True, text=True, check=True
    ).stdout
    wanted = f"libclang-rt-{version.partition('.')[0]}-dev"
    assert f"next: sudo apt-get install -y {wanted}" in bootstrap(lame)


@pytest.mark.parametrize(
    ("tool", "package"), [("clang", "clang"), ("g++", "g++"), ("c++", "g++"), ("gdb", "gdb")]
)
def test_a_tool_that_is_there_by_name_only(lame, tool, package) -> None:
    script(lame / tool, "echo no use >&2; exit 1")
    trouble = toolbox.gdb_trouble() if tool == "gdb" else toolbox.trouble_with(tool)
    assert trouble == "no use"
    assert f"some tests are skipped without: {package}" in bootstrap(lame)


def test_a_compiler_without_a_c_library_is_not_enough(lame) -> None:
    script(lame / "cc", "echo cannot find crt1.o >&2; exit 1")
    said = bootstrap(lame)
    assert "this machine lacks: gcc libc6-dev" in said


def test_a_program_that_does_not_run_is_trouble(lame) -> None:
    script(
        lame / "cc",
        'while [ "$1" != -o ]; do shift; done; printf "#!/bin/sh\\necho lame; exit 3" >"$2"; '
        'chmod +x "$2"',
    )
    assert toolbox.trouble_with("cc") == "lame"
    assert toolbox.trouble_with("cc", "-fsyntax-only", "-o", "/dev/null") == ""


@pytest.mark.parametrize(("ci", "outcome"), [("true", "Failed"), ("", "Skipped")])
def test_what_is_missing_fails_under_ci_only(lame, monkeypatch, ci, outcome) -> None:
    script(lame / "cc", "echo no use >&2; exit 1")
    monkeypatch.setenv("CI", ci)
    with pytest.raises(BaseException, match="cc -O3 does not work here: no use") as caught:
        toolbox.require("cc", "-O3")
    assert caught.typename == outcome
