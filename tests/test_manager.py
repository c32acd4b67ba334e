"""PluginManager: loading, unloading, closing, and what is refused when."""

from __future__ import annotations

import asyncio
import gc
import inspect
import re
import threading
import time
import weakref

import pytest

from slipstream import (
    Block,
    ClosedError,
    ConfigError,
    EventKind,
    FlushTimeout,
    PluginAlreadyLoaded,
    PluginFailed,
    PluginLoadError,
    PluginManager,
    PluginNotLoaded,
    Refusal,
)
from slipstream.tables import html_table
from slipstream.testing import RecordingPlugin
from support.gated import wait_until
from support.logs import capture_logs
from support.process_tools import Footprint
from support.recorded import EXPLICIT_ACK, SOME, Recorder

# ---- What is refused from inside ------------------------------------------------------------


def test_control_from_inside_of_a_callback_is_refused(manager, examples) -> None:
    refused: list[str] = []

    def meddle(_event: object) -> None:
        for call in (
            lambda: manager.load_plugin(examples / "minimal" / "minimal.json5"),
            lambda: manager.unload_plugin("recorder"),
            lambda: manager.reload_plugin("recorder"),
            lambda: manager.install(RecordingPlugin("x")),
            lambda: manager.pause("recorder"),
            manager.flush,
            manager.unload,
            manager.close,
        ):
            try:
                call()
            except PluginFailed as error:
                refused.append(error.message)

    manager.install(RecordingPlugin(on_event=meddle))
    manager.block(b"", 1)
    assert len(refused) == 8
    assert all("from inside of a plugin's callback" in message for message in refused)
    assert manager.list_plugins() == ["recorder"]


def test_control_from_inside_of_a_load_is_refused_at_once(manager) -> None:
    errors: list[str] = []

    class Meddler(RecordingPlugin):
        def on_load(self) -> None:
            try:
                manager.install(RecordingPlugin("other"))
            except PluginFailed as error:
                errors.append(error.message)

    manager.install(Meddler())
    # Had it waited, it would say for how long.
    assert errors == ["cannot install a plugin from inside of another load or unload"]


def test_control_does_not_wait_for_ever(compile_plugin, tmp_path) -> None:
    recorder = Recorder(compile_plugin, tmp_path, flags=0)
    with PluginManager(wait_timeout=0.3) as manager:
        manager.load_plugin(recorder.held_config())
        recorder.hold("event")
        thread = threading.Thread(target=manager.block, args=(b"", 1))
        thread.start()
        recorder.wait_until_held("event")
        under_way = "a broadcast is under way for more than 0.3 seconds, in a callback of recorder"
        with pytest.raises(PluginFailed, match=under_way):
            manager.unload_plugin("recorder")
        assert manager.list_plugins() == ["recorder"]  # it can be tried again
        recorder.release("event")
        thread.join()
        manager.unload_plugin("recorder")
    assert recorder.calls == ["load", "event", "unload", "destroy"]


# ---- install ----------------------------------------------------------------------------------


def test_install_wants_a_plugin(manager) -> None:
    class Nameless:
        def subscribed_events(self) -> list[int]:
            return []

        def on_broadcast(self, event: object) -> None: ...

    with pytest.raises(PluginLoadError, match="Nameless is not a plugin"):
        manager.install(Nameless())
    with pytest.raises(PluginLoadError, match="Nameless is a class: give an instance"):
        manager.install(Nameless)
    for name in ("", "A", "a b", "-a", "x" * 64, 5, None):
        with pytest.raises(PluginLoadError) as caught:
            manager.install(RecordingPlugin(name))
        assert caught.value.refusal is Refusal.NAME_INVALID
    manager.install(RecordingPlugin("same"))
    with pytest.raises(PluginAlreadyLoaded):
        manager.install(RecordingPlugin("same"))


@pytest.mark.parametrize("kinds", [[-1], [64], ["x"], [1 << 70], [None], 5])
def test_install_with_impossible_kinds(manager, kinds) -> None:
    plugin = RecordingPlugin()
    plugin.subscribed_events = lambda: kinds
    with pytest.raises((PluginLoadError, TypeError)):
        manager.install(plugin)
    assert (plugin.loads, plugin.unloads) == (1, 1)
    assert manager.list_plugins() == []


