"""The wheel, built once for all tests that install it, also where tests run at the same time."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def built_wheel(factory: pytest.TempPathFactory) -> Path:
    """The wheel, as `make dist` builds it; whoever asks first builds it."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder = base / "wheel"
    with (base / "wheel.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
                    *("--no-build-isolation", f"--config-settings=build-dir={base}/wheel-build"),
                    *("--wheel-dir", str(base / "wheel.new"), str(ROOT)),
                ],
                env={**os.environ, "CMAKE_BUILD_PARALLEL_LEVEL": "2"},
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            (base / "wheel.new").rename(folder)
    (wheel,) = folder.glob("*.whl")
    return wheel
