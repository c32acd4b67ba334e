"""What an admin application stands on: its manager, its parts, its work in the background."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar

from slipstream.errors import ConfigError, SlipstreamError
from slipstream.server.answers import Refused
from slipstream.server.lines import Lines
from slipstream.server.page import page
from slipstream.server.routes import Route
from slipstream.server.tokens import Caller

if TYPE_CHECKING:
    from slipstream.manager import PluginManager
    from slipstream.server.audit import Audit
    from slipstream.server.folders import Folders
    from slipstream.server.limits import Buckets
    from slipstream.server.origins import Origins
    from slipstream.server.packages import Packages
    from slipstream.server.tokens import Tokens

P = ParamSpec("P")
T = TypeVar("T")

Metrics = Callable[[bool], tuple[bytes, str]]
Ready = Callable[[], list[str]]

_READERS = 4
_CHANGERS = 32


@dataclass(slots=True)
class Asked:
    """A request that is to be answered.

    Attributes:
        route: What it asks for.
        name: The plugin; "" if it is about none.
        headers: In lower case.
        query: What stands in the query.
        caller: Who asks.
        address: From where.
        root: Where the application is mounted.
        named: What the body names: a config file, a version; "" if it names nothing.
    """

    route: Route
    name: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    caller: Caller
    address: str
    root: str
    named: str = ""
    _numbers: dict[str, int] = field(default_factory=dict)

    def number(self, name: str) -> int:
        """Return a number of the query."""
        return self._numbers[name]

    def read_query(self) -> None:
        """Read the query.

        Raises:
            Refused: It has no number where one belongs.
        """
        for query in self.route.query:
            text = self.query.get(query.name, str(query.usual))
            is_number = text.isascii() and text.isdecimal() and len(text) < 20
            if not is_number or int(text) > query.most:
                raise Refused(400, f"{query.name} is not a number from 0 to {query.most}")
            self._numbers[query.name] = int(text)


class Surface:
    """What the routes stand on. Its work ends with its lifespan, or with `async with`.

    Attributes:
        manager: Whose plugins it is about; None: every route that needs one answers 503.
        network: The network of this host.
        lines: The last log lines.
        folders: Where config files may be.
        metrics: What collects them.
        ready: What else has to be so.
        packages: The plugins that come out of packages; None: there are none.
        is_stopping: Changes and questions are refused from now on.
    """

    def __init__(  # noqa: PLR0913 - the options of `admin_app`
        self,
        manager: PluginManager | None,
        *,
        network: str,
        tokens: Tokens | None,
        folders: Folders,
        origins: Origins,
        audit: Audit | None,
        buckets: Buckets,
        lines: Lines | None,
        metrics: Metrics | None,
        ready: Ready | None,
        metrics_open: bool,
        with_page: bool,
        packages: Packages | None,
    ) -> None:
        """Take everything that `admin_app` has made of its arguments."""
        self.manager = manager
        self.network = network
        self.folders = folders
        self.metrics = metrics
        self.ready = ready
        self.packages = packages
        self.is_stopping = False
        self._own_lines = lines is None
        self.lines = Lines() if lines is None else lines
        self._tokens = tokens
        self._origins = origins
        self._audit = audit
        self._buckets = buckets
        self._metrics_open = metrics_open
        self._page = with_page
        self._said = ""
        self._readers = ThreadPoolExecutor(_READERS, "slipstream-admin-read")
        self._changers = ThreadPoolExecutor(_CHANGERS, "slipstream-admin")

    # ---- Its life -----------------------------------------------------------------------

    def stop(self) -> None:
        """Refuse changes and questions from now on, and end the streams; /healthz goes on."""
        self.is_stopping = True
        self.lines.wake(None)

    async def aclose(self) -> None:
        """Stop, and wait for the changes that are under way."""
        self.stop()
        if self._own_lines:
            self.lines.close()
        loop = asyncio.get_running_loop()
        for pool in (self._readers, self._changers):
            await loop.run_in_executor(None, pool.shutdown)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def read(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Run what reads files, or takes a while, in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, lambda: function(*arguments, **named))

    async def change(self, function: Callable[[], T]) -> T:
        """Run a change in a thread; it is done to its end, whoever waits for it."""
        return await asyncio.get_running_loop().run_in_executor(self._changers, function)

    def record(self, what: dict[str, object]) -> None:
        """Write down what was changed."""
        if self._audit is None:
            return
        try:
            self._audit.write(what)
        except OSError as error:
            self.say(logging.ERROR, "the audit file cannot be written", error)

    def not_ready(self) -> list[str]:
        """Return what, beside its plugins, keeps the host from being ready."""
        reasons = [] if self.ready is None else self.ready()
        try:
            if self._tokens is not None:
                self._tokens.check()
            self._said = ""
        except ConfigError as error:
            reasons.append("no token can be accepted: the log says which file is damaged")
            self.say_once(logging.ERROR, error)
        return reasons

    def say_once(self, level: int, error: SlipstreamError) -> None:
        """Say what is wrong, unless it was the last that was said so."""
        if self.manager is not None and error.message != self._said:
            self._said = error.message
            self.manager.say(level, error.message, {"next": error.hint})

    def say(self, level: int, text: str, error: BaseException) -> None:
        """Say in the log what went wrong."""
        if self.manager is not None:
            self.manager.say(level, text, {"problem": repr(error)}, error=error)

    def offers(self, route: Route) -> bool:
        """Say whether there is such a route here."""
        if route.name == "metrics":
            return self.metrics is not None
        return self._page and page() is not None if route.name == "page" else True

    def is_good(self, caller: Caller) -> bool:
        """Say whether whoever was let in may stay."""
        if self.is_stopping or time.time() >= caller.expires:
            return False
        return not (self._tokens and caller.token and self._tokens.is_revoked(caller.token))
