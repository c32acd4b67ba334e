"""Forks: in a plugin's call, whose child comes back from it or lives on; and of the host."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slipstream import AppEvent
from support.logs import capture_logs
from support.process_tools import run_python
from support.recorded import BATCH, EXPLICIT_ACK
from support.workers import alive, block, wait

# Its allocator stays locked in a child, if another thread was in it at the fork.
pytestmark = pytest.mark.no_asan

MODES = ("inline", "thread", "process")


class Forker:
    """One build of tests/plugins/forker.c and its file."""

    def __init__(self, compile_plugin: Callable[..., Path], folder: Path, flags: int) -> None:
        self.library = compile_plugin("forker.c", f"-DFLAGS={flags}", name="forker")
        self.log = folder / "forker.log"

    def config(self, **more: object) -> dict[str, object]:
        return {"libpath": str(self.library), "log": str(self.log), **more}

    def lines(self, what: str) -> list[tuple[int, int]]:
        """Number and process of each line that begins so."""
        text = self.log.read_text() if self.log.exists() else ""
        found = [line.split() for line in text.splitlines()]
        return [(int(number), int(pid)) for name, number, pid in found if name == what]

    @property
    def ordinals(self) -> list[int]:
        return [number for number, _ in self.lines("event")]

    def child(self) -> int:
        wait(lambda: self.lines("child"))
        return self.lines("child")[-1][1]


@pytest.fixture
def forker(compile_plugin, tmp_path) -> Iterator[Callable[[int], Forker]]:
    made = []

    def make(flags: int = 0) -> Forker:
        made.append(Forker(compile_plugin, tmp_path, flags))
        return made[-1]

    yield make
    for one in made:
        for _, pid in one.lines("child"):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def app(what: bytes) -> AppEvent:
    return AppEvent(40, what, None)


def children() -> set[int]:
    found = set()
    for task in Path("/proc/self/task").iterdir():
        found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


# ---- A call that forks ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["thread", "process"])
@pytest.mark.parametrize("flags", [0, BATCH, EXPLICIT_ACK], ids=["singly", "runs", "flushes"])
def test_a_child_that_comes_back_from_its_call_takes_nothing(manager, forker, mode, flags) -> None:
    made = forker(flags)
    plugin = manager.load_plugin(made.config(mode=mode, overflow="block"))
    before = children()
    for number in range(100):
        manager.broadcast(app(b"fork" if number % 10 == 0 else b"event"))
    manager.flush(240)
    assert made.ordinals == sorted(made.ordinals)
    assert set(made.ordinals) == set(range(1, 101)) if flags == 0 else made.ordinals
    assert len(made.ordinals) == 100
    assert (plugin.counters.delivered, plugin.counters.acknowledged) == (100, 100)
    wait(lambda: not {pid for pid in children() - before if alive(pid)})
    assert plugin.delivery.restarts == 0 if mode == "process" else True


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("call", ["load", "flush", "unload"])
def test_a_child_that_comes_back_from_another_call_ends(manager, forker, mode, call) -> None:
    made = forker(EXPLICIT_ACK)
    manager.load_plugin(made.config(mode=mode, fork_in=call))
    before = children()
    manager.broadcast(app(b"event"))
    manager.flush(240)
    manager.unload_plugin("forker")
    assert made.lines(call), made.log.read_text()
    assert call == "flush" or len(made.lines(call)) == 1, made.log.read_text()
    assert len({pid for _, pid in made.lines("event")}) == 1
    wait(lambda: not {pid for pid in children() - before if alive(pid)})


@pytest.mark.parametrize("mode", MODES)
def test_a_child_cannot_acknowledge(manager, forker, mode) -> None:
    made = forker(EXPLICIT_ACK)
    plugin = manager.load_plugin(made.config(mode=mode, flush_interval=3600))
    manager.broadcast(app(b"ack"))
    wait(lambda: made.lines("acked"))
    assert [number for number, _ in made.lines("acked")] == [0]
    assert plugin.counters.acknowledged == 0
    manager.flush(240)
    assert plugin.counters.acknowledged == 1


BACK_FROM_A_CALL = """
import os, sys
from slipstream import AppEvent, ClosedError, PluginManager, frames

