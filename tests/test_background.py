"""The tests where a job runs that nobody watches: their signals are as usual nevertheless."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from support.process_tools import run_python

pytestmark = pytest.mark.no_asan

# What a shell without job control ignores for a job in the background, and nohup; and what a
# supervisor may block.
IGNORED = ("SIGINT", "SIGQUIT", "SIGHUP", "SIGTERM", "SIGCHLD")
RUNNER = f"""
import os, signal, sys
for name in {IGNORED!r}:
    signal.signal(getattr(signal, name), signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [getattr(signal, name) for name in {IGNORED!r}])
os.execv(sys.executable, [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *sys.argv[1:]])
"""


def pytest_in_the_background(folder: Path, test: str) -> subprocess.CompletedProcess[str]:
    """Run a test beside a copy of this folder's conftest.py, where signals are ignored."""
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_it.py").write_text(f"import os, signal, subprocess, sys, time\n{test}")
    return run_python(RUNNER, folder, "--rootdir", folder)


def test_ctrl_c_ends_the_tests_with_a_summary(tmp_path) -> None:
    done = pytest_in_the_background(
        tmp_path,
        "def test_before(): pass\n"
        "def test_it():\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(200)\n",
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "KeyboardInterrupt" in done.stdout
    assert "1 passed" in done.stdout


def test_what_a_test_starts_ends_as_usual(tmp_path) -> None:
    done = pytest_in_the_background(
        tmp_path,
        f"""
def end_of(code):
    return subprocess.run([sys.executable, "-c", code], cwd={str(tmp_path)!r}).returncode

def test_it():
    assert end_of("raise SystemExit(3)") == 3
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        code = "import os, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0));"
        assert end_of(code + f"os.kill(os.getpid(), {{int(number)}})") == -number
""",
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_hangup_does_not_end_tests_that_nohup_runs(tmp_path) -> None:
    done = pytest_in_the_background(
        tmp_path, "def test_it():\n    os.kill(os.getpid(), signal.SIGHUP)\n    time.sleep(0.1)\n"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_this_run_has_its_signals_as_usual() -> None:
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    for name in IGNORED:
        assert signal.getsignal(getattr(signal, name)) is not signal.SIG_IGN, name
        assert getattr(signal, name) not in signal.pthread_sigmask(signal.SIG_BLOCK, []), name
