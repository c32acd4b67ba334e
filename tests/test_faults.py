"""The short form of tests/stress/faults.py: workers and hosts are broken, nothing is lost."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent / "stress"))

from faults import ROUNDS, kill_hosts, run_cycles, run_round

import oracle

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


@pytest.mark.no_asan  # the sanitizer maps memory of its own
def test_loading_and_unloading_leaves_nothing(tmp_path) -> None:
    figures = run_cycles(tmp_path, 100, time.monotonic() + 6)
    assert figures["leaks"] == []
    assert figures["cycles"] > 5


# ---- The judge itself: what it must see in a file ------------------------------------------------

HASHES = [100 + n for n in range(6)]


def record(ordinal: int, attempt: int = 1, pid: int = 1, type_: int = oracle.EVENT, **more: int):
    fields = {"first": 0, "last": 0, "hash": 99 + ordinal, **more}
    return oracle.Record(
        ordinal, 1, ordinal, fields["hash"], attempt, type_, pid, 1, fields["first"], fields["last"]
    )


def loaded(pid: int):
    return record(0, pid=pid, type_=oracle.LOADED, hash=0)


def gap(first: int, last: int):
    return record(last, type_=oracle.GAP, first=first, last=last)


GOOD = [loaded(1), record(1), record(2), gap(3, 4), loaded(2), *(record(n, 2, 2) for n in (5, 6))]


@pytest.mark.parametrize(
    ("records", "broken"),
    [
        (GOOD, None),
        ([loaded(1), record(1), loaded(2), *(record(n, 2, 2) for n in range(1, 7))], None),
        (GOOD[:-1], "lost"),
        ([GOOD[0], *GOOD[2:]], "lost"),
        ([loaded(1), record(1), loaded(2), *(record(n, 2, 2) for n in range(3, 7))], "lost"),
        ([*GOOD[:2], *GOOD[3:]], "order_violations"),
        ([GOOD[0], GOOD[2], GOOD[1], *GOOD[3:]], "order_violations"),
        (GOOD[1:], "order_violations"),
        ([*GOOD, record(7, pid=2)], "order_violations"),
        ([loaded(1), record(1), loaded(2), *(record(n, 1, 2) for n in range(1, 7))],
         "unmarked_repeats"),
        ([*GOOD[:2], record(2, hash=5), *GOOD[3:]], "hash_mismatches"),
    ],
)  # fmt: skip
def test_the_judge_sees_what_is_broken(tmp_path, records, broken) -> None:
    path = tmp_path / "records"
    path.write_bytes(b"".join(r.packed() for r in records) + b"cut off")
    verdict = oracle.judge(path, HASHES)
    assert verdict.good == (broken is None), verdict
    if broken is not None:
        assert getattr(verdict, broken) > 0, verdict
