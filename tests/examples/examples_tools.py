"""Where the examples are, and how they are built."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run make in the examples' folder.

    Args:
        arguments: Targets and variables.
        environment: Variables on top of this process's own.

    Returns:
        The finished process, with its output as text.
    """
    tool = shutil.which("make")
    if tool is None:
        pytest.skip("no make on this machine")
    return subprocess.run(
        [tool, "--no-print-directory", "-C", str(EXAMPLES), *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, **environment},
    )
