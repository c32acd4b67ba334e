"""Taking connections in, also where no descriptor is left for them.

Where the system refuses a connection, asyncio goes on to the next, as many times as the `backlog`
that it was given, logs each with its traceback, and does all of that again for each a second later.
So it gets a backlog of one, and the system is told afterwards how many may wait.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from slipstream.files import limit_hint

if TYPE_CHECKING:
    import asyncio
    import socket

    from slipstream.server.sources.path import Say

BACKLOG = 1  # for asyncio
_WAITING = 1024
_TOLD_EVERY = 60.0  # seconds


def let_wait(bound: socket.socket) -> None:
    """Let connections wait at a socket; to be called once asyncio listens there."""
    bound.listen(_WAITING)


def tell_of_shortage(loop: asyncio.AbstractEventLoop, say: Say) -> None:
    """Log once a minute that no connection can be taken in, and why.

    Args:
        loop: What is wrong with it otherwise is logged as before.
        say: Takes log lines.
    """
    told = -_TOLD_EVERY

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal told
        error = context.get("exception")
        if "socket" not in context or not isinstance(error, OSError):
            loop.default_exception_handler(context)
        elif time.monotonic() - told >= _TOLD_EVERY:
            told = time.monotonic()
            hint = limit_hint(error.errno) or "free some memory"
            fields: dict[str, object] = {"problem": error.strerror, "next": hint}
            say(logging.ERROR, "no connection can be taken in: they have to wait", fields)

    loop.set_exception_handler(handle)
