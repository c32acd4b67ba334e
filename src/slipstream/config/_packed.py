"""The config as a plugin gets it: its JSON, packed with an index of all that is in it.

Whoever has read a config knows what is in it; the core, which answers `slipstream.config/1`
from it, and a worker that runs a foreign library parse nothing. The layout stands in
native/plugin/host_config.h.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._document import JsonValue

_HEAD: Final = struct.Struct("=2I")
_ENTRY: Final = struct.Struct("=2IQd10I")
# SLIPSTREAM_JSON_*, from 0; a bool is an int too, so the first that fits counts.
_TYPES: Final = (type(None), bool, int | float, str, list, dict)
_IS_WHOLE, _FITS_I64, _FITS_U64, _FITS_F64 = 1, 2, 4, 8
_WORD: Final = 2**64


def pack(values: Mapping[str, JsonValue]) -> bytes:
    """Packs a config.

    Args:
        values: What `on_load` gets.

    Returns:
        What the core takes: the JSON in UTF-8 and the index behind each other.

    Raises:
        ValueError: A number is NaN or infinite.
    """
    return _Packer().pack(values)


class _Packer:
    def __init__(self) -> None:
        self._entries = [b""]
        self._json = bytearray()
        self._texts = bytearray()
        self._places: dict[bytes, tuple[int, int]] = {}

    def pack(self, values: Mapping[str, JsonValue]) -> bytes:
        self._add(0, "", dict(values))
        head = _HEAD.pack(len(self._entries), len(self._json))
        return b"".join((head, *self._entries, self._json, b"\0", self._texts))

    def _add(self, index: int, key: str, value: JsonValue) -> None:
        """Writes a value's JSON and its entry, and those of what is in it."""
        start, first = len(self._json), len(self._entries)
        inside: list[tuple[str, bytes, JsonValue]] = []
        brackets = b""
        if isinstance(value, dict):
            brackets = b"{}"
            inside = [(name, _written(name) + b":", item) for name, item in value.items()]
        elif isinstance(value, list):
            brackets = b"[]"
            inside = [(str(at), b"", item) for at, item in enumerate(value)]
        else:
            self._json += _written(value)
        self._json += brackets[:1]
        self._entries += [b""] * len(inside)
        for at, (name, written, item) in enumerate(inside):
            self._json += b"," + written if at else written
            self._add(first + at, name, item)
        self._json += brackets[1:]
        self._entries[index] = _ENTRY.pack(
            next(number for number, kind in enumerate(_TYPES) if isinstance(value, kind)),
            *_number(value),
            *(first, len(inside)),
            *(start, len(self._json) - start),
            *self._place(key.replace("~", "~0").replace("/", "~1")),
            *self._place(key),
            *self._place(value if isinstance(value, str) else ""),
        )

    def _place(self, text: str) -> tuple[int, int]:
        data = text.encode()
        if data not in self._places:
            self._places[data] = (len(self._texts), len(data))
            self._texts += data
        return self._places[data]


def _written(value: JsonValue) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def _number(value: JsonValue) -> tuple[int, int, float]:
    """What a number can be given as, as an integer and as a real number; a bool is one too."""
    if isinstance(value, float):
        return _FITS_F64, 0, value
    if not isinstance(value, int):
        return 0, 0, 0.0
    fits = _IS_WHOLE
    fits |= _FITS_I64 if -_WORD // 2 <= value < _WORD // 2 else 0
    fits |= _FITS_U64 if 0 <= value < _WORD else 0
    try:
        return fits | _FITS_F64, value % _WORD, float(value)
    except OverflowError:
        return fits, value % _WORD, 0.0
