"""The admin surface of a manager: an ASGI application, and what `slipstream start` makes of it.

`admin_app` gives a manager's REST interface as an application to serve or to mount; it needs the
libraries of ``pip install 'slipstream[server]'``, which are imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slipstream.extras import need

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


def __getattr__(name: str) -> object:
    """Import what is asked for, and not before."""
    if name in _WHERE:
        found: object = getattr(need(f"slipstream.server.{_WHERE[name]}", "server"), name)
        return globals().setdefault(name, found)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["AdminApp", "Lines", "Metrics", "Tokens", "admin_app"]
