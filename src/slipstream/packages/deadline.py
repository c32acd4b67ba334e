"""An end for every wait of an HTTP client, whatever the other side sends meanwhile.

httpx limits the wait for the next byte. Who sends a byte of a header now and then would hold it for
ever; here each read gets what is left of the time for the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slipstream.extras import need


def bound(client: Any, left: Callable[[], float]) -> None:
    """Let no wait of a client outlast a deadline.

    Args:
        client: An `httpx.Client`.
        left: How many seconds are left, now.
    """
    # httpx has no public place for the backend of its transports, those of proxies among them.
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001
        if transport is not None:  # None: of an address that no proxy serves
            pool = transport._pool  # noqa: SLF001
            pool._network_backend = _Backend(pool._network_backend, left)  # noqa: SLF001


class _Wraps:
    def __init__(self, wrapped: Any, left: Callable[[], float]) -> None:
        self._wrapped, self._left = wrapped, left

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def _within(self, timeout: float | None) -> float:
        left = self._left()
        if left <= 0:
            raise need("httpcore", "packages").ReadTimeout("the time for the whole is over")
        return left if timeout is None else min(timeout, left)


class _Backend(_Wraps):
    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, **more: Any
    ) -> _Stream:
        opened = self._wrapped.connect_tcp(host, port, timeout=self._within(timeout), **more)
        return _Stream(opened, self._left)


class _Stream(_Wraps):
    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data: bytes = self._wrapped.read(max_bytes, timeout=self._within(timeout))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._wrapped.write(buffer, timeout=self._within(timeout))

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> _Stream:
        secured = self._wrapped.start_tls(ssl_context, server_hostname, self._within(timeout))
        return _Stream(secured, self._left)
