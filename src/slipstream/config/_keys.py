"""The host's keys: what each may be, and what the reader is told when it is not."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeGuard, TypeVar

from slipstream.errors import ConfigError, InvalidPluginPath
from slipstream.files import KIBIBYTE
from slipstream.text import is_utf8, printable

from ._document import Document, JsonValue, KeyPath, shown, spell
from ._typos import closest

_T = TypeVar("_T")

MEBIBYTE: Final = 1024 * KIBIBYTE
GIBIBYTE: Final = 1024 * MEBIBYTE
_UNITS: Final = {"B": 1, "KiB": KIBIBYTE, "MiB": MEBIBYTE, "GiB": GIBIBYTE}
_SIZE: Final = re.compile(r"([0-9]{1,15}) ?(B|KiB|MiB|GiB)")

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}")
_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR


class Mode(StrEnum):
    """Where a plugin's callbacks run."""

    INLINE = "inline"
    THREAD = "thread"
    PROCESS = "process"


NO_PROCESS_MODE: Final = (
    'mode "process" exists on Linux only: on this system a plugin runs in the process of its host'
)


class Overflow(StrEnum):
    """What happens to a new event when the plugin's ring is full."""

    BLOCK = "block"
    DROP_NEWEST = "drop_newest"
    DROP_OLDEST = "drop_oldest"


