"""What a plugin in C asks of the application: each function of the three extensions, in every mode."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slipstream import Payload, PluginLoadError, PluginManager, Refusal, Services, Via
from support.calling import Calling, Directory, Key, Sender, until
from support.logs import capture_logs

MODES = ["inline", "thread", "process"]
OK, FAILED, RETRY, NOT_FOUND, INVALID, MALFORMED = 0, -1, -2, -3, -5, -7
WRONG_STATE, TOO_LARGE, TIMEOUT, DENIED = -8, -9, -14, -15

Make = Callable[..., Calling]


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def made(compile_plugin, tmp_path: Path, mode: str) -> Iterator[Make]:
    """``made(services, ...)``: the plugin in a manager with these services."""
    managers: list[PluginManager] = []

    def make(services: Services | None = None, **options: Any) -> Calling:
        managers.append(PluginManager(services=services))
        return Calling(compile_plugin, tmp_path, managers[-1], mode, **options)

    yield make
    for manager in managers:
        manager.close()


def services(**others: Any) -> Services:
    return Services(**{"peers": Directory(), "control": Sender(), "identity": Key(), **others})


def test_each_function(made: Make) -> None:
    sender = Sender()
    caller = made(services(control=sender))
    assert caller.do("lookup bob 1 100")[1:] == (OK, 32, b"K" * 32)
    assert caller.do("lookup bob 2 100")[1:] == (OK, 3, b"Bob")
    assert caller.do("lookup carol 1 100").status == NOT_FOUND
    assert caller.do("lookup carol 2 100").status == NOT_FOUND
    assert caller.do("lookup bob 3 100").status == NOT_FOUND
    assert caller.do("lookup bob 2 2")[1:3] == (TOO_LARGE, 3)
    assert caller.do("lookup bob 2 0")[1:3] == (TOO_LARGE, 3)
    assert caller.do("lookup long 2 5000")[1:3] == (OK, 5000)
    assert caller.do("peer_at 1 100")[1:] == (OK, 5, b"carol")
    assert caller.do("peer_at 2 100").status == NOT_FOUND
    assert caller.do("public_key 32")[1:] == (OK, 32, b"P" * 32)
    assert caller.do("sign words").data == Key().sign(b"words")
    assert caller.do("open box:secret 100")[1:] == (OK, 6, b"secret")
    assert caller.do("open box:secret 2")[1:3] == (TOO_LARGE, 6)
    assert caller.do("open something 100").status == MALFORMED
    assert caller.do("send 1 bob note 3")[1:3] == (OK, 1)
    assert caller.do("send 2 carol note 0")[1:3] == (OK, 2)
    assert caller.do("send 3 carol note 0").status == INVALID
    assert caller.do("send 1 bob note 20000000").status == TOO_LARGE
    assert caller.do(f"send 1 bob {'x' * 240} 1").status == OK
    until(lambda: len(sender.sent) == 3 and caller.plugin.calls.sent == 3)
    assert sender.sent[:2] == [
        ("direct", b"bob", b"note", b"bbb"),
        ("routed", b"carol", b"note", b""),
    ]
    calls = caller.plugin.calls
    assert calls is not None
    assert (calls.sent, calls.unsent, calls.waiting, calls.denied) == (3, 0, 0, 0)
    assert calls.answered == 14
    assert calls.nonsense == 0


def test_what_is_not_granted_is_denied_counted_and_logged_once(made: Make) -> None:
    with capture_logs() as logs:
        caller = made(services(), grants=["peers"])
        assert caller.do("lookup bob 2 100").status == OK
        for _ in range(3):
            assert caller.do("send 1 bob note 3").status == DENIED
            assert caller.do("public_key 32").status == DENIED
            assert caller.do("sign x").status == DENIED
            assert caller.do("open box:x 10").status == DENIED
        assert caller.plugin.calls is not None
        assert caller.plugin.calls.denied == 12
        caller.manager.close()
    told = [line for line in logs if "was denied" in line["event"]]
    assert len(told) <= 4
    assert {
        word
        for line in told
        for word in ("send", "identity.sign", "identity.open")
        if f'"{word}"' in line["event"]
    } == {"send", "identity.sign", "identity.open"}


def test_who_has_no_service_offers_no_extension(made: Make) -> None:
    caller = made(Services(peers=Directory()))
    for name, offered in (("send", 0), ("peers", 1), ("identity", 0), ("config", 1)):
        assert caller.do(f"extension slipstream.{name}/1").status == offered
    caller = made(None, name="other")
    for name in ("send", "peers", "identity"):
        assert caller.do(f"extension slipstream.{name}/1").status == 0
    assert caller.plugin.calls is None


def test_what_an_info_asks_for_is_looked_at_before_the_library_runs(made: Make) -> None:
    with pytest.raises(PluginLoadError, match="has no such service") as refused:
        made(Services(peers=Directory()), flags=("-DINFO",))
    assert refused.value.refusal is Refusal.EXTENSION_MISSING
    with capture_logs() as logs:
        made(services(), flags=("-DINFO",), grants=["send"]).manager.close()
    told = [line for line in logs if "not granted all" in line["event"]]
    assert [line["missing"] for line in told] == ["peers"]


def test_the_outbox_is_bounded(made: Make) -> None:
    sender = Sender()
    sender.gate.clear()
    caller = made(services(control=sender), call_timeout=60)
    statuses = caller.do("flood send 1 2000").data.decode()
    taken = int(statuses.split("0:")[1].split()[0])
    assert 1024 <= taken <= 1025  # one may be in hand
    assert f"-2:{2000 - taken}" in statuses
    assert caller.plugin.calls is not None
    assert caller.plugin.calls.retries == 2000 - taken
    sender.gate.set()
    until(lambda: len(sender.sent) == taken)
    assert caller.do("send 1 bob again 1").status == OK


def test_the_outbox_is_bounded_in_bytes(made: Make) -> None:
    sender = Sender()
    sender.gate.clear()
    caller = made(services(control=sender, outbox_bytes=4096), call_timeout=60)
    statuses = [caller.do("send 1 bob note 1000").status for _ in range(6)]
    # One may have been in hand before, or be taken in hand meanwhile.
    assert statuses.count(OK) in {3, 4}
    assert statuses.count(RETRY) == 6 - statuses.count(OK)
    assert caller.do("send 1 bob note 5000").status == TOO_LARGE
    sender.gate.set()
    until(lambda: len(sender.sent) == statuses.count(OK))
    for size in (900, 1700, 2500, 3300) * 4:  # around the end, again and again
        until(lambda: caller.do(f"send 1 bob note {size}").status == OK)  # noqa: B023 - at once
    until(lambda: len(sender.sent) == statuses.count(OK) + 16)
    assert all(body == b"b" * len(body) for *_, body in sender.sent)


class Faulty(Directory, Key):
    """Does each thing wrongly that can be done wrongly."""

    def public_key(self, peer: bytes = b"") -> Any:
        raise ValueError("no, really")

    async def name(self, peer: bytes) -> Any:  # type: ignore[override]
        return {b"number": 7, b"large": b"x" * 300_000}.get(peer)

    def peer_at(self, index: int) -> Any:
        return [b"", "text", b"y" * 2000][index]

    def sign(self, data: bytes) -> Any:
        return b"too short"

    async def open(self, sealed: bytes) -> Any:
        raise RuntimeError("an async one")


def test_a_service_that_errs_fails_the_call_alone(made: Make) -> None:
    with capture_logs() as logs:
        faulty = Faulty()
        sender = Sender()
        caller = made(services(peers=faulty, identity=faulty, control=sender))
        for command in (
            *("lookup bob 1 100", "public_key 32", "lookup number 2 9", "lookup large 2 900000"),
            *("peer_at 0 9", "peer_at 1 9", "peer_at 2 9", "peer_at 3 9"),
            *("sign x", "open box:x 9"),
        ):
            assert caller.do(command).status == FAILED, command
        assert caller.do("send 1 gone note 1").status == OK
        assert caller.do("send 1 bob note 1").status == OK
        until(lambda: sender.sent)
        until(lambda: caller.plugin.calls and caller.plugin.calls.unsent == 1)
        caller.manager.close()
    texts = [line["event"] for line in logs]
    assert sum("peers.peer_at returned" in text for text in texts) == 3
    assert "identity.sign returned 9 bytes, and has to return 64 bytes" in texts
    assert "peers.name returned int, and has to return bytes, 262,144 at most" in texts
    assert "peers.peer_at returned 0 bytes, and has to return 1 to 1,024 bytes" in texts
    assert "send_direct raised" in texts


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, type("Own", (bytes,), {})])
def test_an_answer_may_be_any_bytes(made: Make, kind: Callable[[bytes], bytes]) -> None:
    class Other(Directory):
        def public_key(self, peer: bytes) -> bytes | None:
            return kind(b"key of " + peer)

    caller = made(services(peers=Other()))
    assert caller.do("lookup bob 1 100")[1:] == (OK, 10, b"key of bob")


def test_a_key_that_is_none_is_rubbish(made: Make) -> None:
    class Keyless(Key):
        def public_key(self) -> Any:
            return None

    with capture_logs() as logs:
        assert made(services(identity=Keyless())).do("public_key 32").status == FAILED
        until(lambda: [line for line in logs if "returned NoneType" in line["event"]])


class Hanging(Directory):
    """Comes back when it is told to, and counts who waits."""

    def __init__(self) -> None:
        self.sender = Sender()
        self.sender.gate.clear()
        self.asked = 0

    def public_key(self, peer: bytes) -> bytes | None:
        if peer == b"bob":
            self.asked += 1
            self.sender.gate.wait(60)
        return b"K"


def test_a_service_that_hangs_fails_the_call_alone(made: Make) -> None:
    hanging = Hanging()
    with capture_logs() as logs:
        caller = made(services(peers=hanging), call_timeout=0.3)
        begin = time.monotonic()
        assert caller.do("lookup bob 1 100").status == TIMEOUT
        assert time.monotonic() - begin < 30
        assert caller.do("lookup carol 1 100").status == OK  # while the first still hangs
        assert caller.do("lookup bob 1 100").status == TIMEOUT
        assert hanging.asked == 2
        calls = caller.plugin.calls
        assert calls is not None
        assert calls.timeouts == 2
        until(lambda: any("does not come back" in line["event"] for line in logs))
        hanging.sender.gate.set()
        assert caller.do("lookup bob 1 100").status == OK
        caller.manager.close()
    assert sum("does not come back" in line["event"] for line in logs) == 1


def test_a_sender_that_hangs_does_not_hold_up_what_comes_after(made: Make) -> None:
    class Sticky(Sender):
        def send_direct(self, peer: bytes, name: bytes, body: bytes) -> None:
            if peer == b"stuck":
                self.gate.wait(60)
            super().send_direct(peer, name, body)

    sender = Sticky()
    sender.gate.clear()
    # On a busy machine what comes after may need a while of its own.
    caller = made(services(control=sender), call_timeout=3)
    caller.do("send 1 stuck note 1")
    caller.do("send 2 carol note 1")
    until(lambda: sender.sent == [("routed", b"carol", b"note", b"b")])
    sender.gate.set()
    until(lambda: caller.plugin.calls and caller.plugin.calls.unsent == 1)


def test_an_unload_waits_for_no_sender_that_hangs(made: Make) -> None:
    sender = Sender()
    sender.gate.clear()
    with capture_logs() as logs:
        caller = made(services(control=sender), call_timeout=0.2, unload_timeout=45)
        caller.do("send 1 stuck note 1")
        until(lambda: any("does not come back" in line["event"] for line in logs))
        begin = time.monotonic()
        caller.manager.unload_plugin("caller")
        assert time.monotonic() - begin < 30
    sender.gate.set()


def test_what_is_sent_at_the_unloading_is_sent(made: Make) -> None:
    sender = Sender()
    caller = made(services(control=sender), at_unload="send 1 bob farewell 1")
    caller.manager.unload_plugin("caller")
    assert sender.sent == [("direct", b"bob", b"farewell", b"b")]


def test_an_unload_while_a_call_waits(made: Make, mode: str) -> None:
    hanging = Hanging()
    caller = made(services(peers=hanging), call_timeout=1.0)
    caller.tell("aside lookup bob 1 100")
    until(lambda: hanging.asked == 1)
    begin = time.monotonic()
    caller.manager.unload_plugin("caller")
    assert time.monotonic() - begin < 30
    assert caller.lines()[-1].status == TIMEOUT
    hanging.sender.gate.set()  # the answer comes to nobody


def test_peers_come_as_events(made: Make) -> None:
    caller = made(services())
    caller.manager.peer_seen(b"bob", public_key=b"K", name="Bob", via=Via.ROUTED)
    caller.manager.peer_forgotten(b"bob")
    seen, forgotten = caller.wait(2)
    assert seen == ("seen", 2, 3, b"bob")
    assert forgotten[::3] == ("forgotten", b"bob")


def test_the_first_claim_wins(compile_plugin, tmp_path: Path, mode: str) -> None:
    with capture_logs() as logs, PluginManager(services=services()) as manager:
        first, second = (
            Calling(compile_plugin, tmp_path, manager, mode, name=name)
            for name in ("first", "second")
        )
        first.do("lookup bob 2 9")
        manager.reload_plugin("first")
        first.do("lookup bob 2 9")
        manager.reload_plugin("second", second.config)
        first.do("lookup bob 2 9")
        assert second.lines() == []
        manager.unload_plugin("first")
        second.do("lookup bob 2 9")
        manager.load_plugin(first.config)
        second.do("lookup bob 2 9")  # it was loaded first, now
        assert len(first.lines()) == 3
        for n in range(500):
            assert not manager.route(Payload(b"nobody's", str(n).encode()))
        assert manager.unclaimed == 500
    assert sum("no plugin claims" in line["event"] for line in logs) == 1
