"""What a daemon looks after before anything runs."""

from __future__ import annotations

import signal
from typing import Any

from slipstream.extras import need, require


def require_libraries() -> None:
    """Say what is missing before anything has run; they are imported later.

    Raises:
        SlipstreamError: A library of the extra `server`.
    """
    require("server", "uvicorn", "starlette", "jwt")


def import_server() -> Any:
    """Import what serves, which takes a while, beside the loading of plugins."""
    return need("slipstream.server.serve", "server")


def survive_early_signals() -> None:
    """Let SIGHUP and SIGUSR1 not end what starts or ends; programs that it starts do not see it."""
    for number in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, lambda *_: None)
