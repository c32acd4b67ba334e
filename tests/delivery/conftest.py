"""What the tests of the modes share."""

from __future__ import annotations

import pytest

from support.oracle import Oracle


@pytest.fixture
def oracle(compile_plugin, tmp_path) -> Oracle:
    return Oracle(compile_plugin, tmp_path)
