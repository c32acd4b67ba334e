"""Daemons and producers for tests: real processes, real sockets."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import unittest.mock
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slipstream import StakingReward, frames
from slipstream.cli import main
from slipstream.events import Meta
from slipstream.server.sources.wire import ANSWER_BYTES, HEADER, Answer, read_answer, stream_mark

SECONDS = 60.0  # for whatever has to happen
COMMAND = str(Path(sys.executable).with_name("slipstream"))


def until(true: Callable[[], object], what: str, seconds: float = SECONDS) -> object:
    """Wait until something is so; return what it gave."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"{what}: not within {seconds} seconds"
        time.sleep(0.01)
    return found


class Daemon:
    """A `slipstream` command in a process of its own; its log lines are JSON in a file."""

    count = 0

    def __init__(
        self,
        folder: Path,
        *arguments: object,
        command: str = "start",
        env=None,
        stdin=None,
        umask=-1,
    ):
        Daemon.count += 1
        self.folder = folder
        self.log = folder / f"log-{Daemon.count}"
        given = list(map(str, arguments))
        if command == "start":
            if "--data-dir" not in given:
                given += ["--data-dir", str(folder / "data")]
            if "--rest" not in given and "--norest" not in given:
                given += ["--norest"]
            given += ["--insecure-paths"]
        self.began = time.monotonic()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "slipstream.cli", "--log-format", "json", command, *given],
                stderr=log,
                stdout=subprocess.PIPE,
                stdin=stdin or subprocess.DEVNULL,
                umask=umask,
                env={**os.environ, **(env or {})},
            )

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def lines(self) -> list[dict]:
        found = []
        for line in self.log.read_text("utf-8", "replace").splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return [line for line in found if isinstance(line, dict)]

    def said(self, text: str) -> dict | None:
        return next((line for line in self.lines() if text in line.get("event", "")), None)

    def wait_for(self, text: str, times: int = 1) -> dict:
        """Wait for a line, or the process's end."""

        def look() -> dict | None:
            found = [line for line in self.lines() if text in line.get("event", "")]
            if len(found) >= times:
                return found[times - 1]
            assert self.process.poll() is None, (self.process.returncode, self.log.read_text())
            return None

        try:
            return until(look, text)
        except AssertionError:
            print(self.log.read_text())
            raise

    def ready(self) -> Daemon:
        self.wait_for("ready")
        return self

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; return the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        self.out = self.process.communicate(timeout=SECONDS)[0]
        return self.process.returncode

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(SECONDS)
        self.process.stdout.close()


@dataclass
class Done:
    """How a command has ended."""

    returncode: int
    stdout: str
    stderr: str


