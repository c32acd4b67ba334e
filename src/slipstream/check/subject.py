"""The library that is being checked, and what is known of it before."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream._native import ffi, lib
from slipstream.check import samples
from slipstream.check.samples import Frame
from slipstream.config import pack
from slipstream.errors import SlipstreamError
from slipstream.events import Payload
from slipstream.library import LibraryFile, PluginInfo, read_file
from slipstream.text import quoted

if TYPE_CHECKING:
    from slipstream.config import JsonValue
    from slipstream.events import Event


@dataclass(frozen=True, slots=True)
class Quirk:
    """Something that a plugin may declare to be.

    Attributes:
        says: What that means.
        excuses: Ids of the checks whose findings it turns into a skip.
        is_absence: What is excused cannot be tried, and what stands on it neither: no skip.
    """

    says: str
    excuses: frozenset[str] = frozenset()
    is_absence: bool = False


QUIRKS = {
    "complete": Quirk("answers a GAP with FATAL: it must be complete"),
    "resident": Quirk(
        "the runtime of its language stays, with its threads, descriptors and signal handlers",
        frozenset({
            "binary.static-tls", "entry.quiet-load", "entry.starts-nothing",
            "lifecycle.refused-clean", "threads.joined", "threads.signals", "unload.unmapped",
            "unload.hundred", "resources.descriptors", "resources.heap", "resources.mappings",
            "resources.allocations", "hygiene.signals",
        }),
    ),
    "slow-start": Quirk("needs a while to open or to start", frozenset({"entry.cheap"})),
    "needs-service": Quirk(
        "needs something that is not here, such as a database",
        frozenset({"lifecycle.load-unload"}),
        is_absence=True,
    ),
}  # fmt: skip
"""What a plugin may declare to be."""


@dataclass(frozen=True, slots=True)
class Table:
    """What a constructor has returned.

    Attributes:
        struct_size: As the field of the table; so are the next three.
        abi_minor: ...
        min_host_minor: ...
        flags: ...
        functions: Names of the functions that are there.
        outside: Those of them that lie in no memory that may be executed.
        name: The plugin's name.
        version: Its version.
    """

    struct_size: int
    abi_minor: int
    min_host_minor: int
    flags: int
    functions: frozenset[str]
    outside: frozenset[str]
    name: str
    version: str


FUNCTIONS = (
    "destroy", "on_load", "on_unload", "subscribed_events", "on_broadcast", "flush",
    "get_extension",
)  # fmt: skip


def table_of(data: bytes) -> Table:
    """Read what ``slipstream-check`` says of a table."""
    raw = ffi.from_buffer("ss_play_table *", data)

    def names(bits: int) -> frozenset[str]:
        return frozenset(name for at, name in enumerate(FUNCTIONS) if bits >> at & 1)

    return Table(
        raw.struct_size, raw.abi_minor, raw.min_host_minor, raw.flags,
        names(raw.functions), names(raw.outside),
        ffi.string(raw.name).decode("utf-8", "replace"),
        ffi.string(raw.version).decode("utf-8", "replace"),
    )  # fmt: skip


@dataclass(slots=True, weakref_slot=True)
class Subject:
    """A library under check.

    Attributes:
        path: The library, absolute.
        own: The plugin's own config keys.
        quirks: What it declares to be: names in `QUIRKS`, each with the reason that it gives.
        events: Events of its own kinds that it accepts, by kind; from whoever checks it.
        seed: Of everything that is left to chance.
        table: What its constructor returned, when it was first tried; None if that failed.
        kinds: What it subscribed to then.
        claims: Names of payloads that it claimed then.
        taken: Those of them of which it takes a payload that is made up, or given.
        formless: Kinds of an application's own that it subscribes to, of which it takes no event
            that is made up, and none is given.
        unexplored: Why these are not known although they were to be; "" if they are.
        slow: How many times longer than usual it may take.
        foreign: Why nothing of it can run on this machine; "" if it can.
        hidden: What must not stand in a text: its secrets, in all their forms.
    """

    path: Path
    own: Mapping[str, JsonValue]
    quirks: Mapping[str, str] = field(default_factory=dict)
    events: Mapping[int, Sequence[Event]] = field(default_factory=dict)
    seed: int = 1
    table: Table | None = None
    kinds: int = 0
    claims: tuple[bytes, ...] = ()
    taken: tuple[bytes, ...] = ()
    formless: frozenset[int] = frozenset()
    unexplored: str = ""
    slow: float = 1.0
    foreign: str = ""
    hidden: frozenset[str] = frozenset()

    def has(self, flag: str) -> bool:
        """Say whether its table has a flag, by the end of its name: ``BATCH``."""
        bit: int = getattr(lib, f"SLIPSTREAM_FLAG_{flag}")
        return self.table is not None and bool(self.table.flags & bit)

    def takes(self, kind: int) -> bool:
        """Say whether it gets events of a kind."""
        return bool(self.kinds >> kind & 1)

    def config(self, **more: JsonValue) -> bytes:
        """Return its config, packed, with other or further keys."""
        return pack(self.values() | more)

    def values(self) -> dict[str, JsonValue]:
        """Return its config as a host gives it."""
        name = self.table.name if self.table is not None else self.path.stem
        return {"name": name or "plugin", "libpath": str(self.path), **self.own}

    def text(self) -> bytes:
        """Return its config as JSON."""
        return json.dumps(self.values()).encode()

    def samples(self) -> Iterator[Frame]:
        """Yield an event of each kind that it gets, but for GAPs; also what is routed to it."""
        for kind in range(64):
            if self.takes(kind) and kind != samples.GAP and kind not in self.formless:
                yield from (samples.frame_of(event, at) for at, event in self._of(kind))
        yield from self.routed(self.taken)

    def usual(self) -> Iterator[Event]:
        """Yield the events behind `samples`, for whoever changes them: one of each."""
        for kind in range(64):
            if self.takes(kind) and kind != samples.GAP:
                yield from (event for at, event in self._of(kind) if at == 1)
        yield from self._payloads(self.taken)

    def routed(self, names: Iterable[bytes]) -> Iterator[Frame]:
        """Yield payloads of these names, as a host routes them to who claims them."""
        for at, payload in enumerate(self._payloads(names), 1):
            yield samples.frame_of(payload, at, label=f"routed by its name {quoted(payload.name)}")

    def of_application(self) -> Iterator[tuple[int, Frame]]:
        """Yield kinds of an application's own that it gets, each with an event that is made up."""
        for kind in range(lib.SLIPSTREAM_KIND_APP_FIRST, lib.SLIPSTREAM_KIND_APP_LAST + 1):
            event = samples.usual(kind)
            if self.takes(kind) and kind not in self.events and event is not None:
                yield kind, samples.frame_of(event)

    def _of(self, kind: int) -> Iterator[tuple[int, Event]]:
        made_up = samples.usual(kind)
        return enumerate(self.events.get(kind, () if made_up is None else (made_up,)), 1)

    def _payloads(self, names: Iterable[bytes]) -> Iterator[Payload]:
        payloads = [e for e in self.events.get(Payload.kind, ()) if isinstance(e, Payload)]
        for name in names:
            given = [payload for payload in payloads if payload.name == name]
            yield from map(samples.routed, given or [replace(samples.NOTE, name=name)])


def file_of(path: Path) -> tuple[LibraryFile | None, PluginInfo | None]:
    """Return what a library's file says; None for what cannot be read."""
    try:
        file = read_file(path)
    except SlipstreamError:
        return None, None
    try:
        return file, file.info()
    except SlipstreamError:
        return file, None
