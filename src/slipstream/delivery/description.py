"""What a plugin says of itself, and what it is to its host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream.config import Mode

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class Description:
    """What a plugin says of itself.

    Attributes:
        name: Its own name.
        version: Its version.
        flags: SLIPSTREAM_FLAG_*.
        abi_minor: Of the header that it was built with; 0 where that is not known.
        kinds: Set of subscribed kinds, one bit each; once it is loaded.
        claims: The payload names that it claims; once it is loaded.
    """

    name: str
    version: str
    flags: int
    abi_minor: int
    kinds: int = 0
    claims: tuple[bytes, ...] = ()


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
