"""The admin surface of a manager: an ASGI application, and what `slipstream start` makes of it.

`admin_app` gives a manager's REST interface as an application to serve or to mount; it needs the
libraries of ``pip install 'slipstream[server]'``, which are imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from slipstream.errors import SlipstreamError

if TYPE_CHECKING:
    from slipstream.server.app import AdminApp, admin_app
    from slipstream.server.lines import Lines
    from slipstream.server.metrics import Metrics
    from slipstream.server.tokens import Tokens

_WHERE = {
    "AdminApp": "app",
    "admin_app": "app",
    "Lines": "lines",
    "Metrics": "metrics",
    "Tokens": "tokens",
}
_LIBRARIES = {"starlette", "uvicorn", "jwt", "prometheus_client", "httpx", "h11", "anyio"}


def need(module: str) -> object:
    """Import a module that needs the libraries of the extra `server`.

    Args:
        module: Its full name.

    Raises:
        SlipstreamError: One of them is missing.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _LIBRARIES:
            raise
        raise SlipstreamError(
            f"this needs the library {error.name}, which is not installed",
            "pip install 'slipstream[server]'",
        ) from None


def __getattr__(name: str) -> object:
    """Import what is asked for, and not before."""
    if name in _WHERE:
        found: object = getattr(need(f"slipstream.server.{_WHERE[name]}"), name)
        return globals().setdefault(name, found)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["AdminApp", "Lines", "Metrics", "Tokens", "admin_app", "need"]
