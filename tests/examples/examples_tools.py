"""Where the examples are, and how they are built."""

from __future__ import annotations

import subprocess

import pytest

from support.making import ROOT, run_make

EXAMPLES = ROOT / "examples"


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run make in the examples' folder.

    Args:
        arguments: Targets and variables.
        environment: Variables on top of this process's own.

    Returns:
        The finished process, with its output as text.
    """
    done = run_make(EXAMPLES, *arguments, **environment)
    if done is None:
        pytest.skip("no make on this machine")
    return done
