"""What a daemon looks after before anything runs."""

from __future__ import annotations

import importlib.util
import signal
from typing import Any

from slipstream.errors import SlipstreamError
from slipstream.server import need


def require_libraries() -> None:
    """Say what is missing before anything has run; they are imported later.

    Raises:
        SlipstreamError: A library of the extra `server`.
    """
    for library in ("uvicorn", "starlette", "jwt"):
        if importlib.util.find_spec(library) is None:
            raise SlipstreamError(
                f"this needs the library {library}, which is not installed",
                "pip install 'slipstream[server]'",
            )


def import_server() -> Any:
    """Import what serves, which takes a while, beside the loading of plugins."""
    return need("slipstream.server.serve")


def survive_early_signals() -> None:
    """Let SIGHUP and SIGUSR1 not end what starts or ends; programs that it starts do not see it."""
    for number in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, lambda *_: None)
