"""Thread mode: callbacks that do not return."""

from __future__ import annotations

import pytest

from slipstream import FlushTimeout, PluginFailed, PluginManager
from support.gated import Gated, wait_until
from support.logs import capture_logs
from support.process_tools import mapped_copies, run_python
from support.recorded import EXPLICIT_ACK, Recorder
from support.rings import THREAD, small


def test_a_stuck_callback(compile_plugin, tmp_path) -> None:
    gated = Gated(compile_plugin, tmp_path)
    gated.let_pass(0)
    with PluginManager(insecure_paths=True) as manager:
        config = gated.config(**THREAD, callback_timeout=0.2, unload_timeout=0.3)
        plugin = manager.load_plugin(config)
        for height in range(1, 4):
            manager.broadcast(small(height))
        gated.wait_at_gate()
        wait_until(lambda: str(plugin.state) == "failed", "nobody sees that it is stuck")
        assert "stuck" in plugin.reason
        with pytest.raises(FlushTimeout, match=r"gated \(failed\): acknowledged 0 of 3.*stuck"):
            manager.flush(240)
        with pytest.raises(PluginFailed, match="stuck in a callback"):
            manager.reload_plugin("gated", config)
        with capture_logs() as logs:
            manager.unload_plugin("gated", 0.5)
        problem = next(line["problem"] for line in logs if "problem" in line)
        assert "did not return" in problem
        assert "3 events were not acknowledged" in problem
        assert str(plugin.state) == "unloaded"
        assert plugin.counters.accepted == 3
        gated.open()  # it returns after all: then it is unloaded
        wait_until(lambda: gated.of("unload"), "it was not unloaded")
        wait_until(lambda: mapped_copies() == set(), "it was not unmapped")


def test_a_stuck_callback_that_returns_goes_on(manager, compile_plugin, tmp_path) -> None:
    gated = Gated(compile_plugin, tmp_path)
    gated.let_pass(0)
    config = gated.config(**THREAD, callback_timeout=0.2, unload_timeout=60)
    plugin = manager.load_plugin(config)
    for height in range(1, 4):
        manager.broadcast(small(height))
    gated.wait_at_gate()
    with pytest.raises(PluginFailed, match="stuck in a callback"):
        manager.reload_plugin("gated", config)
    gated.open()
    manager.broadcast(small(4))
    wait_until(lambda: plugin.counters.acknowledged == 4, "it does not go on")
    assert str(plugin.state) == "running"
    assert gated.order == [1, 2, 3, 4]
    manager.reload_plugin("gated", config)
    manager.broadcast(small(5))
    manager.flush(240)
    assert gated.order == [1, 2, 3, 4, 5]


def test_the_log_tells_of_a_stuck_callback(manager, compile_plugin, tmp_path) -> None:
    gated = Gated(compile_plugin, tmp_path)
    gated.let_pass(0)
    with capture_logs() as logs:
        manager.load_plugin(gated.config(**THREAD, callback_timeout=0.2))
        manager.broadcast(small(1))
        wait_until(lambda: any("is stuck" in line["event"] for line in logs), "not told")
        gated.open()
        wait_until(lambda: "plugin is not stuck any more" in [line["event"] for line in logs], "")
    text = "plugin is stuck: a callback takes longer than callback_timeout (0.2 s), ordinal 1"
    told = [(line["event"], line["plugin"], line["log_level"]) for line in logs]
    assert told.count((text, "gated", "error")) == 1
    assert told.count(("plugin is not stuck any more", "gated", "warning")) == 1


def test_the_log_tells_of_a_stuck_flush(manager, compile_plugin, tmp_path) -> None:
    recorder = Recorder(compile_plugin, tmp_path, flags=EXPLICIT_ACK)
    recorder.hold("flush")
    with capture_logs() as logs:
        config = recorder.held_config(mode="thread", callback_timeout=0.1, flush_interval=0.01)
        plugin = manager.load_plugin(config)
        manager.broadcast(small(1))
        recorder.wait_until_held("flush")
        wait_until(lambda: str(plugin.state) == "failed", "nobody sees that it is stuck")
        assert "stuck" in plugin.reason
        text = "stuck: flush takes longer than callback_timeout and a second (1.1 s), ordinal 1"
        told = lambda: [line["event"] for line in logs].count(f"plugin is {text}")  # noqa: E731
        wait_until(told, "the log does not tell")
        recorder.release("flush")
        wait_until(lambda: str(plugin.state) == "running", "it does not go on")
        manager.flush(240)
    assert told() == 1


STUCK_AT_EXIT = """
import sys
from pathlib import Path
from slipstream import Block, PluginManager
library, folder = sys.argv[1], Path(sys.argv[2])
(folder / "gate").write_text("0")
manager = PluginManager(insecure_paths=True)
manager.load_plugin({"libpath": library, "mode": "thread", "log": str(folder / "log"),
    "gate": str(folder / "gate"), "waiting": str(folder / "waiting"), "callback_timeout": 0.1})
manager.broadcast(Block(b"", 1))
while not (folder / "waiting").exists():
    pass
if sys.argv[3] == "unload":
    manager.unload_plugin("gated", 0.3)
print("bye")
"""


@pytest.mark.parametrize("how", ["unload", "leave it"])
def test_the_interpreter_ends_although_a_callback_is_stuck(compile_plugin, tmp_path, how) -> None:
    gated = Gated(compile_plugin, tmp_path)
    done = run_python(STUCK_AT_EXIT, gated.library, tmp_path, how)
    assert done.returncode == 0, done.stderr
    assert "bye" in done.stdout
