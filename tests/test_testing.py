"""slipstream.testing, as a plugin's author uses it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from slipstream import (
    Block,
    EventKind,
    Gap,
    GapReason,
    Meta,
    PluginFailed,
    PluginLoadError,
    PluginManager,
    PluginStartError,
    Refusal,
    frames,
)
from slipstream.testing import (
    FakeHost,
    IsolatedHost,
    LoadReason,
    Mapped,
    PluginBuildError,
    RecordingPlugin,
    build_plugin,
)
from support.gated import wait_until
from support.process_tools import Footprint, copies_in
from support.recorded import BATCH, EXPLICIT_ACK, SOME, Recorder


def test_build_from_a_text_and_from_a_file(examples, tmp_path) -> None:
    source = examples / "minimal" / "minimal.c"
    for number, given in enumerate((source, source.read_text())):
        folder = tmp_path / str(number)
        folder.mkdir()
        library = build_plugin(given, "-O2", folder=folder, name="built")
        assert library == folder / "built.so"
        with FakeHost(library) as host:
            assert host.deliver(Block(b"", 1)).ok


def test_what_cannot_be_built(tmp_path, monkeypatch) -> None:
    with pytest.raises(PluginBuildError, match="unused variable"):
        build_plugin("int f(void) { int x; return 0; }\n", folder=tmp_path)
    with pytest.raises(PluginBuildError, match="there is no compiler no-such-compiler") as caught:
        build_plugin("\n", folder=tmp_path, compiler="no-such-compiler -O3")
    assert caught.value.hint == "install one, or set CC"
    monkeypatch.setenv("CXX", "neither-this")
    with pytest.raises(PluginBuildError, match="neither-this"):
        build_plugin("\n", folder=tmp_path, lang="cpp")


either_host = pytest.mark.parametrize("host_of", [FakeHost, IsolatedHost])


@either_host
def test_a_host_step_by_step(compile_plugin, tmp_path, host_of) -> None:
    native = Recorder(compile_plugin, tmp_path, flags=EXPLICIT_ACK | BATCH)
    before = Footprint.now()
    host = host_of(
        native.library,
        {"log": str(native.log), "statuses": [0, -2, 2], "number": 7},
        name="given",
        data_dir=tmp_path,
    )
    with pytest.raises(PluginFailed, match="the plugin is not open"):
        host.deliver(SOME[0])
    opened = host.open()
    assert (opened.name, opened.version, opened.kinds) == ("recorder", "1", 0)
    assert host.load(LoadReason.RESTART).kinds & 1
    first, second, third = host.deliver(*SOME[:3]), host.deliver(SOME[3]), host.deliver(SOME[4])
    assert (first.ok, first.text, first.name) == (True, "", "OK (0)")
    assert (second.ok, second.text, second.name) == (False, "told to fail", "RETRY (-2)")
    assert (third.ok, third.text, third.name) == (True, "", "IGNORED (2)")
    assert host.misbehaviour == []
    again = host.deliver(SOME[3], attempt=2, first_ordinal=4)
    assert again.ok
    frame = frames.encode(Block(b"", 1, Meta(stream=9, sequence=8, time_ns=7)))
    host.deliver(frame, Gap(GapReason.PAUSED, 5, 6, 2, 8))
    assert host.acknowledged == 0
    host.flush()
    assert host.acknowledged == 7
    assert host.metrics == []
    assert host.unload() == ""
    assert host.deliver(SOME[0]).name == "WRONG_STATE (-8)"
    assert host.close() is Mapped.GONE
    assert host.close() is Mapped.NONE
    load = native.lines[0]
    assert (load["reason"], load["config"]["number"]) == (2, 7)
    assert load["config"]["name"] == "given"
    seen = [(e["kind"], e["ordinal"], e["attempt"], e["count"]) for e in native.events]
    assert seen == [
        *((kind, ordinal, 1, 3) for kind, ordinal in ((0, 1), (2, 2), (3, 3))),
        (4, 4, 1, 1),
        (40, 5, 1, 1),
        (4, 4, 2, 1),
        (3, 6, 1, 2),
        (5, 7, 1, 2),
    ]
    stamps = [(e["stream"], e["sequence"]) for e in native.events]
    assert stamps == [(1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (1, 4), (9, 8), (1, 7)]
    assert native.calls[-3:] == ["flush", "unload", "destroy"]
    assert Footprint.now() == before
    assert copies_in(native.library.parent) == []


@either_host
def test_a_host_after_a_panic(compile_plugin, tmp_path, host_of) -> None:
    native = Recorder(compile_plugin, tmp_path)
    with host_of(native.library, {"log": str(native.log), "statuses": [-17]}) as host:
        assert host.deliver(SOME[0]).name == "PANIC (-17)"
        assert not host.deliver(SOME[0]).ok
    assert native.calls == ["load", "event", "destroy"]


@either_host
def test_a_host_sees_misbehaviour_and_logs(compile_plugin, host_of) -> None:
    library = compile_plugin("talker.c", name="talker")
    with host_of(library) as host:
        from slipstream import Payload

        assert host.deliver(Payload(b"log/2", b"hello")).ok
        assert host.misbehaviour == []
        assert [line.text for line in host.logs] == ["hello"]
        answer = host.deliver(Payload(b"ack", b"1"))
        assert answer.name == "INVALID_ARGUMENT (-5)"
        assert host.misbehaviour == ["ack called without SLIPSTREAM_FLAG_EXPLICIT_ACK"]


@either_host
def test_a_host_of_what_is_refused(compile_plugin, tmp_path, host_of) -> None:
    """The plugin's own words come through, whichever process it is in."""
    native = Recorder(compile_plugin, tmp_path)
    with pytest.raises(PluginStartError, match="log is missing"), host_of(native.library):
        pass
    with host_of(native.library, {"log": str(native.log), "statuses": [-5]}) as host:
        assert host.deliver(SOME[0]).name == "INVALID_ARGUMENT (-5)"
        assert host.deliver(SOME[0]).ok


