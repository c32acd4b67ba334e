"""The admin application of a manager: ASGI, to be served or mounted."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from slipstream.errors import ConfigError
from slipstream.server.actions import Actions
from slipstream.server.answers import Refused, refusal_of
from slipstream.server.audit import Audit
from slipstream.server.folders import Folders
from slipstream.server.limits import BODY_BYTES, BODY_SECONDS, Buckets
from slipstream.server.origins import Origins
from slipstream.server.routes import JSON, NETWORKS, Route, match
from slipstream.server.surface import Asked, Metrics, Ready, Surface
from slipstream.server.tokens import Caller
from slipstream.text import printable

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from slipstream.manager import PluginManager
    from slipstream.server.lines import Lines
    from slipstream.server.packages import Packages
    from slipstream.server.tokens import Tokens

PEER = "slipstream.peer"
"""In a scope: the number of the user who calls, as the kernel says; only a server puts it there."""

_ALWAYS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


class AdminApp(Surface):
    """The application itself."""

    @functools.cached_property
    def _actions(self) -> Actions:
        return Actions(self)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return

    # ---- A request ----------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        request = Request(scope, receive)
        try:
            response = await self._serve(request)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - every request is answered
            response = self._refuse(error)
        response.headers.update(_ALWAYS)
        response.headers.update(self._origins.headers(request.headers.get("origin")))
        if not request.scope.get("slipstream.read") and _has_body(request):
            response.headers["Connection"] = "close"  # the rest of the body is not read
        await response(scope, receive, send)

    def _refuse(self, error: Exception) -> Response:
        refused = refusal_of(error)
        if refused.code == 500 and not isinstance(error, Refused):
            self.say(logging.ERROR, "a request failed", error)
        return JSONResponse(refused.body, refused.code, headers=refused.headers)

    async def _serve(self, request: Request) -> Response:
        address = self._address(request)
        if address:
            self._limit(address)
        root = request.scope.get("root_path", "")
        routes, given = match(request.scope["path"].removeprefix(root))
        routes = {method: route for method, route in routes.items() if self.offers(route)}
        if not routes:
            raise Refused(404, "there is nothing here", "see /openapi.json")
        network = given.get("network", self.network)
        if network != self.network:
            raise Refused(
                404,
                f"this host serves {self.network}, not {printable(network[:40])}",
                f"name the network {self.network}, or ask the host of the other",
            )
        if request.method == "OPTIONS":
            return self._preflight(request, routes)
        route = routes.get("GET" if request.method == "HEAD" else request.method)
        if route is None:
            raise Refused(
                405, f"{request.method} is not possible here", headers={"Allow": _allow(routes)}
            )
        if route.is_change and not self._origins.may_change(request.headers):
            raise Refused(403, "pages of this origin may change nothing")
        asked = Asked(
            route,
            given.get("name", ""),
            request.headers,
            request.query_params,
            self._caller(request, route),
            address or f"uid {request.scope[PEER]}",
            root,
        )
        asked.read_query()
        if route.body is not None:
            asked.named = await self._named(request, route)
        response: Response = await getattr(self._actions, route.name)(asked)
        if request.method == "HEAD" and isinstance(response, StreamingResponse):
            return _without_stream(response)
        return response

    def _address(self, request: Request) -> str:
        """Return from where somebody calls; "" from this machine, as the kernel says."""
        if PEER in request.scope:
            return ""
        return request.client.host if request.client is not None else "unknown"

    def _limit(self, address: str) -> None:
        wait = self._buckets.wait(address)
        if wait:
            raise Refused(
                429,
                "Too many requests",
                f"wait {wait:.1f} seconds",
                headers={"Retry-After": str(math.ceil(wait))},
            )

    def _preflight(self, request: Request, routes: Mapping[str, Route]) -> Response:
        origin = request.headers.get("origin")
        if origin is not None and not self._origins.allow(origin):
            raise Refused(403, "pages of this origin may not call")
        headers = {"Allow": _allow(routes), **self._origins.preflight(origin)}
        return Response(status_code=204, headers=headers)

    def _caller(self, request: Request, route: Route) -> Caller:
        """Return who calls, if he may.

        Raises:
            Refused: 401, or 403 if his token does not allow this.
        """
        if PEER in request.scope:
            return Caller("local")
        is_open = route.scope is None or (route.name == "metrics" and self._metrics_open)
        if is_open or self._tokens is None:
            return Caller("")
        try:
            caller = self._tokens.caller(request.headers.getlist("authorization"))
        except ConfigError as error:
            self.say_once(logging.ERROR, error)
            raise Refused(
                503, "no token can be accepted now", "the log of the host says why"
            ) from None
        if route.scope not in caller.scopes:
            raise Refused(403, f"this token does not allow {route.scope}")
        return caller

    async def _named(self, request: Request, route: Route) -> str:
        """Return what the body names.

        Raises:
            Refused: The body cannot be used.
        """
        body = await self._body(request)
        field = route.field
        missing = Refused(400, f"Missing required field: {field}")
        if not body:
            if route.body_required:
                raise missing
            return ""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != JSON:
            raise Refused(415, f"Content-Type must be `{JSON}`")
        try:
            value = json.loads(body.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            why = error if isinstance(error, ValueError) else "it is nested too deeply"
            raise Refused(400, "Invalid JSON in request body", str(why)) from None
        if not isinstance(value, dict):
            raise Refused(400, "Invalid JSON data in request body", "it is not an object")
        if field not in value:
            if route.body_required:
                raise missing
            return ""
        named = value[field]
        if not isinstance(named, str) or not named:
            what = "a path" if field == "config_file" else "text"
            raise Refused(400, "Invalid JSON data in request body", f"{field} is not {what}")
        return named

    async def _body(self, request: Request) -> bytes:
        length = request.headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > BODY_BYTES:
            raise Refused(413, f"the body is larger than {BODY_BYTES} bytes")
        body = b""
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for some in request.stream():
                    body += some
                    if len(body) > BODY_BYTES:
                        raise Refused(413, f"the body is larger than {BODY_BYTES} bytes")
        except TimeoutError:
            raise Refused(408, f"the body did not come within {BODY_SECONDS:g} seconds") from None
        request.scope["slipstream.read"] = True
        return body


def _has_body(request: Request) -> bool:
    headers = request.headers
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def _without_stream(response: StreamingResponse) -> Response:
    """Return its head alone: what makes the body may never end, and is not begun."""
    head = Response(status_code=response.status_code, headers=response.headers)
    del head.headers["content-length"]  # which nobody knows
    return head


def _allow(routes: Mapping[str, Route]) -> str:
    head = ["HEAD"] if "GET" in routes else []
    return ", ".join([*routes, *head, "OPTIONS"])


def admin_app(  # noqa: PLR0913 - the options of an application
    manager: PluginManager | None,
    *,
    network: str = "mainnet",
    tokens: Tokens | None = None,
    config_dirs: Iterable[str | os.PathLike[str]] = (),
    cors_origins: Iterable[str] = (),
    audit: str | os.PathLike[str] | None = None,
    rest_rps: float = 10.0,
    lines: Lines | None = None,
    metrics: Metrics | None = None,
    ready: Ready | None = None,
    metrics_open: bool = False,
    page: bool = True,
    packages: Packages | None = None,
) -> AdminApp:
    """Make the admin application of a manager.

    A server runs its lifespan, which ends its work in the background. If it is mounted in another
    application, that one has to do it: ``async with admin:`` in its own lifespan. The same
    application may be served at several addresses at once. A caller on a Unix socket whose server
    puts the caller's user into the scope, as ``scope["slipstream.peer"]``, needs no token and is
    not limited; `slipstream.server.serving` does so for this user and root, and lets in nobody
    else.

    Args:
        manager: Whose plugins it is about; it stays the caller's to close. None, until the
            attribute `manager` is set: routes that need one answer 503.
        network: mainnet, testnet or canary: the first part of the paths.
        tokens: Whose tokens are accepted; None: nobody needs one, which is for applications that
            authorize calls by themselves.
        config_dirs: The folders below which config files may be named.
        cors_origins: Pages of these origins may call, as ``https://example.org``; ``*``: of all.
        audit: A file to which each change appends a JSON line.
        rest_rps: How many requests a second one address may send, beside a burst; 0: no limit.
        lines: The last log lines; None keeps some from now on.
        metrics: Gives the body and the content type of /metrics, of OpenMetrics if it gets True;
            called in a thread. None: there is no /metrics.
        ready: Gives further reasons why the host is not ready; must not wait.
        metrics_open: /metrics needs no token.
        page: Whether there is the status page.
        packages: The plugins that come out of packages, which can be upgraded and put back.

    Raises:
        ConfigError: An argument cannot be used.
    """
    if network not in NETWORKS:
        raise ConfigError(f"{network!r} is not a network", f"use one of {', '.join(NETWORKS)}")
    origins = list(cors_origins)
    if tokens is not None and "*" in origins:
        raise ConfigError(
            "pages of every origin would be let in, with tokens", "name the origins of your pages"
        )
    return AdminApp(
        manager,
        network=network,
        tokens=tokens,
        folders=Folders(config_dirs),
        origins=Origins(origins, with_tokens=tokens is not None),
        audit=None if audit is None else Audit(Path(audit)),
        buckets=Buckets(rest_rps),
        lines=lines,
        metrics=metrics,
        ready=ready,
        metrics_open=metrics_open,
        with_page=page,
        packages=packages,
    )
