"""How fast recorded events are sent."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

from slipstream.errors import ConfigError

_TIME = struct.Struct("<q")
_TIME_AT = 32
_LEAST, _MOST = 4096, 64 * 1024
_FORM = "write 2 for twice as fast as recorded, or 5000/s for so many events a second"


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast: both 0 is as fast as they are taken.

    Attributes:
        times: So many times as fast as the times in the events say.
        rate: So many events a second.
    """

    times: float = 0.0
    rate: float = 0.0

    @property
    def run_bytes(self) -> int:
        """How many bytes of events are sent in one go: fewer where time matters."""
        if self.times:
            return _LEAST
        return int(min(_MOST, max(_LEAST, self.rate))) if self.rate else _MOST


def parse_speed(text: str) -> Speed:
    """Return what ``2`` or ``5000/s`` says.

    Raises:
        ConfigError: It says nothing.
    """
    number, slash, unit = text.partition("/")
    try:
        value = float(number)
        if not 0 < value < 1e12 or (slash and unit != "s"):
            raise ValueError
    except ValueError:
        raise ConfigError(f"{text!r} is not a speed", _FORM) from None
    return Speed(rate=value) if slash else Speed(times=value)


class Pace:
    """Waits before each run until its time has come."""

    def __init__(self, speed: Speed, wait: Callable[[float], object] = time.sleep) -> None:
        """Begin now.

        Args:
            speed: How fast.
            wait: Waits so many seconds, and may be woken sooner.
        """
        self._speed = speed
        self._wait = wait
        self._began = time.monotonic()
        self._sent = 0
        self._first = 0

    def hold(self, run: bytes, count: int) -> None:
        """Wait for the time of a run of so many events."""
        due = self._began
        if self._speed.rate:
            due += self._sent / self._speed.rate
        elif self._speed.times:
            (made,) = _TIME.unpack_from(run, _TIME_AT)
            self._first = self._first or made
            if made:
                due += max(0, made - self._first) / 1e9 / self._speed.times
        self._sent += count
        left = due - time.monotonic()
        if left > 0:
            self._wait(left)
