"""A Python for Windows under wine, for tests only.

python tools/windows.py ARGUMENT...     runs its python.exe with what tools/cross.py has built

Its settings lie in build/windows, beside what tools/windows_python.py fetches.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cross
from fetched import Missing, locked
from windows_python import BUILD, python, site

WINE = ("wine64", "wine", "/usr/lib/wine/wine64")


def wine() -> str:
    """Return the path of wine.

    Raises:
        Missing: There is none.
    """
    for name in WINE:
        found = shutil.which(name)
        if found is not None:
            return found
    raise Missing("wine64 is not installed")


def path(there: Path) -> str:
    """Return a path as Windows programs under wine name it."""
    return "Z:" + str(there.resolve()).replace("/", "\\")


def environment(*folders: Path) -> dict[str, str]:
    """Return the environment that its programs run in, where Python finds these folders first."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {
        **kept,
        "WINEPREFIX": str(BUILD / "prefix"),
        "WINEDEBUG": "-all",
        # Nothing here wants .NET, a browser or menus; who crashes ends, and waits for no debugger.
        "WINEDLLOVERRIDES": "mscoree,mshtml,winemenubuilder.exe,winedbg.exe=",
        "PYTHONPATH": ";".join(map(path, [*folders, site()])),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
    }


def command(*arguments: str) -> list[str]:
    """Return the command that runs its python.exe with these arguments."""
    return [wine(), str(python() / "python.exe"), *arguments]


def main() -> int:
    """Run its python.exe and return the exit code; 77 where something for it is missing."""
    try:
        start = command(*sys.argv[1:])
        with locked(BUILD / "run"):  # the next one builds anew what this one runs with
            folders = environment(cross.build("windows-x86_64", quickly=True))
            return subprocess.run(start, env=folders, check=False).returncode
    except Missing as missing:
        print(f"windows: {missing}", file=sys.stderr)
        return 77


if __name__ == "__main__":
    sys.exit(main())