@pytest.mark.parametrize("names", [["x" * 256], [""], [b"a\0b"], [5], ["ok", None]])
def test_install_with_impossible_payload_names_leaves_nothing_attached(manager, names) -> None:
    plugin = RecordingPlugin(payload_names=names)
    gone = weakref.ref(plugin)
    with pytest.raises(PluginLoadError, match="claims the payload name"):
        manager.install(plugin)
    assert plugin.unloads == 1
    del plugin
    gc.collect()
    assert gone() is None
    manager.block(b"", 1)  # would call the freed object
    assert not manager.has_subscribers(EventKind.BLOCK)


def test_install_whose_functions_raise(manager) -> None:
    class Fails(RecordingPlugin):
        def __init__(self, where: str) -> None:
            super().__init__()
            self.where = where

        def on_load(self) -> None:
            super().on_load()
            self.fail("on_load")

        def subscribed_events(self) -> list[int]:
            self.fail("subscribed_events")
            return [3]

        def payload_names(self) -> list[str]:
            self.fail("payload_names")
            return []

        def on_unload(self) -> None:
            super().on_unload()
            self.fail("on_unload")

        def fail(self, where: str) -> None:
            if where == self.where:
                raise LookupError(where)

    for where in ("on_load", "subscribed_events", "payload_names"):
        plugin = Fails(where)
        with pytest.raises(LookupError, match=where):
            manager.install(plugin)
        assert plugin.unloads == (0 if where == "on_load" else 1)
        assert manager.list_plugins() == []
    manager.install(Fails("on_unload"))
    with capture_logs() as logs:
        manager.unload_plugin("recorder")
    assert any("on_unload raised LookupError" in str(line.get("problem")) for line in logs)


def test_a_python_plugin_is_let_go(manager) -> None:
    plugin = RecordingPlugin()
    gone = weakref.ref(plugin)
    manager.install(plugin)
    manager.block(b"", 1)
    assert plugin.events[0].block == b""
    manager.unload_plugin("recorder")
    gc.disable()
    try:
        del plugin
        assert gone() is None  # at once: the host leaves no circle of references
    finally:
        gc.enable()
    with pytest.raises(PluginNotLoaded, match="written in Python"):
        manager.install(RecordingPlugin())
        manager.reload_plugin("recorder")


# ---- Configs -----------------------------------------------------------------------------------


def test_from_config_files(examples, tmp_path) -> None:
    minimal = examples / "minimal" / "minimal.so"
    for name, more in [("one", ""), ("off", "enabled: false"), ("two", 'name: "two"')]:
        (tmp_path / f"{name}.json5").write_text(f'{{ libpath: "{minimal}", {more} }}')
    paths = [tmp_path / f"{name}.json5" for name in ("one", "off", "two")]
    with PluginManager.from_config_files(paths) as manager:
        assert manager.list_plugins() == ["minimal", "two"]
        assert manager.plugins["two"].identity.config_file == paths[2]
        with pytest.raises(ConfigError, match="enabled is false"):
            manager.load_plugin(paths[1])
    (tmp_path / "bad.json5").write_text("{ libpath: './nothing.so' }")
    before = Footprint.now()
    with pytest.raises(ConfigError, match=r"nothing\.so does not exist"):
        PluginManager.from_config_files([paths[0], tmp_path / "bad.json5"])
    assert Footprint.now() == before


def test_a_manager_refuses_what_it_does_not_know(manager, examples, tmp_path) -> None:
    with pytest.raises(ConfigError, match="'loud' is not a log level"):
        PluginManager(log_level="loud")
    with pytest.raises(ConfigError, match="default_mode 'fast' is not a mode"):
        PluginManager("fast")
    for call in (manager.unload_plugin, manager.reload_plugin, manager.pause, manager.resume):
        with pytest.raises(PluginNotLoaded, match="no plugin ghost is loaded") as caught:
            call("ghost")
        assert caught.value.hint == "loaded: none"
    (tmp_path / "file").write_text("")
    with PluginManager(data_dir=tmp_path / "file") as careless:
        before = Footprint.now()
        with pytest.raises(ConfigError, match="cannot make the data folder"):
            careless.load_plugin(examples / "minimal" / "minimal.json5")
        assert Footprint.now() == before


