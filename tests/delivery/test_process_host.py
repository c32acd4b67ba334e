"""Process mode: hosts that end, fork or ignore signals, and their workers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from slipstream import Block, PluginState, SlipstreamError
from support.oracle import Oracle
from support.workers import alive, wait

HOST = """
import os, signal, sys, time
from slipstream import AppEvent, ClosedError, PluginManager
{before}
manager = PluginManager(insecure_paths=True, log_level="error")
plugin = manager.load_plugin({{"libpath": sys.argv[1], "mode": "process", "log": sys.argv[2],
                               "obeys": 1, "restart": {{"initial_delay": 0}}}})
print(plugin.pid, flush=True)
for number in range(100):
    manager.broadcast(AppEvent(40, b"event", None))
{after}
"""


def run_host(oracle: Oracle, after: str, before: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-c"),
            HOST.format(after=textwrap.dedent(after), before=textwrap.dedent(before)),
            *(str(oracle.library), str(oracle.log)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("after", "code"),
    [
        ("os._exit(5)", 5),
        ("os.kill(os.getpid(), signal.SIGKILL)", -9),
        ("os.kill(os.getpid(), signal.SIGSEGV)", -11),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(5)", -15),
        ("raise RuntimeError('no close')", 1),
        ("sys.exit(4)", 4),
    ],
)
def test_no_worker_outlives_its_host(oracle, after, code) -> None:
    host = run_host(oracle, after)
    pid = int(host.stdout.readline())
    _, errors = host.communicate(timeout=240)
    assert host.returncode == code, errors
    wait(lambda: not alive(pid), f"worker {pid} lives on")
    if code in {1, 4}:  # the interpreter ended in an orderly way, and so did the worker
        assert len(oracle.events) == 100


@pytest.mark.no_asan  # see test_forks.py
def test_a_forked_child_can_do_nothing_and_harms_nothing(oracle) -> None:
    host = run_host(
        oracle,
        """
        child = os.fork()
        if child == 0:
            for call in (lambda: manager.broadcast(AppEvent(40, b"", None)), manager.unload,
                         lambda: manager.flush(1), lambda: manager.reload_plugin("oracle"),
                         lambda: manager.unload_plugin("oracle"), lambda: plugin.state,
                         lambda: plugin.metrics, lambda: plugin.pid):
                try:
                    call()
                except ClosedError:
                    continue
                os._exit(7)
            manager.close()
            sys.exit(0)  # finalizers run
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        manager.broadcast(AppEvent(40, b"", None))
        manager.flush(240)
        print(code, plugin.delivery.restarts, plugin.counters.acknowledged, flush=True)
        manager.close()
        """,
    )
    pid = int(host.stdout.readline())
    out, errors = host.communicate(timeout=240)
    assert host.returncode == 0, errors
    assert out.split() == ["0", "0", "101"], errors
    assert not alive(pid)


def test_a_host_that_ignores_sigchld(oracle) -> None:
    host = run_host(
        oracle,
        """
        manager.flush(240)
        manager.broadcast(AppEvent(41, b"<segv 1>", None))
        manager.flush(240)
        os.kill(plugin.pid, signal.SIGKILL)
        while plugin.delivery.restarts < 2:
            time.sleep(0.01)
        manager.broadcast(AppEvent(40, b"", None))
        manager.flush(240)
        while len(plugin.delivery.reports) < 2:
            time.sleep(0.01)
        print(*[(r.signal, r.exit_code) for r in plugin.delivery.reports], flush=True)
        print(plugin.counters.acknowledged, flush=True)
        manager.close()
        """,
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    )
    out, errors = host.communicate(timeout=240)
    assert host.returncode == 0, errors
    lines = out.splitlines()
    # The worker noted its own SIGSEGV; nobody can tell what killed it the second time.
    assert lines[1:] == ["(11, -1) (0, -1)", "102"], errors


def test_the_worker_says_what_it_is() -> None:
    from slipstream.delivery.supervisor import find_program

    done = subprocess.run(
        [str(find_program())],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={},  # it does not get the host's LD_PRELOAD from a host either
    )
    assert done.returncode == 2
    assert re.search("not by hand", done.stderr)


def test_asking_for_the_state_from_many_threads_while_it_ends(manager, oracle) -> None:
    stop = threading.Event()
    errors: list[SlipstreamError] = []
    asked = 0

    def ask() -> None:
        nonlocal asked
        while not stop.is_set():
            for plugin in seen.copy():
                try:
                    _ = (plugin.state, plugin.counters, plugin.metrics, plugin.pid)
                    plugin.delivery.collect_reports()
                    asked += 1
                except SlipstreamError as error:
                    errors.append(error)

    seen: list = []
    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        seen.append(manager.load_plugin(oracle.config(ring_bytes="64KiB")))
        manager.broadcast(Block(b"x", 1))
        os.kill(seen[-1].pid, signal.SIGKILL)
        manager.unload_plugin("oracle")
    stop.set()
    for thread in threads:
        thread.join(240)
    assert errors == []
    assert asked > 50
    assert {p.state for p in seen} == {PluginState.UNLOADED}
