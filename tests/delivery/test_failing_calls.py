"""Each call for memory, a process, a thread or a descriptor fails once: whatever it is, the error
says what and what to do, nothing is left behind, and the manager goes on to work."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.oracle import Oracle
from support.process_tools import TESTS

pytestmark = pytest.mark.no_asan  # it has calls of its own, and wants to stand in front

# The program runs every n of every call, until n is not reached any more, in one process.
COMMON = """
import ctypes, gc, os, signal, sys, threading, time
from pathlib import Path
from slipstream import BroadcastError, PluginManager, SlipstreamError
from slipstream.delivery import supervisor
from support.oracle import command
from support.outcomes import assert_adds_up
from support.process_tools import Footprint, copies_in
from support.workers import block

library, log, preload, mode = *map(Path, sys.argv[1:4]), sys.argv[4]
failing = ctypes.CDLL(str(preload))
found = 0
CONFIG = {"libpath": str(library), "log": str(log), "mode": mode, "unload_timeout": 20,
          "load_timeout": 20, "restart": {"initial_delay": 0, "max_delay": 0.01, "max_crashes": 5}}

HEAP = "malloc calloc realloc strdup".split()
CALLED = dict.fromkeys(HEAP, "memory: ") | {"fcntl": "the seal F_SEAL_FUTURE_WRITE"}

def call_of(what):
    return what.split()[1]

def children():
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()

def state():
    gc.collect()
    return Footprint.now(), copies_in(library.parent), threading.active_count()

def good(error, what):
    text = str(error)
    assert call_of(what) != "interrupted", f"{what}: {text}"
    assert error.message and error.hint, f"{what}: no next step: {error!r}"
    assert "rror 0" not in text and "Success" not in text, f"{what}: {text}"
    if "cannot make a ring" in text:  # it names what failed, not what did so earlier
        call = call_of(what)
        assert f"bytes: {CALLED.get(call, call)}" in text, f"{what}: {text}"
    if "-v" in sys.argv: print(what, "|", text.replace(chr(10), " | "))

def works(manager, what, plugin=None, send=None):
    plugin = plugin or manager.load_plugin(CONFIG)
    if send: send(plugin)
    try:
        manager.broadcast(block(1))
    except BroadcastError as error:  # that is refused, and the next one goes out
        good(error, what)
        manager.broadcast(block(1))
    manager.flush(20)
    counters = plugin.counters
    assert counters.delivered + counters.dead == counters.accepted > 0, f"{what}: {counters}"
    assert_adds_up(counters)
    manager.unload_plugin(plugin.name)

def every(call, once):
    global found
    n = 1
    while True:
        what = f"{mode}: {call} number {n}"
        before = state()
        reached = once(what, lambda: failing.fail_nth(call.encode(), n))
        def clean():
            return state() == before and not children()
        end = time.monotonic() + 20
        while not clean():
            assert time.monotonic() < end, f"{what}: left {state()} instead of {before}, {children()}"
            time.sleep(0.005)
        if not reached:
            return
        found += 1
        n += 1
        assert n < 400, what
"""

IN_THE_HOST = """
def loading(what, arm):
    manager = None
    arm()
    try:
        manager = PluginManager(insecure_paths=True, log_level="warning", data_dir=log.parent)
        works(manager, what)
    except SlipstreamError as error:
        good(error, what)
    except MemoryError:
        assert call_of(what) in HEAP, what
    reached = failing.fail_reached()
    manager = manager or PluginManager(insecure_paths=True)
    for name in manager.list_plugins():
        manager.unload_plugin(name)
    works(manager, what)
    manager.close()
    return reached

def streaming(what, arm):
    # The worker is gone and started again, which fails, and started again.
    with PluginManager(insecure_paths=True, log_level="warning", data_dir=log.parent) as manager:
        def crash(plugin):
            arm()
            os.kill(plugin.pid, signal.SIGKILL)
        works(manager, what, send=crash)
        return failing.fail_reached()

