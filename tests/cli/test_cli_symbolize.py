"""``slipstream symbolize``: the functions of a crash report, after the worker and its library."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from slipstream import PluginManager
from slipstream.check.symbols import name_of
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


def test_a_stripped_file_names_no_function_by_chance(compile_plugin, tmp_path) -> None:
    """The exported function that comes before an address has nothing to do with it."""
    library = compile_plugin(
        "#include <slipstream.h>\n"
        "__attribute__((noinline, used)) static int hidden(int n) { return n * 3; }\n"
        "SLIPSTREAM_EXPORT int exported(int n) { return hidden(n); }\n"
        "__attribute__((noinline, used)) static int after(int n) { return n * 7; }\n",
    )
    listed = subprocess.run(["nm", library], capture_output=True, text=True, check=True).stdout
    places = {
        line.split()[-1]: int(line.split()[0], 16) for line in listed.splitlines() if line[0] == "0"
    }
    offsets = {name: places[name] for name in ("exported", "hidden", "after")}
    assert {name: name_of(library, at).split()[0] for name, at in offsets.items()} == {
        name: name for name in offsets
    }
    stripped = Path(shutil.copy(library, tmp_path / "stripped.so"))
    subprocess.run(["strip", stripped], check=True)
    assert [name_of(stripped, at) for at in offsets.values()] == ["", "", ""]


def test_what_is_no_report_is_refused(command, tmp_path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text("[]")
    done = command("symbolize", wrong)
    assert done.returncode == 1
    assert f"{wrong} is not a crash report" in done.stderr
    done = command("symbolize", tmp_path / "none")
    assert "cannot read" in done.stderr
