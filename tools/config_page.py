"""Write the tables of docs/configuration.md out of the rules by which configs are read.

python tools/config_page.py

`tests/test_reference.py` holds the page against the code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from enum import StrEnum
from pathlib import Path

from slipstream.config import PluginConfig
from slipstream.config._editor import told
from slipstream.config._keys import RULES, Limits, Restart, Retry, Rule

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = "configuration.md"
_SECTIONS = {"retry": Retry, "restart": Restart, "limits": Limits}
_MARKS = "<!-- {}: made by tools/config_page.py -->", "<!-- end of {} -->"


def _shown(value: object, *, size: bool = False) -> str:
    """A default, as a config file has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, StrEnum):
        return f'"{value}"'
    if size and isinstance(value, int):
        return f'"{value // 1024**2}MiB"'
    if isinstance(value, int | float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return "[]"
    said = {one.name: getattr(value, one.name) for one in fields(value)}  # type: ignore[arg-type]
    usual = type(value)()
    inner = ", ".join(f"{name}: {_shown(one)}" for name, one in said.items() if one is not None)
    return "{}" if usual == value and isinstance(value, Limits) else f"{{ {inner} }}"


def _default(one: Field[object], text: str) -> str:
    _, none, instead = text.partition("; None: ")
    if none:
        return instead.removeprefix("one in ").rstrip(".")
    if one.default is not MISSING:
        return f"`{_shown(one.default, size=one.name == 'ring_bytes')}`"
    if one.default_factory is not MISSING:
        return f"`{_shown(one.default_factory())}`"
    return "required"


def _anchor(page: str, key: str) -> str:
    """The heading below which a key is explained."""
    found = re.search(rf"^###+ (.*`{key}`.*)$", page, re.MULTILINE)
    if found is None:
        return f"`{key}`"
    anchor = re.sub(r"[^\w\- ]", "", found[1].lower()).replace(" ", "-")
    return f"[`{key}`](#{anchor})"


def _table(kind: type, rules: Mapping[str, Rule], page: str) -> str:
    texts = told(kind)
    rows = []
    for one in fields(kind):
        if one.name in rules:
            text = texts[one.name].partition("; None: ")[0].rstrip(".")
            name = _anchor(page, one.name) if kind is PluginConfig else f"`{one.name}`"
            must, usual = rules[one.name].expected, _default(one, texts[one.name])
            rows.append(f"| {name} | {must} | {usual} | {text} |")
    return "\n".join(["| key | must be | default | what |", "|---|---|---|---|", *rows])


def page() -> str:
    """Return the page with its tables as they have to be."""
    text = (DOCS / PAGE).read_text(encoding="utf-8")
    made = {"host": _table(PluginConfig, RULES, text)}
    for key, kind in _SECTIONS.items():
        made[key] = _table(kind, RULES[key].parts, text)
    for name, table in made.items():
        begin, end = (mark.format(name) for mark in _MARKS)
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n\n{table}\n\n{end}{rest.partition(end)[2]}"
    return text


def pages() -> dict[str, str]:
    """Return the pages, by their names."""
    return {PAGE: page()}


if __name__ == "__main__":
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
