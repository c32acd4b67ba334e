"""Pages of other origins: which of them may call, and what a browser is told."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

from slipstream.errors import ConfigError

METHODS = "GET, POST, PUT, DELETE, OPTIONS"
HEADERS = "Authorization, Content-Type"
MAX_AGE = "600"


class Origins:
    """The origins whose pages may call; none unless they are named."""

    def __init__(self, allowed: Iterable[str], *, with_tokens: bool) -> None:
        """Take the origins.

        Args:
            allowed: As ``https://example.org:8443``, or ``*``.
            with_tokens: Whether callers need a token; if they do, ``*`` may not be used, since
                then a page from anywhere could try tokens.

        Raises:
            ConfigError: One is not an origin.
        """
        self._allowed = {origin.rstrip("/") for origin in allowed}
        self._with_tokens = with_tokens
        for origin in self._allowed:
            scheme, mark, host = origin.partition("://")
            if origin != "*" and (scheme not in {"http", "https"} or not mark or "/" in host):
                raise ConfigError(
                    f"{origin!r} is not an origin", "write it like https://example.org:8443"
                )

    def headers(self, origin: str | None) -> dict[str, str]:
        """Return what every answer to a page of this origin carries."""
        if not self._allowed:
            return {}
        headers = {"Vary": "Origin"}
        if origin is not None and self.allow(origin):
            headers["Access-Control-Allow-Origin"] = "*" if "*" in self._allowed else origin
            headers["Access-Control-Expose-Headers"] = "Retry-After"
        return headers

    def preflight(self, origin: str | None) -> dict[str, str]:
        """Return what the answer to OPTIONS carries beside that."""
        if origin is None or not self.allow(origin):
            return {}
        return {
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": HEADERS,
            "Access-Control-Max-Age": MAX_AGE,
        }

    def allow(self, origin: str) -> bool:
        """Say whether pages of this origin may call."""
        return "*" in self._allowed or origin in self._allowed

    def may_change(self, headers: Mapping[str, str]) -> bool:
        """Say whether a change may come from where the browser says that it does.

        What is no browser sends no origin. A page of another origin could send a POST without
        asking first; and where no token is needed, a page whose name leads to this host (DNS
        rebinding) is no page of its own.

        Args:
            headers: Those of the request, in lower case.
        """
        origin = headers.get("origin")
        if origin is None or self.allow(origin):
            return True
        host = headers.get("host", "")
        return origin.partition("://")[2] == host and (self._with_tokens or _is_loopback(host))


def _is_loopback(host: str) -> bool:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
