"""The small hosts run the example plugins, and both send the same bytes."""

from __future__ import annotations

import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from examples_tools import EXAMPLES, ROOT, make

HOST_C = ROOT / "build" / "asan" / "examples" / "host-c"
HOST_RUST = EXAMPLES / "host-rust" / "target" / "release" / "host-rust"
HOSTS = {"c": HOST_C, "rust": HOST_RUST}
# The last ordinal: of everything that a plugin subscribes to, a GAP takes two.
PLUGINS = {"minimal": 3, "tally": 1008, "tally-rust": 1007, "ledger": 1006}


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    done = make("all", "../build/asan/examples/host-c")
    assert done.returncode == 0, done.stderr


def play(host: str, plugin: str, *config: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a plugin in a host; the config is KEY=VALUE."""
    library = EXAMPLES / plugin / f"{plugin}.so"
    for file in (HOSTS[host], library):
        if not file.exists():
            pytest.skip(f"{file.name} is not built: no cargo here")
    command = [str(HOSTS[host]), str(library), *config]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )


def config_of(plugin: str) -> list[str]:
    return ["database=ledger.db", "commit_every=100"] if plugin == "ledger" else []


@pytest.mark.parametrize("plugin", PLUGINS)
@pytest.mark.parametrize("host", HOSTS)
def test_a_plugin_runs_in_a_small_host(host: str, plugin: str, tmp_path: Path) -> None:
    done = play(host, plugin, *config_of(plugin), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    last = PLUGINS[plugin]
    assert done.stdout == f"{plugin} 1.0.0: last ordinal {last}, acknowledged {last}, rejected 0\n"


@pytest.mark.parametrize("plugin", PLUGINS)
def test_both_hosts_send_the_same(plugin: str, tmp_path: Path) -> None:
    said = []
    for host in HOSTS:
        folder = tmp_path / host
        folder.mkdir()
        done = play(host, plugin, *config_of(plugin), folder=folder)
        said.append(done.stderr.replace(str(folder), "FOLDER"))
        if plugin == "ledger":
            with closing(sqlite3.connect(folder / "ledger.db")) as database:
                dump = "\n".join(database.iterdump())
            said[-1] += re.sub(r"\b\d{19}\b", "TIME", dump)
    assert said[0] == said[1]


@pytest.mark.parametrize("host", HOSTS)
def test_what_a_plugin_refuses_is_said(host: str, tmp_path: Path) -> None:
    done = play(host, "ledger", "database=x.db", "commit_every=0", folder=tmp_path)
    assert done.returncode == 1
    assert "on_load: status -6" in done.stderr
    assert "commit_every" in done.stderr
    for wrong in (["no-pair"], ['quote="'], ["back\\slash=1"]):
        assert play(host, "tally", *wrong, folder=tmp_path).returncode == 2


def test_they_share_no_code_with_the_core() -> None:
    sources = [*(EXAMPLES / "host-c").glob("*.[ch]"), *(EXAMPLES / "host-rust").rglob("src/*.rs")]
    assert len(sources) > 5
    for source in sources:
        included = set(re.findall(r'#include [<"]([^>"]+)', source.read_text(encoding="utf-8")))
        assert not any("/" in name for name in included), source
