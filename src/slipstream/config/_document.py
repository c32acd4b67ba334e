"""Turns JSON5 text into plain values, and remembers where each key stands."""

from __future__ import annotations

import json
import math
import os
import re
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from slipstream.errors import ConfigError, InvalidConfigFileFormat
from slipstream.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ._scan import Outline

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
KeyPath: TypeAlias = "tuple[str | int, ...]"

_E = TypeVar("_E", bound=ConfigError)

MAX_DEPTH: Final = 24
"""json5 needs about 23 frames a level, and the interpreter gives 1000 to the whole stack."""

INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**64 - 1
_DECIMAL: Final = 10
_LONGEST_INTEGER: Final = 40
"""Digits that are converted at all; the time of a conversion grows with their square."""

_LINE_END = re.compile(r"\r\n|\r|\n")
_SURROGATE = re.compile("[\ud800-\udfff]")
_EXCERPT = 96
_SHOWN = 60


class _Pairs(list["tuple[str, object]"]):
    """An object as it was written: in order, with its duplicate keys."""


class _Refused:
    """A number of the text that has no place in a config.

    Args:
        problem: What continues the sentence that starts with the key.
        hint: The next step.
    """

    def __init__(self, problem: str, hint: str) -> None:
        self.problem = problem
        self.hint = hint


class Document:
    """The values of one config, with the means to point at any of them in an error.

    Args:
        source: The file, as errors shall name it; None if there is none.
        text: The JSON5 text; None if the values did not come from text.
        values: The values, where there is no text, or one in another language.
        places: Of those, where key and value stand in that text, as far as it is known.

    Raises:
        InvalidConfigFileFormat: The text or the values are not what a config may hold.
    """

    def __init__(
        self,
        source: Path | None,
        *,
        text: str | None = None,
        values: Mapping[str, object] | None = None,
        places: Mapping[KeyPath, tuple[int | None, int | None]] | None = None,
    ) -> None:
        self.source = source
        self._text = "" if text is None else text
        self._places: dict[KeyPath, tuple[int | None, int | None]] = {}
        try:
            root = self._read(None if values is not None else text, values)
        except RecursionError:
            raise self.error(
                InvalidConfigFileFormat,
                "the interpreter's stack has no room left to read the config",
                "load it from a place less deep in the program, or flatten the config",
            ) from None
        if not isinstance(root, dict):
            raise self.error(
                InvalidConfigFileFormat,
                f"a config is one object with keys, not {shown(root)}",
                'write { libpath: "./libplugin.so" }',
                (),
            )
        self.root: dict[str, JsonValue] = root
        self._places.update(places or {})

    def error(
        self,
        kind: type[_E],
        message: str,
        hint: str,
        where: KeyPath | int | None = None,
        *,
        at_key: bool = False,
    ) -> _E:
        """Makes an error that names file, line and column, and shows the line with a caret.

        Args:
            kind: The class of the error.
            message: What is wrong.
            hint: The next step.
            where: The path of the value that is meant, or an offset into the text.
            at_key: Point at the value's key instead of the value.

        Returns:
            The error, to be raised.
        """
        offset = where if isinstance(where, int) else None
        if isinstance(where, tuple):
            offset = self._places.get(where, (None, None))[0 if at_key else 1]
        name = "" if self.source is None else printable(str(self.source))
        if offset is None:
            return kind(f"{name}: {message}" if name else message, hint)
        line, column, excerpt = _point_at(self._text, offset)
        place = f"{name}:{line}:{column}" if name else f"line {line}, column {column}"
        return kind(f"{place}: {message}\n{excerpt}", hint)

    def _read(self, text: str | None, values: Mapping[str, object] | None) -> JsonValue:
        if text is None:
            return self._plain(values, (), iter(()))
        from ._scan import scan  # noqa: PLC0415 - json5 and a large pattern, for texts only

        outline = scan(text, MAX_DEPTH)
        if outline.too_deep is not None:
            raise self._too_deep(outline.too_deep)
        return self._plain(self._parse(text, outline), (), iter(outline.starts))

    def _parse(self, text: str, outline: Outline) -> object:
        try:
            # A hundred times faster, and most files that programs write are strict JSON.
            parsed: object = json.loads(
                text,
                object_pairs_hook=_Pairs,
                parse_int=_integer,
                parse_float=_real,
                parse_constant=_constant,
            )
        except ValueError:
            pass
        else:
            return parsed
        if not text.strip():
            raise self.error(
                InvalidConfigFileFormat,
                "the config is empty",
                'write at least { libpath: "./libplugin.so" }',
            )
        parsed, problem, position = outline.parse(
            object_pairs_hook=_Pairs,
            parse_int=_integer,
            parse_float=_real,
            parse_constant=_constant,
        )
        if problem is None:
            return parsed
        offset, message, hint = outline.explain(position)
        raise self.error(InvalidConfigFileFormat, message, hint, offset)

    def _too_deep(self, offset: int | None) -> InvalidConfigFileFormat:
        return self.error(
            InvalidConfigFileFormat,
            f"objects and arrays are nested more than {MAX_DEPTH} deep",
            "flatten the config, or keep this part in a file of the plugin's own",
            offset,
        )

    def _plain(self, node: object, path: KeyPath, starts: Iterator[int]) -> JsonValue:
        """Checks one value and what is in it, in the order in which the text was written."""
        key_at = next(starts, None) if path and isinstance(path[-1], str) else None
        value_at = next(starts, None)
        self._places[path] = (key_at, value_at)
        if len(path) > MAX_DEPTH:
            raise self._too_deep(value_at)
        if isinstance(node, os.PathLike):
            node = os.fspath(node)
        if isinstance(node, _Pairs):
            return self._object(node, path, starts)
        if isinstance(node, list):
            return [self._plain(item, (*path, at), starts) for at, item in enumerate(node)]
        if isinstance(node, Mapping):
            return self._object(list(node.items()), path, starts)
        return self._scalar(node, path)

    def _scalar(self, node: object, path: KeyPath) -> JsonValue:
        if isinstance(node, str):
            return self._text_of(node, path)
        if node is None or isinstance(node, bool):
            return node
        if isinstance(node, int):
            node = _in_range(node)
        elif isinstance(node, float):
            node = _finite(node)
        if isinstance(node, _Refused):
            raise self._invalid(path, node.problem, node.hint)
        if isinstance(node, int | float):
            return node
        raise self._invalid(
            path,
            f"is a Python {type(node).__name__}, which JSON cannot hold",
            "use dict, list, str, int, float, bool or None",
        )

    def _object(
        self, pairs: Sequence[tuple[object, object]], path: KeyPath, starts: Iterator[int]
    ) -> dict[str, JsonValue]:
        values: dict[str, JsonValue] = {}
        for key, node in pairs:
            if not isinstance(key, str):
                raise self._invalid(path, f"has the key {key!r}, which is not text", "quote it")
            name = self._text_of(key, path, "has a key with")
            inner = (*path, name)
            first = self._places.get(inner)
            value = self._plain(node, inner, starts)
            if first is not None:
                raise self._duplicate(inner, first[0])
            values[name] = value
        return values

    def _duplicate(self, path: KeyPath, first: int | None) -> InvalidConfigFileFormat:
        line = f", first in line {_line_of(self._text, first)[0]}" if first is not None else ""
        return self.error(
            InvalidConfigFileFormat,
            f"{spell(path)} is set twice{line}",
            "keep one of the two",
            path,
            at_key=True,
        )

    def _text_of(self, text: str, path: KeyPath, has: str = "holds") -> str:
        if not _SURROGATE.search(text):
            return text
        try:
            # Two escapes that make up one character may come apart in parsing.
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        except UnicodeDecodeError:
            pass
        raise self._invalid(
            path,
            f"{has} half of a surrogate pair, which is not a character",
            "write the character itself, or both halves of its escape",
        )

    def _invalid(self, path: KeyPath, problem: str, hint: str) -> InvalidConfigFileFormat:
        return self.error(InvalidConfigFileFormat, f"{spell(path)} {problem}", hint, path)


