"""`kill -9` of the daemon while a producer keeps what is not settled: nothing is lost or twice."""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path

from support.daemon import Daemon, Keeper, config, until

KILLS = int(os.environ.get("SLIPSTREAM_KILLS", "3"))
EACH = 2000  # events for each life
STREAM = 0xFEED


def test_a_producer_that_keeps_what_is_not_settled_loses_nothing(
    examples: Path, tmp_path: Path
) -> None:
    database = tmp_path / "ledger.db"
    ledger = config(
        tmp_path,
        examples / "ledger" / "ledger.so",
        database=str(database),
        commit_every=300,
        commit_interval_ms=50,
        flush_interval=0.1,
    )
    tally = config(tmp_path, examples / "tally" / "tally.so")
    place = tmp_path / "node.sock"
    total = (KILLS + 1) * EACH
    keeper = Keeper(place, STREAM, total)
    keeper.start()
    chance = random.Random(7)
    options = (
        "--slipstream-config",
        ledger,
        "--slipstream-config",
        tally,
        "--listen",
        f"unix:{place}",
    )
    for _ in range(KILLS):
        with Daemon(tmp_path, *options) as daemon:
            daemon.ready()
            wanted = min(keeper.settled + chance.randrange(1, EACH), total - 1)
            until(lambda: keeper.settled >= wanted or keeper.problem, "settled")  # noqa: B023
            daemon.kill()
        assert keeper.problem == ""
        assert not list(tmp_path.glob("data/plugins/*/undelivered*"))
    with Daemon(tmp_path, *options) as daemon:
        daemon.ready()
        until(lambda: keeper.settled == total or keeper.problem, "all is settled")
        assert keeper.problem == ""
        assert daemon.end() == 0
    keeper.join(10)
    with closing(sqlite3.connect(database)) as opened:
        rows = opened.execute(
            "SELECT count(*), count(DISTINCT sequence), min(sequence), max(sequence), sum(reward)"
            " FROM staking_rewards"
        )
        assert rows.fetchone() == (total, total, 1, total, total * (total + 1) // 2)
    print(f"{KILLS} kills, {total} events, {keeper.connections} connections")
