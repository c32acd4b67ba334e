"""The JSON Schema of config files, by which an editor completes and checks them."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from ._keys import HOST, RULES, read_host
from ._model import PluginConfig
from ._schema import DIALECT

if TYPE_CHECKING:
    from collections.abc import Mapping


def told(kind: type) -> dict[str, str]:
    """Return what the docstring of a class says of each of its attributes."""
    _, _, attributes = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n     +.*)*)", attributes, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def editor_schema(own: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the schema of a config file.

    Args:
        own: That of a plugin's own keys, as its info has it; None: any key may be the plugin's.
    """
    usual = {one.name: one.default for one in fields(PluginConfig) if one.default is not MISSING}
    keys: dict[str, Any] = {name: dict(rule.form) for name, rule in RULES.items()}
    for name, text in told(PluginConfig).items():
        if name in keys:
            keys[name]["description"] = text.partition("; None:")[0].rstrip(".")
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
