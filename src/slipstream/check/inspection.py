"""All that a library's file says, and what its info says of a config; nothing of it runs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream.check.library_file import CONFIG_ENDINGS
from slipstream.config import ConfigSchema, PluginConfig, load_config, masked, settle_own
from slipstream.errors import SlipstreamError
from slipstream.library import LibraryFile, PluginInfo, read_file

if TYPE_CHECKING:
    from slipstream.config import JsonValue


@dataclass(slots=True)
class Inspection:
    """What was found, as far as it could be read.

    Attributes:
        path: What was given: a library, or a config file.
        library: The library.
        size: Its size in bytes.
        sha256: Its digest, in hexadecimal.
        file: What its file says.
        info: What it says of itself.
        keys: Of a config: the plugin's own keys as the plugin gets them, secrets masked.
        problem: What is wrong; None if nothing is.
    """

    path: Path
    library: Path | None = None
    size: int = 0
    sha256: str = ""
    file: LibraryFile | None = None
    info: PluginInfo | None = None
    keys: dict[str, JsonValue] | None = None
    problem: SlipstreamError | None = field(default=None)


def inspect(path: Path) -> Inspection:
    """Read what a file says.

    Args:
        path: A library; a config file if it ends in .json5 or .json.
    """
    found = Inspection(path)
    try:
        config = load_config(path) if path.suffix in CONFIG_ENDINGS else None
        found.library = path if config is None else config.libpath
        found.file = read_file(found.library)
        with found.library.open("rb") as file:
            found.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            found.size = file.tell()
        found.info = found.file.info()
        if config is not None:
            found.keys = _keys(config, found.info)
    except SlipstreamError as error:
        found.problem = error
    except OSError as error:
        found.problem = SlipstreamError(f"cannot read {path}: {error.strerror}", "try again")
    return found


def _keys(config: PluginConfig, info: PluginInfo | None) -> dict[str, JsonValue]:
    """Judge the plugin's own keys; return them as they may be shown."""
    schema = None if info is None else info.config_schema
    settle_own(config, schema)
    own = masked(config.own)
    return own if schema is None else ConfigSchema(schema).filled(own)
