"""What the daemon needs of the libraries of the extra `server`; imported late."""

from __future__ import annotations

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
        is_over: It serves nobody any more.
    """

    is_over = False

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def shutdown(self, sockets: Any = None) -> None:
        """End the connections."""
        await super().shutdown(sockets)
        self.is_over = True


__all__ = ["Connections", "Metrics", "Server", "Tokens", "admin_app", "config_for"]
