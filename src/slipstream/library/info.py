"""What a plugin says of itself in its file, ``slipstream_info_v1``, before any of it runs.

The text is one JSON object; the comment of SLIPSTREAM_INFO in ``slipstream.h`` says what is in it.
It comes from a file of which nothing is known yet, and is judged as strictly as a table is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from slipstream import _native
from slipstream._native import lib
from slipstream.config import (
    GRANTS,
    ConfigSchema,
    SchemaProblem,
    is_misspelt,
    is_plugin_name,
    shown,
    spell,
)
from slipstream.errors import PluginLoadError, Refusal
from slipstream.text import printable

if TYPE_CHECKING:
    from slipstream.config import JsonValue

SYMBOL = "slipstream_info_v1"
MAX_DEPTH = 32

_LARGEST = 2**32 - 1
_INTEGERS = range(-(2**63), 2**64)
_DIGITS = 40  # that are converted at all; the time of a conversion grows with their square
_KINDS = 64
_AROUND = 24
_EXTENSION = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+/[1-9][0-9]{0,8}")
_VERSION = re.compile(r"[ -~]{1,63}")
_SURROGATE = re.compile("[\ud800-\udfff]")


def _numbers(prefix: str, but: tuple[str, ...] = ()) -> dict[str, int]:
    """Return the header's numbers whose names begin so, by what follows."""
    names = (name for name in dir(lib) if name.startswith(prefix))
    found = {name.removeprefix(prefix): int(getattr(lib, name)) for name in names}
    in_order = sorted(found.items(), key=lambda one: one[1])
    return {name: number for name, number in in_order if name not in but}


FLAGS = _numbers("SLIPSTREAM_FLAG_")
KINDS = _numbers("SLIPSTREAM_KIND_", ("APP_FIRST", "APP_LAST"))


def kinds_in_words(kinds: Iterable[int]) -> str:
    """Return kinds of events by their names; those of an application as ranges of numbers."""
    words: list[str] = []
    first = last = -1
    for kind in sorted(kinds):
        name = kind_name(kind)
        if name != str(kind):
            words.append(name)
        elif words and kind == last + 1:
            words[-1], last = f"{first}-{kind}", kind
        else:
            words.append(name)
            first = last = kind
    return " ".join(words) or "none"


def kind_name(kind: int) -> str:
    """Return the header's name of a kind; an application's own have none, and give the number."""
    return next((name for name, number in KINDS.items() if number == kind), str(kind))


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginInfo:
    """What a plugin says of itself in its file.

    Attributes:
        name: Its name.
        version: Its version.
        min_host_minor: The oldest minor of the ABI's major 1 that it runs with.
        flags: The names of its flags; None where it does not say.
        kinds: The numbers of all kinds that it may subscribe to; None where it does not say.
        requires: Ids of the extensions without which it does not start.
        optional: Ids of those that it uses where they are there.
        grants: What the operator has to allow.
        encodings: The encodings that it reads, by the number of the kind.
        config_schema: JSON Schema of its own config keys.
        sample_config: A config that the schema accepts.
        licence: For people.
        url: For people.
        unknown: Keys, and names of flags and kinds, that this host does not know.
    """

    name: str
    version: str
    min_host_minor: int = 0
    flags: tuple[str, ...] | None = None
    kinds: tuple[int, ...] | None = None
    requires: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    grants: tuple[str, ...] = ()
    encodings: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    config_schema: Mapping[str, JsonValue] | None = None
    sample_config: Mapping[str, JsonValue] | None = None
    licence: str = ""
    url: str = ""
    unknown: tuple[str, ...] = ()

    @property
    def flag_bits(self) -> int | None:
        """Its flags as the table has them, as far as this host knows them."""
        return None if self.flags is None else sum(FLAGS[name] for name in self.flags)

    @property
    def kind_bits(self) -> int:
        """The set of kinds that it may subscribe to, one bit each."""
        kinds = range(_KINDS) if self.kinds is None else self.kinds
        return sum(1 << kind for kind in kinds)


# ---- Reading ---------------------------------------------------------------------------------

_Path: TypeAlias = "tuple[str | int, ...]"


