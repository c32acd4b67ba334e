"""Fetches what tests need of other systems, into folders that are there whole, or not at all."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_SECONDS = 900  # longer than any of these folders takes to make


class Missing(Exception):
    """Something that is not to be had on this machine; says what."""


def run(*command: str, folder: Path | None = None) -> None:
    """Run a command to its end.

    Args:
        command: The program and its arguments.
        folder: Where it runs.

    Raises:
        Missing: It failed; with its last line.
    """
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=600, cwd=folder
        )
    except FileNotFoundError as error:
        raise Missing(f"{command[0]} is not installed") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise Missing(f"{' '.join(command[:2])}: {''.join(said)}")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make a folder alone: whoever wants the same one waits for it.

    Raises:
        Missing: Another still had it after LOCK_SECONDS.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + LOCK_SECONDS
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise Missing(f"{folder} is still being made by another process") from None
                time.sleep(0.1)
        yield


def once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Make a folder unless it is there whole: it gets its name when it is done."""
    with locked(folder):
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=folder.parent) as name:
                made = Path(name) / "made"
                made.mkdir()
                make(made)
                made.rename(folder)
    return folder


def debian(folder: Path, machine: str, packages: Iterable[str]) -> None:
    """Unpack Debian's packages for another machine into a folder; what is installed stays as it is.

    Args:
        folder: The root that they are laid out in.
        machine: As Debian calls it, such as `arm64`.
        packages: Their names.

    Raises:
        Missing: They cannot be had.
    """
    with tempfile.TemporaryDirectory() as name:
        state = Path(name)
        (state / "lists" / "partial").mkdir(parents=True)
        # Its own lists, which know the other machine's packages; signed as all of Debian's are.
        options = [
            f"APT::Architecture={os.uname().machine.replace('x86_64', 'amd64')}",
            f"APT::Architectures::={machine}",
            f"Dir::State::lists={state / 'lists'}",
            f"Dir::Cache={state}",
            "APT::Sandbox::User=root",
        ]
        apt = ["apt-get", "-qq", *(word for option in options for word in ("-o", option))]
        run(*apt, "update")
        run(*apt, "download", *(f"{package}:{machine}" for package in packages), folder=state)
        for archive in sorted(state.glob("*.deb")):
            run("dpkg", "-x", str(archive), str(folder))


def site(folder: Path, requirements: Path, platforms: Iterable[str], version: str) -> None:
    """Unpack wheels for another system, each pinned by its SHA-256, into a folder.

    Args:
        folder: Where they are laid out.
        requirements: Names, versions and digests.
        platforms: What their names may say, such as `manylinux_2_28_aarch64`.
        version: That of the Python, such as `3.11`.

    Raises:
        Missing: They cannot be had.
    """
    run(
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"),
        *("--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-compile"),
        *("--target", str(folder), "--python-version", version),
        *(word for platform in platforms for word in ("--platform", platform)),
        *("--requirement", str(requirements)),
    )
