"""The example for PostgreSQL, against a server that is stopped, killed, frozen and changed."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slipstream import PluginManager
from slipstream.check.given import subject_of
from slipstream.check.suite import explore, run_checks
from slipstream.errors import PluginFailed, PluginStartError
from slipstream.events import (
    Block,
    Event,
    Gap,
    GapReason,
    MappingRemoval,
    MappingUpdate,
    Meta,
    StakingReward,
)
from slipstream.testing import FakeHost, LoadReason
from support.calling import until
from support.gated import wait_until
from support.letters import letters_in
from support.making import run_make
from support.postgres import Server

EVENTS = 1_000_000 if os.environ.get("SLIPSTREAM_LONG") else 100_000
KEYS = 5_000
PROGRAM, MAPPING = b"\x07credits\x04aleo", b"\x07account"
CHECKED = ("contract.reject", "events.no-nul", "events.repeated", "events.run", "events.run-undone")
TABLES = ("mapping_history", "mapping_state", "staking_rewards", "blocks", "gaps")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as made:
        yield made


@pytest.fixture(scope="module")
def library(server: Server) -> Path:
    folder = Path(__file__).resolve().parents[2] / "examples"
    done = run_make(folder, "-s", "postgres/postgres.so")
    assert done is not None
    assert done.returncode == 0, done.stderr
    if "skipped" in done.stdout:
        pytest.skip(done.stdout.strip())
    return folder / "postgres" / "postgres.so"


@pytest.fixture
def host(server: Server, library: Path) -> Iterator[Callable[..., FakeHost]]:
    """``host(**keys)``: the plugin in a schema that nobody has used."""
    server.ask("DROP SCHEMA IF EXISTS slipstream CASCADE")
    made: list[FakeHost] = []

    def make(**keys: object) -> FakeHost:
        made.append(FakeHost(library, {"conninfo": server.conninfo, **keys}))
        return made[-1]

    yield make
    for one in made:
        one.close()
    clients = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    wait_until(lambda: server.number(clients) == 1, "a connection is left")


def update(key: bytes, value: bytes, sequence: int = 0, stream: int = 1) -> MappingUpdate:
    meta = Meta(stream=stream, sequence=sequence) if sequence else Meta()
    return MappingUpdate(PROGRAM, MAPPING, key, value, 7, meta=meta)


def rows(
    server: Server, table: str = "mapping_state", columns: str = "key, value"
) -> list[list[str]]:
    return server.ask(f"SELECT {columns} FROM slipstream.{table} ORDER BY sequence")


def as_hex(*values: bytes) -> list[str]:
    return ["\\x" + value.hex() if value else "" for value in values]


def test_each_kind_has_its_table(server: Server, host) -> None:
    gap = Gap(
        GapReason.PAUSED,
        *(5, 7, 3, 1),
        lost_stream=9,
        first_sequence=4,
        last_sequence=6,
    )
    with host() as h:
        assert h.deliver(
            update(b"k1", b"a"),
            update(b"k1", b"b"),
            StakingReward(b"s" * 32, b"plain", 2**64 - 1, 7, 3),
            Block(b"the block", 9),
        ).ok
        assert h.deliver(gap).ok
        assert h.acknowledged == 0
        h.flush()
        assert h.acknowledged == 5
        assert not h.misbehaviour
    assert rows(server) == [as_hex(b"k1", b"b")]
    assert rows(server, "mapping_history", "program, mapping, height, value") == [
        ["credits.aleo", "account", "7", *as_hex(b"a")],
        ["credits.aleo", "account", "7", *as_hex(b"b")],
    ]
    (reward,) = rows(server, "staking_rewards", "staker, validator, reward, new_stake, height")
    assert reward[0].startswith("aleo1")
    assert reward[1:] == ["plain", str(2**64 - 1), "7", "3"]
    assert rows(server, "blocks", "height, block") == [["9", *as_hex(b"the block")]]
    assert server.ask(
        "SELECT count, lost_stream, first_sequence, last_sequence FROM slipstream.gaps"
    ) == [["3", "9", "4", "6"]]


def test_removals_come_in_their_place(server: Server, host) -> None:
    run = [update(b"k%d" % i, b"v") for i in range(4)]
    run[2:2] = [MappingRemoval(PROGRAM, MAPPING, b"k0"), MappingRemoval(PROGRAM, MAPPING, None)]
    with host() as h:
        assert h.deliver(*run, MappingRemoval(PROGRAM, MAPPING, b"k3")).ok
        h.flush()
    values = dict(tuple(row) for row in rows(server))
    assert list(values) == as_hex(b"k0", b"k1", b"k2", b"k3")
    assert [key for key, value in values.items() if value] == as_hex(b"k2")


def test_what_comes_again_or_late_changes_nothing(server: Server, host) -> None:
    events: list[Event] = [
        update(b"k", b"new", 5),
        StakingReward(b"a", b"b", 1, 2, meta=Meta(stream=1, sequence=6)),
        Block(b"b", 1, meta=Meta(stream=1, sequence=7)),
        update(b"big" * 5000, b"x", 8),
    ]
    with host(batch_size=4) as h:
        assert h.deliver(*events).ok
        assert h.deliver(*events, attempt=2, first_ordinal=1).ok
        assert h.deliver(*events, events[0], attempt=2, first_ordinal=1).ok
        assert h.deliver(update(b"k", b"old", 4)).ok  # a dead letter that is delivered again
        h.flush()
    assert rows(server)[0] == as_hex(b"k", b"new")
    counts = [server.number(f"SELECT count(*) FROM slipstream.{table}") for table in TABLES]
    assert counts == [3, 2, 1, 1, 0]


def test_names_are_quoted_and_what_is_there_is_used(
    server: Server, library: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "conninfo"
    secret.write_text(server.conninfo + "\n")
    secret.chmod(0o600)
    keys = {
        "conninfo": f"file://{secret}",
        "schema": 'A "schema"; DROP TABLE x',
        "tables": {"blocks": "bl'ock\\s", "gaps": "select"},
    }
    for count in (1, 2):
        with FakeHost(library, keys) as h:
            assert h.deliver(Block(b"b", 1, meta=Meta(stream=1, sequence=count))).ok
            h.flush()
    names = server.ask(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'A \"schema\"; DROP TABLE x' ORDER BY 1"
    )
    assert [name for (name,) in names] == sorted(
        ["bl'ock\\s", "mapping_history", "mapping_state", "select", "staking_rewards"]
    )
    assert server.number('SELECT count(*) FROM "A ""schema""; DROP TABLE x"."bl\'ock\\s"') == 2


@pytest.mark.parametrize(
    ("keys", "status", "words"),
    [
        ({"conninfo": "host=/nowhere/at/all"}, "IO", "No such file or directory"),
        ({"conninfo": "hots=x"}, "INVALID_CONFIG", 'invalid connection option "hots"'),
        (
            {"conninfo": "{conninfo} user=locked password=wrong"},
            "DENIED",
            "password authentication failed",
        ),
        ({"conninfo": "{conninfo} dbname=other"}, "NOT_FOUND", 'database "other" does not exist'),
        ({"conninfo": "{conninfo} user=locked password=right"}, "DENIED", "permission denied"),
        ({"schema": "other_shape"}, "IO", 'column "stream" of relation "blocks" does not'),
    ],
)
def test_a_load_says_what_is_wrong(
    server: Server, library: Path, keys, status: str, words: str
) -> None:
    server.ask(
        "DO $$ BEGIN CREATE ROLE locked LOGIN PASSWORD 'right'; EXCEPTION WHEN duplicate_object THEN END $$; CREATE SCHEMA IF NOT EXISTS other_shape; CREATE TABLE IF NOT EXISTS other_shape.blocks (id int)"
    )
    keys = {"conninfo": server.conninfo, "schema": "denied", **keys}
    keys["conninfo"] = keys["conninfo"].format(conninfo=server.conninfo)
    with pytest.raises(PluginStartError) as failure:
        FakeHost(library, keys).load()
    assert f"({status} (" in str(failure.value)
    assert words in str(failure.value)
    assert "wrong" not in str(failure.value).replace("what is wrong", "")


def test_what_the_server_refuses_is_a_dead_letter_and_the_rest_is_written(
    server: Server, library: Path, tmp_path: Path
) -> None:
    keys = {"libpath": str(library), "conninfo": server.conninfo, "batch_size": 100}
    with PluginManager("thread", insecure_paths=True, data_dir=tmp_path / "data") as manager:
        plugin = manager.load_plugin({**keys, "schema": "fussy"})
        server.ask(
            "ALTER TABLE fussy.blocks ADD CHECK (height <> 13);"
            "CREATE FUNCTION fussy.late() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'too late'; END $$;"
            "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON fussy.blocks DEFERRABLE INITIALLY"
            " DEFERRED FOR EACH ROW WHEN (NEW.height = 66) EXECUTE FUNCTION fussy.late()"
        )
        for height in range(200):
            manager.block(b"b", height)
        manager.flush()
        assert (plugin.counters.delivered, plugin.counters.dead) == (198, 2)
        assert plugin.counters.dead_unkept == 0
    letters = letters_in(tmp_path / "data" / "postgres" / "dead-letters.slip")
    assert [letter.event.block_height for letter in letters] == [13, 66]
    assert "check constraint" in letters[0].why["text"]
    assert "too late" in letters[1].why["text"]
    heights = server.ask("SELECT height FROM fussy.blocks ORDER BY sequence")
    assert [int(row[0]) for row in heights] == [h for h in range(200) if h not in {13, 66}]


def test_a_full_disk_is_waited_for_and_a_dropped_table_is_made_anew(server: Server, host) -> None:
    with host() as h:
        server.ask(
            "CREATE FUNCTION slipstream.full_disk() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;"
            "CREATE TRIGGER t BEFORE INSERT ON slipstream.blocks EXECUTE FUNCTION slipstream.full_disk()"
        )
        assert h.deliver(Block(b"b", 1)).ok
        for _ in range(2):
            with pytest.raises(PluginFailed, match=r"RETRY.*could not extend file"):
                h.flush()
        server.ask("DROP TRIGGER t ON slipstream.blocks")
        h.flush()
        server.ask("DROP TABLE slipstream.blocks")
        assert h.deliver(Block(b"b", 2)).ok
        with pytest.raises(PluginFailed, match='relation "slipstream.blocks" does not exist'):
            h.flush()
        h.flush()
        told = [line.text for line in h.logs]
    assert rows(server, "blocks", "height") == [["2"]]
    assert sum("could not extend file" in text for text in told) == 1
    assert sum("takes events again" in text for text in told) == 2


def test_a_frozen_server_holds_nobody_up(server: Server, host) -> None:
    with host(batch_size=1, statement_timeout_ms=100) as h:
        backend = server.number(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'slipstream'"
        )
        os.kill(backend, signal.SIGSTOP)
        try:
            begin = time.monotonic()
            assert h.deliver(Block(b"b", 1)).name.startswith("RETRY")
            assert time.monotonic() - begin < 30
        finally:
            os.kill(backend, signal.SIGCONT)
        assert h.deliver(
            Block(b"b", 1, meta=Meta(stream=1, sequence=1)), attempt=2, first_ordinal=1
        ).ok
    assert server.number("SELECT count(*) FROM slipstream.blocks") == 1


def test_after_a_crash_a_server_that_is_away_is_waited_for(server: Server, host) -> None:
    h = host(conninfo=server.conninfo)
    server.stop()
    try:
        h.load(LoadReason.RESTART)
        assert h.deliver(Block(b"b", 1)).ok
        with pytest.raises(PluginFailed, match=r"RETRY.*cannot connect"):
            h.flush()
    finally:
        server.start()
    h.flush()
    assert h.unload() == ""


def test_nothing_is_missing_or_doubled_whoever_is_killed(
    server: Server, library: Path, tmp_path: Path
) -> None:
    """The server is stopped 15 times, some as by a crash, the worker killed 15 times."""
    randomly = random.Random(7)
    with PluginManager("process", insecure_paths=True, data_dir=tmp_path / "data") as manager:
        plugin = manager.load_plugin(
            {
                "libpath": str(library),
                "conninfo": server.conninfo,
                "schema": "torture",
                "batch_size": 500,
                "ring_bytes": 1 << (EVENTS * 160).bit_length(),
                "restart": {"initial_delay": 0.01, "max_delay": 0.1, "max_crashes": 1000},
                "retry": {"initial_delay": 0.01, "max_delay": 0.1},
            }
        )
        for i in range(EVENTS):
            manager.mapping_update(PROGRAM, MAPPING, b"key%d" % (i % KEYS), b"value%d" % i, i)
        for i in range(20):
            goal = (i + randomly.random()) * EVENTS / 21
            until(lambda goal=goal: plugin.counters.delivered >= goal, 120)
            if i % 4 != 1:
                server.stop(signal.SIGQUIT if i % 4 == 3 else signal.SIGINT)
            if i % 4 != 3:  # also while it has what the server could not take
                worker = until(lambda: plugin.pid, 120)  # it may be about to come back
                os.kill(worker, signal.SIGKILL)
            if i % 4 != 1:
                server.start()
        manager.flush(300)
        assert (plugin.counters.delivered, plugin.counters.dead) == (EVENTS, 0)
        assert len(plugin.delivery.reports) == 15
    assert server.ask(
        "SELECT count(*), count(DISTINCT sequence), min(height), max(height),"
        " count(*) FILTER (WHERE value <> convert_to('value' || height, 'UTF8'))"
        " FROM torture.mapping_history"
    ) == [[str(EVENTS), str(EVENTS), "0", str(EVENTS - 1), "0"]]
    assert server.ask(
        f"SELECT count(*), min(height) FROM torture.mapping_state"
        f" WHERE value = convert_to('value' || height, 'UTF8') AND height >= {EVENTS - KEYS}"
    ) == [[str(KEYS), str(EVENTS - KEYS)]]


def test_keeps_the_contract(server: Server, library: Path, tmp_path: Path) -> None:
    config = tmp_path / "postgres.json5"
    keys = {"libpath": str(library), "conninfo": server.conninfo, "schema": "checked"}
    config.write_text(json.dumps(keys))
    subject = subject_of(config)
    explore(subject)
    results = list(run_checks(subject, CHECKED, jobs=2))
    assert {r.check.id: str(r.verdict) for r in results} == dict.fromkeys(CHECKED, "pass")
