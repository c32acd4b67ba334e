"""PluginManager: loading, unloading, closing, and what is refused when."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from process_tools import Footprint, copies_in, instance_threads, mapped_copies
from recorded import EXPLICIT_ACK, MULTI, SOME, Recorder
from slipstream import (
    Block,
    ClosedError,
    ConfigError,
    EventKind,
    FlushTimeout,
    Payload,
    PluginAlreadyLoaded,
    PluginFailed,
    PluginLoadError,
    PluginManager,
    PluginNotLoaded,
    PluginState,
    Refusal,
)
from slipstream.testing import RecordingPlugin


def run_python(code: str, *arguments: object, timeout: float = 60) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


# ---- Order, closing, the end of the process ------------------------------------------------


def test_unloads_in_reverse_order(compile_plugin, tmp_path) -> None:
    shared = tmp_path / "shared.log"
    with PluginManager() as manager:
        for name in ("a", "b", "c"):
            recorder = Recorder(compile_plugin, tmp_path, name=name, version=name)
            manager.load_plugin({**recorder.config(), "log": str(shared)})
        assert manager.list_plugins() == ["a", "b", "c"] == list(manager.plugins)
        kept = dict(manager.plugins)
    recorder.log = shared
    order = [(line["call"], line["version"]) for line in recorder.lines if "version" in line]
    assert order == [("load", n) for n in "abc"] + [("unload", n) for n in "cba"]
    assert [p.state for p in kept.values()] == [PluginState.UNLOADED] * 3
    assert mapped_copies() == set()


def test_closing_twice_and_every_call_afterwards(examples) -> None:
    manager = PluginManager()
    plugin = manager.load_plugin(examples / "minimal" / "minimal.json5")
    manager.block(b"", 1)
    door = [
        lambda: manager.has_subscribers(0),
        lambda: manager.broadcast(Block(b"")),
        lambda: manager.broadcast_many([Block(b"")]),
        lambda: manager.broadcast_many([]),
        lambda: manager.broadcast_frames(b""),
        lambda: manager.mapping_update(b"", b"", b"", b"", None),
        lambda: manager.mapping_removal(b"", b"", None, None),
        lambda: manager.staking_reward(b"", b"", 1, 1, None),
        lambda: manager.block(b"", None),
        lambda: manager.route(Payload(b"n", b"")),
    ]
    control = [
        lambda: manager.load_plugin(examples / "minimal" / "minimal.json5"),
        lambda: manager.install(RecordingPlugin()),
        lambda: manager.unload_plugin("minimal"),
        lambda: manager.reload_plugin("minimal"),
        lambda: manager.pause("minimal"),
        lambda: manager.resume("minimal"),
        manager.flush,
        manager.unload,
        lambda: asyncio.run(manager.flush_async()),
    ]
    manager.close()
    manager.close()
    for call in door + control:
        with pytest.raises(ClosedError, match="the plugin manager is closed") as caught:
            call()
        assert caught.value.hint == "create a new PluginManager"
    assert manager.list_plugins() == []
    assert (plugin.state, plugin.counters.delivered) == (PluginState.UNLOADED, 1)
    assert plugin.metrics == []
    assert "minimal 1.0.0 inline unloaded" in repr(plugin)


def test_a_load_that_waited_for_the_close_is_refused(examples) -> None:
    manager = PluginManager()
    entered, go_on = threading.Event(), threading.Event()
    results: list[object] = []

    class Slow(RecordingPlugin):
        def on_unload(self) -> None:
            entered.set()
            go_on.wait(10)

    def load() -> None:
        try:
            results.append(manager.load_plugin(examples / "minimal" / "minimal.json5"))
        except ClosedError as error:
            results.append(error)

    manager.install(Slow())
    closer = threading.Thread(target=manager.close)
    closer.start()
    assert entered.wait(10)
    # Passes the first look at "closed" only if it comes before; so it has to look again.
    manager._closed = False
    loader = threading.Thread(target=load)
    loader.start()
    time.sleep(0.1)
    manager._closed = True
    go_on.set()
    closer.join(10)
    loader.join(10)
    assert isinstance(results[0], ClosedError)


def test_a_manager_that_is_thrown_away_unloads(compile_plugin, tmp_path) -> None:
    recorder = Recorder(compile_plugin, tmp_path)
    before = Footprint.now()
    manager = PluginManager()
    manager.load_plugin(recorder.config())
    broadcast = manager.broadcast
    gone = weakref.ref(manager)
    del manager
    gc.collect()
    assert gone() is None
    assert recorder.calls == ["load", "unload", "destroy"]
    with pytest.raises(ClosedError):
        broadcast(Block(b""))
    assert Footprint.now() == before


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise KeyboardInterrupt", -2),
        ("os.kill(os.getpid(), signal.SIGINT); time.sleep(5)", -2),
        ("1 / 0", 1),
    ],
)
def test_the_end_of_the_interpreter_unloads_in_reverse(compile_plugin, tmp_path, end, code) -> None:
    first = Recorder(compile_plugin, tmp_path, name="first", version="first")
    second = Recorder(compile_plugin, tmp_path, name="second", version="second")
    script = """
        import os, signal, sys, time
        from slipstream import PluginManager
        manager = PluginManager()
        for path in sys.argv[2:]:
            manager.load_plugin({"libpath": path, "log": sys.argv[1]})
        manager.block(b"", 1)
    """
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(script) + end,
            *map(str, (first.log, first.library, second.library)),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    order = [(line["call"], line.get("version")) for line in first.lines]
    assert [o for o in order if o[0] in {"unload", "destroy"}] == [
        ("unload", "second"),
        ("destroy", None),
        ("unload", "first"),
        ("destroy", None),
    ]
    assert copies_in(first.library.parent) == []


def test_ctrl_c_during_a_close_leaves_no_plugin_behind(compile_plugin, tmp_path) -> None:
    slow = Recorder(compile_plugin, tmp_path, name="slow")
    first = Recorder(compile_plugin, tmp_path, name="first")
    script = """
        import os, signal, sys, threading, time
        from slipstream import PluginManager
        manager = PluginManager()
        manager.load_plugin({"libpath": sys.argv[1], "log": sys.argv[2]})
        manager.load_plugin({"libpath": sys.argv[3], "log": sys.argv[4], "unload_ms": 600})
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            manager.close()
        except KeyboardInterrupt:
            print("interrupted")
        assert manager.list_plugins() == []
    """
    out = run_python(script, first.library, first.log, slow.library, slow.log)
    assert "interrupted" in out
    assert slow.calls == ["load", "unload", "destroy"]
    assert first.calls == ["load", "unload", "destroy"]


def test_a_forked_child_is_refused_and_does_nothing(compile_plugin, tmp_path) -> None:
    recorder = Recorder(compile_plugin, tmp_path, flags=EXPLICIT_ACK)
    script = """
        import gc, os, sys, threading, warnings
        from slipstream import Block, ClosedError, PluginManager
        from slipstream.testing import RecordingPlugin
        manager = PluginManager()
        plugin = manager.load_plugin({"libpath": sys.argv[1], "log": sys.argv[2]})
        stop = threading.Event()
        def fire():
            while not stop.is_set():
                manager.block(b"", 1)
        thread = threading.Thread(target=fire)
        thread.start()
        children = []
        for how in range(20):
            pid = os.fork()
            if pid == 0:
                calls = [
                    lambda: manager.has_subscribers(3),
                    lambda: manager.block(b"", 1),
                    lambda: manager.broadcast(Block(b"")),
                    lambda: manager.broadcast_many([Block(b"")]),
                    lambda: manager.broadcast_frames(b""),
                    lambda: manager.flush(),
                    lambda: manager.unload(),
                    lambda: manager.load_plugin({"libpath": sys.argv[1]}),
                    lambda: manager.install(RecordingPlugin()),
                    lambda: plugin.counters,
                    lambda: plugin.metrics,
                    lambda: plugin.state,
                ]
                refused = 0
                for call in calls:
                    try:
                        call()
                    except ClosedError as error:
                        refused += "belongs to the parent process" in str(error)
                manager.close()
                with manager:
                    pass
                if how % 2:
                    del manager, plugin, calls, call
                    gc.collect()
                os._exit(0 if refused == 12 else refused + 1) if how % 4 < 2 else sys.exit(
                    0 if refused == 12 else refused + 1)
            children.append(pid)
        codes = [os.waitpid(pid, 0)[1] for pid in children]
        stop.set()
        thread.join()
        assert codes == [0] * 20, codes
        manager.close()
    """
    run_python(script, recorder.library, recorder.log)
    assert recorder.calls.count("unload") == 1
    assert recorder.calls[-1] == "destroy"


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

    start = time.monotonic()
    manager.install(Meddler())
    assert errors == ["cannot install a plugin from inside of another load or unload"]
    assert time.monotonic() - start < 5


def test_control_does_not_wait_for_ever(compile_plugin, tmp_path) -> None:
    recorder = Recorder(compile_plugin, tmp_path, flags=0)
    with PluginManager(wait_timeout=0.3) as manager:
        manager.load_plugin(recorder.config(event_ms=1500))
        thread = threading.Thread(target=manager.block, args=(b"", 1))
        thread.start()
        time.sleep(0.2)
        with pytest.raises(PluginFailed, match="a broadcast is under way for more than 0.3"):
            manager.unload_plugin("recorder")
        assert manager.list_plugins() == ["recorder"]  # it can be tried again
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
    with pytest.raises(ConfigError, match="'loud' is no log level"):
        PluginManager(log_level="loud")
    with pytest.raises(ConfigError, match="default_mode 'fast' is no mode"):
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
        manager.load_plugin(slow.config(flush_ms=700))
        manager.load_plugin(bad.config(flush_status=-13))
        manager.broadcast_many(SOME)
        with pytest.raises(FlushTimeout) as caught:
            manager.flush(0.2)
        text = caught.value.message
        assert "slow (paused): acknowledged 0 of 5: flush did not return within 0.2" in text
        assert "bad (running): acknowledged 0 of 5: flush failed (IO (-13)): told to fail" in text
        # Calls must not overlap: nothing is delivered until the flush has returned.
        assert manager.plugins["slow"].reason == "its flush has not returned yet"
        manager.block(b"", 7)
        with pytest.raises(PluginFailed, match="has not returned yet"):
            manager.resume("slow")
        slow.wait_for("flush")
        time.sleep(0.05)
        manager.resume("slow")
        manager.unload_plugin("bad")
        manager.flush(5)
        assert manager.plugins["slow"].counters.acknowledged == 6
        assert manager.plugins["slow"].counters.lag == 0
        manager.pause("slow")
        with pytest.raises(FlushTimeout, match="it is paused"):
            manager.flush(5)
    assert [e["kind"] for e in slow.events][-1] == 5


def test_odd_timeouts(compile_plugin, tmp_path) -> None:
    recorder = Recorder(compile_plugin, tmp_path, flags=EXPLICIT_ACK)
    with PluginManager() as manager:
        manager.load_plugin(recorder.config())
        manager.flush(float("inf"))
        manager.flush(1e12)
        manager.unload_plugin("recorder", timeout=1e12)
    assert recorder.lines[-2]["timeout"] == 4_000_000_000


# ---- Cycles ----------------------------------------------------------------------------------------


def rss_kib() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


@pytest.mark.no_asan  # which keeps what is freed
@pytest.mark.timeout(600)
def test_many_loads_and_unloads_leave_nothing(examples) -> None:
    """1,000 cycles; SLIPSTREAM_LONG=1 makes it 10,000."""
    count = 10_000 if os.environ.get("SLIPSTREAM_LONG") else 1_000
    config = {"libpath": str(examples / "minimal" / "minimal.so")}
    with PluginManager(log_level="error") as manager, capture_logs() as logs:
        for _ in range(100):
            manager.load_plugin(config)
            manager.unload_plugin("minimal")
        gc.collect()
        before, memory = Footprint.now(), rss_kib()
        for i in range(count):
            plugin = manager.load_plugin(config)
            manager.block(b"", i)
            assert plugin.counters.delivered == 1
            manager.unload_plugin("minimal")
            assert mapped_copies() == set()
            logs.clear()
        gc.collect()
        assert Footprint.now() == before
        assert manager._pump.names == {}
        # A leak of one page a cycle would be 4,000 KiB.
        assert rss_kib() - memory < 1500
    assert instance_threads() == []


@pytest.mark.no_asan  # which keeps what is freed
def test_many_managers_leave_nothing() -> None:
    def one() -> None:
        with PluginManager() as manager:
            manager.install(RecordingPlugin())
            manager.block(b"x" * 100_000, 1)

    with capture_logs():
        for _ in range(5):
            one()
        gc.collect()
        before, memory = Footprint.now(), rss_kib()
        for _ in range(60):
            one()
        gc.collect()
    assert Footprint.now() == before
    assert rss_kib() - memory < 1500


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_handler_may_close(compile_plugin, tmp_path, signal_number) -> None:
    recorder = Recorder(compile_plugin, tmp_path)
    script = f"""
        import os, signal, sys, threading, time
        from slipstream import ClosedError, PluginManager
        manager = PluginManager()
        manager.load_plugin({{"libpath": sys.argv[1], "log": sys.argv[2]}})
        closed = []
        def handler(number, frame):
            # Within a broadcast the close is refused, between two it works.
            try:
                manager.close()
                closed.append(True)
            except Exception as error:
                again()
        def again():
            threading.Timer(0.05, os.kill, (os.getpid(), {int(signal_number)})).start()
        signal.signal({int(signal_number)}, handler)
        again()
        end = time.monotonic() + 20
        try:
            while time.monotonic() < end:
                manager.block(b"", 1)
        except ClosedError:
            print("closed", closed)
    """
    assert "closed [True]" in run_python(script, recorder.library, recorder.log)
    assert recorder.calls[-2:] == ["unload", "destroy"]


def test_multi_instance_instances_are_apart(compile_plugin, tmp_path) -> None:
    recorder = Recorder(compile_plugin, tmp_path, flags=MULTI)
    logs = [tmp_path / f"{i}.log" for i in range(3)]
    with PluginManager() as manager:
        for i, log in enumerate(logs):
            manager.load_plugin({**recorder.config(), "name": f"r{i}", "log": str(log)})
        manager.pause("r1")
        manager.broadcast_many(SOME)
        delivered = [p.counters.delivered for p in manager.plugins.values()]
        assert delivered == [5, 0, 5]
