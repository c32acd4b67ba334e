"""`make hello`: key, package, central, settings, daemon, and two languages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from examples_tools import EXAMPLES


@pytest.mark.no_asan
def test_hello_is_said_in_two_languages(built: Path) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "hello" / "hello.py"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Hello, world!" in done.stdout
    assert "Hola, world!" in done.stdout
    assert "minisign:" in done.stdout
