"""The probe, in our own host in every mode, and in the two small hosts: they keep the contract."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from slipstream import PluginManager, PluginState, Services, SlipstreamError
from slipstream.events import (
    AppEvent,
    Block,
    Event,
    MappingRemoval,
    MappingUpdate,
    Payload,
    PeerForgotten,
    PeerSeen,
    StakingReward,
)
from support.calling import Directory, Key, Sender
from support.gated import wait_until
from support.logs import capture_logs
from support.making import ROOT, run_make
from support.probed import VARIANTS, Probed, build_probes
from support.process_tools import run_python

GOLDEN = ROOT / "tests" / "abi" / "golden"
EXAMPLES = ROOT / "examples"
MODES = ["inline", "thread", "process"]
EVENTS: list[Event] = [
    Block(b"b", None),
    MappingUpdate(b"p", b"m", b"k", b"v", 1),
    MappingRemoval(b"p", b"m", None),
    StakingReward(b"s", b"v", 1, 2, 2),
    Payload(b"n", b"body"),
    PeerSeen(b"peer", via=1),
    PeerForgotten(b"peer"),
    AppEvent(40, b"own", 9),
]
# Every type of JSON, and keys that a JSON pointer escapes.
ODD = {"yes": True, "half": 2.5, "minus": -5, "big": 2**64 - 1, "sl/a~sh": "", "none": None} | {
    "list": [1, "\u00e9\n\U0001f600", None, {}, [[]]]
}
# The probe does what it may not, to hear that it may not.
TRIED_ON_PURPOSE = ("ack of ordinal", "reject of ordinal", "ack called without")


@pytest.fixture(scope="module", autouse=True)
def probes() -> Path:
    return build_probes()


@pytest.fixture
def probed(tmp_path: Path) -> Probed:
    return Probed(tmp_path)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("mode", MODES)
def test_a_life_with_a_reload(
    manager: PluginManager, probed: Probed, mode: str, variant: str
) -> None:
    config = probed.config(
        variant,
        **{"mode": mode, "claim": "org.example.ping", "one_thread": int(mode != "inline"), **ODD},
        refuse_every=7,
        retry_every=5,
        reject_every=11,
        undo_every=3,
        retry={"initial_delay": 0.001},
    )
    with capture_logs() as logs:
        plugin = manager.load_plugin(config)
        manager.broadcast_many(EVENTS * 3)
        assert manager.route(Payload(b"org.example.ping", b"body"))
        manager.broadcast_many(EVENTS)
        manager.flush()
        manager.reload_plugin(plugin.name)
        manager.broadcast_many(EVENTS)
        manager.flush()
        manager.close()
    first, second = probed.assert_kept(2)
    assert [call["reason"] for call in probed.calls("on_load")] == [0, 1]
    assert len(probed.calls("on_unload")) == 2
    assert (first["last"], second["last"]) == (33, 41)
    assert first["refused"] + first["rejected"] > 0
    texts = [str(line["event"]) for line in logs]
    for said in [*probed.of("error"), *probed.of("line")]:  # copied: the probe writes over them
        assert any(said.get("error", said.get("line")) in text for text in texts), said
    wrong = [str(line["event"]) for line in logs if line.get("contract")]
    assert [text for text in wrong if not text.startswith(TRIED_ON_PURPOSE)] == []
    assert not {"settle.reject", "run.undone"} - probed.tried() or variant in VARIANTS[:2]
    assert not {"ack.lower", "ack.state"} - probed.tried() or variant != "probe-ack"


GRANTS = {"send": 1, "peers": 2, "identity.sign": 4, "identity.open": 8}


@pytest.mark.parametrize("grants", [[], ["send", "identity.sign"], list(GRANTS)])
@pytest.mark.parametrize("mode", MODES)
def test_a_host_with_peers(probed: Probed, mode: str, grants: list[str]) -> None:
    services = Services(peers=Directory(), control=Sender(), identity=Key())
    granted = sum(GRANTS[one] for one in grants)
    with PluginManager(services=services) as manager:
        config = probed.config("probe", mode=mode, grants=grants, granted=granted)
        manager.load_plugin(config)
        manager.broadcast_many(EVENTS)
        manager.flush(240)
    probed.assert_kept(1)
    tried = {one for one in probed.tried() if one.startswith(("peers.", "send.", "identity."))}
    assert "peers.state" in tried
    assert ("peers.unknown" in tried) == ("peers" in grants)
    assert ("identity.open" in tried) == ("identity.open" in grants)
    assert ("peers.denied" in tried) == (grants != list(GRANTS))


@pytest.mark.parametrize("variant", ["probe", "probe-batch", "probe-ack"])
def test_a_worker_is_killed(manager: PluginManager, probed: Probed, variant: str) -> None:
    config = probed.config(variant, mode="process", one_thread=1, slow_ms=1, ack_every=5)
    plugin = manager.load_plugin({**config, "restart": {"initial_delay": 0}})
    manager.broadcast_many(EVENTS * 8)
    wait_until(lambda: len(probed.of("line")) == 1, "it was not loaded")
    os.kill(plugin.pid, signal.SIGKILL)
    wait_until(lambda: plugin.delivery.restarts == 1, "it was not restarted")
    manager.broadcast_many(EVENTS)
    manager.flush()
    manager.close()
    (done,) = probed.assert_kept(1)  # who is killed says nothing
    assert [call["reason"] for call in probed.calls("on_load")] == [0, 2]
    assert done["last"] == 72


@pytest.mark.parametrize(
    ("mode", "overflow"),
    [("thread", "drop_newest"), ("process", "drop_oldest"), ("process", "block")],
)
def test_gaps(manager: PluginManager, probed: Probed, mode: str, overflow: str) -> None:
    ring = {"ring_bytes": "64KiB", "overflow": overflow, "block_timeout": 0}
    manager.load_plugin(probed.config("probe-batch", mode=mode, one_thread=1, slow_ms=5, **ring))
    for number in range(60):
        manager.broadcast(AppEvent(40, bytes([number]) * 8192, number))
    manager.flush()
    manager.broadcast(EVENTS[0])
    manager.flush()
    manager.close()
    (done,) = probed.assert_kept(1)
    assert done["gaps"] > 0
    assert done["last"] == 61


def test_an_inline_gap(manager: PluginManager, probed: Probed) -> None:
    plugin = manager.load_plugin(probed.config("probe-ack"))
    manager.pause(plugin.name)
    manager.broadcast_many(EVENTS)
    manager.resume(plugin.name)
    manager.broadcast(EVENTS[0])
    manager.close()
    (done,) = probed.assert_kept(1)
    assert (done["gaps"], done["last"]) == (1, 9)


@pytest.mark.parametrize("mode", MODES)
def test_a_load_that_fails(manager: PluginManager, probed: Probed, mode: str) -> None:
    for _ in range(2):
        with pytest.raises(SlipstreamError, match="told to fail"):
            manager.load_plugin(probed.config("probe", mode=mode, fail_load=1))
    manager.close()
    probed.assert_kept(2)
    assert probed.calls("on_unload") == []


@pytest.mark.parametrize("end", ["panic_at", "fatal_at"])
@pytest.mark.parametrize("mode", MODES)
def test_a_plugin_that_cannot_go_on(
    manager: PluginManager, probed: Probed, mode: str, end: str
) -> None:
    config = probed.config("probe-ack", mode=mode, one_thread=int(mode != "inline"), **{end: 3})
    plugin = manager.load_plugin(config)
    for event in EVENTS:
        manager.broadcast(event)
    wait_until(lambda: plugin.state is PluginState.FAILED, "it has not failed")
    manager.close()
    (done,) = probed.assert_kept(1)
    assert done["calls"] == 3
    assert len(probed.calls("on_unload")) == (end == "fatal_at")


@pytest.mark.parametrize("ending", ["pass", "sys.exit(3)", "raise RuntimeError"])
def test_a_program_that_ends(probed: Probed, ending: str) -> None:
    config = probed.config("probe-ack", order=f"{probed.path}.order")
    del config["history"]  # each would need its own
    done = run_python(
        """
        import json, sys
        from slipstream import Block, PluginManager
        manager = PluginManager(insecure_paths=True, log_level="error")
        for mode in ("inline", "thread", "process"):
            config = json.loads(sys.argv[1]) | {"mode": mode, "name": "p-" + mode}
            manager.load_plugin(config)
        manager.broadcast_many([Block(b"b", None)] * 5)
        """
        + ending,
        json.dumps(config),
    )
    assert done.returncode == {"sys.exit(3)": 3, "raise RuntimeError": 1}.get(ending, 0), (
        done.stderr
    )
    last = probed.assert_kept(3)
    assert [line["last"] for line in last] == [5, 5, 5]
    assert len(probed.calls("on_unload")) == 3


def test_unloaded_and_loaded_again_ordinals_start_anew(
    manager: PluginManager, probed: Probed
) -> None:
    for _ in range(2):
        plugin = manager.load_plugin(probed.config("probe", mode="thread", one_thread=1))
        manager.broadcast_many(EVENTS)
        manager.unload_plugin(plugin.name)
    manager.close()
    assert [line["last"] for line in probed.assert_kept(2)] == [8, 8]


def test_a_second_instance_is_at_most_constructed(manager: PluginManager, probed: Probed) -> None:
    manager.load_plugin(probed.config("probe-single"))
    with pytest.raises(SlipstreamError, match="is loaded already"):
        manager.load_plugin(probed.config("probe-single", name="second"))
    manager.close()
    probed.assert_kept(1)


def test_many_threads_broadcast_inline(manager: PluginManager, probed: Probed) -> None:
    manager.load_plugin(probed.config("probe-batch"))
    senders = [
        threading.Thread(target=manager.broadcast_many, args=(EVENTS * 10,)) for _ in range(4)
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(240)
    manager.close()
    (done,) = probed.assert_kept(1)
    assert done["last"] == 4 * 80


def golden_frames() -> list[bytes]:
    """The golden frames that a host of 1.0 may send, each with a sequence of its own."""
    left_out = ("grown", "flag", "kind", "mark", "gap", "payload_routed")
    left_out += ("mapping_update_largest_header", "mapping_update_not_yet_given")
    frames = []
    for number, path in enumerate(sorted(GOLDEN.glob("*.hex")), 1):
        if not path.stem.startswith(left_out):
            text = "".join(line.partition("#")[0] for line in path.read_text().splitlines())
            frame = bytearray.fromhex(text)
            frame[24:32] = number.to_bytes(8, "little")
            frames.append(bytes(frame))
    return frames


@pytest.mark.parametrize("mode", MODES)
def test_golden_bytes(manager: PluginManager, probed: Probed, mode: str, tmp_path: Path) -> None:
    golden = golden_frames()
    assert len(golden) > 20
    (tmp_path / "golden").write_bytes(b"".join(golden))
    config = probed.config("probe-batch", mode=mode, golden=str(tmp_path / "golden"))
    manager.load_plugin(config)
    manager.broadcast_many(golden)
    manager.flush()
    manager.close()
    (done,) = probed.assert_kept(1)
    assert done["golden"] == len(golden)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("host", ["c", "rust"])
def test_the_small_hosts(probed: Probed, host: str, variant: str, tmp_path: Path) -> None:
    program = {"c": "host-c/host-c", "rust": "host-rust/target/release/host-rust"}[host]
    made = run_make(EXAMPLES, "-s", "host-c/host-c")
    assert made is not None
    assert made.returncode == 0, made.stderr
    if not (EXAMPLES / program).exists():
        pytest.skip(f"host-{host} is not built: no cargo here")
    config = probed.config(
        variant, claim="org.example.ping", reject_every=50, odd="", big=2**64 - 1
    )
    pairs = [f"{key}={value}" for key, value in config.items() if key != "libpath"]
    done = subprocess.run(
        [str(EXAMPLES / program), str(config["libpath"]), *pairs],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (last,) = probed.assert_kept(1)
    assert (last["gaps"], last["last"]) == (1, 1011)
    assert "probe says: config is read" in done.stderr
    if variant in {"probe-batch", "probe-ack"}:
        assert last["rejected"] == 20
