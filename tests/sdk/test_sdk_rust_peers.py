"""sdk/rust/slipstream-plugin: what a plugin asks an application with peers, in each mode."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipstream import PluginManager, Services, Via
from support.calling import Calling, Directory, Key, Sender, until
from support.cargo import plugin_of_the_sdk

OK, NOT_FOUND, UNSUPPORTED, MALFORMED, DENIED = 0, -3, -4, -7, -15
MODES = ["inline", "thread", "process"]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plugin_of_the_sdk("peercaller", tmp_path_factory.mktemp("peercaller"))


def calling(
    library: Path, folder: Path, manager: PluginManager, mode: str, *grants: str
) -> Calling:
    given = list(grants) if grants else None
    return Calling(lambda *_, **__: library, folder, manager, mode, grants=given)


@pytest.mark.parametrize("mode", MODES)
def test_each_call(library: Path, tmp_path: Path, mode: str) -> None:
    sender = Sender()
    services = Services(peers=Directory(), control=sender, identity=Key())
    with PluginManager(services=services) as manager:
        caller = calling(library, tmp_path, manager, mode)
        assert caller.do("lookup bob 1")[1:] == (OK, 1, b"K" * 32)
        assert caller.do("lookup bob 2")[1:] == (OK, 2, b"Bob")
        assert caller.do("lookup carol 1").status == NOT_FOUND
        # More than the first buffer takes.
        assert caller.do("lookup long 2")[1:] == (OK, 2, b"n" * 5000)
        assert caller.do("peer_at 0").data == b"bob"
        assert caller.do("peer_at 1").data == b"carol"
        assert caller.do("peer_at 2").status == NOT_FOUND
        assert caller.do("public_key").data == b"P" * 32
        assert caller.do("sign words").data == Key().sign(b"words")
        assert caller.do("open box:secret").data == b"secret"
        refused = caller.do("open something")
        assert refused[1:] == (MALFORMED, 0, b"open: the host says MALFORMED")
        assert caller.do("send 1 bob note 3")[1:3] == (OK, 1)
        assert caller.do("send 2 carol note 0")[1:3] == (OK, 2)
        until(lambda: len(sender.sent) == 2)
        told = [("direct", b"bob", b"note", b"bbb"), ("routed", b"carol", b"note", b"")]
        assert sender.sent == told


@pytest.mark.parametrize("mode", MODES)
def test_peers_come_and_go(library: Path, tmp_path: Path, mode: str) -> None:
    with PluginManager(services=Services(peers=Directory())) as manager:
        caller = calling(library, tmp_path, manager, mode)
        manager.peer_seen(b"dora", name="Dora", public_key=b"key", via=Via.ROUTED)
        manager.peer_seen(b"emil", via=Via.DIRECT)
        manager.peer_forgotten(b"dora")
        assert [(line.command, line.status, line.data) for line in caller.wait(3)] == [
            ("seen", Via.ROUTED, b"dora key Dora"),
            ("seen", Via.DIRECT, b"emil - -"),
            ("forgotten", 0, b"dora"),
        ]


@pytest.mark.parametrize("mode", MODES)
def test_what_is_not_there_or_not_granted_is_an_error(
    library: Path, tmp_path: Path, mode: str
) -> None:
    services = Services(peers=Directory(), control=Sender(), identity=Key())
    with PluginManager(services=services) as manager:
        caller = calling(library, tmp_path, manager, mode, "peers")
        assert caller.do("lookup bob 2").status == OK
        for command in ("send 1 bob note 3", "public_key", "sign x", "open box:x"):
            refused = caller.do(command)
            assert refused.status == DENIED
            assert refused.data.endswith(b": the host says DENIED")
    alone = tmp_path / "alone"
    alone.mkdir()
    with PluginManager() as manager:
        caller = calling(library, alone, manager, mode, "peers")
        for command in ("lookup bob 2", "peer_at 0", "send 1 bob note 3", "sign x"):
            refused = caller.do(command)
            assert refused.status == UNSUPPORTED
            assert refused.data == b"the host has no peers: start it with services"
