"""How much one caller may ask for."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

BODY_BYTES = 64 * 1024
BODY_SECONDS = 10.0
BURST = 50
CONNECTIONS = 64
FOLLOWERS = 16
HEAD_SECONDS = 10.0
IDLE_SECONDS = 30.0

_ADDRESSES = 4096  # so many are remembered; whoever is forgotten has a full bucket again


class Buckets:
    """A bucket of tokens for each address: so many requests a second, and a burst."""

    def __init__(
        self, rate: float, burst: int = BURST, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin with full buckets.

        Args:
            rate: Requests a second; 0: no limit.
            burst: So many at once.
            clock: The time in seconds.
        """
        self._rate = rate
        self._burst = float(burst)
        self._clock = clock
        self._seen: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, address: str) -> float:
        """Count a request; returns 0 if it may be answered, else the seconds until one may be."""
        if self._rate <= 0:
            return 0.0
        now = self._clock()
        key = _network_of(address)
        left, since = self._seen.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        allowed = left >= 1
        self._seen[key] = (left - 1 if allowed else left, now)
        if len(self._seen) > _ADDRESSES:
            self._seen.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._rate


def _network_of(address: str) -> str:
    """Return what counts as one caller: of IPv6 the first 64 bits, which one host has."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
