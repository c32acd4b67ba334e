"""What a plugin says of itself, what it is to its host, and what each mode does for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from slipstream.config import Mode
from slipstream.status import Counters, Metric, Status


@dataclass(frozen=True, slots=True)
class Description:
    """What a plugin says of itself."""

    name: str
    version: str
    flags: int
    abi_minor: int
    kinds: int

    def has(self, flag: int) -> bool:
        """Say whether a SLIPSTREAM_FLAG_* is set."""
        return self.flags & flag != 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a plugin is: fixed for one generation of it.

    Attributes:
        name: Its name in this host.
        version: Its own version.
        mode: Where its callbacks run.
        path: The library; None for a plugin written in Python.
        digest: SHA-256 of the library, in hexadecimal; "" for a plugin written in Python.
        config_file: The config file that it was loaded from, if it was one.
        flags: SLIPSTREAM_FLAG_*.
        kinds: Set of subscribed kinds, one bit each.
    """

    name: str
    version: str
    mode: Mode
    path: Path | None
    digest: str
    config_file: Path | None
    flags: int
    kinds: int


@dataclass(frozen=True, slots=True)
class Flush:
    """A flush that was asked for.

    Attributes:
        wait: Waits for its end, so many seconds at most; raises `PluginFailed`.
        by_itself: It goes on while nobody waits; else it begins with `wait`.
    """

    wait: Callable[[float], None]
    by_itself: bool


class Delivery(Protocol):
    """What a mode does for one plugin; see slipstream.delivery."""

    @property
    def log_id(self) -> int:
        """The number that its log lines carry."""

    def status(self) -> Status:
        """Return the state."""

    def counters(self) -> Counters:
        """Return the counters; may be called at any time."""

    def metrics(self) -> list[Metric]:
        """Return the plugin's own numbers."""

    def pause(self) -> None:
        """Hold events back; what comes meanwhile is told by a GAP."""

    def resume(self) -> None:
        """Deliver again."""

    def ask_flush(self, timeout: float) -> Flush:
        """Ask for everything delivered to be made durable, `timeout` being all the time for it.

        Raises:
            PluginFailed: The plugin cannot get there at present.
        """

    def stop(self, timeout: float) -> str:
        """Unload; returns what became of the library, for the log.

        Raises:
            PluginFailed: It could not even begin; the plugin is loaded as before.
        """
