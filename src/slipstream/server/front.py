"""What callers see of a daemon: the admin application, its servers, and the first token."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipstream.errors import SlipstreamError
from slipstream.server.data_dir import DataDir
from slipstream.server.settings import Settings
from slipstream.server.sources import accepting
from slipstream.server.sources.path import Say

if TYPE_CHECKING:
    from slipstream.manager import PluginManager
    from slipstream.server.packages import Packages

SUBJECT = "operator"
"""Whose token is written at start."""


class Front:
    """The application, served at a port and at the admin socket."""

    def __init__(
        self,
        settings: Settings,
        data: DataDir,
        rest: socket.socket | None,
        admin: socket.socket | None,
        say: Say,
    ) -> None:
        """Take the sockets, which nobody serves yet."""
        self._settings = settings
        self._options = settings.options
        self._data = data
        self._rest = rest
        self._admin = admin
        self._say = say
        self._servers: list[Any] = []
        self._tokens: Any = None
        self._app: Any = None

    def make(
        self,
        server: Any,
        manager: PluginManager,
        figures: Callable[[], dict[str, int]],
        ready: Callable[[], list[str]],
        packages: Packages | None,
    ) -> None:
        """Make the application.

        Args:
            server: The module that serves.
            manager: Whose plugins it is about.
            figures: Gives what the sources have brought so far.
            ready: Gives reasons why the daemon is not ready.
            packages: Its plugins that come out of packages.

        Raises:
            ConfigError: The files of tokens are damaged.
        """
        options = self._options
        dirs = options.config_dirs or {
            str(Path(path).absolute().parent) for path in options.configs
        }
        if self._rest is not None and not options.nojwt:
            self._tokens = server.Tokens(
                self._data.path, options.network, secret=self._settings.secret
            )
        self._app = server.admin_app(
            manager,
            network=options.network,
            tokens=self._tokens,
            config_dirs=dirs,
            cors_origins=options.cors_origins,
            audit=self._data.audit,
            rest_rps=options.rest_rps,
            metrics=server.Metrics(manager, network=options.network, figures=figures),
            ready=ready,
            metrics_open=options.metrics_open,
            packages=packages,
        )

    async def serve(self, server: Any, task: Callable[[Coroutine[Any, Any, Any]], None]) -> None:
        """Serve it, and wait until all servers have begun.

        Args:
            server: The module that serves.
            task: Runs something beside.
        """
        options = self._options
        tls: dict[str, object] = {}
        if options.tls_cert is not None:
            tls = {"ssl_certfile": options.tls_cert, "ssl_keyfile": options.tls_key}
        for bound, more in ((self._rest, tls), (self._admin, {})):
            if bound is None:
                continue
            # Each has its own connections: a crowd at the port does not lock the operator out.
            backlog = accepting.BACKLOG
            config = server.config_for(self._app, lifespan=False, backlog=backlog, **more)
            one = server.Server(config)
            self._servers.append(one)
            task(one.serve(sockets=[bound]))
        for one in self._servers:
            await one.begun.wait()
        for bound in filter(None, (self._rest, self._admin)):
            accepting.let_wait(bound)

    def write_token(self, show: Callable[[str], None]) -> None:
        """Issue a token, write it into its file, and show it to whoever has started the daemon."""
        if self._tokens is None or self._options.nobanner:
            return
        at = self._options.jwt_timestamp
        token = self._tokens.issue(SUBJECT, at=None if at is None else float(at))
        try:
            kept = f" (also in {self._data.write_token(SUBJECT, token)})"
        except OSError as error:  # others can be issued, once there is room
            kept = ""
            self._say(logging.WARNING, "the token is in no file", {"problem": error.strerror})
        show(f"REST: {self.url}\ntoken of {SUBJECT}{kept}:\n{token}\n")

    def look_at_tokens(self) -> None:
        """Say what keeps tokens from being accepted."""
        try:
            if self._tokens is not None:
                self._tokens.check()
        except SlipstreamError as error:
            self._say(logging.ERROR, error.message, {"next": error.hint})

    @property
    def url(self) -> str:
        """Where REST is served; "" if nowhere."""
        if self._rest is None:
            return ""
        host, port = self._rest.getsockname()[:2]
        scheme = "http" if self._options.tls_cert is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    def stop(self) -> None:
        """Refuse changes and questions from now on."""
        self._app.stop()

    async def close(self) -> None:
        """End the servers, and wait until they have."""
        for server in self._servers:
            server.leave()
        await self._app.aclose()
        for server in self._servers:
            await server.over.wait()
