"""How a package is shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from slipstream.library import kinds_in_words
from slipstream.text import printable

from ._tables import screen_width, wrap

if TYPE_CHECKING:
    from slipstream.packages.archive import Archive


def described(found: Archive) -> dict[str, object]:
    """Return what is shown of a package."""
    meta, info = found.meta, found.info
    said: dict[str, object] = {
        "name": meta.package.name,
        "version": meta.package.version,
        "for": f"{meta.package.os} {meta.package.arch}".strip() or "whichever machine",
        "sha256": found.digest,
        "size": found.sealed.size,
        "entrypoint": meta.entrypoint,
        "library_sha256": found.library.digest,
        "interfaces": list(meta.interfaces),
        "files": [name for name, entry in found.entries.items() if not entry.is_folder],
    }
    if info is not None:
        said |= {
            "plugin": f"{info.name} {info.version}",
            "kinds": None if info.kinds is None else list(info.kinds),
            "requires": list(info.requires),
            "grants": list(info.grants),
        }
    schema = meta.config_schema if info is None else info.config_schema
    said["config_schema"] = schema
    return said


def lines_of(said: dict[str, object]) -> str:
    """Return it as lines for people, no wider than their screen."""
    width = max(map(len, said))
    shown = {
        key: " ".join(map(str, value)) if isinstance(value, list) else value
        for key, value in said.items()
        if value not in (None, [])
    }
    lines = []
    if kinds := said.get("kinds"):
        shown["kinds"] = kinds_in_words(cast("list[int]", kinds))
    for name, value in shown.items():
        text = printable(value if isinstance(value, str) else json.dumps(value))
        for part in wrap(text, screen_width() - width - 2):
            lines.append(f"{name:<{width}}  {part}\n")
            name = ""  # noqa: PLW2901 - it stands before the first line alone
    return "".join(lines)
