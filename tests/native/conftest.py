"""The programs of this folder, which test the core alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.making import make_native_tests


@pytest.fixture(scope="session")
def built() -> Path:
    """The programs of tests/native."""
    return make_native_tests()
