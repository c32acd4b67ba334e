"""``plugin-meta.json``: what a package says of itself."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slipstream.config import Document, closest, shown
from slipstream.errors import ConfigError, PackageError
from slipstream.packages.names import PackageName

if TYPE_CHECKING:
    from slipstream.config import JsonValue

FILE = "plugin-meta.json"
MOST_BYTES = 256 * 1024
ENTRYPOINT = re.compile(r"[A-Za-z0-9_.-]+")  # Quorum's ^[\w-_.]+$, in ASCII
_DIGEST = re.compile(r"[0-9a-f]{64}")
_KEYS = (
    *("name", "version", "os", "arch", "entrypoint", "parameters", "interfaces", "abi"),
    *("config_schema", "files"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageMeta:
    """What a package says of itself.

    Attributes:
        package: Its name.
        entrypoint: The library, a file at the top.
        parameters: Quorum's parameters of a program; kept, and without effect.
        interfaces: The interfaces that it is made for; empty: it does not say.
        abi: The major of the ABI; None: it does not say.
        config_schema: JSON Schema of the plugin's own config keys.
        files: The SHA-256 of each file beside this one; None: it does not say.
        unknown: Keys that are not known here.
    """

    package: PackageName
    entrypoint: str
    parameters: tuple[str, ...] = ()
    interfaces: tuple[str, ...] = ()
    abi: int | None = None
    config_schema: Mapping[str, JsonValue] | None = None
    files: Mapping[str, str] | None = None
    unknown: tuple[str, ...] = field(default=())

    def to_json(self) -> str:
        """Return it as a file has it."""
        package = self.package
        said: dict[str, object] = {"name": package.name, "version": package.version}
        if package.os:
            said |= {"os": package.os, "arch": package.arch}
        said["entrypoint"] = self.entrypoint
        if self.parameters:
            said["parameters"] = list(self.parameters)
        if self.interfaces:
            said["interfaces"] = list(self.interfaces)
        if self.abi is not None:
            said["abi"] = self.abi
        if self.config_schema is not None:
            said["config_schema"] = self.config_schema
        if self.files is not None:
            said["files"] = dict(sorted(self.files.items()))
        return json.dumps(said, indent=2, ensure_ascii=False) + "\n"


class _Reader:
    def __init__(self, text: str, where: str) -> None:
        self._where = where
        try:
            self.root = Document(None, text=text).root
        except ConfigError as error:
            raise self.error(f"is refused: {error.message}", error.hint) from None

    def error(self, problem: str, hint: str) -> PackageError:
        return PackageError(f"{self._where}: its {FILE} {problem}", hint)

    def text(self, key: str, *, needed: bool = False) -> str:
        value = self.root.get(key)
        if value is None and not needed:
            return ""
        if not isinstance(value, str) or not value:
            what = "is missing" if value is None else f"is {shown(value)}, and must be a text"
            raise self.error(f"is not complete: {key} {what}", f'write "{key}": "..."')
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.root.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self.error(f"has {key}: {shown(value)}, and not a list of texts", "fix it")
        return tuple(str(one) for one in value)


def read_meta(content: bytes, where: str) -> PackageMeta:
    """Read a package's meta file.

    Args:
        content: JSON in UTF-8.
        where: The package, as errors shall name it.

    Raises:
        PackageError: It cannot be used.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PackageError(f"{where}: its {FILE} is not UTF-8", "save it as UTF-8") from None
    said = _Reader(text, where)
    for key in said.root:
        near = closest(key, _KEYS) if key not in _KEYS else None
        if near is not None and near not in said.root:
            raise said.error(f"has a key {shown(key)}", f"did you mean {near}?")
    entrypoint = said.text("entrypoint", needed=True)
    if not ENTRYPOINT.fullmatch(entrypoint) or entrypoint in {".", "..", FILE}:
        raise said.error(
            f"has the entrypoint {shown(entrypoint)}, not a file at the top of the package",
            "name the library by letters, digits and . _ - alone",
        )
    abi = said.root.get("abi")
    if abi is not None and (not isinstance(abi, int) or isinstance(abi, bool)):
        raise said.error(f"has abi: {shown(abi)}, and not a number", "write the ABI's major")
    schema = said.root.get("config_schema")
    if schema is not None and not isinstance(schema, dict):
        raise said.error("has a config_schema that is not an object", "write JSON Schema")
    return PackageMeta(
        package=PackageName(
            said.text("name", needed=True),
            said.text("version", needed=True),
            said.text("os"),
            said.text("arch"),
        ),
        entrypoint=entrypoint,
        parameters=said.texts("parameters"),
        interfaces=said.texts("interfaces"),
        abi=abi,
        config_schema=schema,
        files=_files(said),
        unknown=tuple(key for key in said.root if key not in _KEYS),
    )


def _files(said: _Reader) -> dict[str, str] | None:
    value = said.root.get("files")
    if value is None:
        return None
    if not isinstance(value, dict):
        raise said.error(f"has files: {shown(value)}, and not an object", "give path and SHA-256")
    files: dict[str, str] = {}
    for path, digest in value.items():
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise said.error(
                f"has for the file {shown(path)} {shown(digest)}, which is no SHA-256",
                "give 64 digits in lower-case hexadecimal",
            )
        files[path] = digest
    return files
