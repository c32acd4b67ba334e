"""Build the core with AddressSanitizer and UBSan, and run tests through it.

python tools/asan.py [ARGUMENT OF PYTEST ...]

The instrumented extension lies in build/asan, beside links to the Python files, and never in
.venv. Tests that are marked `slow` or `no_asan` are left out, and those in `ELSEWHERE`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "asan"
CORE = BUILD / "core"
PACKAGE = BUILD / "python" / "slipstream"
SANITIZERS = "address,undefined"
# Tests that run little code of the core, or build what they test with sanitizers of their own.
ELSEWHERE = (
    *("abi", "aleo", "check", "cli", "config", "examples", "languages", "packages", "rogues"),
    *("sdk", "server", "streams", "test_docs.py", "test_foreign_bytes.py", "test_house.py"),
    "native/test_sanitized.py",
)
# What the sanitizers say goes to files: pytest holds standard error back, and an abort loses it.
REPORT = BUILD / "report"
# Leaks: the interpreter itself leaves memory at exit. Signals: tests of crashes look at them, and
# a worker has an alternate stack of its own.
OPTIONS = {
    "ASAN_OPTIONS": f"log_path={REPORT}:detect_leaks=0:abort_on_error=1:handle_segv=0"
    ":handle_abort=0:handle_sigbus=0:use_sigaltstack=0:detect_stack_use_after_return=0",
    "UBSAN_OPTIONS": f"log_path={REPORT}:halt_on_error=1:abort_on_error=1:print_stacktrace=1",
}


def run(*command: str, **environment: str) -> int:
    """Run a command with variables on top of this process's own; return its exit code."""
    environment = {**os.environ, **environment}
    return subprocess.run(command, check=False, cwd=ROOT, env=environment).returncode


def version() -> str:
    """Return the project's version."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return str(tomllib.loads(text)["project"]["version"])


def build() -> int:
    """Build the instrumented extension; return the exit code of what failed, else 0."""
    tools = Path(sys.executable).parent
    source = ["-S", str(ROOT / "native"), "-B", str(CORE), "-G", "Ninja"]
    configure = [
        str(tools / "cmake"),
        *source,
        f"-DCMAKE_MAKE_PROGRAM={tools / 'ninja'}",
        "-DCMAKE_BUILD_TYPE=Debug",
        "-DCMAKE_C_FLAGS_DEBUG=-O1 -g",
        # The worker: as two shared libraries UBSan does not find the way to ASan's files.
        "-DCMAKE_EXE_LINKER_FLAGS=-static-libasan -static-libubsan",
        f"-DSKBUILD_PROJECT_VERSION={version()}",
        f"-DPython_EXECUTABLE={sys.executable}",
        f"-DSLIPSTREAM_SANITIZE={SANITIZERS}",
        "--log-level=WARNING",
    ]
    return run(*configure) or run(str(tools / "cmake"), "--build", str(CORE), "--", "--quiet")


def lay_out() -> None:
    """Put links to the Python files, and the extension, where they can be imported from."""
    shutil.rmtree(PACKAGE.parent, ignore_errors=True)
    PACKAGE.mkdir(parents=True)
    for other in (ROOT / "src").iterdir():  # the plugin of pytest's, whose entry point is in .venv
        if other.name != PACKAGE.name:
            (PACKAGE.parent / other.name).symlink_to(other)
    for entry in (ROOT / "src" / "slipstream").iterdir():
        (PACKAGE / entry.name).symlink_to(entry)
    (PACKAGE / "include").symlink_to(ROOT / "include")
    for built in ("_core.abi3.so", "slipstream-worker"):
        (PACKAGE / built).symlink_to(CORE / built)


def make_environment() -> Path:
    """Make an interpreter that finds the instrumented package and .venv's other packages.

    A .pth file only adds folders: the editable package's own .pth is not followed.
    """
    folder = BUILD / "venv"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run(
            [sys.executable, "-m", "venv", "--without-pip", "--clear", folder], check=True
        )
    packages = next((folder / "lib").glob("python*/site-packages"))
    paths = f"{PACKAGE.parent}\n{sysconfig.get_path('purelib')}\n"
    (packages / "asan.pth").write_text(paths, encoding="utf-8")
    script = folder / "bin" / "slipstream"
    script.write_text(
        f"#!{python}\nimport sys\nfrom slipstream.__main__ import main\nsys.exit(main())\n",
        encoding="utf-8",
    )
    script.chmod(0o755)
    return python


def library(name: str) -> str:
    """Return the path of a library of the C compiler."""
    compiler = os.environ.get("CC", "cc")
    answer = subprocess.run(
        [compiler, f"-print-file-name={name}"], check=True, capture_output=True, text=True
    )
    return answer.stdout.strip()


def reports() -> list[Path]:
    """Return what the sanitizers of any process wrote."""
    return sorted(REPORT.parent.glob(f"{REPORT.name}.*"))


def set_up() -> Path:
    """Build the core, remove old reports, and return the interpreter that imports it.

    Raises:
        SystemExit: It cannot be built.
    """
    if code := build():
        raise SystemExit(code)
    lay_out()
    for old in reports():
        old.unlink()
    return make_environment()


def environment() -> dict[str, str]:
    """Return the variables that the interpreter needs."""
    # libstdc++ as well: otherwise ASan does not find the function that throws.
    preload = f"{library('libasan.so')} {library('libstdc++.so.6')}"
    return {**OPTIONS, "LD_PRELOAD": preload, "SLIPSTREAM_ASAN": "1"}


def main() -> int:
    """Build, run pytest, and return the exit code."""
    python = set_up()
    # Two at a time: most of them wait for processes and clocks.
    arguments = ["-n", "2", "-m", "not slow and not no_asan", *sys.argv[1:]]
    arguments += [f"--ignore={ROOT / 'tests' / name}" for name in ELSEWHERE]
    pytest = ("-m", "pytest", "-p", "no:cacheprovider")
    code = run(str(python), *pytest, *arguments, **environment())
    # Also of processes that a test started and whose end it did not look at.
    found = reports()
    for report in found:
        print(report.read_text(encoding="utf-8", errors="replace"))
    print(f"sanitizer reports: {len(found)}")
    return code or bool(found)


if __name__ == "__main__":
    sys.exit(main())
