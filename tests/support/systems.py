"""Marks for tests that not every system can pass."""

from __future__ import annotations

import os

import pytest

only_posix = pytest.mark.skipif(os.name != "posix", reason="of files that only POSIX has")


def posix(*values: object) -> object:
    """A row of a table of cases that only POSIX has."""
    return pytest.param(*values, marks=only_posix)
