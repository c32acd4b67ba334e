"""How a package is shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from slipstream.text import printable

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
    """Return it as lines for people."""
    width = max(map(len, said))
    shown = {
        key: " ".join(map(str, value)) if isinstance(value, list) else value
        for key, value in said.items()
        if value not in (None, [])
    }
    return "".join(
        f"{key:<{width}}  {printable(value if isinstance(value, str) else json.dumps(value))}\n"
        for key, value in shown.items()
    )
