"""The tests of the core once more, through a core built with ASan and UBSan."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.no_asan
@pytest.mark.timeout(1200)
def test_the_core_under_asan_and_ubsan() -> None:
    """Runs what `make asan` runs."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "asan.py"), "-q"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1100,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:]
    assert "sanitizer reports: 0" in done.stdout
    summary = re.search(r"^(\d+) passed", done.stdout, re.MULTILINE)
    assert summary is not None, done.stdout[-2000:]
    assert int(summary[1]) > 100
