"""Runs pytest under Windows: python run_pytest.py ARGUMENT..."""

from __future__ import annotations

import sys

# Under wine, asking the system's management for its version crashes; Python can do without.
sys.modules["_wmi"] = None

import pytest  # noqa: E402 - what it imports asks

if __name__ == "__main__":
    sys.exit(pytest.main(sys.argv[1:]))