class Forks:
    name = "forks"
    def subscribed_events(self): return [40]
    def on_broadcast(self, event):
        if event.data == b"fork": self.pid = os.fork()

library, log, mode, how = sys.argv[1:5]
manager = PluginManager()
config = {"libpath": library, "log": log}
if how == "python":
    forks = Forks()
    manager.install(forks)
    manager.load_plugin({**config, "mode": mode})
else:
    manager.load_plugin({**config, "mode": "inline"})
    manager.load_plugin({**config, "mode": mode, "name": "second", "log": log + "-2",
                         "libpath": sys.argv[5]})
parent = os.getpid()
run = [AppEvent(40, b"fork" if n == 2 else b"event", None) for n in range(20)]
try:
    if how == "frames":
        manager.broadcast_frames(b"".join(frames.encode(event) for event in run))
    else:
        manager.broadcast_many(run)
    assert os.getpid() == parent, "the child was told of nothing"
except ClosedError:
    assert os.getpid() != parent, "the parent was refused"
    try:
        manager.broadcast(run[0])
    except ClosedError:
        os._exit(0)
    os._exit(3)
manager.broadcast(run[0])
manager.flush(240)
print([plugin.counters.delivered for plugin in manager.plugins.values()])
manager.close()
_, status = os.wait()
print(status)
"""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("how", ["python", "events", "frames"])
def test_a_child_of_the_application_that_comes_back_sends_nothing(
    forker, compile_plugin, tmp_path, mode, how
) -> None:
    made = forker()
    second = compile_plugin("forker.c", "-DFLAGS=0", name="second")
    done = run_python(BACK_FROM_A_CALL, made.library, made.log, mode, how, second)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["[21, 21]", "0"], done.stdout + done.stderr
    logs = [made.log] if how == "python" else [made.log, made.log.with_name("forker.log-2")]
    for log in logs:
        ordinals = [int(n) for n in re.findall(r"event (\d+)", log.read_text())]
        assert ordinals == list(range(1, 22))


# ---- What a worker leaves behind -----------------------------------------------------------------


@pytest.mark.parametrize("end", ["unload", "crash", "kill"])
def test_a_worker_s_process_group_goes_with_it(manager, forker, end) -> None:
    made = forker()
    plugin = manager.load_plugin(made.config(mode="process"))
    worker = plugin.pid
    manager.broadcast(app(b"child"))
    manager.flush(240)
    child = made.child()
    assert os.getpgid(child) == worker
    if end == "unload":
        manager.unload_plugin("forker")
    elif end == "crash":
        manager.broadcast(app(b"die"))
    else:
        os.kill(worker, signal.SIGKILL)
    wait(lambda: not alive(child), "the worker's child lives on")


def test_what_has_left_the_process_group_is_said(manager, forker) -> None:
    made = forker()
    manager.load_plugin(made.config(mode="process"))
    with capture_logs() as logs:
        manager.broadcast(app(b"leave"))
        manager.broadcast(app(b"child"))
        manager.flush(240)
        child = made.child()
        wait(lambda: len(made.lines("child")) == 2)
        manager.unload_plugin("forker")
    wait(lambda: len([pid for _, pid in made.lines("child") if alive(pid)]) == 1)
    left = next(pid for _, pid in made.lines("child") if alive(pid))
    told = [line for line in logs if "has left its worker's process group" in line["event"]]
    assert len(told) == 1, logs
    assert str(left) in told[0]["event"]
    assert told[0]["plugin"] == "forker"
    assert child in {pid for _, pid in made.lines("child")}


# ---- A host that forks ---------------------------------------------------------------------------

STREAMING = """
import os, signal, sys, threading
from slipstream import AppEvent, ClosedError, PluginManager
library, log, forks = sys.argv[1], sys.argv[2], int(sys.argv[3])
manager = PluginManager()
plugins = [manager.load_plugin({"libpath": lib, "log": log, "mode": mode, "name": mode})
           for mode, lib in zip(("inline", "thread", "process"), sys.argv[4:7])]
