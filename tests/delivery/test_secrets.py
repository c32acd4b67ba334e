"""Secrets of a config are masked in all that the host shows or writes, in every mode.

So is each text of a config that comes from a file or a variable as a whole, as those of packages do.
"""

from __future__ import annotations

import dataclasses
import json
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slipstream import Payload, PluginManager
from slipstream.config import PluginConfig, settle_own
from slipstream.errors import ConfigError, SlipstreamError
from support.logs import capture_logs

MODES = ["inline", "thread", "process"]


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    """One of each test: what is masked stays masked as long as the process runs."""
    secret = f"hunter2-{uuid.uuid4()}"
    monkeypatch.setenv("SLIP_TEST_SECRET", secret)
    return secret


@pytest.fixture(params=["a reference", "the whole config"])
def load(
    request: pytest.FixtureRequest,
    compile_plugin: Callable[..., Path],
    tmp_path: Path,
    secret: str,
) -> Iterator[Callable[..., object]]:
    """Load the talker with a secret in its config; a manager is closed at the end."""
    managers = []

    def load(mode: str, *options: str, **keys: object) -> PluginManager:
        manager = PluginManager(mode, data_dir=tmp_path / "data", insecure_paths=True)
        managers.append(manager)
        library = compile_plugin("talker.c", *options, name=f"talker-{mode}")
        config = PluginConfig.from_mapping({"libpath": str(library), **keys}, folder=tmp_path)
        own, source = {"password": "env://SLIP_TEST_SECRET"}, ""
        if request.param == "the whole config":
            own, source = {"database": [{"password": secret}], "tls": "true"}, "file://talker.json"
        manager.load_plugin(dataclasses.replace(config, own=own, own_from=source))
        return manager

    yield load
    for manager in managers:
        manager.close()


WHOLE = {
    "user": "alice-of-db",
    "port": 5432,
    "also": ["5432", "-1.5", "TRUE", "null", "abc"],
    "pin": "20260101",
    "level": "debug",
    "inner": {"level": "info", "size": "large"},
    "key": "-----BEGIN-----\nline-two",
}
SCHEMA = {
    "properties": {
        "level": {"enum": ["debug", "info"]},
        "inner": {"properties": {"level": {"enum": ["info"]}, "size": {"default": "large"}}},
        "more": {"default": "a default"},
    }
}


def test_what_is_a_secret_in_a_config_that_is_one_as_a_whole(tmp_path) -> None:
    config = PluginConfig.from_mapping({"libpath": "x.so"}, folder=tmp_path)
    hidden = dataclasses.replace(config, own=WHOLE, own_from="env://WHOLE")
    texts = {"alice-of-db", "abc", "20260101", "-----BEGIN-----\nline-two"}
    assert set(settle_own(hidden, SCHEMA).secrets) == texts
    assert set(settle_own(hidden, None).secrets) == {*texts, "debug", "info", "large"}
    assert settle_own(dataclasses.replace(config, own=WHOLE), SCHEMA).secrets == ()
    # Nor is it shown by what is wrong with it.
    wrong = {**SCHEMA, "properties": {"user": {"maxLength": 3}}}
    with pytest.raises(ConfigError) as raised:
        settle_own(hidden, wrong)
    assert "user must have at most 3 characters" in raised.value.message
    assert "alice" not in str(raised.value)


def files_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("mode", MODES)
def test_what_a_plugin_says(load, secret, tmp_path, mode) -> None:
    with capture_logs() as logs:
        manager = load(mode, f'-DUNLOAD_ERROR="cannot say goodbye to {secret}"')
        said = f"user:{secret}@host".encode()
        for command in ("log/2", "log/9", "fail", "set_error from a thread"):
            manager.broadcast(Payload(command.encode(), said))
        if mode == "process":  # elsewhere what is printed is the program's own
            manager.broadcast(Payload(b"print", said))
        manager.flush()
        plugin = manager.plugins["talker"]
        assert secret not in repr(plugin.status)
        manager.close()
    assert secret not in str(logs)
    told = [line["event"] for line in logs if "user:***@host" in line["event"]]
    assert len(told) == (5 if mode == "process" else 4)
    assert "cannot say goodbye to ***" in str(logs)
    assert plugin.name == "talker"
    written = files_of(tmp_path / "data")
    assert b"user:***@host" in written
    # The event itself is as it was; what the plugin said of it is not.
    assert written.count(secret.encode()) == 1


@pytest.mark.parametrize("mode", MODES)
def test_the_error_of_a_load(load, secret, mode) -> None:
    with capture_logs() as logs, pytest.raises(SlipstreamError) as raised:
        load(mode, f'-DLOAD_ERROR="no such user: {secret}"')
    assert "no such user: ***" in raised.value.message
    assert secret not in str(raised.value) + str(logs)


def test_a_crash_report(load, secret, tmp_path) -> None:
    restart = {"initial_delay": 0.01, "max_delay": 0.01}
    with capture_logs() as logs:
        manager = load("process", restart=restart)
        plugin = manager.plugins["talker"]
        manager.broadcast(Payload(b"log and abort", f"password={secret}".encode()))
        manager.flush(60)
        manager.close()
    assert len(plugin.delivery.reports) == 3
    assert secret not in str(plugin.delivery.reports) + str(logs)
    files = list((tmp_path / "data").rglob("crash-*.json"))
    assert len(files) == 3
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert json.loads(file.read_text())["lines"] == ["password=***"]
