"""Secrets of a config are masked in all that the host shows or writes, in every mode."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slipstream import Payload, PluginManager
from slipstream.errors import SlipstreamError
from support.logs import capture_logs

SECRET = "hunter2-correct-horse"
MODES = ["inline", "thread", "process"]


@pytest.fixture(autouse=True)
def _in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIP_TEST_SECRET", SECRET)


@pytest.fixture
def load(compile_plugin: Callable[..., Path], tmp_path: Path) -> Iterator[Callable[..., object]]:
    """Load the talker with a secret in its config; a manager is closed at the end."""
    managers = []

    def load(mode: str, *options: str, **keys: object) -> PluginManager:
        manager = PluginManager(mode, data_dir=tmp_path / "data", insecure_paths=True)
        managers.append(manager)
        library = compile_plugin("talker.c", *options, name=f"talker-{mode}")
        own = {"libpath": str(library), "password": "env://SLIP_TEST_SECRET", **keys}
        manager.load_plugin(own)
        return manager

    yield load
    for manager in managers:
        manager.close()


def files_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("mode", MODES)
def test_what_a_plugin_says(load, tmp_path, mode) -> None:
    with capture_logs() as logs:
        manager = load(mode, f'-DUNLOAD_ERROR="cannot say goodbye to {SECRET}"')
        said = f"user:{SECRET}@host".encode()
        for command in ("log/2", "log/9", "fail", "set_error from a thread"):
            manager.broadcast(Payload(command.encode(), said))
        if mode == "process":  # elsewhere what is printed is the program's own
            manager.broadcast(Payload(b"print", said))
        manager.flush()
        plugin = manager.plugins["talker"]
        assert SECRET not in repr(plugin.status)
        manager.close()
    assert SECRET not in str(logs)
    told = [line["event"] for line in logs if "user:***@host" in line["event"]]
    assert len(told) == (5 if mode == "process" else 4)
    assert "cannot say goodbye to ***" in str(logs)
    assert plugin.name == "talker"
    written = files_of(tmp_path / "data")
    assert b"user:***@host" in written
    # The event itself is as it was; what the plugin said of it is not.
    assert written.count(SECRET.encode()) == 1


@pytest.mark.parametrize("mode", MODES)
def test_the_error_of_a_load(load, mode) -> None:
    with capture_logs() as logs, pytest.raises(SlipstreamError) as raised:
        load(mode, f'-DLOAD_ERROR="no such user: {SECRET}"')
    assert "no such user: ***" in raised.value.message
    assert SECRET not in str(raised.value) + str(logs)


def test_a_crash_report(load, tmp_path) -> None:
    restart = {"initial_delay": 0.01, "max_delay": 0.01}
    with capture_logs() as logs:
        manager = load("process", restart=restart)
        plugin = manager.plugins["talker"]
        manager.broadcast(Payload(b"log and abort", f"password={SECRET}".encode()))
        manager.flush(60)
        manager.close()
    assert len(plugin.delivery.reports) == 3
    assert SECRET not in str(plugin.delivery.reports) + str(logs)
    files = list((tmp_path / "data").rglob("crash-*.json"))
    assert len(files) == 3
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert json.loads(file.read_text())["lines"] == ["password=***"]
