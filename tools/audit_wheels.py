"""Ask the tools of others about wheels: auditwheel, abi3audit and delvewheel.

python tools/audit_wheels.py dist/*.whl

What a wheel for glibc asks for is no newer than its name says; each keeps to the stable ABI; and
one for Windows needs no library but those that come with Windows or Python.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def _run(tool: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", tool, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode != 0:
        raise SystemExit(f"{tool} {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def _version(tag: str) -> list[int]:
    numbers = re.search(r"linux_(\d+)_(\d+)_", tag)
    return [] if numbers is None else [int(number) for number in numbers.groups()]


def audit(wheel: Path) -> str:
    """Return what the tools say of a wheel, in a few words.

    Raises:
        SystemExit: Something is wrong with it.
    """
    says = []
    if "-manylinux_" in wheel.name:  # for musl it asks for musl's files on this machine
        tags = re.findall(r'"(\w+linux_\d+_\d+_\w+)"', _run("auditwheel", "show", str(wheel)))
        named = wheel.stem.split("-")[-1]
        if not any(
            tag.startswith("manylinux") and _version(tag) <= _version(named) for tag in tags
        ):
            raise SystemExit(f"{wheel.name}: auditwheel says {tags}")
        says.append(f"auditwheel: {tags[0]}")
    if "-win_" in wheel.name:
        found = _run("delvewheel", "show", str(wheel))
        if "will be copied into the wheel.\n    None" not in found:
            raise SystemExit(f"{wheel.name}: delvewheel would add libraries:\n{found}")
        says.append("delvewheel: nothing to add")
    _run("abi3audit", "--strict", str(wheel))
    return ", ".join([*says, "abi3audit: no violations"])


def main() -> int:
    """Ask about the wheels that are named and return the exit code."""
    for wheel in map(Path, sys.argv[1:]):
        print(f"{wheel}: {audit(wheel)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