def spell(path: KeyPath) -> str:
    """Writes a path as people do, for example ``servers[2].password``.

    Args:
        path: Keys and indices, outermost first.

    Returns:
        The path as printable text; ``the config`` for the empty one.
    """
    if not path:
        return "the config"
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return _shorten(printable("".join(parts).removeprefix(".")))


def shown(value: object) -> str:
    """Writes a value for an error message: as JSON, printable, and cut if it is long.

    Args:
        value: Any value.

    Returns:
        At most 60 characters.
    """
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "an array"
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return _shorten(printable(text))


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _integer(text: str, base: int = _DECIMAL) -> int | _Refused:
    if base == _DECIMAL and len(text) > _LONGEST_INTEGER:
        return _too_long()
    return _in_range(int(text, base))


def _in_range(number: int) -> int | _Refused:
    return number if INTEGER_MIN <= number <= INTEGER_MAX else _too_long()


def _too_long() -> _Refused:
    return _Refused(
        "is an integer outside of -2^63 to 2^64-1, which many readers would round",
        "put it in quotes, so that the plugin gets every digit",
    )


def _real(text: str) -> float | _Refused:
    try:
        number = float(text)
    except ValueError:
        return _Refused(f"is not a number: {_shorten(text)}", "write it like 1, 0.5 or 1e6")
    return _finite(number)


def _finite(number: float) -> float | _Refused:
    if math.isnan(number):
        return _constant("NaN")
    if math.isinf(number):
        return _Refused(
            "is infinite, or too large for a number of 64 bits",
            "write a smaller number, or put it in quotes",
        )
    return number


def _constant(text: str) -> _Refused:
    return _Refused(f"is {text}, which JSON cannot hold", "write a number or null")


def _line_of(text: str, offset: int) -> tuple[int, int]:
    """The line's number, counted from 1, and the offset at which it starts."""
    line, start = 1, 0
    for end in _LINE_END.finditer(text, 0, offset):
        line, start = line + 1, end.end()
    return line, start


def _point_at(text: str, offset: int) -> tuple[int, int, str]:
    line, start = _line_of(text, offset)
    end = _LINE_END.search(text, start)
    content = text[start : end.start() if end else len(text)]
    column = offset - start
    # A long line is cut so that the caret stays on the screen.
    cut = max(0, column - _EXCERPT * 2 // 3)
    before = ("…" if cut else "") + _one_cell_each(content[cut:column])
    after = _one_cell_each(content[column : cut + _EXCERPT])
    after += "…" if len(content) > cut + _EXCERPT else ""
    width = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in before)
    gutter = f"{line:>5} | "
    return line, column + 1, f"{gutter}{before}{after}\n{'|':>7} {' ' * width}^"


def _one_cell_each(text: str) -> str:
    return "".join(
        " " if c == "\t" else "\ufffd" if not c.isprintable() or unicodedata.combining(c) else c
        for c in text
    )
