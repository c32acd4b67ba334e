"""``slipstream symbolize``: the functions of a crash report, after the worker and its library."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from slipstream import PluginManager
from support.oracle import Oracle
from support.oracle import command as to_do
from support.workers import one_report, wait


@pytest.fixture
def crashed(compile_plugin, tmp_path) -> Path:
    """A plugin's folder with a report; its library is not what it was."""
    oracle = Oracle(compile_plugin, tmp_path)
    with PluginManager(insecure_paths=True, data_dir=tmp_path / "data") as manager:
        plugin = manager.load_plugin(oracle.config())
        manager.broadcast(to_do("segv", 1))
        wait(lambda: plugin.delivery.reports)
        assert one_report(manager, plugin).file is not None
    return tmp_path / "data" / "oracle"


def test_functions_and_lines_are_named(command, crashed) -> None:
    (report,) = crashed.glob("crash-*.json")
    kept = json.loads(report.read_text())
    assert not Path(kept["copy"]).exists()
    assert Path(kept["library"]).parent == crashed
    done = command("symbolize", report)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "oracle: died of signal 11 (Segmentation fault)"
    assert lines[1].startswith("on thread ")
    assert lines[2].startswith("#0   oracle_write_to_null at ")
    assert "oracle.c:" in lines[2]
    assert any(line.split()[1:2] == ["on_broadcast"] for line in lines), done.stdout


def test_the_library_is_kept_as_long_as_a_report_names_it(crashed, compile_plugin) -> None:
    (first,) = crashed.glob("crash-*.json")
    old = Path(json.loads(first.read_text())["library"])
    for left in (True, False):
        if not left:
            first.unlink()
        other = Oracle(compile_plugin, crashed, f"-DOTHER={left:d}", version=f"{left:d}")
        with PluginManager(insecure_paths=True, data_dir=crashed.parent) as manager:
            plugin = manager.load_plugin(other.config())
            os.kill(plugin.pid, 9)
            wait(lambda p=plugin: p.delivery.reports)
        assert old.exists() == left


def test_what_is_no_report_is_refused(command, tmp_path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text("[]")
    done = command("symbolize", wrong)
    assert done.returncode == 1
    assert f"{wrong} is not a crash report" in done.stderr
    done = command("symbolize", tmp_path / "none")
    assert "cannot read" in done.stderr
