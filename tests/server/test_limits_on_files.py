"""Files that cannot be opened because too many are: the limit is told, and not the file."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from slipstream.config import load_config
from slipstream.delivery.queue import Queue
from slipstream.errors import ConfigError, PackageError, PluginLoadError
from slipstream.packages.lock import Lock
from slipstream.packages.settings import read_settings
from slipstream.server import Tokens
from support.daemon import SECONDS, Daemon, begin, config, connect, reward, settled


def test_a_limit_that_is_hit_is_named_and_not_the_file(tmp_path: Path) -> None:
    """Whatever a file is for, nobody is told to restore one that is as it was."""
    config = tmp_path / "config.json5"
    config.write_text("{libpath: 'x.so'}")
    lock = tmp_path / "plugins.lock"
    Lock(lock).write()
    Tokens(tmp_path)
    loaded = load_config(config)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    readers: list[Callable[[], object]] = [
        lambda: load_config(config),
        lambda: Lock.read(lock),
        lambda: read_settings(config),
        lambda: Tokens(tmp_path),
        lambda: Queue(loaded, shared=True),
    ]
    for read in readers:
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
        try:
            with pytest.raises((ConfigError, PackageError, PluginLoadError)) as caught:
                read()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert os.strerror(errno.EMFILE) in caught.value.message
        assert "ulimit -n" in caught.value.hint


def test_a_daemon_without_descriptors_says_so_once_and_goes_on(
    tmp_path: Path, examples: Path
) -> None:
    """A crowd takes all that there are: at the port, at admin.sock and at the producers' socket."""
    tally = config(tmp_path, examples / "tally" / "tally.so")
    place, stream = tmp_path / "p.sock", 7
    options = ("--rest", "127.0.0.1:0", "--listen", f"unix:{place}", "--slipstream-config", tally)
    with Daemon(tmp_path, *options) as daemon, contextlib.ExitStack() as crowd:
        url = httpx.URL(daemon.wait_for("ready")["rest"])
        producer, _ = begin(place, stream)
        crowd.enter_context(producer)
        used = len(os.listdir(f"/proc/{daemon.process.pid}/fd"))
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (used + 20, used + 20))
        for _ in range(40):
            for where in (place, tmp_path / "data" / "admin.sock"):
                crowd.enter_context(connect(where))
            crowd.enter_context(socket.create_connection((url.host, url.port)))
        line = daemon.wait_for("no connection can be taken in")
        assert (line["level"], line["problem"]) == ("error", os.strerror(errno.EMFILE))
        assert "ulimit -n" in line["next"]
        producer.sendall(reward(stream, 1))  # who is connected is served
        settled(producer, 1)
        time.sleep(2.5)  # it tries again each second
        assert len(daemon.log.read_text().splitlines()) < 50
        crowd.close()
        with httpx.Client(base_url=url, timeout=SECONDS) as client:
            assert client.get("/healthz").status_code == 200
        again, answer = begin(place, stream)
        again.close()
        assert answer.accepted == 1
        assert daemon.end() == 0
        assert "Traceback" not in daemon.log.read_text()
