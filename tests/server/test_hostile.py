"""Hostile requests beside a stream of events, in short; `make hostile` is the long form."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "stress"))

import hostile


@pytest.mark.parametrize("rps", [0.0, 10.0])
def test_hostile_requests(examples, rps) -> None:
    found = hostile.run(600 if rps else 1500, 20_000, rps, seed=7, connections=200)
    assert not hostile.faults_of(found), found
    assert found["answers"] >= 500
    codes = found["codes"]
    assert (429 in codes) == bool(rps)
    assert 200 in codes


def test_what_is_not_documented_is_found() -> None:
    body = b'{"message": "", "error_type": "", "chain": []}'
    path = "/mainnet/slipstream/plugins/x"
    assert not hostile.wrong_with("GET", path, 404, body)
    assert hostile.wrong_with("GET", path, 418, body)
    assert hostile.wrong_with("GET", path, 500, body)
    assert hostile.wrong_with("GET", path, 404, b"not found")
