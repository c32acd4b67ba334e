"""What the daemon needs of the libraries of the extra `server`; imported late."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import uvicorn

from slipstream.server.app import admin_app
from slipstream.server.metrics import Metrics
from slipstream.server.serving import Connections, config_for
from slipstream.server.tokens import Tokens


class Server(uvicorn.Server):
    """A server that leaves signals to the daemon.

    Attributes:
        begun: It serves.
        over: It serves nobody any more.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        """Make it; `serve` starts it."""
        super().__init__(config)
        self.begun = asyncio.Event()
        self.over = asyncio.Event()

    async def startup(self, sockets: Any = None) -> None:
        """Begin to serve."""
        await super().startup(sockets)
        self.begun.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def shutdown(self, sockets: Any = None) -> None:
        """End the connections."""
        await super().shutdown(sockets)
        self.over.set()


__all__ = ["Connections", "Metrics", "Server", "Tokens", "admin_app", "config_for"]
