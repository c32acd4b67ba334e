"""A PostgreSQL server of a test's own, reached by a socket in its folder alone."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import pytest

_WAIT = 60.0
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",  # what is killed here are processes, not the machine
    "shared_buffers": "16MB",
    "max_connections": "20",
    "autovacuum": "off",
    "log_min_messages": "fatal",
}


def programs() -> Path:
    """The folder of `initdb` and `postgres`, or skip the test."""
    config = shutil.which("pg_config")
    if config is not None:
        done = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=True)
        folder = Path(done.stdout.strip())
        if (folder / "initdb").exists():
            return folder
    pytest.skip("no PostgreSQL server on this machine (apt-get install postgresql libpq-dev)")


def _unprivileged() -> dict[str, object]:
    """The server refuses to be root: as whom root's tests run it."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    entry = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


class Server:
    """Made by `initdb` in a new folder; user and database are `postgres`. A context manager."""

    def __init__(self) -> None:
        self.programs = programs()
        # Not in pytest's folder, which nobody else may enter; short, for the socket's name.
        self.folder = Path(tempfile.mkdtemp(prefix="slip-pg-"))
        self._as = _unprivileged()
        self._process: subprocess.Popen[bytes] | None = None
        if self._as:
            os.chown(self.folder, self._as["user"], self._as["group"])
            self.folder.chmod(0o711)
        self.conninfo = f"host={self.folder} dbname=postgres user=postgres"
        self._call(
            "initdb", "-D", "data", "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"
        )
        access = self.folder / "data" / "pg_hba.conf"
        access.write_text("local all locked scram-sha-256\n" + access.read_text())

    def _call(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self.programs / program, *arguments],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            capture_output=True,
            text=True,
            timeout=_WAIT * 2,
            check=False,
            **self._as,
        )
        assert done.returncode == 0, done.stderr

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = [f"-c{key}={value}" for key, value in _SETTINGS.items()]
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.programs / "postgres", "-D", "data", "-k", self.folder, *settings],
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._as,
            )
        Path(log.name).unlink()
        deadline = time.monotonic() + _WAIT
        pid_file = self.folder / "data" / "postmaster.pid"
        while b"ready" not in (pid_file.read_bytes() if pid_file.exists() else b""):
            assert self._process.poll() is None, "the server has ended"
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT is "fast", SIGQUIT "immediate", which is as good as a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_WAIT)
            self._process = None

    def ask(self, sql: str) -> list[list[str]]:
        """What `psql` prints for a statement, by rows and columns."""
        done = subprocess.run(
            [
                self.programs / "psql",
                "-XAtq",
                "-v",
                "ON_ERROR_STOP=1",
                "-d",
                self.conninfo,
                "-c",
                sql,
            ],
            capture_output=True,
            text=True,
            timeout=_WAIT,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [line.split("|") for line in done.stdout.splitlines()]

    def number(self, sql: str) -> int:
        """The one number that a statement gives."""
        return int(self.ask(sql)[0][0])
