"""`slipstream start` at three in the morning: signals at the wrong time, full disks, lost folders."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from slipstream.errors import SlipstreamError
from slipstream.server.data_dir import usual_folder
from slipstream.server.sources.addresses import Address, CannotBind, unbind
from slipstream.server.sources.kept import Streams
from slipstream.server.sources.wire import HEADER, read_answer
from support.daemon import SECONDS, Daemon, begin, config, reward, until

SLOW = r"""
#include <slipstream.h>
#include <time.h>
static int32_t load(void *self, const char *config, size_t size, uint32_t reason) {
    struct timespec pause = {SECONDS, 500 * 1000 * 1000};
    (void)self, (void)config, (void)size, (void)reason;
    nanosleep(&pause, NULL);
    return SLIPSTREAM_OK;
}
static void destroy(void *self) { (void)self; }
static uint64_t kinds(void *self) { (void)self; return 0; }
static int32_t take(void *self, const slipstream_delivery *d, const uint8_t *f, size_t n) {
    (void)self, (void)d, (void)f, (void)n;
    return SLIPSTREAM_OK;
}
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    static const slipstream_plugin table = {SLIPSTREAM_PLUGIN_HEAD, 0, NULL, "slow", "1", destroy,
                                            load, NULL, kinds, take, NULL, NULL};
    (void)host;
    return &table;
}
"""


@pytest.fixture
def tally(examples: Path, tmp_path: Path) -> Path:
    return config(tmp_path, examples / "tally" / "tally.so")


def test_signals_while_it_loads_and_a_storm_of_them(
    tmp_path: Path, tally: Path, compile_plugin
) -> None:
    library = compile_plugin(SLOW, "-DSECONDS=1", name="slow")
    slow = config(tmp_path, library, name="slow")
    options = ("--slipstream-config", slow, "--slipstream-config", tally)
    with Daemon(tmp_path, *options) as daemon:
        until((tmp_path / "data" / "plugins" / "slow").exists, "the begin of the load")
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGHUP):
            daemon.send(number)
        daemon.ready()
        first = daemon.wait_for("the configs were read again")
        assert (first["as_before"], first["failed"]) == (2, 0), first
        config(tmp_path, library, name="slow", changed=True)
        for _ in range(300):  # while the first loads for 1.5 s
            daemon.send(signal.SIGHUP)
            time.sleep(0.001)
        daemon.wait_for("the configs were read again", times=3)
        assert daemon.end() == 0
        read = [line for line in daemon.lines() if "read again" in line["event"]]
        assert len(read) == 3, "one look is enough for however many signals"
        assert not [line for line in daemon.lines() if line["level"] == "error"]


@pytest.mark.parametrize("mode", ["process", "thread"])
def test_a_second_sigterm_gives_up_a_load_that_hangs(
    mode: str, tmp_path: Path, tally: Path, compile_plugin
) -> None:
    library = compile_plugin(SLOW, "-DSECONDS=3600", name="hangs")
    slow = config(tmp_path, library, name="hangs", mode=mode, load_timeout=3600, unload_timeout=600)
    with Daemon(
        tmp_path, "--slipstream-config", tally, "--slipstream-config", slow, "--stop-timeout", 600
    ) as daemon:
        until((tmp_path / "data" / "plugins" / "hangs").exists, "the begin of the load")
        daemon.send(signal.SIGTERM)
        daemon.wait_for("a second signal hurries")
        assert daemon.end() == 0
        assert daemon.said("a plugin was not loaded")
        assert daemon.said("plugin unloaded")["plugin"] == "tally"
        assert not daemon.said("ready")


@pytest.mark.parametrize("what", ["streams", "record"])
def test_a_full_disk_is_told_and_holds_up_no_end(what: str, tmp_path: Path, tally: Path) -> None:
    (tmp_path / "data").mkdir()
    streams = Streams(tmp_path / "data" / "streams")
    streams.keep([(number, 1, 0, 0) for number in range(1, 3001)])
    streams.close()
    record = tmp_path / "record.slip"
    record.write_bytes(HEADER + b"".join(reward(1, n) for n in range(1, 1001)))
    file = tmp_path / "data" / "streams" if what == "streams" else record
    options = ["--slipstream-config", tally, "--listen", f"unix:{tmp_path}/p.sock"]
    options += ["--record", record] if what == "record" else []
    options += ["--stop-timeout", 600]  # much longer than `end` waits
    with Daemon(tmp_path, *options) as daemon:
        daemon.ready().wait_for("listening")
        made, _ = begin(tmp_path / "p.sock", 7000)
        with made:
            size = file.stat().st_size
            resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (size, size))
            made.sendall(reward(7000, 1))
            text = "cannot save which" if what == "streams" else "not recorded any more"
            assert daemon.wait_for(text)["level"] == "error"
            if what == "record":
                transport = httpx.HTTPTransport(uds=str(tmp_path / "data" / "admin.sock"))
                with httpx.Client(transport=transport, base_url="http://daemon") as client:
                    assert "not recorded" in client.get("/readyz").json()["chain"][0]
                    assert "slipstream_source_unrecorded 1" in client.get("/metrics").text
            assert daemon.end() == (1 if what == "record" else 0)
            last = daemon.lines()[-1]
            assert ("not every event was recorded" in last["event"]) == (what == "record"), last
            made.shutdown(socket.SHUT_WR)
            data = b""
            while some := made.recv(1 << 16):
                data += some
        assert read_answer(data[-48:]).settled == 0, "told, and not kept"


def test_a_file_that_grows_in_a_loop_ends_it_instead_of_losing_events(tmp_path: Path) -> None:
    file = tmp_path / "events.slip"
    file.write_bytes(HEADER + b"".join(reward(5, n) for n in range(1, 101)))
    with Daemon(tmp_path, "--events", file, "--loop", "--speed", "300/s") as daemon:
        daemon.ready()
        for start in range(101, 1301, 10):  # when it has looked at the file is not to be seen
            with file.open("ab") as more:
                more.write(b"".join(reward(5, n) for n in range(start, start + 10)))
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.process.wait(0.5)
                break
        assert daemon.wait() == 4
        assert "has changed" in daemon.said("the source of events failed")["problem"]


def test_a_damaged_list_of_revoked_tokens(tmp_path: Path) -> None:
    options = ("--rest", "127.0.0.1:0")
    with Daemon(tmp_path, *options) as daemon:
        daemon.ready()
        kept = tmp_path / "data" / "jwt_tokens.jsonl"
        whole = kept.read_bytes()
        kept.write_bytes(whole[:-2])
        daemon.send(signal.SIGHUP)
        line = daemon.wait_for("no token can be accepted")
        assert str(kept) in line["event"]
        assert "token rotate --grace 0" in line["next"]
        assert daemon.end() == 0
    for more in ([], ["--check-config"]):
        with Daemon(tmp_path, *options, *more) as daemon:
            assert daemon.wait() == 3
            assert f"{kept}, the list of revoked tokens, is cut off" in daemon.log.read_text()
            assert "token rotate --grace 0" in daemon.log.read_text()


def test_nobody_reads_the_token(tmp_path: Path) -> None:
    with Daemon(tmp_path, "--rest", "127.0.0.1:0") as daemon:
        daemon.process.stdout.close()
        daemon.ready().wait_for("no source of events")
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(SECONDS) == 0


def test_a_socket_that_somebody_has_put_in_its_place_stays(tmp_path: Path) -> None:
    address = Address(path=str(tmp_path / "s"))
    first = address.bind(mode=0o640, group=os.getegid())
    assert stat.S_IMODE(Path(address.path).stat().st_mode) == 0o640
    made = address.file_id()
    Path(address.path).unlink()
    second = address.bind()
    assert stat.S_IMODE(Path(address.path).stat().st_mode) == 0o600
    unbind(first, address, made)
    with address.connect(SECONDS):
        pass
    unbind(second, address, address.file_id())
    assert not Path(address.path).exists()


def test_folders_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CannotBind, match="longer than a socket may have") as told:
        Address(path=str(tmp_path / ("x" * 120) / "admin.sock")).bind()
    assert "--data-dir" in told.value.hint
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "~no-such-user/state")
    with pytest.raises(SlipstreamError, match="no home folder"):
        usual_folder("mainnet")


def test_a_data_folder_without_any_room(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "slipstream.cli", "start", "--norest", "--data-dir", str(tmp_path)],
        capture_output=True, text=True, timeout=SECONDS, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    )  # fmt: skip
    assert done.returncode == 5
    assert done.stderr == (
        f"error: cannot write {tmp_path}/lock: File too large\n"
        "  next: raise the limit on the size of files: ulimit -f\n"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_why_it_cannot_listen_has_its_own_next_step(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = Address(path=str(tmp_path / "used.sock"))
    used = place.bind()
    with used:
        for address, hint in (
            (place, "end whoever listens there"),
            (Address(path=str(tmp_path / "file")), "choose another path"),
            (Address(path=str(tmp_path / "no" / "p.sock")), "make its folder first"),
            (Address(host="192.0.2.1", port=80), "choose an address of this machine"),
        ):
            with pytest.raises(CannotBind) as told:
                address.bind()
            assert hint in told.value.hint
        os.seteuid(65534)
        try:
            with pytest.raises(CannotBind) as told:
                Address(path=str(tmp_path / "other.sock")).bind()
        finally:
            os.seteuid(0)
    assert "let this user write to its folder" in told.value.hint
