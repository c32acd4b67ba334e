"""One plugin's config: the host's keys, checked, and the plugin's own as they stand."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from slipstream._platform import HAS_PROCESS_MODE
from slipstream.errors import (
    CannotOpenConfigFile,
    CannotReadConfigFile,
    ConfigError,
    InvalidConfigFileFormat,
    LibPathNotSet,
)
from slipstream.files import KIBIBYTE, FileProblem, read_small
from slipstream.text import printable

from ._document import Document, JsonValue, KeyPath, spell
from ._formats import is_library, names_library, other_format
from ._keys import (
    HOST,
    MEBIBYTE,
    NO_PROCESS_MODE,
    RULES,
    Limits,
    Mode,
    Overflow,
    Reload,
    Restart,
    Retry,
    Setting,
    read_host,
    read_keys,
)
from ._typos import closest, is_slip_of, is_spelling_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MAX_CONFIG_BYTES: Final = 64 * KIBIBYTE


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginConfig:
    """One plugin's config. Times are in seconds, sizes in bytes, paths absolute.

    Attributes:
        libpath: The library.
        name: The name in this host; None: the plugin's own.
        mode: Where callbacks run; None: the host's.
        overflow: What happens when the ring is full.
        ring_bytes: The ring's size.
        block_timeout: How long a broadcast waits for room before the plugin counts as stalled.
        dead_letter: The capture file for events that are refused for good, or false for none; None:
            one in the host's data folder.
        reload: The order of old and new version at a reload.
        reload_close_first: Whether the old version's library is closed before the new one's is
            opened, in a mode where both are part of the host.
        callback_timeout: The longest that a callback may take.
        load_timeout: The longest that loading may take.
        unload_timeout: The longest that unloading may take.
        flush_interval: How long a plugin with explicit acknowledgement is idle before a flush.
        grants: What the plugin may ask of the application.
        call_timeout: The longest that the plugin waits for an answer of the application.
        retry: How an event is offered again that the plugin has answered with RETRY.
        restart: How a crashed worker is started again.
        limits: What a worker may take.
        user: The user that a worker runs as; None: the host's user.
        sha256: The library's digest in hexadecimal; None: not checked.
        enabled: Whether it is loaded at all.
        own: The plugin's own keys, as they stand in the file.
        source: The config file; None if there is none.
        folder: The folder from which relative paths count.
        document: The values with their places in the file, for errors; None if there is none.
        content: The file that holds the library's checked bytes, instead of `libpath`.
        own_from: Where the plugin's own keys come from, if they are not to be shown; else "".
    """

    libpath: Path
    name: str | None = None
    mode: Mode | None = None
    overflow: Overflow = Overflow.BLOCK
    ring_bytes: int = 16 * MEBIBYTE
    block_timeout: float = 5.0
    dead_letter: Path | bool | None = None
    reload: Reload = Reload.REPLACE
    reload_close_first: bool = False
    callback_timeout: float = 30.0
    load_timeout: float = 30.0
    unload_timeout: float = 10.0
    flush_interval: float = 1.0
    grants: tuple[str, ...] = ()
    call_timeout: float = 2.0
    retry: Retry = field(default_factory=Retry)
    restart: Restart = field(default_factory=Restart)
    limits: Limits = field(default_factory=Limits)
    user: str | None = None
    sha256: str | None = None
    enabled: bool = True
    own: dict[str, JsonValue] = field(default_factory=dict)
    source: Path | None = None
    folder: Path = field(default_factory=Path.cwd)
    document: Document | None = field(default=None, repr=False, compare=False)
    content: Path | None = field(default=None, repr=False, compare=False)
    own_from: str = field(default="", compare=False)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, object], *, folder: str | os.PathLike[str]) -> Self:
        """Makes a config from values instead of a file.

        Args:
            mapping: The keys of a config file, with values that JSON can hold, or paths.
            folder: The folder from which relative paths count.

        Returns:
            The checked config.

        Raises:
            ConfigError: A value cannot be used; the subclass says how.
        """
        return cls.from_document(Document(None, values=mapping), folder)

    @classmethod
    def from_document(cls, document: Document, folder: str | os.PathLike[str]) -> Self:
        """Makes a config from a document that was read.

        Args:
            document: The values, with their places in the file.
            folder: The folder from which relative paths count.

        Returns:
            The checked config.

        Raises:
            ConfigError: A value cannot be used; the subclass says how.
        """
        base = Path(os.path.abspath(folder))
        host = document.root.get(HOST)
        taken = {*RULES, HOST} if isinstance(host, dict) else RULES.keys()
        own = {key: value for key, value in document.root.items() if key not in taken}
        for key, value in own.items():
            _refuse_typo(document, key, value, base)
        # Any: the rules, not the type checker, see to it that each value fits its field.
        checked: dict[str, Any] = read_keys(Setting(document, (), document.root, base), RULES)
        if isinstance(host, dict):
            inside: Any = read_host(Setting(document, (HOST,), host, base))
            for key in checked.keys() & inside.keys():
                raise document.error(
                    ConfigError,
                    f"{key} is given twice: by itself and in host",
                    "leave one of them out",
                    (HOST, key),
                    at_key=True,
                )
            checked |= inside
        if "libpath" not in checked:
            raise _no_library(document, own)
        config = cls(**checked, own=own, source=document.source, folder=base, document=document)
        config._check_together(document)
        return config

    def error(self, message: str, hint: str, path: KeyPath, *, at_key: bool = False) -> ConfigError:
        """Makes an error that points at a value, if the config comes from a text.

        Args:
            message: What is wrong.
            hint: The next step.
            path: Where that is.
            at_key: Point at its key.

        Returns:
            The error, to be raised.
        """
        document = self.document or Document(self.source, values={})
        return document.error(ConfigError, message, hint, path, at_key=at_key)

    def _check_together(self, document: Document) -> None:
        for key, delays in (("restart", self.restart), ("retry", self.retry)):
            if delays.initial_delay > delays.max_delay:
                raise document.error(
                    ConfigError,
                    f"{key}.initial_delay ({delays.initial_delay:g} s) is longer than "
                    f"{key}.max_delay ({delays.max_delay:g} s)",
                    f"set {key}.max_delay to at least as much",
                    (*_place_of(document, key), "initial_delay"),
                )
        if self.reload_close_first and self.reload is Reload.OVERLAP:
            raise document.error(
                ConfigError,
                'reload_close_first: true and reload: "overlap" exclude each other',
                "leave one of them out",
                _place_of(document, "reload_close_first"),
                at_key=True,
            )
        if self.mode is Mode.PROCESS and not HAS_PROCESS_MODE:
            raise document.error(
                ConfigError, NO_PROCESS_MODE, 'write mode: "thread"', _place_of(document, "mode")
            )
        for key in ("limits", "user"):
            where = _place_of(document, key)
            if where and self.mode in (Mode.INLINE, Mode.THREAD):
                raise document.error(
                    ConfigError,
                    f'{key} has no effect in mode "{self.mode}", where the plugin is part of '
                    "the host's process",
                    f'write mode: "process", or leave {key} out',
                    where,
                    at_key=True,
                )


def _place_of(document: Document, key: str) -> KeyPath:
    """Where a key of the host stands; empty if nowhere."""
    if key in document.root:
        return (key,)
    inside = document.root.get(HOST)
    return (HOST, key) if isinstance(inside, dict) and key in inside else ()


def load_config(path: str | os.PathLike[str]) -> PluginConfig:
    """Reads a config file.

    Args:
        path: The file, JSON5 in UTF-8, at most 64 KiB.

    Returns:
        The checked config.

    Raises:
        CannotOpenConfigFile: The file does not exist or may not be opened.
        CannotReadConfigFile: It is not a regular file, too large, or not UTF-8.
        InvalidConfigFileFormat: It is not JSON5, or holds what JSON cannot.
        LibPathNotSet: It has no `libpath`.
        InvalidPluginPath: Its `libpath` cannot be the path of a file.
        ConfigError: Another value cannot be used.
    """
    source = Path(os.path.abspath(path))
    shown_path = printable(str(source))
    try:
        content = read_small(source, MAX_CONFIG_BYTES)
    except FileProblem as problem:
        if not problem.found:
            raise CannotOpenConfigFile(
                f"the config file {shown_path} {problem.reason}",
                problem.hint(
                    'no shell has expanded the "~": write a space before it, or the whole path'
                    if str(path).startswith("~")
                    else "give each config file by an option of its own"
                    if "," in str(path)
                    else "correct the path, or let the user that runs the host read the file"
                ),
            ) from None
        if names_library(source) and not source.is_dir():
            raise _library_given(source) from None
        raise CannotReadConfigFile(
            f"the config file {shown_path} {problem.reason}",
            f"give a JSON5 text file of at most {MAX_CONFIG_BYTES // KIBIBYTE} KiB",
        ) from None
    return config_of_bytes(content, source)


def load_configs(paths: Iterable[str | os.PathLike[str]]) -> Iterator[PluginConfig]:
    """Reads config files, each when it is asked for.

    Args:
        paths: The files.

    Yields:
        Their configs.

    Raises:
        TypeError: It is one path, and no list of them.
        ConfigError: As for `load_config`.
    """
    if isinstance(paths, str | os.PathLike):
        raise TypeError(f"config files are given as a list of paths: [{str(paths)!r}]")
    yield from map(load_config, paths)


def config_of_bytes(content: bytes, source: Path) -> PluginConfig:
    """Reads what stands in a config file.

    Args:
        content: JSON5 in UTF-8.
        source: The file that errors shall name; relative paths count from its folder.

    Returns:
        The checked config.

    Raises:
        ConfigError: As for `load_config`.
    """
    shown_path = printable(str(source))
    if is_library(content):
        raise _library_given(source)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if b"\0" in content and content[:2] not in {b"\xff\xfe", b"\xfe\xff"}:  # else UTF-16
            raise CannotReadConfigFile(
                f"{shown_path} is not text, and so not a config file",
                'give the JSON5 file that names the library: { libpath: "./libplugin.so" }',
            ) from None
        line = content.count(b"\n", 0, error.start) + 1
        raise CannotReadConfigFile(
            f"the config file {shown_path} is not UTF-8: byte 0x{content[error.start]:02x} "
            f"at offset {error.start}, in line {line}",
            "save it as UTF-8",
        ) from None
    try:
        document = Document(source, text=text)
    except InvalidConfigFileFormat:
        other = other_format(text)
        if other is None:
            raise
        raise InvalidConfigFileFormat(
            f"the config file {shown_path} is written in {other}, not in JSON5",
            'write it as JSON5: { libpath: "./libplugin.so", key: "value" }',
        ) from None
    return PluginConfig.from_document(document, source.parent)


def _library_given(source: Path) -> CannotReadConfigFile:
    return CannotReadConfigFile(
        f"{printable(str(source))} is a library, and not the config of one",
        f'write a file plugin.json5 with {{ libpath: "{printable(str(source))}" }}, and give that',
    )


def parse_config(
    text: str, *, folder: str | os.PathLike[str], source: str | os.PathLike[str] | None = None
) -> PluginConfig:
    """Reads the text of a config file.

    Args:
        text: JSON5, at most 64 KiB in UTF-8.
        folder: The folder from which relative paths count.
        source: The file that errors shall name.

    Returns:
        The checked config.

    Raises:
        ConfigError: As for `load_config`.
    """
    path = None if source is None else Path(os.path.abspath(source))
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_CONFIG_BYTES:
        limit = MAX_CONFIG_BYTES // KIBIBYTE
        raise CannotReadConfigFile(
            f"the config {printable(str(path or 'text'))} is larger than {limit} KiB",
            f"give JSON5 text of at most {limit} KiB",
        )
    return PluginConfig.from_document(Document(path, text=text), folder)


def _refuse_typo(document: Document, key: str, value: JsonValue, folder: Path) -> None:
    for known in RULES:
        if not is_spelling_of(key, known):
            if not is_slip_of(key, known):
                continue
            # One-word keys are near to ordinary words: "limit: 100" is the plugin's own,
            # "limit: { memory: ... }" is meant for the host.
            if "_" not in known and not _would_fit(known, value, folder):
                continue
        raise document.error(
            ConfigError,
            f'unknown key "{spell((key,))}": did you mean "{known}"?',
            f'write "{known}"; if the key is meant for the plugin, put it into an object of '
            "the plugin's own",
            (key,),
            at_key=True,
        )


def _would_fit(known: str, value: JsonValue, folder: Path) -> bool:
    try:
        RULES[known](Setting(Document(None, values={known: value}), (known,), value, folder))
    except ConfigError:
        return False
    return True


def _no_library(document: Document, own: dict[str, JsonValue]) -> LibPathNotSet:
    near = closest("libpath", own)
    aside = f' ("{spell((near,))}" goes to the plugin)' if near else ""
    return document.error(
        LibPathNotSet,
        f"libpath is not set{aside}",
        "add libpath: \"./libplugin.so\", the library's path from the config file's folder",
    )
