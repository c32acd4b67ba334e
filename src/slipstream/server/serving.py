"""Serving an application by uvicorn, with limits for connections; the kernel says who calls.

uvicorn limits neither how many connections there are nor how long a request's head takes to come;
and what it answers itself has not the body that all refusals here have.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import sys
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from slipstream._platform import peer_user
from slipstream.server.answers import Refused, phrase_of
from slipstream.server.app import PEER
from slipstream.server.limits import CONNECTIONS, HEAD_SECONDS, IDLE_SECONDS

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

HEAD_BYTES = 32 * 1024
_LINGER = 1.0  # seconds in which a caller may read why the connection ends
_LINGERING = 64  # so many connections may do so; those beyond are closed at once

# What callers do wrong belongs in no log: there is no end to it.
_log = logging.getLogger("slipstream.server.http")
_log.setLevel(logging.ERROR)
_log.propagate = False
_log.addHandler(logging.NullHandler())


class Connections:
    """The connections of all addresses of a host."""

    def __init__(self, most: int = CONNECTIONS) -> None:
        """Begin without any.

        Args:
            most: So many at once.
        """
        self.most = most
        self.lingering = 0
        self.open: OrderedDict[AdminProtocol, None] = OrderedDict()  # the longest idle first

    def admit(self, fresh: AdminProtocol) -> bool:
        """Take a connection in, in the place of one that waits for a request if need be."""
        if len(self.open) >= self.most:
            idle = next((one for one in self.open if one.is_idle), None)
            if idle is None:
                return False
            del self.open[idle]
            idle.transport.abort()
        self.open[fresh] = None
        return True

    def leave(self, one: AdminProtocol) -> None:
        """Forget a connection."""
        self.open.pop(one, None)


def config_for(
    app: ASGIApp, *, connections: Connections | None = None, lifespan: bool = True, **more: Any
) -> uvicorn.Config:
    """Return what uvicorn serves an application with.

    Args:
        app: The application, as `admin_app` makes it.
        connections: To be shared by the servers of one host.
        lifespan: Whether this server runs the application's lifespan: one of them does.
        more: For `uvicorn.Config`: where it serves, or the files for TLS.
    """
    shared = connections or Connections()
    protocol = type("Protocol", (AdminProtocol,), {"shared": shared})
    return uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="on" if lifespan else "off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # whoever calls could say that he is another
        timeout_keep_alive=int(IDLE_SECONDS),
        h11_max_incomplete_event_size=HEAD_BYTES,
        **more,
    )


class _Lingering:
    """A transport whose end lets the other side read what was written.

    What arrives at a closed socket makes the kernel throw away what was sent before; so it is only
    said that nothing more comes, and what still comes is dropped for a moment.
    """

    def __init__(self, transport: asyncio.Transport, shared: Connections) -> None:
        self._transport = transport
        self._shared = shared
        self._timer: asyncio.TimerHandle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    @property
    def is_lingering(self) -> bool:
        return self._timer is not None

    def is_closing(self) -> bool:
        return self.is_lingering or self._transport.is_closing()

    def close(self) -> None:
        if self.is_closing():
            return
        if self._shared.lingering >= _LINGERING or not self._transport.can_write_eof():
            self._transport.close()
            return
        try:
            self._transport.write_eof()
            self._transport.resume_reading()
        except OSError:
            self._transport.abort()
            return
        self._shared.lingering += 1
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_LINGER, self._transport.abort)

    def lost(self) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._shared.lingering -= 1


class AdminProtocol(H11Protocol):
    """One connection."""

    shared: Connections
    _late: asyncio.TimerHandle | None = None
    _linger: _Lingering | None = None

    @property
    def is_idle(self) -> bool:
        """It waits for the head of a request."""
        return self.conn.their_state is h11.IDLE and self.conn.our_state is h11.IDLE

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection in, or refuse it."""
        super().connection_made(transport)
        self.logger = _log
        self._linger = _Lingering(transport, self.shared)
        self.transport = self._linger  # type: ignore[assignment]
        connection = transport.get_extra_info("socket")
        if connection.family != socket.AF_UNIX:
            # asyncio does so only for sockets whose maker has named the protocol.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = peer_user(connection)
        if peer is not None:
            if peer not in {0, os.geteuid()}:
                self._end(Refused(403, "the socket is for the user of this host, and root"))
                return
            self.app = _from(self.app, peer)
        if not self.shared.admit(self):
            says = f"there are {self.shared.most} connections already"
            self._end(Refused(503, says, headers={"Retry-After": "1"}))
            return
        self._begin_waiting()

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.transport.is_closing() or not self.is_idle:
            self._end_waiting()
        elif self._late is None and self.conn.trailing_data[0]:
            self._begin_waiting()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if self in self.shared.open:
            self.shared.open.move_to_end(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._end_waiting()
        self._unset_keepalive_if_required()
        self.shared.leave(self)
        if self._linger is not None:
            self._linger.lost()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """End it with its host: at once, if nothing is asked."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()
        else:
            self.cycle.keep_alive = False

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not a request."""
        error = sys.exc_info()[1]
        code = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        if code == 431:
            # A head that is too large because of its token has none that could be read.
            if b"\nauthorization:" in self.conn.trailing_data[0].lower():
                self._end(Refused(401, "the token is not accepted: it is not a token"))
                return
            msg = f"the head of the request is larger than {HEAD_BYTES} bytes"
        self._end(Refused(code, msg))

    def _begin_waiting(self) -> None:
        self._late = self.loop.call_later(HEAD_SECONDS, self._too_late)

    def _end_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _too_late(self) -> None:
        self._late = None
        if self.is_idle and not self.transport.is_closing():
            says = f"the head of the request did not come within {HEAD_SECONDS:g} seconds"
            self._end(Refused(408, says))

    def _end(self, refused: Refused) -> None:
        """Answer past the application, unless an answer has begun, and end the connection."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            body = json.dumps(refused.body).encode()
            lines = [
                f"HTTP/1.1 {refused.code} {phrase_of(refused.code)}",
                "Content-Type: application/json",
                f"Content-Length: {len(body)}",
                "Connection: close",
                *(f"{name}: {value}" for name, value in refused.headers.items()),
            ]
            self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        self._end_waiting()
        self.shared.leave(self)
        self.transport.close()
        if self.cycle is not None:  # what answers, if something does, speaks to nobody
            self.cycle.disconnected = True
            self.cycle.message_event.set()


def _from(app: ASGIApp, peer: int) -> ASGIApp:
    async def local(scope: Scope, receive: Receive, send: Send) -> None:
        scope[PEER] = peer
        await app(scope, receive, send)

    return local