def test_broadcast_async_keeps_the_loop_free_and_the_order() -> None:
    class Slow:
        name = "slow"

        def __init__(self) -> None:
            self.heights: list[int] = []

        def subscribed_events(self) -> set[EventKind]:
            return {EventKind.BLOCK}

        def on_broadcast(self, event: Block) -> None:
            time.sleep(0.02)
            self.heights.append(event.block_height)

    async def work() -> tuple[list[int], list[float], int]:
        turns = 0
        slow = Slow()
        async with PluginManager() as manager:
            manager.install(slow)
            sends = [manager.broadcast_async(Block(b"", n), Block(b"", n)) for n in range(10)]
            sending = asyncio.gather(*sends)
            while not sending.done():
                await asyncio.sleep(0.001)
                turns += 1
            times = await sending
        with pytest.raises(ClosedError):
            await manager.broadcast_async(Block(b"", 1))
        return slow.heights, times, turns

    heights, times, turns = asyncio.run(work())
    assert heights == [n for n in range(10) for _ in range(2)]
    assert times[-1] >= 10 * 2 * 0.02  # it has waited for those before it
    assert turns > 10


def test_how_managers_and_plugins_are_shown(compile_plugin, tmp_path) -> None:
    recorder = Recorder(compile_plugin, tmp_path)
    with PluginManager() as manager:
        assert repr(manager) == "<PluginManager without plugins>"
        plugin = manager.load_plugin(recorder.config())
        manager.broadcast_many(SOME)
        manager.flush()
        assert repr(manager) == "<PluginManager recorder running>"
        for shown in (manager._repr_html_(), plugin._repr_html_()):
            assert "<td>recorder</td>" in shown
            assert f'<td style="text-align: right">{len(SOME)}</td>' in shown
        manager.pause("recorder")
        assert repr(manager) == "<PluginManager recorder paused>"
    assert repr(manager) == "<PluginManager closed>"
    assert html_table(["<"], [["a & b"]]).count("&lt;") == 1


def test_from_config_files_takes_what_the_constructor_takes() -> None:
    taken, own = (
        list(inspect.signature(call).parameters.values())
        for call in (PluginManager.from_config_files, PluginManager)
    )
    assert taken[1:] == own


def test_the_same_for_asyncio(compile_plugin, tmp_path) -> None:
    recorder = Recorder(compile_plugin, tmp_path)

    async def work() -> None:
        with PluginManager() as manager:
            plugin = await manager.load_plugin_async(recorder.config())
            manager.broadcast_many(SOME)
            await manager.flush_async()
            assert plugin.counters.acknowledged == len(SOME)
            await manager.reload_plugin_async("recorder", recorder.config())
            await manager.unload_plugin_async("recorder")
            await manager.unload_async()

    asyncio.run(work())
    assert recorder.calls.count("load") == 2


# ---- flush ---------------------------------------------------------------------------------------


def test_flush_names_who_is_late_and_how_far(compile_plugin, tmp_path) -> None:
    slow = Recorder(compile_plugin, tmp_path, name="slow", flags=EXPLICIT_ACK)
    bad = Recorder(compile_plugin, tmp_path, name="bad", flags=EXPLICIT_ACK)
    with PluginManager() as manager:
        manager.load_plugin(bad.config(flush_status=-13))
        manager.load_plugin(slow.held_config())
        manager.broadcast_many(SOME)
        with pytest.raises(FlushTimeout) as caught:
            manager.flush(60)
        text = caught.value.message
        assert "bad (running): acknowledged 0 of 5: flush failed (IO (-13)): told to fail" in text
        assert "slow" not in text
        manager.unload_plugin("bad")
        manager.broadcast_many(SOME)
        slow.hold("flush")
        with pytest.raises(FlushTimeout) as caught:
            manager.flush(0.2)
        text = caught.value.message
        assert "slow (paused): acknowledged 5 of 10: flush did not return within 0.2" in text
        # Calls must not overlap: nothing is delivered until the flush has returned.
        assert manager.plugins["slow"].reason == "its flush has not returned yet"
        manager.block(b"", 7)
        with pytest.raises(PluginFailed, match="has not returned yet"):
            manager.resume("slow")
        slow.release("flush")
        wait_until(lambda: resumed(manager, "slow"), "its flush still has not returned")
        manager.flush(60)
        assert manager.plugins["slow"].counters.acknowledged == 11
        assert manager.plugins["slow"].counters.lag == 0
        manager.pause("slow")
        with pytest.raises(FlushTimeout, match="it is paused[^$]*plugin.status[^$]*plugins resume"):
            manager.flush(240)
    assert [e["kind"] for e in slow.events][-1] == 5


def resumed(manager: PluginManager, name: str) -> bool:
    """Whether a plugin could be resumed; not while a call of it has not returned."""
    try:
        manager.resume(name)
    except PluginFailed:
        return False
    return True


