"""The mesh, in short: nothing is lost, doubled or out of order, and who is forgotten is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("cryptography")
pytestmark = pytest.mark.no_asan  # its nodes are processes of their own


def test_the_mesh_keeps_its_messages(built: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(built / "mesh" / "mesh.py"), "--messages=4000", "--kill-every=0.2"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("while its worker was backoff\nOK\n")
    assert "\n0 workers killed" not in done.stdout
    assert done.stderr == ""
