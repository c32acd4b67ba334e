"""The config's `unload_timeout` bounds an unload, whoever asks for it."""

from __future__ import annotations

import pytest

from slipstream import PluginManager
from support.logs import capture_logs
from support.recorded import Recorder


@pytest.mark.parametrize("mode", ["inline", "thread", "process"])
@pytest.mark.parametrize("way", ["unload_plugin", "unload", "end of with"])
def test_an_unload_that_hangs_ends_when_the_config_says(
    compile_plugin, tmp_path, mode, way
) -> None:
    recorder = Recorder(compile_plugin, tmp_path)
    recorder.hold("unload")
    try:
        with capture_logs() as logs, PluginManager(mode, insecure_paths=True) as manager:
            manager.load_plugin(recorder.held_config(unload_timeout=0.3))
            if way == "unload_plugin":
                manager.unload_plugin("recorder")
            elif way == "unload":
                manager.unload()
    finally:
        recorder.release("unload")
    problem = next(str(line["problem"]) for line in logs if "problem" in line)
    said = (
        "on_unload took longer than unload_timeout" if mode == "process" else "within 0.3 seconds"
    )
    assert said in problem
