"""``slipstream replay``: whom it waits for, whom not, and how it ends."""

from __future__ import annotations

import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slipstream.streams import read_events
from support.daemon import HEADER, SECONDS, Daemon, reward, until

COUNT = 100


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """A capture of one stream."""
    path = tmp_path / "events.slip"
    path.write_bytes(HEADER + b"".join(reward(1, number) for number in range(1, COUNT + 1)))
    return path


def replay(events: Path, to: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "slipstream.cli", "replay", str(events), "--to", to, *more]


@pytest.mark.parametrize(
    ("kind", "why"), [("unix", "No such file or directory"), ("tcp", "Connection refused")]
)
def test_nobody_is_waited_for_at_first(kind: str, why: str, events: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        to = f"tcp:127.0.0.1:{taken.getsockname()[1]}"
        if kind == "unix":
            to = f"unix:{tmp_path}/node.sock"
        done = subprocess.run(
            replay(events, to), capture_output=True, text=True, timeout=SECONDS, check=False
        )
    assert done.returncode == 1
    assert done.stderr == (
        f"error: cannot connect to {to}: {why}\n"
        f"  next: start the daemon first: slipstream start --listen {to}; or correct --to\n"
    )


def test_a_daemon_that_restarts_is_waited_for(events: Path, tmp_path: Path) -> None:
    to = f"unix:{tmp_path}/node.sock"
    first, second = tmp_path / "first.slip", tmp_path / "second.slip"
    with Daemon(tmp_path, to, first, command="record") as recorder:
        recorder.wait_for("recording")
        sender = Daemon(tmp_path, events, "--to", to, "--speed", f"{COUNT}/s", command="replay")
        with sender:
            until(lambda: first.stat().st_size > len(HEADER), "the first events")
            assert recorder.end() == 0
            sender.wait_for("broke, trying again")
            sender.wait_for("trying again: No such file or directory")
            with Daemon(tmp_path, to, second, command="record") as other:
                assert sender.wait() == 0, sender.log.read_text()
                assert other.end() == 0
    for file, least in ((first, 1), (second, COUNT)):
        assert least <= len(list(read_events(file, on_warning=print))) <= COUNT


def test_events_are_sent_no_faster_than_wanted(events: Path, tmp_path: Path) -> None:
    to, file = f"unix:{tmp_path}/node.sock", tmp_path / "taken.slip"
    with Daemon(tmp_path, to, file, command="record") as recorder:
        recorder.wait_for("recording")
        began = time.monotonic()
        done = subprocess.run(
            [*replay(events, to), "--speed", f"{COUNT // 2}/s"], timeout=SECONDS, check=False
        )
        took = time.monotonic() - began
        assert (done.returncode, recorder.end()) == (0, 0)
    assert took > 1.1  # the last run is due after more than that
    assert len(list(read_events(file, on_warning=print))) == COUNT


@pytest.mark.parametrize("settled", [False, True])
def test_a_recording_that_finds_no_room(settled: bool, events: Path, tmp_path: Path) -> None:
    """What was settled stays; a file of which nothing was, is removed: the next step works."""
    file, socket_file = tmp_path / "taken.slip", tmp_path / "node.sock"
    room = events.stat().st_size + 100 if settled else 500
    limits = (room, room)  # a limit on files is the disk that is full
    source = f"unix:{socket_file}" if settled else str(events)
    with subprocess.Popen(
        [sys.executable, "-m", "slipstream.cli", "record", source, str(file)],
        stderr=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits),  # noqa: PLW1509 - no threads
    ) as process:
        if settled:
            until(socket_file.exists, "the socket")
            assert (
                subprocess.run(replay(events, source), timeout=SECONDS, check=False).returncode == 0
            )
            # Another stream, for which no room is left.
            events.write_bytes(HEADER + b"".join(reward(2, n) for n in range(1, COUNT + 1)))
            with subprocess.Popen(replay(events, source), stderr=subprocess.DEVNULL) as sender:
                told = process.communicate(timeout=SECONDS)[1].decode()
                sender.kill()  # it would wait for the next recorder
        else:
            told = process.communicate(timeout=SECONDS)[1].decode()
    kept = f"{file} keeps what came before" if settled else f"{file} is removed"
    assert f"error: cannot write {file}: File too large\n" in told
    assert f"  next: record into a new file, on a disk with room; {kept}\n" in told
    assert process.returncode == 4
    assert file.exists() == settled


def test_a_recording_of_nothing_leaves_no_file(tmp_path: Path) -> None:
    file = tmp_path / "taken.slip"
    done = subprocess.run(
        [sys.executable, "-m", "slipstream.cli", "record", str(tmp_path / "none"), str(file)],
        capture_output=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 4
    assert not file.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(number: signal.Signals, events: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "silent.sock")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(path)
        silent.listen()
        silent.settimeout(SECONDS)
        with subprocess.Popen(replay(events, f"unix:{path}"), stderr=subprocess.PIPE) as process:
            connected, _ = silent.accept()
            with connected:
                process.send_signal(number)
                told = process.communicate(timeout=SECONDS)[1].decode()
    assert process.returncode == 128 + number
    assert told == (
        "stopping: closing the connection; a second signal ends this at once\n"
        f"error: stopped by {number.name}\n"
    )
