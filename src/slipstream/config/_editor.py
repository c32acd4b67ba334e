"""The JSON Schema of config files, by which an editor completes and checks them."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from ._keys import HOST, RULES, read_host
from ._model import PluginConfig
from ._schema import DIALECT

if TYPE_CHECKING:
    from collections.abc import Mapping


def editor_schema(own: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the schema of a config file.

    Args:
        own: That of a plugin's own keys, as its info has it; None: any key may be the plugin's.
    """
    usual = {one.name: one.default for one in fields(PluginConfig) if one.default is not MISSING}
    keys: dict[str, Any] = {name: dict(rule.form) for name, rule in RULES.items()}
    for name, value in usual.items():
        if name in keys and isinstance(value, bool | int | float | str):
            keys[name]["default"] = value
    keys[HOST] = dict(read_host.form)
    schema: dict[str, Any] = {
        "$schema": DIALECT,
        "title": "A plugin's config for slipstream",
        "type": "object",
        "required": ["libpath"],
        "properties": keys,
    }
    if own is not None:
        schema["properties"] = {**own.get("properties", {}), **keys}
        schema["required"] += own.get("required", [])
        schema |= {name: own[name] for name in ("$defs", "additionalProperties") if name in own}
    return schema
