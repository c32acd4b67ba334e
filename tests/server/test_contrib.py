"""What contrib/ has for operators is held against what is served, and checked by its tools."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from slipstream.server import Metrics
from slipstream.server.metrics import SOURCE
from support.daemon import COMMAND
from support.toolbox import promtool

CONTRIB = Path(__file__).resolve().parents[2] / "contrib"
RULES = CONTRIB / "slipstream-alerts.yml"
UNIT = CONTRIB / "slipstream.service"
FIGURES = dict.fromkeys(SOURCE, 0)


@pytest.fixture
def served(manager, compile_plugin) -> set[str]:
    """The name of every sample of a host."""
    manager.load_plugin(
        {"libpath": str(compile_plugin("talker.c", name="talker")), "mode": "thread"}
    )
    metrics = Metrics(manager, figures=lambda: FIGURES)
    metrics._lines.counts["talker", "info"] += 1
    body = metrics()[0].decode()
    metrics.close()
    return set(re.findall(r"^(slipstream_\w+)[ {]", body, re.MULTILINE))


def expressions(kind: str) -> list[str]:
    if kind == "alerts":
        return re.findall(r"expr: (.*)", RULES.read_text())
    board = json.loads((CONTRIB / "slipstream-grafana.json").read_text())
    found = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return found + [one["query"] for one in board["templating"]["list"]]


@pytest.mark.parametrize("kind", ["alerts", "grafana"])
def test_only_metrics_that_exist_are_named(served, kind: str) -> None:
    named = {name for one in expressions(kind) for name in re.findall(r"slipstream_\w+", one)}
    assert len(named) > 8
    assert named <= served, named - served


def test_the_grafana_file_names_labels_that_exist(served) -> None:
    labels = {"plugin", "state", "result", "reason", "le", "level", "instance"}
    for one in expressions("grafana"):
        for group in re.findall(r"by \(([^)]*)\)", one):
            assert set(group.split(", ")) <= labels, one


def test_promtool_takes_the_rules() -> None:
    done = subprocess.run(
        [promtool(), "check", "rules", RULES],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    written = RULES.read_text(encoding="utf-8").count("- alert:")
    assert f"{written} rules found" in done.stdout


def test_systemd_takes_the_unit(tmp_path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("there is no systemd-analyze")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/slipstream/bin/slipstream", COMMAND))
    done = subprocess.run(
        [program, "verify", "--man=no", unit],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Other units of the machine are not ours.
    assert "slipstream.service" not in done.stderr, done.stderr


def test_the_unit_gives_options_that_there_are() -> None:
    words = re.search(r"^ExecStart=(.*)$", UNIT.read_text(), re.MULTILINE)[1].split()[1:]
    done = subprocess.run(
        [COMMAND, *words[:-1], "--check-config"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_unit_runs_only_what_every_system_has() -> None:
    """A small Debian has no /bin/kill, and a reload that needs one fails there."""
    programs = re.findall(r"^Exec\w+=(\S+)", UNIT.read_text(), re.MULTILINE)
    assert set(programs) == {"/opt/slipstream/bin/slipstream", "/bin/sh"}
