"""The fields of a line, made from the layouts of the events."""

from __future__ import annotations

import functools
from collections.abc import Callable
from operator import attrgetter
from typing import Annotated, Any, NamedTuple

import msgspec

from slipstream import _native, aleo
from slipstream._native.handle import Handle
from slipstream.events import AppEvent, EventKind, Layout
from slipstream.frames import APP_KINDS, CLASSES, HOST_ONLY, RECORDED, getter, kind_name

_U64 = Annotated[int, msgspec.Meta(ge=0)]  # the upper end is checked by the core
_U32 = Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFF)]
_U16 = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]


class Form(NamedTuple):
    """How bytes are written as text; neither function for those that are not."""

    encode: Callable[[str], bytes] | None = None
    decode: Callable[[bytes], str] | None = None


# A stream holds few programs and mappings, and their texts are encoded for every line.
_program_id = functools.lru_cache(1024)(aleo.program_id_to_bytes)
_identifier = functools.lru_cache(1024)(aleo.identifier_to_bytes)

FORMS = {
    "": Form(),
    "address": Form(aleo.address_to_bytes, aleo.address_to_text),
    "identifier": Form(_identifier, aleo.identifier_to_text),
    "plaintext": Form(aleo.plaintext_to_bytes, aleo.plaintext_to_text),
    "program_id": Form(_program_id, aleo.program_id_to_text),
    "utf8": Form(str.encode, bytes.decode),
    "value": Form(aleo.value_to_bytes, aleo.value_to_text),
}
"""The text forms that the layouts of `slipstream.events` name."""


class Shape:
    """What a line of a kind has: its spans in hexadecimal or as text, and its numbers."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.hexes = getter([f"{span.name}_hex" for span in layout.spans])
        self.numbers = getter(layout.numbers)
        self.word = attrgetter(layout.word) if layout.word else lambda _: 0

    def quick(self, line: Line) -> tuple[bytes | None, ...]:
        """Return the bytes of all spans, where all are given in hexadecimal.

        Raises:
            TypeError, ValueError: One is not.
        """
        return tuple(map(bytes.fromhex, self.hexes(line)))


SHAPES = {kind: Shape(of.layout) for kind, of in CLASSES.items()}
SHAPES |= dict.fromkeys(APP_KINDS, Shape(AppEvent.layout))

KINDS = {kind_name(kind): kind for kind in SHAPES}
"""The kinds of event by their names in a line."""

KNOWN_KINDS = (
    ", ".join(map(kind_name, EventKind))
    + f", {kind_name(APP_KINDS[0])} to {kind_name(APP_KINDS[-1])}"
)
"""The same for people."""


class Line(msgspec.Struct, gc=False):
    """What a line of any kind may have; other fields are skipped."""

    kind: str
    seq: _U64 | None = None
    stream: str | int | None = None
    sequence: _U64 | None = None
    time_ns: int = 0
    flags: _U16 = RECORDED
    block_height: _U64 | None = None
    block_file: str | None = None
    frame_hex: str | None = None


_COMMON = ("kind", "seq", "stream", "sequence", "time_ns", "flags", "block_height")


def _members() -> dict[str, Any]:
    """The fields that the layouts add: texts, numbers and bytes, in the order of our writer."""
    members: dict[str, Any] = {}
    for kind, shape in SHAPES.items():
        if kind not in HOST_ONLY:  # those are only written
            layout = shape.layout
            members |= {span.name: str for span in layout.spans if FORMS[span.form].encode}
            members |= dict.fromkeys(layout.numbers, _U64)
            members |= dict.fromkeys(filter(None, [layout.word]), _U32)
            members |= {f"{span.name}_hex": str for span in layout.spans}
    return members


AnyLine: Any = msgspec.defstruct(
    "AnyLine",
    [(name, kind | None, None) for name, kind in _members().items()],
    bases=(Line,),
    gc=False,
)
"""A line with the fields of every kind."""


def usual_lines() -> Handle[Any]:
    """Return an ``ss_lines`` that knows the fields and the kinds of lines."""
    lib = _native.lib
    lines = lib.ss_lines_new()
    if lines == _native.ffi.NULL:
        raise MemoryError
    handle = Handle(lines, lib.ss_lines_free)
    kinds = {name: kind for name, kind in KINDS.items() if kind not in HOST_ONLY}
    forms = dict.fromkeys(_COMMON, lib.SS_LINE_NUMBER)
    forms |= {"kind": lib.SS_LINE_TEXT, "stream": lib.SS_LINE_HEX}
    forms |= dict.fromkeys(set(AnyLine.__struct_fields__).difference(forms), lib.SS_LINE_OTHER)
    for kind in kinds.values():
        layout = SHAPES[kind].layout
        texts = [span.name for span in layout.spans if FORMS[span.form].encode]
        forms |= dict.fromkeys(texts, lib.SS_LINE_TEXT)
        forms |= dict.fromkeys([f"{span.name}_hex" for span in layout.spans], lib.SS_LINE_HEX)
        forms |= dict.fromkeys(layout.numbers, lib.SS_LINE_NUMBER)
        forms |= dict.fromkeys(filter(None, [layout.word]), lib.SS_LINE_WORD)
    places = {name: place for place, name in enumerate(forms)}
    known = [lib.ss_lines_add_member(lines, name.encode(), forms[name]) for name in places]
    for name, kind in kinds.items():
        layout = SHAPES[kind].layout
        members = [*(f"{span.name}_hex" for span in layout.spans), *layout.numbers]
        known.append(
            lib.ss_lines_add_kind(
                lines,
                name.encode(),
                kind,
                bytes(places[member] for member in members),
                places[layout.word] if layout.word else lib.SS_LINE_NO_MEMBER,
            )
        )
    if not all(known):
        raise SystemError("native/frame/lines.c has too little room for the fields or kinds")
    return handle
