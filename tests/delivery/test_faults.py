"""The short form of tests/stress/faults.py: workers and hosts are broken, nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import Self

import pytest

from slipstream import AppEvent, PluginStartError
from slipstream.status import PluginState
from stress.fault_managers import run_logs, run_replaced
from stress.fault_reloads import RELOAD_ROUNDS, run_reloads
from stress.fault_remains import kill_hosts, run_cycles
from stress.fault_rounds import ROUNDS, run_round
from stress.fault_tools import INVARIANTS, Process, children, wait
from support import oracle
from support.oracle import Oracle, digest

SEED = 20
FAULTS = 6
RELOADS = 8


def assert_good(figures: dict) -> None:
    broken = {key: figures[key] for key in INVARIANTS if figures[key]}
    assert not broken, figures["examples"]
    assert figures["wrong_counters"] == []


@pytest.mark.parametrize("number", range(len(ROUNDS)))
def test_nothing_is_lost_however_a_worker_ends(tmp_path, number) -> None:
    figures = run_round(tmp_path, ROUNDS[number], FAULTS, SEED + number, time.monotonic() + 600)
    assert_good(figures)
    assert figures["faults"] == FAULTS
    assert figures["restarts"] > 0
    assert figures["healthy_delivered"] == figures["broadcast"] > 1000


@pytest.mark.parametrize("number", range(len(RELOAD_ROUNDS)))
def test_nothing_is_lost_by_reloads_under_fire(tmp_path, number) -> None:
    way = RELOAD_ROUNDS[number]
    figures = run_reloads(tmp_path, way, RELOADS, SEED + number, time.monotonic() + 600)
    assert_good(figures)
    tried = [figures[key] for key in ("reloads", "reloads_refused", "reloads_killed")]
    assert sum(tried) == RELOADS
    assert 0 < figures["reloads_refused"] < RELOADS  # its seed decides
    assert figures["broadcast"] > 1000


@pytest.mark.parametrize("mode", ["inline", "thread", "process"])
def test_what_a_plugin_needs_is_replaced_with_it(tmp_path, mode) -> None:
    figures = run_replaced(tmp_path, mode, 3, time.monotonic() + 600)
    assert figures == {"reloads": 3, "wrong_counters": []}


def test_a_log_that_cannot_be_written_holds_nothing_up(tmp_path) -> None:
    figures = run_logs(tmp_path, 4, time.monotonic() + 600)
    assert figures == {"mute_hosts": 4, "wrong_counters": []}


class KillOf:
    """Kills the worker that is started as the so-many-th, while it comes up."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._seen: set[Process] = set()
        self._thread = threading.Thread(target=self._run)
        self.killed = False

    def _run(self) -> None:
        end = time.monotonic() + 240
        while not self.killed and time.monotonic() < end:
            for worker in children(os.getpid()):
                self._seen.add(worker)
                if len(self._seen) == self._number:
                    self.killed = worker.kill(signal.SIGKILL)
                    break

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()


def test_a_reload_waits_for_a_restart(manager, compile_plugin, tmp_path) -> None:
    slow = Oracle(compile_plugin, tmp_path, '-DON_CREATE="us=1500000"')
    new = Oracle(compile_plugin, tmp_path, version="2")
    plugin = manager.load_plugin(slow.config())
    Process.seen(plugin.pid).kill(signal.SIGKILL)
    assert wait(lambda: plugin.state is PluginState.LOADING)
    manager.reload_plugin("oracle", new.config())
    assert (plugin.version, plugin.state) == ("2", PluginState.RUNNING)
    assert plugin.delivery.restarts == 1


def test_a_failed_reload_is_told_though_the_old_version_dies_too(
    manager, compile_plugin, tmp_path
) -> None:
    slow = '-DON_CREATE="us=400000"'  # so that none comes and goes unseen
    old = Oracle(compile_plugin, tmp_path, slow)
    new = Oracle(compile_plugin, tmp_path, slow, version="2")
    plugin = manager.load_plugin(old.config())
    # The first serves, the second fails, the third is the old version again.
    with KillOf(3) as kill, pytest.raises(PluginStartError, match="told to fail"):
        manager.reload_plugin("oracle", new.config(on_load="fail"))
    assert kill.killed
    assert wait(lambda: plugin.state is PluginState.RUNNING)
    event = AppEvent(40, b"event", None)
    manager.broadcast(event)
    manager.flush(240)
    assert plugin.version == "1"
    assert old.judge([digest(event)]).good


def test_no_worker_outlives_a_killed_host(tmp_path) -> None:
    figures = kill_hosts(tmp_path, 4, SEED, time.monotonic() + 600)
    assert (figures["hosts_killed"], figures["survivors"]) == (4, 0)


def test_loading_and_unloading_leaves_nothing(tmp_path) -> None:
    figures = run_cycles(tmp_path, 40, time.monotonic() + 600)
    assert figures["leaks"] == []
    assert figures["cycles"] == 40


def test_a_number_that_is_given_again_is_another_process() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    seen = Process.seen(child.pid)
    assert seen in children(os.getpid())
    assert seen.lives
    earlier = Process(child.pid, seen.started - 1)
    assert not earlier.lives
    assert not earlier.kill(signal.SIGKILL)
    assert seen.kill(signal.SIGKILL)
    child.communicate(timeout=240)
    assert child.returncode == -signal.SIGKILL
    assert not seen.lives


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
# The next one is loaded while the first still serves.
OVERLAP = [loaded(1), record(1), loaded(2), record(2), *(record(n, 1, 2) for n in range(3, 7))]


@pytest.mark.parametrize(
    ("records", "broken"),
    [
        (GOOD, None),
        ([loaded(1), record(1), loaded(2), *(record(n, 2, 2) for n in range(1, 7))], None),
        (OVERLAP, None),
        ([*OVERLAP[:2], *OVERLAP[3:]], "order_violations"),
        ([*OVERLAP[:-1], record(6, 1, 1)], "order_violations"),
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
