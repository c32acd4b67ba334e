"""Secrets in the plugin's own keys: resolved for the plugin alone, masked for everybody else.

A value may be a reference instead of the secret itself, in the form that Quorum's plugin
settings use: ``env://NAME`` (an environment variable), ``env://NAME?type=file`` (a file that
the variable names) or ``file://PATH`` (a file).
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from slipstream.errors import ConfigError
from slipstream.files import KIBIBYTE, FileProblem, read_small
from slipstream.text import is_utf8, printable

from ._document import JsonValue, KeyPath, shown, spell
from ._packed import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ._model import PluginConfig

MAX_SECRET_BYTES: Final = 64 * KIBIBYTE
MAX_SECRETS_BYTES: Final = 1024 * KIBIBYTE
"""For one config; a file that is named a thousand times counts a thousand times."""

MASK: Final = "***"
_SHORTEST_LINE: Final = 8
_ORDINARY: Final = frozenset({"true", "false", "null", "none"})
_NUMBER: Final = re.compile(r"[-+]?[0-9][0-9._,]{0,6}")

_REFERENCE: Final = re.compile(r"(env|file)://(.*)", re.DOTALL)
_VARIABLE: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\?type=file)?")


@dataclass(frozen=True, slots=True, repr=False)
class ResolvedConfig:
    """The plugin's own keys with every secret in clear. Never logged, never answered.

    Attributes:
        own: The keys, for the plugin only.
        secrets: The values that were resolved; of a config that is a secret as a whole, all texts.
    """

    own: dict[str, JsonValue]
    secrets: tuple[str, ...]

    @property
    def forms(self) -> set[str]:
        """What must not stand in a text: all forms in which a secret is looked for.

        They are the secret as it stands, as a JSON string has it, and each longer line of a
        secret of several lines, because logs are cut into lines. A secret that the plugin encodes
        in another way is not found, nor is one of fewer than 4 bytes.
        """
        found: set[str] = set()
        for secret in self.secrets:
            found |= {secret, secret.strip(), json.dumps(secret)[1:-1]}
            found.add(json.dumps(secret, ensure_ascii=False)[1:-1])
            lines = (line.strip() for line in secret.splitlines())
            found |= {line for line in lines if len(line) >= _SHORTEST_LINE}
        return found

    def wholly_secret(self, public: Iterable[str] = ()) -> ResolvedConfig:
        """Return the same keys with each of their texts as a secret.

        That is for keys that come from a file or a variable as a whole, of which nobody has said
        which are secret. Left out are texts that only say what a number, true, false or null says:
        they stand in too many lines that have nothing to do with the config.

        Args:
            public: Texts that are none, because the plugin's own library names them.
        """
        known = set(public)
        found = [
            text
            for text in _texts(self.own)
            if text not in known and text.lower() not in _ORDINARY and not _NUMBER.fullmatch(text)
        ]
        return ResolvedConfig(self.own, tuple(dict.fromkeys([*self.secrets, *found])))

    def __repr__(self) -> str:
        return f"<ResolvedConfig of {len(self.own)} keys with {len(self.secrets)} secrets>"


def resolve_secrets(
    own: dict[str, JsonValue],
    folder: str | os.PathLike[str],
    *,
    source: str | os.PathLike[str] | None = None,
) -> ResolvedConfig:
    """Replaces every reference to a secret by the secret.

    Args:
        own: The plugin's own keys.
        folder: The folder from which the relative paths of ``file://`` count.
        source: The config file that errors shall name.

    Returns:
        A copy of the keys with the secrets in clear, and the secrets.

    Raises:
        ConfigError: A variable or a file is missing or unusable; never names its value.
    """
    found: list[str] = []
    room = MAX_SECRETS_BYTES

    def resolve(reference: str, path: KeyPath) -> str:
        nonlocal room
        secret = _Reference(reference, path, Path(folder), source).read()
        room -= len(secret.encode())
        if room < 0:
            limit = MAX_SECRETS_BYTES // KIBIBYTE
            raise ConfigError(
                f"{_at(path, source)}: the secrets of this config are larger than {limit} KiB",
                "hand large files to the plugin by name, without file://",
            )
        found.append(secret)
        return secret

    resolved = {key: _replace(value, (key,), resolve) for key, value in own.items()}
    return ResolvedConfig(resolved, tuple(dict.fromkeys(found)))


def masked(own: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Makes a copy of the plugin's own keys that may be logged and answered.

    Args:
        own: The keys, as they stand in the file.

    Returns:
        The keys, each reference to a secret as ``***(env://NAME)``.
    """
    return {key: _replace(value, (key,), _mask) for key, value in own.items()}