class _Text:
    """The JSON of one file.

    Args:
        data: Its bytes.
        file: The library, as errors shall name it.
    """

    def __init__(self, data: bytes, file: str) -> None:
        self._file = file
        try:
            self._text = data.decode()
        except UnicodeDecodeError as error:
            byte = data[error.start]
            raise self.error(
                f"is not UTF-8: byte 0x{byte:02x} at {error.start}", "write it in UTF-8"
            ) from None
        try:
            tree: object = json.loads(
                self._text,
                object_pairs_hook=self._object,
                parse_int=self._integer,
                parse_float=self._real,
                parse_constant=self._constant,
            )
        except RecursionError:
            raise self._too_deep() from None
        except ValueError as error:
            raise self.error(*self._not_json(error)) from None
        if not isinstance(tree, dict):
            raise self.error(
                f"is not one object, but {shown(tree)}",
                'write {"name": "...", "version": "...", "abi": 1}',
            )
        self.root: dict[str, JsonValue] = tree
        self._look_over(tree)

    def error(
        self, problem: str, hint: str, path: _Path = (), refusal: Refusal = Refusal.INFO_INVALID
    ) -> PluginLoadError:
        """Make the error for a value, or for all of it.

        Args:
            problem: What continues the sentence that begins with what is meant.
            hint: The next step.
            path: Where that is.
            refusal: The reason.
        """
        where = f"{spell(path)} of its {SYMBOL}" if path else f"its {SYMBOL}"
        return PluginLoadError(f"{self._file}: {where} {problem}", hint, refusal)

    def _not_json(self, error: ValueError) -> tuple[str, str]:
        if not self._text.strip():
            return "is empty", 'write {"name": "...", "version": "...", "abi": 1}'
        if not isinstance(error, json.JSONDecodeError):
            return "is not JSON", "write it as plain JSON"
        start = max(0, error.pos - _AROUND)
        before = printable(self._text[start : error.pos])
        after = printable(self._text[error.pos : error.pos + _AROUND])
        said = error.msg[:1].lower() + error.msg[1:]
        return (
            f"is not JSON: {said}, at character {error.pos}: {before} >>> {after}",
            "write it as plain JSON: no comments, no comma at the end, keys in double quotes",
        )

    def _too_deep(self) -> PluginLoadError:
        return self.error(
            f"has objects or arrays nested more than {MAX_DEPTH} deep", "make it flatter"
        )

    def _object(self, pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
        values: dict[str, JsonValue] = {}
        for key, value in pairs:
            if key in values:
                raise self.error(
                    f"has the key {shown(key)} twice in one object", "keep one of the two"
                )
            values[key] = value
        return values

    def _integer(self, digits: str) -> int:
        if len(digits) > _DIGITS or int(digits) not in _INTEGERS:
            raise self.error(
                f"has the integer {shown(digits)}, outside of -2^63 to 2^64-1",
                "many readers would round it; write a smaller one, or a text",
            )
        return int(digits)

    def _real(self, digits: str) -> float:
        number = float(digits)
        if number in (float("inf"), float("-inf")):
            raise self.error(
                f"has {shown(digits)}, which does not fit into 64 bits", "write a smaller one"
            )
        return number

    def _constant(self, word: str) -> NoReturn:
        raise self.error(f"has {word}, which JSON does not know", "write a number, a text or null")

    def _look_over(self, root: JsonValue) -> None:
        """Look for what json itself lets through: depth, and halves of characters."""
        level: list[JsonValue] = [root]
        for _ in range(MAX_DEPTH + 1):
            texts = [value for value in level if isinstance(value, str)]
            keys = [key for value in level if isinstance(value, dict) for key in value]
            for text in (*texts, *keys):
                if _SURROGATE.search(text):
                    raise self.error(
                        f"has half of a surrogate pair, which is not a character, in {shown(text)}",
                        "write the character itself",
                    )
            inner = [value for value in level if isinstance(value, dict | list)]
            level = [
                item
                for value in inner
                for item in (value.values() if isinstance(value, dict) else value)
            ]
            if not level:
                return
        raise self._too_deep()


_Rule: TypeAlias = "Callable[[_Text, str], object]"


def _text(holds: Callable[[str], bool], expected: str, hint: str) -> _Rule:
    def read(text: _Text, key: str) -> str:
        value = text.root[key]
        if isinstance(value, str) and holds(value):
            return value
        raise text.error(f"is {shown(value)}, and must be {expected}", hint, (key,))

    return read


def _whole(text: _Text, path: _Path, value: JsonValue, largest: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= largest:
        return value
    raise text.error(
        f"is {shown(value)}, and must be a whole number from 0 to {largest}",
        "write it without quotes and without a fraction",
        path,
    )


def _abi(text: _Text, key: str) -> int:
    value = text.root[key]
    own = lib.SLIPSTREAM_ABI_MAJOR
    major = _whole(text, (key,), value, _LARGEST)
    if major != own:
        raise text.error(
            f"is {major}, this host speaks major {own}",
            f"use a build of the plugin for major {own}, or a host for major {major}",
            (key,),
            Refusal.WRONG_ABI_MAJOR,
        )
    return major


def _min_host_minor(text: _Text, key: str) -> int:
    minor = _whole(text, (key,), text.root[key], _LARGEST)
    major, own = lib.SLIPSTREAM_ABI_MAJOR, lib.SLIPSTREAM_ABI_MINOR
    if minor > own:
        raise text.error(
            f"is {minor}: it needs a host of ABI {major}.{minor}, this one is {major}.{own}",
            "install a newer slipstream, or an older build of the plugin",
            (key,),
            Refusal.HOST_TOO_OLD,
        )
    return minor


def _list(text: _Text, path: _Path, value: JsonValue, of: str) -> Sequence[JsonValue]:
    if not isinstance(value, list):
        raise text.error(f"is {shown(value)}, and must be an array of {of}", 'write ["..."]', path)
    seen: set[str] = set()
    for at, item in enumerate(value):
        written = json.dumps(item)
        if written in seen:
            raise text.error(f"is there twice: {shown(item)}", "keep one of the two", (*path, at))
        seen.add(written)
    return value


def _name(
    text: _Text, path: _Path, value: JsonValue, known: Mapping[str, int], what: str
) -> int | None:
    """The number of a name of the header; None for one that a newer header may have."""
    if not isinstance(value, str):
        example = next(iter(known))
        raise text.error(
            f"is {shown(value)}, and must be the name of a {what}", f'write "{example}"', path
        )
    if value in known:
        return known[value]
    # A newer plugin may have more of them, as its table may; a slip of the pen has to be told.
    meant = next((name for name in known if is_misspelt(value, name)), None)
    if meant is not None or value == "":
        said = f'did you mean "{meant}"?' if meant else f"known are {', '.join(known)}"
        raise text.error(f"is {shown(value)}, which is not a {what}", said, path)
    return None


def _kind(text: _Text, path: _Path, value: JsonValue) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return _whole(text, path, value, _KINDS - 1)
    return _name(text, path, value, KINDS, "kind of event")


def _flags(text: _Text, key: str) -> tuple[str, ...]:
    values = _list(text, (key,), text.root[key], "names of flags")
    for at, value in enumerate(values):
        _name(text, (key, at), value, FLAGS, "flag")
    return tuple(value for value in values if isinstance(value, str) and value in FLAGS)


def _kinds(text: _Text, key: str) -> tuple[int, ...]:
    values = _list(text, (key,), text.root[key], "kinds of events")
    found = [_kind(text, (key, at), value) for at, value in enumerate(values)]
    return tuple(sorted({kind for kind in found if kind is not None}))


def _ids(text: _Text, key: str) -> tuple[str, ...]:
    values = _list(text, (key,), text.root[key], "ids of extensions")
    for at, value in enumerate(values):
        if not (isinstance(value, str) and len(value) <= 255 and _EXTENSION.fullmatch(value)):
            raise text.error(
                f"is {shown(value)}, and must be the id of an extension",
                'write it like "slipstream.config/1" or "org.example.name/1"',
                (key, at),
            )
    return tuple(str(value) for value in values)


def offered_extensions() -> tuple[str, ...]:
    """Return the ids of the extensions that this host offers."""
    found: list[str] = []
    while name := _native.text(lib.ss_host_extension(len(found))):
        found.append(name)
    return tuple(found)


def _requires(text: _Text, key: str) -> tuple[str, ...]:
    ids = _ids(text, key)
    offered = offered_extensions()
    for at, name in enumerate(ids):
        if name not in offered:
            meant = next((known for known in offered if is_misspelt(name, known)), None)
            raise text.error(
                f"is {shown(name)}, which this host does not offer",
                f'did you mean "{meant}"?' if meant else f"it offers {', '.join(offered)}",
                (key, at),
                Refusal.EXTENSION_MISSING,
            )
    return ids


def _grants(text: _Text, key: str) -> tuple[str, ...]:
    values = _list(text, (key,), text.root[key], "grants")
    for at, value in enumerate(values):
        if value not in GRANTS:
            raise text.error(
                f"is {shown(value)}, which is not a grant",
                f"grants are {', '.join(GRANTS)}",
                (key, at),
            )
    return tuple(str(value) for value in values)


def _members(text: _Text, key: str) -> dict[str, JsonValue]:
    value = text.root[key]
    if not isinstance(value, dict):
        raise text.error(f"is {shown(value)}, and must be an object", "write {...}", (key,))
    return value


def _encodings(text: _Text, key: str) -> dict[int, tuple[int, ...]]:
    found: dict[int, tuple[int, ...]] = {}
    for name, value in _members(text, key).items():
        kind = _kind(text, (key, name), int(name) if re.fullmatch("[0-9]{1,3}", name) else name)
        numbers = _list(text, (key, name), value, "numbers of encodings")
        read = tuple(
            _whole(text, (key, name, at), number, _LARGEST) for at, number in enumerate(numbers)
        )
        if kind in found:
            raise text.error(
                "names a kind that is there already", "keep one of the two", (key, name)
            )
        if kind is not None:
            found[kind] = read
    return found


_RULES: dict[str, _Rule] = {
    "name": _text(is_plugin_name, "1 to 63 of a-z 0-9 . _ -, beginning with a letter or digit",
                  'write "my-plugin", and the same in the table'),
    "version": _text(lambda text: _VERSION.fullmatch(text) is not None,
                     "1 to 63 printable ASCII characters",
                     'write "1.0.0", and the same in the table'),
    "abi": _abi,
    "min_host_minor": _min_host_minor,
    "flags": _flags,
    "kinds": _kinds,
    "requires": _requires,
    "optional": _ids,
    "grants": _grants,
    "encodings": _encodings,
    "config_schema": _members,
    "sample_config": _members,
    "licence": _text(lambda _text: True, "a text", 'write "Apache-2.0"'),
    "url": _text(lambda _text: True, "a text", 'write "https://example.org/plugin"'),
}  # fmt: skip
_REQUIRED = ("name", "version", "abi")


def read_info(data: bytes, file: str) -> PluginInfo:
    """Read and judge the JSON of a plugin's info.

    Args:
        data: The text, without its beginning and without the NUL.
        file: The library, as errors shall name it.

    Returns:
        What it says.

    Raises:
        PluginLoadError: It is not what a host takes; names key, problem and next step.
    """
    text = _Text(data, file)
    for key in _REQUIRED:
        if key not in text.root:
            near = next((other for other in text.root if is_misspelt(other, key)), None)
            raise text.error(
                f"has no {key}",
                f'write "{key}" for {shown(near)}' if near else f'add "{key}", as in the table',
            )
    found = {key: _RULES[key](text, key) for key in text.root if key in _RULES}
    del found["abi"]
    info = PluginInfo(**found, unknown=_unknown(text.root))  # type: ignore[arg-type]
    if info.config_schema is not None:
        _check_schema(text, info.config_schema, info.sample_config)
    return info


def _check_schema(
    text: _Text, schema: Mapping[str, JsonValue], sample: Mapping[str, JsonValue] | None
) -> None:
    try:
        judged = ConfigSchema(schema)
        if sample is not None:
            judged.check_sample(sample)
    except SchemaProblem as problem:
        key = "sample_config" if problem.in_sample else "config_schema"
        path = (key, *problem.path)
        error = text.error(problem.problem, problem.hint, path, Refusal.SCHEMA_INVALID)
        raise error from None


def _unknown(root: Mapping[str, JsonValue]) -> tuple[str, ...]:
    """What is ignored: keys, flags and kinds that this host does not know."""
    named = [
        (name, root.get(key), known)
        for key, name, known in (("flags", "flag", FLAGS), ("kinds", "kind", KINDS))
    ]
    words = [
        f"{name} {printable(value)}"
        for name, values, known in named
        if isinstance(values, list)
        for value in values
        if isinstance(value, str) and value not in known
    ]
    return (*(printable(key) for key in root if key not in _RULES), *words)