class Operated(Daemon):
    """One that serves, with plugins that do as events tell them: see tests/plugins/talker.c."""

    def __init__(self, folder: Path, library: Path, *options: str, names=("talker",)) -> None:
        self.data, self.configs = folder / "data", folder / "configs"
        self.configs.mkdir()
        files = [self.config(name, library) for name in names]
        serve = ("--rest", "127.0.0.1:0", "--events", "-", *options)
        configs = (word for file in files for word in ("--slipstream-config", file))
        super().__init__(folder, *serve, *configs, stdin=subprocess.PIPE)
        self.url = self.wait_for("ready")["rest"]

    def config(self, name: str, library: Path, **more: object) -> Path:
        restart = {"initial_delay": 0.01, "max_crashes": 1000}
        keys = {"name": name, "mode": "process", "restart": restart, **more}
        return config(self.configs, library, **keys)

    @property
    def token(self) -> str:
        (file,) = self.data.glob("jwt_secret_*.txt")
        return file.read_text().strip()

    def tell(self, command: str, body: str = "") -> None:
        """Send an event: every plugin is told."""
        event = {"kind": "Payload", "source": "", "name": command, "body": body}
        self.process.stdin.write(json.dumps(event).encode() + b"\n")
        self.process.stdin.flush()

    def run(self, *arguments: object) -> Done:
        """Run a command that talks to it, in this process, which is quicker."""
        out, err = io.StringIO(), io.StringIO()
        with (
            unittest.mock.patch.dict(os.environ, SLIPSTREAM_DATA_DIR=str(self.data)),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = main(list(map(str, arguments)))
        return Done(code, out.getvalue(), err.getvalue())

    def json(self, *arguments: object) -> dict:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def reward(stream: int, sequence: int, size: int = 32) -> bytes:
    """The frame of an event."""
    staker = sequence.to_bytes(8, "little").ljust(size, b"s")
    return frames.encode(
        StakingReward(
            staker, b"v" * 32, sequence, sequence, meta=Meta(stream=stream, sequence=sequence)
        )
    )


def connect(path: Path | str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    try:
        made.settimeout(SECONDS)
        made.connect(str(path))
    except BaseException:
        made.close()
        raise
    return made


def begin(path: Path | str, stream: int, name: str = "test") -> tuple[socket.socket, Answer]:
    """Connect as a producer; return the connection and the first answer."""
    made = connect(path)
    made.sendall(HEADER + stream_mark(stream, name))
    return made, next_answer(made)


def next_answer(connection: socket.socket) -> Answer:
    data = connection.recv(ANSWER_BYTES, socket.MSG_WAITALL)
    assert len(data) == ANSWER_BYTES, f"closed: {data!r}"
    return read_answer(data)


def settled(connection: socket.socket, sequence: int) -> Answer:
    """Read answers until one says that this is settled."""
    while (answer := next_answer(connection)).settled < sequence:
        pass
    return answer


class Keeper(threading.Thread):
    """A producer that keeps what is not settled, and only that; it connects again and again."""

    def __init__(self, path: Path, stream: int, total: int, burst: int = 200) -> None:
        super().__init__(daemon=True)
        self.path, self.stream, self.total, self.burst = path, stream, total, burst
        self.settled = self.accepted = self.connections = 0
        self.problem = ""
        self.stopping = False

    def run(self) -> None:
        try:
            while self.settled < self.total and not self.stopping:
                with contextlib.suppress(OSError, EOFError):
                    self.connect()
                time.sleep(0.02)
        except Exception as error:  # noqa: BLE001 - the test tells it
            self.problem = repr(error)

    def heard(self, answer: Answer) -> None:
        assert answer.settled >= self.settled, "settled has stepped back"
        assert answer.settled <= answer.accepted
        self.settled, self.accepted = answer.settled, answer.accepted

    def connect(self) -> None:
        with connect(self.path) as made:
            self.connections += 1
            made.sendall(HEADER + stream_mark(self.stream))
            data = made.recv(ANSWER_BYTES, socket.MSG_WAITALL)
            if len(data) < ANSWER_BYTES:
                raise EOFError
            self.heard(read_answer(data))
            following = self.accepted + 1
            made.settimeout(0.01)
            rest = b""
            while self.settled < self.total and not self.stopping:
                if following <= self.total:
                    some = range(following, min(following + self.burst, self.total + 1))
                    assert following > self.settled
                    made.settimeout(SECONDS)
                    made.sendall(b"".join(reward(self.stream, n) for n in some))
                    following = some.stop
                made.settimeout(0.005)
                try:
                    data = made.recv(1 << 16)
                except TimeoutError:
                    continue
                if not data:
                    raise EOFError
                rest += data
                while len(rest) >= ANSWER_BYTES:
                    self.heard(read_answer(rest))
                    rest = rest[ANSWER_BYTES:]


def open_to_others(folder: Path) -> list[str]:
    """What below a folder, and it itself, other users may look into."""
    found = [(path, path.lstat().st_mode) for path in (folder, *folder.rglob("*"))]
    return [str(path) for path, mode in found if not stat.S_ISLNK(mode) and mode & 0o077]


def config(folder: Path, library: Path, **keys: object) -> Path:
    """Write a config file."""
    path = folder / f"{keys.get('name', library.stem)}.json5"
    path.write_text(json.dumps({"libpath": str(library), **keys}))
    return path
