"""What the daemon needs of the libraries of the extra `server`; imported late."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import uvicorn

from slipstream.server.app import admin_app
from slipstream.server.metrics import Metrics
from slipstream.server.serving import config_for
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
        self._leave = asyncio.Event()

    async def serve(self, sockets: Any = None) -> None:
        """Serve until `leave`. Whoever waits for its begin or its end is let go if it fails."""
        try:
            await super().serve(sockets)
        finally:
            self.begun.set()
            self.over.set()

    async def startup(self, sockets: Any = None) -> None:
        """Begin to serve."""
        await super().startup(sockets)
        self.begun.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    def leave(self) -> None:
        """End it soon."""
        self.should_exit = True
        self._leave.set()

    async def main_loop(self) -> None:
        """Wait for the end; uvicorn's own looks ten times a second, which an idle daemon feels."""
        while not await self.on_tick(0):  # the header Date
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._leave.wait()

    async def shutdown(self, sockets: Any = None) -> None:
        """End the connections."""
        await super().shutdown(sockets)
        self.over.set()


__all__ = ["Metrics", "Server", "Tokens", "admin_app", "config_for"]
