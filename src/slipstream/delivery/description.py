"""What a plugin says of itself, and what it is to its host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slipstream.config import Mode
from slipstream.errors import PluginLoadError, Refusal
from slipstream.library.info import FLAGS, SYMBOL, PluginInfo


@dataclass(frozen=True, slots=True)
class Description:
    """What a plugin says of itself.

    Attributes:
        name: Its own name.
        version: Its version.
        flags: SLIPSTREAM_FLAG_*.
        abi_minor: Of the header that it was built with; 0 where that is not known.
        min_host_minor: The oldest minor of the ABI that it runs with.
        kinds: Set of subscribed kinds, one bit each; once it is loaded.
        claims: The payload names that it claims; once it is loaded.
    """

    name: str
    version: str
    flags: int
    abi_minor: int
    min_host_minor: int = 0
    kinds: int = 0
    claims: tuple[bytes, ...] = ()

    def agrees(self, info: PluginInfo | None, library: Path) -> None:
        """Check that the table says what the file has said.

        Args:
            info: What the file has said, if it has.
            library: The library, as an error shall name it.

        Raises:
            PluginLoadError: They disagree; names the field and both values.
        """
        if info is None:
            return
        flags = None if info.flag_bits is None else _names_of(info.flag_bits)
        for key, said, found in (
            ("name", info.name, self.name),
            ("version", info.version, self.version),
            ("min_host_minor", info.min_host_minor, self.min_host_minor),
            ("flags", flags, _names_of(self.flags)),
        ):
            if said is not None and said != found:
                raise PluginLoadError(
                    f"{library} contradicts itself: {key} is {said} in its {SYMBOL}, and {found} "
                    "in its table",
                    "write the same in both",
                    Refusal.INFO_DISAGREES,
                )


def _names_of(flags: int) -> str:
    """The flags that this host knows, in words."""
    return " ".join(name for name, bit in FLAGS.items() if flags & bit) or "none"


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
        info: What its file says of it; None if it does not, or is written in Python.
    """

    name: str
    version: str
    mode: Mode
    path: Path | None
    digest: str
    config_file: Path | None
    flags: int
    kinds: int
    info: PluginInfo | None = None


@dataclass(frozen=True, slots=True)
class Flush:
    """A flush that was asked for.

    Attributes:
        wait: Waits for its end, so many seconds at most; raises `PluginFailed`.
        by_itself: It goes on while nobody waits; else it begins with `wait`.
    """

    wait: Callable[[float], None]
    by_itself: bool
