"""A running daemon for tests of what talks to it: its plugins are told what to do by events."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import unittest.mock
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slipstream.cli import main

SECONDS = 60.0
COMMAND = str(Path(sys.executable).with_name("slipstream"))


def until(true: Callable[[], object], what: str, seconds: float = SECONDS) -> object:
    """Wait until something is so; return what it gave."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"{what}: not within {seconds} seconds"
        time.sleep(0.02)
    return found


@dataclass
class Done:
    """How a command has ended."""

    returncode: int
    stdout: str
    stderr: str


class Operated:
    """``slipstream start`` with plugins that do as they are told: see tests/plugins/talker.c."""

    def __init__(self, folder: Path, library: Path, *options: str, names=("talker",)) -> None:
        self.folder, self.data = folder, folder / "data"
        self.configs = folder / "configs"
        self.configs.mkdir()
        files = [self.config(name, library) for name in names]
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [COMMAND, "--log-format", "json", "start", "--data-dir", str(self.data),
                 "--insecure-paths", "--rest", "127.0.0.1:0", "--events", "-", *options,
                 *(word for file in files for word in ("--slipstream-config", str(file)))],
                stdin=subprocess.PIPE, stdout=log, stderr=log,
            )  # fmt: skip
        ready = until(self._ready, "the daemon is ready")
        self.url = ready["rest"]

    def config(self, name: str, library: Path, **more: object) -> Path:
        path = self.configs / f"{name}.json5"
        restart = {"initial_delay": 0.01, "max_crashes": 1000}
        keys = {"libpath": str(library), "name": name, "mode": "process", "restart": restart}
        path.write_text(json.dumps({**keys, **more}))
        return path

    def _ready(self) -> dict | None:
        assert self.process.poll() is None, self._log.read_text()
        for line in self._log.read_text().splitlines():
            if line.startswith("{") and (said := json.loads(line)).get("event") == "ready":
                return said
        return None

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

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.stdin.close()
        except OSError:
            pass
        try:
            return self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