def test_a_fake_host_of_what_cannot_be_loaded(compile_plugin, tmp_path) -> None:
    before = Footprint.now()
    (tmp_path / "text.so").write_text("no")
    with pytest.raises(PluginLoadError) as refused, FakeHost(tmp_path / "text.so"):
        pass
    assert refused.value.refusal is Refusal.NOT_A_LIBRARY
    native = Recorder(compile_plugin, tmp_path)
    with pytest.raises(PluginStartError, match="log is missing"), FakeHost(native.library):
        pass
    native.hold("event")
    with FakeHost(native.library, native.held_config(), timeout=2) as host:
        with pytest.raises(PluginFailed, match="did not return within 2 seconds"):
            host.deliver(SOME[0])
        assert host.close() is Mapped.STUCK
    native.release("event")  # it returns late, and then undoes itself
    wait_until(lambda: Footprint.now() == before, "it does not undo itself")
    assert native.calls == ["load", "event", "unload", "destroy"]


def test_a_recording_plugin() -> None:
    plugin = RecordingPlugin("mine", [EventKind.BLOCK], payload_names=["hello"])
    with PluginManager() as manager:
        manager.install(plugin)
        assert plugin.loads == 1
        timer = threading.Timer(0.1, manager.broadcast_many, ([Block(b"a", 1), *SOME],))
        timer.start()
        assert [e.block for e in plugin.wait_for(2)] == [b"a", b"b"]
        timer.join()
        with pytest.raises(TimeoutError, match="2 of 3 events after 0.05 s"):
            plugin.wait_for(3, timeout=0.05)
        manager.pause("mine")
        manager.block(b"", 1)
        manager.resume("mine")
        assert [gap.count for gap in plugin.gaps] == [1]
    assert plugin.unloads == 1


def test_the_module_s_own_example(compile_plugin, tmp_path) -> None:
    """As in the docstring of slipstream.testing."""
    native = Recorder(compile_plugin, tmp_path, flags=EXPLICIT_ACK)
    with FakeHost(Path(native.library), {"log": str(native.log)}) as host:
        assert host.deliver(Block(b"...", 7)).ok
        host.flush()
        assert host.acknowledged == 1
        assert not host.misbehaviour


def test_a_fake_host_is_loaded_once(examples) -> None:
    with FakeHost(examples / "minimal" / "minimal.so") as host:
        with pytest.raises(PluginFailed, match="loaded before") as caught:
            host.load()
        assert "`with FakeHost(...)` loads it" in caught.value.hint
        assert host.deliver(Block(b"b", 1)).ok


def test_what_is_delivered_one_by_one(examples, tmp_path) -> None:
    with FakeHost(examples / "minimal" / "minimal.so") as host:
        for wrong in ("text", [Block(b"a block", 1)]):
            with pytest.raises(TypeError, match=f"{type(wrong).__name__} is not an event; deliver"):
                host.deliver(wrong)
        assert host.deliver(Block(b"a block", 1), Block(b"another", 2)).ok
    with pytest.raises(PluginLoadError, match=r"nowhere.so does not exist\n  next: build it"):
        FakeHost(tmp_path / "nowhere.so").open()
