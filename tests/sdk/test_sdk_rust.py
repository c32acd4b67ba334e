"""sdk/rust/slipstream-plugin: what panics and fails in each function, in each mode; config; logs."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest

from slipstream import (
    AppEvent,
    Block,
    ConfigError,
    MappingRemoval,
    MappingUpdate,
    Payload,
    PluginManager,
    SlipstreamError,
    StakingReward,
)
from slipstream.testing import FakeHost
from support.cargo import CRATE, plugin_of_the_sdk, require_cargo
from support.logs import capture_logs

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = ["load", "subscribed_events", "block", "flush", "on_unload", "drop", "payload_names"]
PANICS = {
    "text": "a thing of ",
    "number": "its payload is not text",
    "bomb": "its payload is not text",
    "index": "index out of bounds: the len is 2 but the index is 5",
    "huge": "ää",
    "nul": "x1b[31mc",
}


@pytest.fixture(scope="module")
def panicker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plugin_of_the_sdk("panicker", tmp_path_factory.mktemp("panicker"))


@pytest.fixture(params=["inline", "thread", "process"])
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


def told_of(manager: PluginManager, config: dict[str, object]) -> tuple[list[str], int]:
    """What is told of a whole life, and how often a worker died."""
    told, died = [], 0
    with capture_logs() as logs:
        try:
            plugin = manager.load_plugin({**config, "retry": {"max_time": 0.05}})
            for height in range(3):
                manager.broadcast(Block(b"%d" % height, height))
            manager.flush(10)
            died = plugin.restarts
        except SlipstreamError as error:
            told.append(str(error))
        for name in list(manager.plugins):
            try:
                manager.unload_plugin(name)
            except SlipstreamError as error:
                told.append(str(error))
    return told + [str(line) for line in logs], died


def test_what_panics_stays_in_the_plugin(manager: PluginManager, panicker: Path, mode: str) -> None:
    for function in FUNCTIONS:
        for what, text in PANICS.items():
            if what not in {"text", "bomb"} and function != "block":
                continue
            config = {"libpath": str(panicker), "mode": mode, "function": function, "what": what}
            told, died = told_of(manager, config)
            found = [
                line
                for line in told
                if f"{function}: panic at src/lib.rs:" in line and text in line
            ]
            assert found, (function, what, told)
            assert all("panicker" in line for line in found)
            assert died == 0, (function, what, told)


@pytest.mark.parametrize(
    ("what", "status", "text"),
    [
        ("io", "IO (-13)", "block: the disk is full"),
        ("cause", "IO (-13)", "block: the cause of it"),
        ("retry", "RETRY (-2)", "block: not now"),
        ("denied", "DENIED (-15)", "block: you may not"),
        ("panic-status", "FAILED (-1)", "block: no panic at all"),
        ("text", "PANIC (-17)", "block: panic at src/lib.rs:"),
    ],
)
def test_an_error_is_a_status_and_a_text(panicker: Path, what: str, status: str, text: str) -> None:
    with FakeHost(panicker, {"function": "block", "what": what}) as host:
        assert host.deliver(Block(b"1", 1)).ok
        answer = host.deliver(Block(b"2", 2))
        assert answer.name == status
        assert answer.text.startswith(text)
        # What has panicked is not called again.
        again = host.deliver(Block(b"3", 3))
        assert again.ok == (what != "text"), again


def test_every_kind_arrives_as_it_was_sent(panicker: Path) -> None:
    with FakeHost(panicker, {}) as host:
        for event in (
            MappingUpdate(b"\xff\x00p", b"", b"k" * 3, b"v", block_height=7),
            MappingRemoval(b"p", b"m", None),
            MappingRemoval(b"p", b"m", b""),
            StakingReward(b"s", b"v", 2**64 - 1, 5),
            Payload(b"a.b", b"body"),
            AppEvent(40, b"\x01\x02"),
        ):
            assert host.deliver(event).ok
        texts = [line.text for line in host.logs]
    assert texts[0].startswith(
        "MappingUpdate { program_id: [255, 0, 112], mapping_name: [], key: [107, 107, 107], "
        "value: [118], encoding: 0 } Some(7) "
    )
    assert "key: None" in texts[1]
    assert "key: Some([])" in texts[2]
    assert "reward: 18446744073709551615, new_stake: 5" in texts[3]
    assert "name: [97, 46, 98], body: [98, 111, 100, 121]" in texts[4]
    assert texts[5] == "App { kind: 40, bytes: [1, 2] }"


@pytest.mark.parametrize(
    ("own", "text"),
    [
        ({"function": 7}, "config key 'function': invalid type: integer `7`"),
        ({"names": ["a", 1]}, "config key 'names[1]': invalid type"),
        ({"level": "middle"}, "config key 'level': unknown variant `middle`"),
        ({"quotas": {"a": {"most": 300}}}, "config key 'quotas.a.most': invalid value"),
        ({"quotas": {"a": {}}}, "config key 'quotas.a': missing field `most`"),
    ],
)
def test_a_wrong_config_names_the_key(
    panicker: Path, tmp_path: Path, own: dict[str, object], text: str
) -> None:
    # By the host, which has the schema, and by the plugin, for hosts that look at none.
    with pytest.raises(ConfigError, match=next(iter(own))), FakeHost(panicker, own):
        pass
    schemaless = tmp_path / "schemaless.so"
    schemaless.write_bytes(panicker.read_bytes().replace(b'"config_schema"', b'"config_schemo"'))
    with pytest.raises(SlipstreamError) as caught, FakeHost(schemaless, own):
        pass
    assert f"load: {text}" in str(caught.value)


def test_threads_and_metrics_reach_the_host(manager: PluginManager, panicker: Path) -> None:
    for what, texts in {
        "thread": [
            "the thread runs",
            "thread writer: panic at src/lib.rs:",
            "a thing of the thread",
            "thread plain: panic at src/lib.rs:",
        ],
        "metrics": ["OK", "INVALID_ARGUMENT", "true", "Start panicker", "the host has no peers"],
    }.items():
        with capture_logs() as logs:
            # Elsewhere: what threads leave on their stacks looks like a thread to who comes next.
            config = {"libpath": str(panicker), "mode": "process", "what": what}
            manager.unload_plugin(manager.load_plugin(config).name)
        told = "\n".join(str(line) for line in logs)
        for text in texts:
            assert text in told, told


def test_two_instances_and_a_reload_keep_apart(manager: PluginManager, panicker: Path) -> None:
    with capture_logs() as logs:
        for name in ("one", "two"):
            manager.load_plugin({"libpath": str(panicker), "mode": "thread", "name": name})
        manager.broadcast(Block(b"a", 1))
        manager.reload_plugin("one")
        manager.broadcast(Block(b"b", 2))
        manager.flush(10)
        for name in ("two", "one"):
            manager.unload_plugin(name)
    took = sorted(
        (str(line["plugin"]), str(line["event"])) for line in logs if "took" in str(line["event"])
    )
    assert took == [
        (name, f"took [{byte}] at Some({height})")
        for name in ("one", "two")
        for byte, height in ((97, 1), (98, 2))
    ]
    assert "panicker" not in Path("/proc/self/maps").read_text(encoding="utf-8")


def test_only_the_contract_is_exported(panicker: Path) -> None:
    done = subprocess.run(
        ["nm", "-D", "--defined-only", panicker], capture_output=True, text=True, check=True
    )
    assert [line.split()[1:] for line in done.stdout.splitlines()] == [
        ["T", "slipstream_create_plugin_v1"],
        ["R", "slipstream_info_v1"],
    ]


def test_the_bindings_are_those_of_the_header() -> None:
    path = ROOT / "tools" / "rust_bindings.py"
    spec = importlib.util.spec_from_file_location("rust_bindings", path)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    written = (CRATE / "src" / "sys.rs").read_text(encoding="utf-8")
    assert written == tool.bindings(), "run python tools/rust_bindings.py"


def test_a_panic_that_aborts_does_not_build(tmp_path: Path) -> None:
    """It would end the host."""
    require_cargo()
    done = subprocess.run(
        [
            *("rustc", "--crate-type", "lib", "--emit", "metadata", "-C", "panic=abort"),
            *("--edition", "2021", "-o", tmp_path / "x", CRATE / "src" / "lib.rs"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 'take panic = "abort" out of the profile' in done.stderr.replace("\\", "")
