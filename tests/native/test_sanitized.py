"""The tests of the core once more, through a core built with ASan and UBSan, and random load."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


pytestmark = [pytest.mark.slow, pytest.mark.no_asan, pytest.mark.timeout(3600)]


def run(tool: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / tool), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=3500,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:]
    return done.stdout


def test_the_core_under_asan_and_ubsan_and_under_load(tmp_path) -> None:
    """What `make asan` runs, then the short form of `make stress`: both lay out one folder."""
    output = run("asan.py", "-q")
    assert "sanitizer reports: 0" in output
    summary = re.search(r"^(\d+) passed", output, re.MULTILINE)
    assert summary is not None, output[-2000:]
    assert int(summary[1]) > 100

    stressed = tmp_path / "stress.json"
    run("stress.py", "--seconds", "25", "--seed", "1", "--output", str(stressed))
    found = json.loads(stressed.read_text())
    assert found["reports"] == 0
    assert len(found["programs"]) == 4
    for name, figures in found["programs"].items():
        assert figures["good"], name
        assert figures.get("events", figures.get("broadcast")) > 10_000, name