def unloading(what, arm):
    with PluginManager(insecure_paths=True, log_level="warning") as manager:
        plugin = manager.load_plugin(CONFIG)
        manager.broadcast(block(1))
        manager.flush(20)
        arm()
        try:
            manager.unload_plugin(plugin.name)
        except SlipstreamError as error:
            good(error, what)
        except MemoryError:
            assert call_of(what) in HEAP, what
        reached = failing.fail_reached()
        assert manager.list_plugins() == [], what
        works(manager, what)
        return reached

def refusing(what, arm):
    # What the plugin refuses is kept, or it is said that it was not; each event has an outcome.
    with PluginManager(insecure_paths=True, log_level="error", data_dir=log.parent) as manager:
        plugin = manager.load_plugin(CONFIG)
        arm()
        for event in (block(1), *[command("refuse", 9)] * 3, block(2)):
            try:
                manager.broadcast(event)
            except BroadcastError as error:
                good(error, what)
        manager.flush(20)
        reached = failing.fail_reached()
        works(manager, what, plugin)
        return reached

loading("the first time", lambda: None)  # what is there only once is there now
for call in CALLS:
    every(call, loading)
    every(call, unloading)
    every(call, refusing)
    if mode == "process":
        every(call, streaming)
print("reached", found)
"""

IN_THE_WORKER = """
wrapper, armed, mark = (log.parent / name for name in ("worker", "armed", "mark"))
real = bytes(supervisor.find_program()).decode()
wrapper.write_text(
    f"#!/bin/sh\\nexec env LD_PRELOAD={preload} FAILED={mark} FAILING=\\"$(cat {armed})\\""
    f" {real} \\"$@\\"\\n")
wrapper.chmod(0o755)
armed.touch()
told = []
supervisor.find_program = lambda: wrapper

def loading(what, arm):
    with PluginManager(insecure_paths=True, log_level="warning", data_dir=log.parent) as manager:
        mark.unlink(missing_ok=True)
        armed.write_text(what.partition(": ")[2].replace("number ", ""))
        try:
            works(manager, what)
        except SlipstreamError as error:
            good(error, what)
            if "exit code 83" in str(error):
                told.append("gets no memory or descriptor" in str(error))
        reached = mark.exists()
        armed.write_text("")
        works(manager, what)
        return reached

loading("the first time", lambda: None)
for call in CALLS:
    every(call, loading)
assert told and all(told), told
print("reached", found)
"""


@pytest.fixture(scope="session")
def preload(compile_plugin: Callable[..., Path]) -> Path:
    source = (TESTS / "support" / "failing_calls.c").read_text()
    return compile_plugin(source, "-Wno-error", "-fvisibility=default", "-ldl", name="failing")


MEMORY = "fallocate interrupted fcntl open malloc calloc realloc strdup"


@pytest.mark.parametrize(
    ("mode", "code", "calls", "least"),
    [
        ("thread", IN_THE_HOST, "memfd_create mmap pthread_create", 10),
        ("inline", IN_THE_HOST, f"mmap pthread_create {MEMORY}", 10),
        ("thread", IN_THE_HOST, MEMORY, 10),
        (
            "process",
            IN_THE_HOST,
            "memfd_create mmap socketpair pipe2 eventfd posix_spawn pidfd_open pthread_create",
            20,
        ),
        ("process", IN_THE_HOST, MEMORY, 10),
        ("process", IN_THE_WORKER, "mmap eventfd pthread_create", 5),
        ("process", IN_THE_WORKER, MEMORY, 5),
    ],
    ids=[
        "thread",
        "inline",
        "thread-memory",
        "process",
        "process-memory",
        "worker",
        "worker-memory",
    ],
)
def test_every_call_that_may_fail(
    compile_plugin, tmp_path, preload, mode, code, calls, least
) -> None:
    oracle = Oracle(compile_plugin, tmp_path)
    done = subprocess.run(
        [
            *(sys.executable, "-c", f"CALLS = {calls.split()}\n{COMMON}{code}"),
            *map(str, (oracle.library, oracle.log, preload, mode)),
        ],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={"PYTHONPATH": str(TESTS), "LD_PRELOAD": str(preload), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert int(done.stdout.split("reached")[1]) >= least
    if mode == "thread" and "pthread_create" in calls:  # of an unload that found no thread
        assert "stays mapped for now: cannot start a thread that closes it" in done.stderr
        assert "a call into it did not return" not in done.stderr
