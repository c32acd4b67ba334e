"""Waits that become short once there is a hurry."""

from __future__ import annotations

import math
import time

STEP = 1.0
"""Seconds for each wait, once there is."""


class Hurry:
    """Whether the waits of a manager are to be short."""

    def __init__(self) -> None:
        """There is none."""
        self._since = math.inf

    def begin(self) -> None:
        """Let waits be short from now on, those that are under way, too."""
        self._since = min(self._since, time.monotonic())

    def left(self, began: float, end: float) -> float:
        """Return how long a wait may still take, in seconds: a step, if the hurry began in it.

        Args:
            began: When it has begun, by `time.monotonic`.
            end: When it ends if there is no hurry.
        """
        cut = self._since + STEP if began < self._since else end
        return min(end, cut) - time.monotonic()

    def short(self, seconds: float) -> float:
        """Return how long a wait that begins now may take: a step, if there is a hurry."""
        return seconds if self._since == math.inf else min(seconds, STEP)
