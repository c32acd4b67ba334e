"""The programs of this folder, which test the core alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.making import run_make

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def built(pytestconfig: pytest.Config) -> Path:
    """The programs of tests/native; only what has changed is compiled again."""
    folder = pytestconfig.rootpath / "build" / "native-tests"
    done = run_make(HERE, "-s", "-j2", f"BUILD={folder}")
    assert done is not None, "no make on this machine"
    assert done.returncode == 0, done.stderr[-4000:]
    return folder