stop = threading.Event()
def stream():
    while not stop.is_set():
        manager.broadcast(AppEvent(40, b"event", None))
def look():
    while not stop.is_set():
        for plugin in plugins:
            plugin.counters, plugin.state, plugin.metrics, repr(plugin)
threads = [threading.Thread(target=stream), threading.Thread(target=look)]
for thread in threads:
    thread.start()
for number in range(forks):
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)  # rather than hang
        calls = [lambda: manager.broadcast(AppEvent(40, b"event", None)), lambda: manager.flush(1),
                 manager.unload, manager.list_plugins, lambda: manager.plugins,
                 lambda: manager.pause("inline"), lambda: manager.reload_plugin("process")]
        for plugin in plugins:
            calls += [lambda p=plugin: p.counters, lambda p=plugin: p.state,
                      lambda p=plugin: p.metrics, lambda p=plugin: repr(p),
                      lambda p=plugin: p.reason, lambda p=plugin: p.status]
        refused = 0
        for call in calls:
            try:
                call()
            except ClosedError:
                refused += 1
        manager.close()
        if number % 50 == 0:  # one of its own, in each mode
            with PluginManager() as own:
                for mode in ("inline", "thread", "process"):
                    own.load_plugin({"libpath": library, "log": log + "-own", "mode": mode,
                                     "name": mode + "-own", "callback_timeout": 30})
                    own.broadcast(AppEvent(40, b"event", None))
                    own.flush(20)
                    assert own.plugins[mode + "-own"].counters.delivered == 1
                    own.unload_plugin(mode + "-own")
        os._exit(0 if refused == len(calls) else 1)
    status = os.waitpid(pid, 0)[1]
    assert status == 0, (number, status)
stop.set()
for thread in threads:
    thread.join()
manager.flush(240)
counts = [plugin.counters for plugin in plugins]
print({c.accepted - c.delivered for c in counts}, len({c.accepted for c in counts}))
manager.close()
"""


def test_no_fork_of_a_streaming_host_hangs(forker, compile_plugin, tmp_path) -> None:
    made = forker()
    libraries = [compile_plugin("forker.c", "-DFLAGS=0", name=f"forker_{mode}") for mode in MODES]
    forks = int(os.environ.get("SLIPSTREAM_TEST_FORKS", "120"))
    done = run_python(STREAMING, made.library, tmp_path / "log", forks, *libraries)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "{0} 1"


def test_a_thread_s_watch_works_in_a_child(forker, tmp_path) -> None:
    """The one of its parent is a thread that the child does not have."""
    made = forker()
    done = run_python(
        """
        import os, sys, time
        from slipstream import PluginManager
        from support.process_tools import thread_names
        config = {"libpath": sys.argv[1], "log": sys.argv[2], "mode": "thread"}
        parent = PluginManager()
        parent.load_plugin(config)
        if os.fork() == 0:
            with PluginManager() as own:
                own.load_plugin(config)
                end = time.monotonic() + 20
                while "slip-watch" not in thread_names():
                    if time.monotonic() > end:
                        os._exit(1)
                os._exit(0)
        print(os.wait()[1])
        parent.close()
        """,
        made.library,
        made.log,
    )
    assert done.stdout.split() == ["0"], done.stderr


def test_events_go_on_beside_a_fork(manager, forker) -> None:
    made = forker()
    plugin = manager.load_plugin(made.config(mode="process"))
    for number in range(10):
        manager.broadcast(block(number))
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
    manager.flush(240)
    assert (plugin.counters.delivered, plugin.delivery.restarts) == (10, 0)
