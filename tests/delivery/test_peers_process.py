"""What a worker asks of the application: it dies, it is hostile, and it never sees the key."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slipstream import PluginManager, Services
from support.calling import SEED, Calling, Directory, Key, Sender, until
from support.logs import capture_logs
from support.process_tools import run_python

ROOT = Path(__file__).resolve().parents[2]
SCRIBBLES = ("-DSCRIBBLE", "-D_GNU_SOURCE", f"-iquote{ROOT / 'native'}")
INVALID, TIMEOUT, DENIED = -5, -14, -15

Make = Callable[..., Calling]


@pytest.fixture
def sender() -> Sender:
    return Sender()


@pytest.fixture
def made(compile_plugin, tmp_path: Path, sender: Sender) -> Iterator[Make]:
    managers: list[PluginManager] = []

    def make(peers: Any = None, **options: Any) -> Calling:
        services = Services(peers=peers or Directory(), control=sender, identity=Key())
        managers.append(PluginManager(services=services))
        restart = {"initial_delay": 0, "max_crashes": 100}
        return Calling(
            compile_plugin, tmp_path, managers[-1], "process", restart=restart, **options
        )

    yield make
    for manager in managers:
        manager.close()


def pid_of(caller: Calling) -> int:
    return until(lambda: caller.plugin.pid)


def restarted(caller: Calling, count: int = 1) -> None:
    until(lambda: caller.plugin.restarts >= count and caller.plugin.state == "running")


def test_what_a_dead_worker_has_sent_is_sent(made: Make, sender: Sender) -> None:
    caller = made()
    sender.gate.clear()
    assert [caller.do("send 1 bob note 9").status for _ in range(20)] == [0] * 20
    os.kill(pid_of(caller), signal.SIGKILL)
    restarted(caller)
    assert caller.do("send 1 bob last 9").status == 0
    sender.gate.set()
    until(lambda: len(sender.sent) == 21)
    assert [name for _, _, name, _ in sender.sent] == [b"note"] * 20 + [b"last"]


def test_a_worker_that_is_killed_while_a_call_waits(made: Make, sender: Sender) -> None:
    class Slow(Directory):
        asked = 0

        def public_key(self, peer: bytes) -> bytes | None:
            Slow.asked += 1
            sender.gate.wait(60)
            return b"K"

    sender.gate.clear()
    caller = made(Slow(), call_timeout=60)
    for _ in range(3):
        caller.tell("aside lookup bob 1 100")
    until(lambda: Slow.asked == 3)
    os.kill(pid_of(caller), signal.SIGKILL)
    restarted(caller)
    assert caller.do("lookup bob 2 100").data == b"Bob"  # beside those that nobody waits for
    sender.gate.set()
    assert caller.do("lookup bob 1 100").data == b"K"
    assert caller.plugin.calls is not None
    assert caller.plugin.calls.nonsense == 0


def test_a_forgotten_peer_is_told_again_after_a_crash(made: Make) -> None:
    caller = made()
    pid = pid_of(caller)
    os.kill(pid, signal.SIGSTOP)
    caller.manager.peer_forgotten(b"bob")
    os.kill(pid, signal.SIGKILL)
    assert caller.wait(1)[0].data == b"bob"


@pytest.mark.parametrize("what", ["put", "head"])
def test_an_outbox_that_makes_no_sense_ends_its_worker(
    made: Make, sender: Sender, what: str
) -> None:
    with capture_logs() as logs:
        caller = made(flags=SCRIBBLES)
        assert caller.do("send 1 bob before 1").status == 0
        until(lambda: sender.sent)
        caller.do(f"scribble {what}")
        restarted(caller)
        assert caller.do("send 1 bob behind 1").status == 0
        until(lambda: len(sender.sent) == 2)
        assert caller.plugin.calls is not None
        assert caller.plugin.calls.nonsense == 1
        crash = caller.plugin.last_crash
        assert crash is not None
        assert "its outbox was written over" in crash.reason
    assert any("makes no sense" in line["event"] for line in logs)


def test_a_worker_that_writes_over_everything(made: Make, sender: Sender) -> None:
    caller = made(flags=SCRIBBLES)
    for count in range(1, 4):
        caller.tell("scribble all")
        restarted(caller, count)
    assert caller.do("lookup bob 2 100").data == b"Bob"
    assert caller.do("send 1 bob behind 1").status == 0
    until(lambda: sender.sent)
    assert caller.plugin.calls is not None
    assert caller.plugin.calls.nonsense >= 3


def test_the_host_looks_at_the_grants_itself(made: Make) -> None:
    caller = made(flags=SCRIBBLES, grants=["send", "peers"])
    assert caller.do("scribble 4 0").status == DENIED  # sign
    assert caller.do("scribble 5 0").status == DENIED  # open
    assert caller.do("scribble 0 0").status == INVALID  # a message is no question
    assert caller.do("scribble 9 0").status == INVALID
    assert caller.do("scribble 1 300000").status == INVALID  # longer than its place
    assert caller.do("scribble 1 2000").status == INVALID  # longer than any peer
    assert caller.plugin.calls is not None
    assert caller.plugin.calls.nonsense == 6


def memory_of(pid: int) -> Iterator[bytes]:
    """All that a process can read of itself."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for found in re.finditer(
            r"^([0-9a-f]+)-([0-9a-f]+) r\S+ .*?(\[vvar\S*\]|)$", maps, re.MULTILINE
        ):
            if found[3]:
                continue
            begin, end = int(found[1], 16), int(found[2], 16)
            memory.seek(begin)
            piece = b""
            while len(piece) < end - begin:
                try:
                    piece += memory.read(end - begin - len(piece))
                except OSError:  # [vsyscall]
                    break
            yield piece


@pytest.mark.no_asan
def test_the_seed_is_in_no_workers_memory(made: Make) -> None:
    caller = made()
    caller.do("public_key 32")
    caller.do("open box:secret 100")
    signed = caller.do("sign words").data
    pid = pid_of(caller)
    memory = list(memory_of(pid))
    assert any(signed in piece for piece in memory)  # the search finds what is there
    assert not any(SEED in piece for piece in memory)


FORKING = """
    import os, sys
    from pathlib import Path

    from slipstream import PluginManager, Services
    from support.calling import Calling

    library, folder, mode = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    parent, children = os.getpid(), []

    class Forking:
        def public_key(self, peer):
            if peer == b"fork" and (child := os.fork()):
                children.append(child)
            return str(os.getpid()).encode()

        name = peer_at = public_key

    with PluginManager(services=Services(peers=Forking())) as manager:
        caller = Calling(lambda *_, **__: library, folder, manager, mode)
        for peer in ("fork", *["bob"] * 50, "fork", *["bob"] * 50):
            line = caller.do(f"lookup {peer} 1 100")
            assert line.data == str(parent).encode(), (peer, line, parent)
    for child in children:
        print(os.waitpid(child, 0)[0])
"""


@pytest.mark.no_asan
@pytest.mark.parametrize("mode", ["inline", "thread", "process"])
def test_a_service_that_forks_and_whose_child_comes_back(
    compile_plugin, tmp_path: Path, mode: str
) -> None:
    """The child is a copy of the thread that serves; it must not serve."""
    library = compile_plugin("caller.c", "-pthread", name="caller")
    done = run_python(FORKING, library, tmp_path, mode, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 2