def plugin_config(
    config: PluginConfig, name: str, *, resolved: ResolvedConfig | None = None
) -> bytes:
    """Packs what `on_load` gets: one JSON object with every secret in clear.

    Args:
        config: The plugin's config.
        name: The effective name.
        resolved: What `resolve_secrets` gave; None resolves now.

    Returns:
        What the core takes. Its JSON has `name`, the absolute `libpath`, then the plugin's own
        keys in the order of the file; integers in full digits, no NaN and no Infinity.

    Raises:
        ConfigError: A secret is missing or unusable.
        ValueError: A config that was not read or checked holds NaN or Infinity.
    """
    if resolved is None:
        resolved = resolve_secrets(config.own, config.folder, source=config.source)
    return pack({"name": name, "libpath": str(config.libpath), **resolved.own})


@dataclass(frozen=True, slots=True)
class _Reference:
    text: str
    path: KeyPath
    folder: Path
    source: str | os.PathLike[str] | None

    def read(self) -> str:
        scheme, _, rest = self.text.partition("://")
        if scheme == "file":
            if not rest or "\0" in rest:
                raise self._refusal(f"{shown(self.text)} names no file", 'write "file://PATH"')
            return self._read_file(Path(rest), f"the file {printable(rest)}")
        match = _VARIABLE.fullmatch(rest)
        if match is None:
            raise self._refusal(
                f"{shown(self.text)} does not name an environment variable",
                'write "env://NAME" or "env://NAME?type=file"; a name has letters, digits and _',
            )
        name, is_file = match.groups()
        value = os.environ.get(name)
        if value is None:
            raise self._refusal(
                f"the environment variable {name} is not set",
                f"set {name} in the environment of the host and start it again",
            )
        if is_file:
            return self._read_file(Path(value), f"the file that {name} names")
        if not is_utf8(value):
            raise self._refusal(f"the value of {name} is not UTF-8", "set it to text in UTF-8")
        if len(value.encode()) > MAX_SECRET_BYTES:
            limit = MAX_SECRET_BYTES // KIBIBYTE
            raise self._refusal(
                f"the value of {name} is larger than {limit} KiB", "use a shorter secret"
            )
        return value

    def _read_file(self, path: Path, called: str) -> str:
        hint = (
            f"put the secret into a text file of at most {MAX_SECRET_BYTES // KIBIBYTE} KiB that "
            "the user of the host may read; a relative path counts from the config's folder"
        )
        try:
            content = read_small(self.folder / path, MAX_SECRET_BYTES)
        except FileProblem as problem:
            reason, hint = problem.reason, problem.hint(hint)
        else:
            text = content.decode("utf-8", "surrogateescape")
            if is_utf8(text):
                return text.removesuffix("\n").removesuffix("\r") if text[-1:] == "\n" else text
            reason = "is not UTF-8"
        raise self._refusal(f"{called} {reason}", hint)

    def _refusal(self, problem: str, hint: str) -> ConfigError:
        # Raised outside of except blocks: an error in UTF-8 holds the secret's bytes, and a
        # log that follows the chain of exceptions would show them.
        return ConfigError(f"{_at(self.path, self.source)}: {problem}", hint)


def _at(path: KeyPath, source: str | os.PathLike[str] | None) -> str:
    name = "" if source is None else f"{printable(os.fspath(source))}: "
    return f"{name}{spell(path)}"


def _mask(reference: str, path: KeyPath) -> str:  # noqa: ARG001 - has the form of a resolver
    return f"{MASK}({reference})"


def _replace(value: JsonValue, path: KeyPath, by: Callable[[str, KeyPath], str]) -> JsonValue:
    if isinstance(value, str):
        return by(value, path) if _REFERENCE.match(value) else value
    if isinstance(value, list):
        return [_replace(item, (*path, at), by) for at, item in enumerate(value)]
    if isinstance(value, dict):
        return {key: _replace(item, (*path, key), by) for key, item in value.items()}
    return value


def _texts(value: JsonValue) -> Iterator[str]:
    """All texts in a value; keys are none."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)
