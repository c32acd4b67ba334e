"""The admin application, served over real HTTP by a thread of this process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import httpx
import uvicorn

from slipstream.server.app import AdminApp
from slipstream.server.serving import Connections, config_for

PATIENCE = 60.0


class Served:
    """An application that is served at a port of the loopback, or a Unix socket."""

    def __init__(
        self, app: AdminApp, uds: Path | None = None, most: int = 64, health: str = "/healthz"
    ) -> None:
        self.app = app
        self._health = health
        if uds is None:
            self.socket = socket.create_server(("127.0.0.1", 0), backlog=2048)
            self.port = self.socket.getsockname()[1]
            self.url = f"http://127.0.0.1:{self.port}"
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.bind(str(uds))
            self.socket.listen()
            self.url = "http://local"
        self.connections = Connections(most)
        self._uds = uds
        self.server = uvicorn.Server(config_for(app, connections=self.connections))
        self._thread = threading.Thread(target=self._run, name="served")

    def _run(self) -> None:
        asyncio.run(self.server.serve(sockets=[self.socket]))

    def __enter__(self) -> Self:
        self._thread.start()
        with self.client() as client:
            assert client.get(self._health).status_code == 200
        return self

    def __exit__(self, *_: object) -> None:
        self.app.stop()
        self.server.should_exit = True
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def client(self, token: str = "", **headers: str) -> httpx.Client:
        if token:
            headers["Authorization"] = f"Bearer {token}"
        transport = httpx.HTTPTransport(
            uds=None if self._uds is None else str(self._uds), verify=False
        )
        return httpx.Client(
            base_url=self.url, headers=headers, timeout=PATIENCE, transport=transport
        )

    @contextlib.contextmanager
    def raw(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            yield connection


def read_all(connection: socket.socket) -> bytes:
    """Everything until the other side has ended."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while some := connection.recv(65536):
            found += some
    return found