def test_who_got_no_time_to_flush_is_not_called_late(compile_plugin, tmp_path) -> None:
    slow = Recorder(compile_plugin, tmp_path, name="slow", flags=EXPLICIT_ACK)
    next_one = Recorder(compile_plugin, tmp_path, name="next_one", flags=EXPLICIT_ACK)
    with PluginManager() as manager:
        manager.load_plugin(slow.held_config())
        manager.load_plugin(next_one.config())
        manager.broadcast_many(SOME)
        slow.hold("flush")
        with pytest.raises(FlushTimeout) as caught:
            manager.flush(1)
        late = caught.value.message.partition(": ")[2].split("; ")
        assert len(late) == 2
        assert late[0] == (
            "slow (paused): acknowledged 0 of 5: flush did not return within 1 seconds"
        )
        assert late[1] == (
            "next_one (running): acknowledged 0 of 5: no time was left for its flush: "
            "slow took 1 of the 1 seconds"
        )
        # It was not even begun: that would have paused it.
        assert next_one.calls.count("flush") == 0
        slow.release("flush")
        wait_until(lambda: resumed(manager, "slow"), "its flush still has not returned")
        manager.flush(60)
        lags = [plugin.counters.lag for plugin in manager.plugins.values()]
        assert lags == [0, 0]


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_who_has_a_thread_of_its_own_flushes_meanwhile(compile_plugin, tmp_path, mode) -> None:
    slow = Recorder(compile_plugin, tmp_path, name="slow", flags=EXPLICIT_ACK)
    apart = Recorder(compile_plugin, tmp_path, name="apart", flags=EXPLICIT_ACK)

    def let_go() -> None:
        apart.wait_for("flush")
        slow.release("flush")

    with PluginManager() as manager:
        manager.load_plugin(slow.held_config())
        manager.load_plugin(apart.config(mode=mode, flush_interval=600))
        manager.broadcast_many(SOME)
        slow.hold("flush")
        thread = threading.Thread(target=let_go)
        thread.start()
        manager.flush(60)
        thread.join()


def test_who_got_a_part_of_the_time_says_who_had_the_rest(compile_plugin, tmp_path) -> None:
    slow = Recorder(compile_plugin, tmp_path, name="slow", flags=EXPLICIT_ACK)
    stuck = Recorder(compile_plugin, tmp_path, name="stuck", flags=EXPLICIT_ACK)
    with PluginManager() as manager:
        manager.load_plugin(slow.held_config())
        manager.load_plugin(stuck.held_config())
        manager.broadcast_many(SOME)
        slow.hold("flush")
        stuck.hold("flush")
        threading.Timer(0.5, slow.release, ("flush",)).start()
        with pytest.raises(FlushTimeout) as caught:
            manager.flush(3)
        # On a machine that is so busy that `slow` took all, the middle says that.
        told = re.search(r"stuck .*: acknowledged 0 of 5: (.*)$", caught.value.message)
        assert told is not None
        assert re.fullmatch(
            r"(flush did not return within \S+ seconds, all that was left|"
            r"no time was left for its flush): slow took \S+ of the 3 seconds",
            told[1],
        )
        stuck.release("flush")
        wait_until(lambda: resumed(manager, "stuck"), "its flush still has not returned")


def test_nobody_is_late_who_has_nothing_to_flush(compile_plugin, tmp_path) -> None:
    slow = Recorder(compile_plugin, tmp_path, name="slow", flags=EXPLICIT_ACK)
    idle = Recorder(compile_plugin, tmp_path, name="idle", flags=EXPLICIT_ACK, kinds="1")
    plain = Recorder(compile_plugin, tmp_path, name="plain")
    with PluginManager() as manager:
        for recorder in (slow, idle, plain):
            manager.load_plugin(recorder.held_config())
        manager.block(b"", 7)
        slow.hold("flush")
        with pytest.raises(FlushTimeout) as caught:
            manager.flush(0.2)
        slow.release("flush")
        assert "slow (paused)" in caught.value.message
        assert ";" not in caught.value.message
        assert "flush" not in idle.calls
        wait_until(lambda: resumed(manager, "slow"), "its flush still has not returned")


def test_odd_timeouts(compile_plugin, tmp_path) -> None:
    recorder = Recorder(compile_plugin, tmp_path, flags=EXPLICIT_ACK)
    with PluginManager() as manager:
        manager.load_plugin(recorder.config())
        manager.flush(float("inf"))
        manager.flush(1e12)
        manager.unload_plugin("recorder", timeout=1e12)
    assert recorder.lines[-2]["timeout"] == 0xFFFFFFFF  # no limit
