"""`slipstream start` from its first line to its last: real processes, real signals."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from slipstream.streams import EventFile
from support.daemon import (
    Daemon,
    begin,
    config,
    connect,
    next_answer,
    open_to_others,
    reward,
    settled,
    until,
)

SLOW = r"""
#include <slipstream.h>
#include <stdlib.h>
#include <time.h>
SLIPSTREAM_INFO({"name": "slow", "version": "VERSION", "abi": 1, "kinds": ["STAKING_REWARD"]});
typedef struct { slipstream_plugin table; } slow;
static uint64_t kinds(void *self) {
    (void)self;
    return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_STAKING_REWARD);
}
static int32_t take(void *self, const slipstream_delivery *d, const uint8_t *f, size_t n) {
    struct timespec pause = {0, 1000 * 1000};
    (void)self, (void)d, (void)f, (void)n;
    nanosleep(&pause, NULL);
    return SLIPSTREAM_OK;
}
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    slow *self = malloc(sizeof *self);
    const slipstream_plugin t = {SLIPSTREAM_PLUGIN_HEAD, 0, self, "slow", "VERSION", free,
                                 NULL, NULL, kinds, take, NULL, NULL};
    (void)host;
    self->table = t;
    return &self->table;
}
"""


@pytest.fixture
def tally(examples: Path, tmp_path: Path) -> Path:
    return config(tmp_path, examples / "tally" / "tally.so")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "slipstream.cli", "start", *map(str, arguments)],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


# ---- Before anything runs ------------------------------------------------------------------------


def test_check_config_names_every_fault_at_once(tmp_path: Path, tally: Path) -> None:
    broken = tmp_path / "broken.json5"
    broken.write_text("{libpath: ")
    missing = config(tmp_path, tmp_path / "missing.so")
    done = run(
        "--insecure-paths", "--check-config", "--slipstream-config", broken, "--slipstream-config", missing,
        "--slipstream-config", tally, "--slipstream-config", tally, "--rest", "0.0.0.0:3030", "--nojwt",
        "--listen", "tcp:0.0.0.0:1", "--listen", "nowhere", "--jwt-secret", "c2hvcnQ=", "--loop",
        "--listen-group", "no such group", "--tls-cert", tmp_path / "cert", "--prover", "--rest-rps", "-1", "--cors-origin", "nonsense",
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    faults = [line.split(": ")[1] for line in done.stderr.splitlines() if line.startswith("error")]
    wanted = [str(broken), str(missing), str(tally), "--tls-cert", "--tls-cert", "--rest-rps"]
    wanted += ["--nojwt", "--cors-origin", "--jwt-secret", "--listen", "--listen", "--loop"]
    wanted += ["--prover", "--listen-group"]
    assert sorted(faults) == sorted(wanted)
    assert done.stderr.count("  next: ") == len(wanted)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--events", "/nowhere"], 2),
        (["--rest", "0.0.0.0:3030"], 2),
        (["--listen", "tcp:0.0.0.0:0"], 2),
        (["--network", "9"], 2),
        (["--listen", "unix:/run/s", "--listen-mode", "0666"], 2),
        (["--listen", "unix:/run/s", "--listen-mode", "u+w"], 2),
        (["--slipstream-config", "/nowhere.json5"], 3),
    ],
)
def test_faults_have_exit_codes(options: list[str], code: int, tmp_path: Path) -> None:
    assert run("--data-dir", tmp_path / "data", *options).returncode == code
    assert not (tmp_path / "data").exists()


def test_a_good_config_is_said_to_be_good(tally: Path) -> None:
    done = run("--check-config", "--insecure-paths", "--slipstream-config", tally, "--network", "1")
    assert (done.returncode, done.stdout) == (0, "nothing is wrong: 1 plugin\n")


def test_a_second_daemon_is_told_who_holds_the_folder_and_a_taken_port(tmp_path: Path) -> None:
    place = tmp_path / "p.sock"
    with Daemon(tmp_path, "--listen", f"unix:{place}", "--listen-group", os.getegid()) as daemon:
        daemon.ready()
        assert stat.S_IMODE(place.stat().st_mode) == 0o660
        second = run("--data-dir", tmp_path / "data", "--norest")
        assert second.returncode == 5
        assert f"process id {daemon.process.pid}" in second.stderr
        third = run("--data-dir", tmp_path / "other", "--norest", "--listen", f"unix:{place}")
        assert third.returncode == 5
        assert "somebody listens there already" in third.stderr
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            fourth = run("--data-dir", tmp_path / "other", "--rest", f"127.0.0.1:{port}")
        assert fourth.returncode == 5
        assert daemon.end() == 0
    assert not place.exists()


def test_what_a_killed_daemon_left_is_no_hindrance(tmp_path: Path, tally: Path) -> None:
    options = ("--slipstream-config", tally, "--listen", f"unix:{tmp_path}/p.sock")
    with Daemon(tmp_path, *options) as daemon:
        daemon.ready().kill()
    assert (tmp_path / "p.sock").is_socket()
    assert (tmp_path / "data" / "admin.sock").is_socket()
    for folder in ("plugins", "plugins/tally"):
        (tmp_path / "data" / folder).chmod(0o777)
    with Daemon(tmp_path, *options) as daemon:
        daemon.ready()
        begin(tmp_path / "p.sock", 7)[0].close()
        assert not open_to_others(tmp_path / "data")
        assert daemon.said("other users could look into a folder")
        assert daemon.end() == 0


def test_one_plugin_that_does_not_start_unloads_the_others(
    tmp_path: Path, tally: Path, examples: Path
) -> None:
    bad = config(tmp_path, examples / "ledger" / "ledger.so", database="/nowhere/at/all.db")
    with Daemon(tmp_path, "--slipstream-config", tally, "--slipstream-config", bad) as daemon:
        assert daemon.wait() == 3
        assert daemon.said("plugin unloaded")["plugin"] == "tally"
        assert not daemon.said("ready")
    assert not (tmp_path / "data" / "admin.sock").exists()


# ---- While it runs ----------------------------------------------------------------------------------


def test_it_tells_systemd_and_writes_a_token(tmp_path: Path, tally: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.bind(str(tmp_path / "notify"))
        service.settimeout(60)
        told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"}
        options = ("--slipstream-config", tally, "--rest", "127.0.0.1:0", "--events", "-")
        reader, writer = os.pipe()
        with Daemon(tmp_path, *options, env=told, stdin=reader) as daemon:
            os.close(reader)
            words = [service.recv(1000).decode().splitlines()[0] for _ in range(4)]
            assert words == ["READY=1", *["WATCHDOG=1"] * 3]
            token = tmp_path / "data" / "jwt_secret_operator.txt"
            assert token.stat().st_mode & 0o777 == 0o600
            url = daemon.said("ready")["rest"]
            import httpx

            names = "/mainnet/slipstream/plugins"
            bearer = {"Authorization": f"Bearer {token.read_text().strip()}"}
            assert httpx.get(url + names, headers=bearer).json() == ["tally"]
            assert httpx.get(url + names).status_code == 401
            local = httpx.HTTPTransport(uds=str(tmp_path / "data" / "admin.sock"))
            with httpx.Client(transport=local) as client:
                assert client.get("http://daemon" + names).json() == ["tally"]
            os.write(writer, b'{"kind": "Payload", "name_hex": "61", "body_hex": ""}\n')
            os.close(writer)
            assert daemon.wait_for("the source of events is at its end")["events"] == 1
            assert daemon.end() == 0
            assert token.read_text().strip() in daemon.out.decode()
        last = ""
        while "STOPPING=1" not in last:
            last = service.recv(1000).decode()


def test_the_watchdog_is_not_fed_while_events_are_stuck(tmp_path: Path, compile_plugin) -> None:
    stuck = SLOW.replace("VERSION", "2").replace("{0, 1000 * 1000}", "{60, 0}")
    slow = config(tmp_path, compile_plugin(stuck, name="slow"), mode="inline")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.bind(str(tmp_path / "notify"))
        service.settimeout(60)
        told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"}
        options = ("--slipstream-config", slow, "--listen", f"unix:{tmp_path}/p.sock")
        with Daemon(tmp_path, *options, env=told) as daemon:
            daemon.ready()
            made, _ = begin(tmp_path / "p.sock", 1)
            with made:
                assert "WATCHDOG=1" in [service.recv(100).decode() for _ in range(3)]
                made.sendall(reward(1, 1))
                service.settimeout(1.0)  # more than three times as long as between two of them
                with pytest.raises(TimeoutError):
                    for _ in range(1000):
                        service.recv(100)
            daemon.kill()


def test_sighup_with_one_broken_config_changes_nothing_but_its_own_line(
    tmp_path: Path, examples: Path
) -> None:
    first = config(tmp_path, examples / "tally" / "tally.so", name="first")
    second = config(tmp_path, examples / "tally" / "tally.so", name="second")
    third = config(tmp_path, examples / "tally" / "tally.so", name="third", enabled=False)
    files = [word for file in (first, second, third) for word in ("--slipstream-config", file)]
    with Daemon(tmp_path, *files, "--listen", f"unix:{tmp_path}/p.sock") as daemon:
        daemon.ready()
        good = first.read_text()
        first.write_text("{ this is broken")
        daemon.send(signal.SIGHUP)
        daemon.wait_for("the configs were read again")
        broken = [line for line in daemon.lines() if line["level"] == "error"]
        assert [line["config"] for line in broken] == [str(first)]
        assert not daemon.said("plugin reloaded")
        made, _ = begin(tmp_path / "p.sock", 1)  # both go on
        with made:
            made.sendall(reward(1, 1))
            settled(made, 1)
        # Mended, with another key; another is taken out, and one more comes in.
        first.write_text(good.replace("}", ', "max_mappings": 3}'))
        second.write_text(second.read_text().replace("}", ', "enabled": false}'))
        third.write_text(third.read_text().replace("false", "true"))
        daemon.send(signal.SIGHUP)
        said = daemon.wait_for("the configs were read again", 2)
        assert (said["reloaded"], said["loaded"], said["unloaded"], said["failed"]) == (1, 1, 1, 0)
        assert daemon.said("plugin reloaded")["plugin"] == "first"
        assert daemon.said("its config says enabled: false: unloaded")["level"] == "info"
        third.unlink()
        daemon.send(signal.SIGHUP)
        assert daemon.wait_for("the configs were read again", 3)["unloaded"] == 1
        said = daemon.said("its config file is missing: unloaded")
        assert (said["level"], said["plugin"], said["config"]) == ("warning", "third", str(third))
        assert daemon.end() == 0


def test_sigusr1_opens_the_log_file_anew(tmp_path: Path) -> None:
    log, moved = tmp_path / "daemon.log", tmp_path / "moved.log"
    with Daemon(tmp_path, "--log-file", log) as daemon:
        until(lambda: log.exists() and '"ready"' in log.read_text(), "ready")
        log.rename(moved)
        daemon.send(signal.SIGUSR1)
        until(log.exists, "a new file")
        assert daemon.end() == 0
        assert "ended" in log.read_text()
        assert "ended" not in moved.read_text()


def test_safe_mode_starts_every_plugin_paused(tmp_path: Path, tally: Path) -> None:
    options = ("--slipstream-config", tally, "--listen", f"unix:{tmp_path}/p.sock", "--safe-mode")
    with Daemon(tmp_path, *options, "--stop-timeout", 1) as daemon:
        daemon.ready()
        made, _ = begin(tmp_path / "p.sock", 1)
        with made:
            made.sendall(reward(1, 1))
            answer = next_answer(made)
            assert (answer.accepted, answer.settled) == (1, 0)
            assert daemon.end() == 0  # an unload delivers what is there
            assert settled(made, 1).settled == 1


# ---- The end ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("signals", [1, 2])
def test_sigterm_with_events_in_rings_leaves_each_acknowledged_or_undelivered(
    signals: int, tmp_path: Path, compile_plugin, tally: Path
) -> None:
    total = 100_000
    library = compile_plugin(SLOW.replace("VERSION", "1"), name="slow")
    slow = config(tmp_path, library, ring_bytes=64 << 20, unload_timeout=1)
    options = ("--slipstream-config", slow, "--slipstream-config", tally, "--stop-timeout", "1.5")
    if signals == 2:
        options = (*options[:-1], "60")
    place = f"unix:{tmp_path}/p.sock"
    with Daemon(tmp_path, *options, "--listen", place, umask=0) as daemon:
        daemon.ready()
        made, _ = begin(tmp_path / "p.sock", 9)
        with made:
            frame = reward(9, 1)
            at = 24
            for start in range(1, total, 1000):
                made.sendall(
                    b"".join(
                        frame[:at] + n.to_bytes(8, "little") + frame[at + 8 :]
                        for n in range(start, start + 1000)
                    )
                )
            answer = next_answer(made)
            while answer.accepted < total:
                answer = next_answer(made)
            assert answer.settled < total // 2  # they are in the ring
            daemon.send(signal.SIGTERM)
            if signals == 2:
                daemon.wait_for("stopping")
                daemon.send(signal.SIGTERM)
            assert daemon.wait() == 1
        last = daemon.lines()[-1]
        assert last["event"].startswith("ended")
    assert not open_to_others(tmp_path / "data")
    (left,) = (tmp_path / "data" / "plugins" / "slow").glob("undelivered-*.slip")
    with EventFile(left, on_warning=print) as file:
        sequences = [int.from_bytes(frame[24:32], "little") for frame in file]
    assert sequences == list(range(total - len(sequences) + 1, total + 1))
    assert last["undelivered"] == last["slow"] == len(sequences) > total // 2
    with Daemon(tmp_path, "--listen", f"unix:{tmp_path}/p.sock") as daemon:
        daemon.ready()
        with connect(tmp_path / "p.sock"):
            made, answer = begin(tmp_path / "p.sock", 9)
            made.close()
        # What is told to be settled is not among what was left.
        assert answer.settled == answer.accepted <= total - len(sequences)
        assert daemon.end() == 0


def test_a_file_that_breaks_ends_it_with_its_own_code(tmp_path: Path, tally: Path) -> None:
    file = tmp_path / "events.jsonl"
    lines = [json.dumps({"kind": "Payload", "name_hex": "61", "body_hex": ""}), "{broken"]
    file.write_text("\n".join(lines))
    with Daemon(tmp_path, "--slipstream-config", tally, "--events", file) as daemon:
        assert daemon.wait() == 4
        assert "line 2" in daemon.said("the source of events failed")["problem"]


def test_a_file_in_a_loop_goes_on_where_it_was(tmp_path: Path, examples: Path) -> None:
    file = examples / "streams" / "mainnet_derived_blocks_1_to_5.jsonl"
    ledger = config(
        tmp_path,
        examples / "ledger" / "ledger.so",
        database=str(tmp_path / "l.db"),
        commit_every=500,
    )
    options = ("--slipstream-config", ledger, "--events", file, "--loop", "--speed", "20000/s")
    import sqlite3

    def count() -> tuple[int, int]:
        with closing(sqlite3.connect(tmp_path / "l.db")) as made:
            one = "SELECT count(*), max(sequence) FROM"
            rewards = made.execute(f"{one} staking_rewards").fetchone()
            rest = made.execute(f"{one} mapping_history").fetchone()
        return rewards[0] + rest[0], max(rewards[1] or 0, rest[1] or 0)

    before = 0
    for _ in range(2):
        with Daemon(tmp_path, *options) as daemon:
            daemon.ready()
            until(lambda: count()[0] > before + 3000, "three passes")  # noqa: B023
            transport = httpx.HTTPTransport(uds=str(tmp_path / "data" / "admin.sock"))
            with httpx.Client(transport=transport, base_url="http://daemon") as client:
                metrics = client.get("/metrics").text
            repeated = re.search(
                r"^slipstream_source_repeated_events_total (\d+)", metrics, re.MULTILINE
            )
            # Of the pass that was under way, not all that was sent before.
            assert int(repeated[1]) == before % len(file.read_text().splitlines())
            assert daemon.end() == 0
        events, last = count()
        assert events == last  # without a hole, and nothing twice
        before = events


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; from slipstream import cli; sys.modules['uvicorn'] = None;"
        f"sys.exit(cli.main(['start', '--norest', '--data-dir', {str(tmp_path / 'data')!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "pip install 'slipstream[server]'" in done.stderr
    assert not (tmp_path / "data").exists()
