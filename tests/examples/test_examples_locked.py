"""The ledger on a database that somebody else holds: it asks for its events again, and loses none."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from examples_tools import EXAMPLES, make
from slipstream import Block, Mode, PluginManager
from support.gated import wait_until

# The ledger itself waits two seconds for a lock, so that each of these is several attempts.
SECONDS = 60.0 if os.environ.get("SLIPSTREAM_LONG") else 5.0
EVENTS = 300


@pytest.mark.parametrize("mode", [Mode.THREAD, Mode.PROCESS])
def test_it_catches_up_when_the_lock_is_gone(mode: Mode, tmp_path: Path) -> None:
    assert make("ledger/ledger.so").returncode == 0
    database = tmp_path / "ledger.db"
    config = {
        "libpath": str(EXAMPLES / "ledger" / "ledger.so"),
        "mode": mode,
        "database": str(database),
        "commit_every": 10,
    }
    with PluginManager(insecure_paths=True, data_dir=tmp_path / "data") as manager:
        plugin = manager.load_plugin(config)
        manager.broadcast(Block(b"first", 0))
        manager.flush(240)
        with closing(sqlite3.connect(database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for height in range(1, EVENTS):
                manager.broadcast(Block(b"block %d" % height, height))
            wait_until(lambda: "retrying" in plugin.status.reason, "it does not say that it waits")
            time.sleep(SECONDS)
            assert plugin.counters.delivered == 1
            other.execute("COMMIT")
        manager.flush(240)
        counters = plugin.counters
        assert (counters.delivered, counters.dead, counters.lost) == (EVENTS, 0, 0)
    with closing(sqlite3.connect(database)) as mine:
        tables = [name for (name,) in mine.execute("SELECT name FROM sqlite_master")]
        assert mine.execute("SELECT count(*) FROM blocks").fetchone() == (EVENTS,), tables
