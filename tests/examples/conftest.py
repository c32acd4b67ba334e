"""The examples, built once for all of their tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples_tools import EXAMPLES, make


@pytest.fixture(scope="session")
def built() -> Path:
    """The examples' folder with every library in place."""
    done = make("all")
    assert done.returncode == 0, done.stderr
    return EXAMPLES