class Reload(StrEnum):
    """Whether the old version ends before the new one's `on_load`, or after it."""

    REPLACE = "replace"
    OVERLAP = "overlap"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How an event is offered again that the plugin has answered with RETRY.

    Attributes:
        initial_delay: Seconds before it is offered again; doubles with each further time.
        max_delay: Seconds at most between two times.
        max_time: Seconds after which it counts as failed; 0: never.
    """

    initial_delay: float = 0.01
    max_delay: float = 5.0
    max_time: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """How a crashed worker is started again.

    Attributes:
        initial_delay: Seconds before the first restart; doubles with each further one.
        max_delay: Seconds at most between two restarts.
        max_crashes: Crashes within `window` after which the plugin is quarantined; 0: never.
        window: Seconds over which crashes are counted.
    """

    initial_delay: float = 0.1
    max_delay: float = 30.0
    max_crashes: int = 5
    window: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a worker process may take.

    Attributes:
        memory: Bytes of address space, on top of what the ring needs; None: no limit.
        open_files: Open file descriptors; None: no limit.
        core_files: May the kernel write a core file when it crashes? As large as the host's
            hard limit allows.
    """

    memory: int | None = None
    open_files: int | None = None
    core_files: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    """One value of a config, with its place in it.

    Attributes:
        document: The config that it is in.
        path: Where in the config.
        value: The value.
        folder: The folder from which relative paths count.
    """

    document: Document
    path: KeyPath
    value: JsonValue
    folder: Path

    def refusal(
        self, expected: str, example: str, kind: type[ConfigError] = ConfigError
    ) -> ConfigError:
        """Makes the error for a value that cannot be used.

        Args:
            expected: What it must be.
            example: A value that may be written.
            kind: The class of the error.

        Returns:
            The error, to be raised.
        """
        return self.document.error(
            kind,
            f"{spell(self.path)} must be {expected}, not {shown(self.value)}",
            f"write for example {self.path[-1]}: {example}",
            self.path,
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """What a key may be.

    Attributes:
        read: Checks a value; returns what is made of it.
        form: The same as JSON Schema, for editors.
        expected: The same in words, as they stand behind "must be".
        parts: The rules of the keys in it, where it is an object.
    """

    read: Callable[[Setting], object]
    form: Mapping[str, object]
    expected: str
    parts: Mapping[str, Rule] = field(default_factory=dict)

    def __call__(self, setting: Setting) -> object:
        """Check a value."""
        return self.read(setting)


def is_plugin_name(name: object) -> bool:
    """Whether a plugin may have this name: 1 to 63 of a-z 0-9 . _ -, not starting with a mark."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def read_keys(setting: Setting, rules: Mapping[str, Rule]) -> dict[str, object]:
    """Checks the values of one object.

    Args:
        setting: The object.
        rules: A rule for each key; keys without one are left alone.

    Returns:
        What the rules made of the values that are there.

    Raises:
        ConfigError: A value is refused by its rule.
    """
    values = setting.value if isinstance(setting.value, dict) else {}
    return {
        key: rules[key](Setting(setting.document, (*setting.path, key), value, setting.folder))
        for key, value in values.items()
        if key in rules
    }


def _is_number(value: JsonValue) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: JsonValue) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _seconds(low: float, high: float, example: str, *, off: bool = False) -> Rule:
    expected = f"{'0 (off) or ' if off else ''}a number of seconds from {low:g} to {high:g}"

    def read(setting: Setting) -> float:
        value = setting.value
        if _is_number(value) and (low <= value <= high or (off and value == 0)):
            return float(value)
        raise setting.refusal(expected, example)

    form: dict[str, object] = {"type": "number", "minimum": low, "maximum": high}
    return Rule(read, {"anyOf": [{"const": 0}, form]} if off else form, expected)


def _count(low: int, high: int, example: str) -> Rule:
    expected = f"a whole number from {low} to {high}"

    def read(setting: Setting) -> int:
        value = setting.value
        if _is_whole(value) and low <= value <= high:
            return value
        raise setting.refusal(expected, example)

    return Rule(read, {"type": "integer", "minimum": low, "maximum": high}, expected)


def _size(low: int, high: int, example: str, *, power_of_two: bool = False) -> Rule:
    kind = "a power of two" if power_of_two else "a number of bytes"
    span = f"{kind} from {_with_unit(low)} to {_with_unit(high)}"
    expected = f"{span}, as bytes or as text with B, KiB, MiB or GiB"

    def read(setting: Setting) -> int:
        value = setting.value
        if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
            value = int(match[1]) * _UNITS[match[2]]
        fits = not power_of_two or (_is_whole(value) and value.bit_count() == 1)
        if fits and _is_whole(value) and low <= value <= high:
            return value
        raise setting.refusal(expected, example)

    number = {"type": "integer", "minimum": low, "maximum": high}
    return Rule(read, {"anyOf": [number, _text_form(_SIZE)]}, expected)


def _text_form(pattern: re.Pattern[str]) -> dict[str, object]:
    return {"type": "string", "pattern": f"^(?:{pattern.pattern})$"}


def _with_unit(size: int) -> str:
    unit = next(u for u in reversed(_UNITS) if size % _UNITS[u] == 0)
    return f"{size // _UNITS[unit]} {unit}"


def _choice(kind: type[StrEnum]) -> Rule:
    words = [str(member) for member in kind]
    quoted = [f'"{word}"' for word in words]
    expected = f"{', '.join(quoted[:-1])} or {quoted[-1]}"

    def read(setting: Setting) -> StrEnum:
        value = setting.value
        if isinstance(value, str) and value in words:
            return kind(value)
        meant = closest(value.casefold(), words) if isinstance(value, str) else None
        raise setting.refusal(expected, f'"{meant or words[0]}"')

    return Rule(read, {"enum": words}, expected)


def _matching(pattern: re.Pattern[str], expected: str, example: str) -> Rule:
    def read(setting: Setting) -> str:
        value = setting.value
        if isinstance(value, str) and pattern.fullmatch(value):
            return value
        raise setting.refusal(expected, example)

    return Rule(read, _text_form(pattern), expected)


def _digest() -> Rule:
    rule = _matching(
        _DIGEST, "the 64 hexadecimal digits that sha256sum prints", '"e3b0c44298fc1c14…"'
    )
    return Rule(lambda setting: str(rule(setting)).lower(), rule.form, rule.expected)


def _flag() -> Rule:
    expected = "true or false"

    def read(setting: Setting) -> bool:
        if isinstance(setting.value, bool):
            return setting.value
        raise setting.refusal(expected, "false")

    return Rule(read, {"type": "boolean"}, expected)


def _path(example: str, kind: type[ConfigError]) -> Rule:
    expected = "the path of a file"

    def read(setting: Setting) -> Path:
        value = setting.value
        if not isinstance(value, str) or not value.strip() or "\0" in value:
            raise setting.refusal(expected, example, kind)
        # The folder is resolved, so that ".." counts from where a link leads; the name is
        # kept, so that a link to the current version stays one.
        folder, name = os.path.split(os.path.join(setting.folder, value))
        path = os.path.join(os.path.realpath(folder), name)
        if not is_utf8(path):
            raise setting.document.error(
                kind,
                f"{spell(setting.path)} is a path that is not UTF-8: {printable(path)}",
                "rename the file or the folder above it, or move it elsewhere",
                setting.path,
            )
        return Path(path)

    return Rule(read, {"type": "string", "minLength": 1}, expected)


def _path_or_false(example: str) -> Rule:
    read_path = _path(example, ConfigError)
    expected = "the path of a file, or false"

    def read(setting: Setting) -> object:
        if isinstance(setting.value, bool):
            if setting.value:
                raise setting.refusal(expected, example)
            return False
        return read_path(setting)

    return Rule(read, {"anyOf": [read_path.form, {"const": False}]}, expected)


def _section(kind: Callable[..., _T], rules: dict[str, Rule], example: str) -> Rule:
    expected = "an object"

    def read(setting: Setting) -> _T:
        if not isinstance(setting.value, dict):
            raise setting.refusal(expected, example)
        for key in setting.value:
            if key not in rules:
                meant = closest(key, rules)
                raise setting.document.error(
                    ConfigError,
                    f"{spell((*setting.path, key))} is not a key of {spell(setting.path)}",
                    f'did you mean "{meant}"?' if meant else f"its keys are {', '.join(rules)}",
                    (*setting.path, key),
                    at_key=True,
                )
        return kind(**read_keys(setting, rules))

    forms = {name: dict(rule.form) for name, rule in rules.items()}
    form = {"type": "object", "properties": forms, "additionalProperties": False}
    return Rule(read, form, expected, rules)


GRANTS: Final = ("send", "peers", "identity.sign", "identity.open")
"""What an operator may grant a plugin."""
_GRANTS: Final = f"a list of some of {', '.join(GRANTS)}"


def _grants(setting: Setting) -> tuple[str, ...]:
    value = setting.value
    known = isinstance(value, list) and all(grant in GRANTS for grant in value)
    if not isinstance(value, list) or not known or len(set(map(str, value))) < len(value):
        raise setting.refusal(_GRANTS, '["send", "peers"]')
    return tuple(map(str, value))


RULES: Final[dict[str, Rule]] = {
    "libpath": _path('"./libplugin.so"', InvalidPluginPath),
    "name": _matching(
        _NAME,
        "1 to 63 of the characters a-z 0-9 . _ - and start with a letter or digit",
        '"my-plugin"',
    ),
    "mode": _choice(Mode),
    "overflow": _choice(Overflow),
    "ring_bytes": _size(64 * KIBIBYTE, GIBIBYTE, '"16MiB"', power_of_two=True),
    "block_timeout": _seconds(0, _HOUR, "5"),
    "dead_letter": _path_or_false('"failed.capture"'),
    "reload": _choice(Reload),
    "reload_close_first": _flag(),
    "callback_timeout": _seconds(0.01, _DAY, "30", off=True),
    "load_timeout": _seconds(0.1, _HOUR, "30"),
    "unload_timeout": _seconds(0.1, _HOUR, "10"),
    "grants": Rule(
        _grants, {"type": "array", "items": {"enum": list(GRANTS)}, "uniqueItems": True}, _GRANTS
    ),
    "call_timeout": _seconds(0.01, _HOUR, "2"),
    "flush_interval": _seconds(0.01, _HOUR, "1"),
    "retry": _section(
        Retry,
        {
            "initial_delay": _seconds(0.001, _HOUR, "0.01"),
            "max_delay": _seconds(0.001, _HOUR, "5"),
            "max_time": _seconds(0.01, _DAY, "60", off=True),
        },
        "{ max_delay: 5, max_time: 60 }",
    ),
    "restart": _section(
        Restart,
        {
            "initial_delay": _seconds(0, _HOUR, "0.1"),
            "max_delay": _seconds(0.001, _HOUR, "30"),
            "max_crashes": _count(0, 1000, "5"),
            "window": _seconds(1, _DAY, "60"),
        },
        "{ max_crashes: 5, window: 60 }",
    ),
    "limits": _section(
        Limits,
        {
            "memory": _size(16 * MEBIBYTE, 1024 * GIBIBYTE, '"512MiB"'),
            "open_files": _count(16, 1_048_576, "256"),
            "core_files": _flag(),
        },
        '{ memory: "512MiB", open_files: 256 }',
    ),
    "user": _matching(
        re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}\$?"),
        "the name of a user on this machine",
        '"nobody"',
    ),
    "sha256": _digest(),
    "enabled": _flag(),
}

HOST: Final = "host"
"""The key of an object in which any key of the host may stand, and those of later versions only:
so none of them takes a key from a plugin. Anything but an object is the plugin's own."""


read_host: Final = _section(dict, RULES, '{ mode: "process" }')
"""The rule of that object."""
