"""The short form of tests/stress/faults.py: workers and hosts are broken, nothing is lost."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent / "stress"))

from faults import ROUNDS, kill_hosts, run_cycles, run_round

SEED = 20
FAULTS = 6


@pytest.mark.parametrize("number", range(len(ROUNDS)))
def test_nothing_is_lost_however_a_worker_ends(tmp_path, number) -> None:
    figures = run_round(tmp_path, ROUNDS[number], FAULTS, SEED + number, time.monotonic() + 60)
    assert figures["faults"] == FAULTS
    assert figures["restarts"] > 0
    assert figures["healthy_delivered"] == figures["broadcast"] > 1000
    for key in ("lost", "order_violations", "unmarked_repeats", "hash_mismatches"):
        assert figures[key] == 0, figures["examples"]
    assert figures["wrong_counters"] == []


def test_no_worker_outlives_a_killed_host(tmp_path) -> None:
    assert kill_hosts(tmp_path, 4, SEED)["survivors"] == 0


def test_loading_and_unloading_leaves_nothing(tmp_path) -> None:
    figures = run_cycles(tmp_path, 100, time.monotonic() + 6)
    assert figures["leaks"] == []
    assert figures["cycles"] > 5
