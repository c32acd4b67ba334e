"""Run tests with the wheel for this machine on each other Python that is here.

python tools/pythons.py [ARGUMENT...]      arguments for pytest instead of the usual tests

The wheel is that in dist, which `make wheels` makes. What is here: the interpreters of `PYTHONS`
(a list of paths between colons), else python3.12 and later of the command path and of pyenv.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import check_wheel
import requirements

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "pythons"
TESTS = (
    *("tests/delivery/test_every_mode.py", "tests/delivery/test_crash_handler.py"),
    *("tests/test_events.py", "tests/native/test_door.py", "tests/library"),
)
ASK = "import sys; print('%d.%d' % sys.version_info[:2])"


def found() -> dict[str, str]:
    """Return the interpreters that are here, but for this one's version, by version."""
    named = os.environ.get("PYTHONS", "").split(":")
    minors = range(11, 20)
    candidates = [path for path in named if path] or [
        *(path for minor in minors if (path := shutil.which(f"python3.{minor}"))),
        *map(str, sorted(Path.home().glob(".pyenv/versions/3.1[1-9].*/bin/python3"))),
    ]
    pythons: dict[str, str] = {}
    for path in candidates:
        done = subprocess.run([path, "-c", ASK], capture_output=True, text=True, check=False)
        version = done.stdout.strip()
        if done.returncode == 0 and version != "{}.{}".format(*sys.version_info[:2]):
            pythons.setdefault(version, path)
    return pythons


def wheel() -> Path:
    """Return the wheel in dist for this machine.

    Raises:
        SystemExit: There is none.
    """
    for path in sorted((ROOT / "dist").glob("*.whl")):
        if check_wheel.runs_here(path):
            return path
    raise SystemExit("pythons: dist has no wheel for this machine; make wheels")


def environment(version: str, python: str, package: Path) -> str:
    """Make a folder for packages with the wheel and what tests need; return its Python."""
    folder = BUILD / version
    own = str(folder / "bin" / "python")
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        needs = requirements.requirements(["test", "check"])
        subprocess.run([own, "-m", "pip", "install", "--quiet", *needs], check=True, timeout=900)
        (folder / "ready").touch()
    again = ["--quiet", "--force-reinstall", "--no-deps", str(package)]
    subprocess.run([own, "-m", "pip", "install", "--quiet", str(package)], check=True, timeout=600)
    subprocess.run([own, "-m", "pip", "install", *again], check=True, timeout=600)
    return own


def main() -> int:
    """Run the tests on each; return the number of Pythons where some failed."""
    package = wheel()
    failed = 0
    pythons = found()
    for version, python in pythons.items():
        own = environment(version, python, package)
        print(f"Python {version}: {package.name}", flush=True)
        command = [own, "-m", "pytest", "-q", *(sys.argv[1:] or TESTS)]
        failed += subprocess.run(command, cwd=ROOT, check=False).returncode != 0
    if not pythons:
        print("pythons: no Python here but this one", file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main())
