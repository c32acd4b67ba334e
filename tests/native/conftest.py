"""The programs of this folder, which test the core alone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def built(pytestconfig: pytest.Config) -> Path:
    """The programs of tests/native; only what has changed is compiled again."""
    make = shutil.which("make")
    assert make is not None, "no make on this machine"
    folder = pytestconfig.rootpath / "build" / "native-tests"
    done = subprocess.run(
        [make, "-s", "-j2", "-C", HERE, f"BUILD={folder}"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder
