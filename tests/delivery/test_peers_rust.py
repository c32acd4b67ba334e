"""What a plugin in Rust, by plain ``extern "C"``, asks of the application, in every mode."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from slipstream import PluginManager, Services, Via
from support.calling import Calling, Directory, Key, Sender, until
from support.cargo import require_cargo

SOURCE = Path(__file__).resolve().parents[1] / "plugins" / "caller.rs"
OK, NOT_FOUND, MALFORMED, TOO_LARGE, DENIED = 0, -3, -7, -9, -15


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_cargo()
    made = tmp_path_factory.mktemp("rust") / "caller.so"
    command = ["rustc", "--edition=2021", "--crate-type=cdylib", "-Dwarnings", "-o", made, SOURCE]
    # A sanitizer that is loaded before rustc ends it.
    bare = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    done = subprocess.run(
        command,
        env=bare,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return made


@pytest.mark.parametrize("mode", ["inline", "thread", "process"])
def test_each_function(library: Path, tmp_path: Path, mode: str) -> None:
    sender = Sender()
    services = Services(peers=Directory(), control=sender, identity=Key())
    with PluginManager(services=services) as manager:
        caller = Calling(lambda *_, **__: library, tmp_path, manager, mode)
        for name in ("send", "peers", "identity"):
            assert caller.do(f"extension slipstream.{name}/1").status == 1
        assert caller.do("lookup bob 1 100")[1:] == (OK, 32, b"K" * 32)
        assert caller.do("lookup bob 2 3")[1:] == (OK, 3, b"Bob")
        assert caller.do("lookup bob 2 2")[1:3] == (TOO_LARGE, 3)
        assert caller.do("lookup carol 1 100").status == NOT_FOUND
        assert caller.do("lookup bob 3 100").status == NOT_FOUND
        assert caller.do("peer_at 1 100")[1:] == (OK, 5, b"carol")
        assert caller.do("peer_at 2 100").status == NOT_FOUND
        assert caller.do("public_key 32")[1:] == (OK, 32, b"P" * 32)
        assert caller.do("sign words").data == Key().sign(b"words")
        assert caller.do("open box:secret 100")[1:] == (OK, 6, b"secret")
        assert caller.do("open something 100").status == MALFORMED
        assert caller.do("send 1 bob note 3")[1:3] == (OK, 1)
        assert caller.do("send 2 carol note 0")[1:3] == (OK, 2)
        until(lambda: len(sender.sent) == 2)
        told = [("direct", b"bob", b"note", b"bbb"), ("routed", b"carol", b"note", b"")]
        assert sender.sent == told
        before = len(caller.lines())
        manager.peer_seen(b"dora", name="Dora", via=Via.ROUTED)
        manager.peer_forgotten(b"dora")
        seen, forgotten = caller.wait(before + 2)[before:]
        assert seen == ("seen", Via.ROUTED, 4, b"dora")
        assert forgotten == ("forgotten", 1, 0, b"dora")


@pytest.mark.parametrize("mode", ["inline", "thread", "process"])
def test_what_is_not_granted_is_denied(library: Path, tmp_path: Path, mode: str) -> None:
    services = Services(peers=Directory(), control=Sender(), identity=Key())
    with PluginManager(services=services) as manager:
        caller = Calling(lambda *_, **__: library, tmp_path, manager, mode, grants=["peers"])
        assert caller.do("lookup bob 2 100").status == OK
        for command in ("send 1 bob note 3", "public_key 32", "sign x", "open box:x 10"):
            assert caller.do(command).status == DENIED
