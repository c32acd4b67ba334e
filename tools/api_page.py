"""Write docs/api.md and docs/api-aleo.md, the public Python API, out of its docstrings.

python tools/api_page.py

`tests/test_reference.py` holds the pages against the code.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import slipstream
from slipstream._native import Door

DOCS = Path(__file__).resolve().parents[1] / "docs"
Part = tuple[str, str, tuple[str, ...]]

_HEAD = """\
# Python API

All public names, with what they take and give. [Embedding](embedding.md) shows how they are used
together, and [Errors](errors.md) lists what they raise. Values of the Aleo chain have
[a page of their own](api-aleo.md). `help(NAME)` says the same in an interpreter. This page is made
of the docstrings by `tools/api_page.py`.
"""
_HEAD_ALEO = """\
# Python API: Aleo values

The public names of `slipstream.aleo`; [Embedding](embedding.md#aleo-values) shows how they are
used. This page is made of the docstrings by `tools/api_page.py`.
"""

# What stands on the page, in its order: a heading, the module, its names (all that the package
# exports from there where none are given).
_PARTS: tuple[Part, ...] = (
    ("Hosting plugins", "slipstream.manager", ()),
    ("A loaded plugin", "slipstream.loaded", ()),
    ("State and counters", "slipstream.status", ()),
    ("Events", "slipstream.events", ()),
    ("Configuration", "slipstream.config", ()),
    ("What a library says", "slipstream.library", ()),
    ("Peers and services", "slipstream.peers", ()),
    ("Headers", "slipstream", ("get_include",)),
    ("Frames", "slipstream.frames", ("encode", "decode", "split")),
    ("Captures", "slipstream.capture", ("CaptureWriter", "read_header", "read_frames")),
    ("Logs", "slipstream.logs", ("FieldFormatter",)),
    ("Testing plugins", "slipstream.testing", ("*",)),
    ("REST", "slipstream.server", ("admin_app",)),
)
_SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises")


def _value(value: object) -> str:
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, type | functools.partial) or callable(value):
        return "..."
    return repr(value)


def signature(call: Callable[..., object], name: str) -> str:
    """Return how something is called, in one line or with a line for each argument."""
    try:
        shape = inspect.signature(call)
    except ValueError:
        return f"{name}(...)"
    words: list[str] = []
    kinds = [one.kind for one in shape.parameters.values()]
    for at, one in enumerate(shape.parameters.values()):
        if one.name in {"self", "cls"} and at == 0:
            continue
        if one.kind is one.KEYWORD_ONLY and one.KEYWORD_ONLY not in kinds[:at]:
            words += ["*"] if one.VAR_POSITIONAL not in kinds else []
        mark = (
            "*" if one.kind is one.VAR_POSITIONAL else "**" if one.kind is one.VAR_KEYWORD else ""
        )
        told = "" if one.annotation is one.empty else f": {_type(one.annotation)}"
        sign = " = " if told else "="
        usual = "" if one.default is one.empty else f"{sign}{_value(one.default)}"
        words.append(f"{mark}{one.name}{told}{usual}")
    gives = shape.return_annotation
    end = (
        ""
        if gives in {shape.empty, "None", None} or inspect.isclass(call)
        else f" -> {_type(gives)}"
    )
    line = f"{name}({', '.join(words)}){end}"
    if len(line) <= 88:
        return line
    return f"{name}(\n" + "".join(f"    {word},\n" for word in words) + f"){end}"


def _type(annotation: object) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:typing|collections\.abc|slipstream(?:\.\w+)*|pathlib)\.", "", text)


def _entries(lines: list[str]) -> Iterator[str]:
    """The entries of a section as list items."""
    text = inspect.cleandoc("\n".join(["", *lines])).replace("``", "`")
    entries = re.split(r"\n(?=\S)", text)
    for entry in entries:
        name, colon, rest = " ".join(entry.split()).partition(": ")
        yield (
            f"* `{name}`: {rest}"
            if colon and re.fullmatch(r"\*{0,2}[\w.]+", name)
            else (f"* {' '.join(entry.split())}")
        )


def prose(text: str) -> str:
    """Return a docstring as Markdown: its sections become lists, its examples code."""
    out: list[str] = []
    for block in re.split(rf"^(?=(?:{'|'.join(_SECTIONS)}):$)", text, flags=re.MULTILINE):
        title = block.partition(":")[0]
        if title in _SECTIONS:
            lines = block.splitlines()[1:]
            out.append(f"{title}:\n\n" + "\n".join(_entries(lines)))
        elif block.strip():
            out.append(_code(block.strip()))
    return "\n\n".join(out)


def _code(text: str) -> str:
    return re.sub(
        r"::\n\n((?:    .*\n?|\n)+)",
        lambda found: f":\n\n```py\n{inspect.cleandoc(found[1])}\n```\n",
        text,
    ).replace("``", "`")


def _doc(thing: object) -> str:
    return prose(inspect.getdoc(thing) or "")


def _members(cls: type) -> Iterator[tuple[str, str, object]]:
    """The public methods and properties of a class: name, how it is written, what has its text."""
    own = {name: what for base in reversed(_ours(cls)) for name, what in vars(base).items()}
    for name, what in own.items():
        if name.startswith("_"):
            continue
        if isinstance(what, property | functools.cached_property):
            call = what.fget if isinstance(what, property) else what.func
            gives = "" if call is None else inspect.signature(call).return_annotation
            yield name, f"{name}: {_type(gives)}", what
        elif isinstance(what, staticmethod | classmethod):
            yield name, signature(what.__func__, f"{cls.__name__}.{name}"), what.__func__
        elif inspect.isfunction(what):
            word = "async " if inspect.iscoroutinefunction(what) else ""
            yield name, word + signature(what, name), what
    if cls is slipstream.PluginManager:
        for name in ("has_subscribers", "broadcast", "broadcast_many", "broadcast_frames",
                     "mapping_update", "mapping_removal", "staking_reward", "block"):  # fmt: skip
            yield name, signature(getattr(Door, name), name), getattr(Door, name)


def _ours(cls: type) -> list[type]:
    return [base for base in cls.__mro__ if base.__module__.startswith("slipstream")]


def _show_class(cls: type) -> Iterator[str]:
    yield f"### {cls.__name__}\n"
    if issubclass(cls, enum.Enum):
        yield f"{_doc(cls)}\n"
        yield "\n".join(f"* `{one.name}` = `{one.value!r}`" for one in cls) + "\n"
        return
    abstract = getattr(cls, "_is_protocol", False) or issubclass(cls, BaseException)
    if not abstract:
        yield f"```py\n{signature(cls, cls.__name__)}\n```\n"
    text = inspect.getdoc(cls)
    yield f"{prose(text or '')}\n"
    made = cls.__dict__.get("__init__")
    if made is not None and made.__doc__ and not dataclasses.is_dataclass(cls):
        yield f"{_doc(made)}\n"
    for name, shown, what in _members(cls):
        if inspect.getdoc(what):
            yield f"#### {cls.__name__}.{name}\n\n```py\n{shown}\n```\n\n{_doc(what)}\n"


def _names(module: str, names: tuple[str, ...]) -> list[str]:
    room = importlib.import_module(module)
    if names == ("*",):
        return list(room.__all__)
    if names:
        return list(names)
    order = {name: at for at, name in enumerate(vars(room))}
    exported = [name for name in slipstream.__all__ if name in vars(room)]
    ours = [name for name in exported if getattr(room, name).__module__.startswith(module)]
    return sorted(ours, key=lambda name: order[name])


def _page(head: str, of: tuple[Part, ...]) -> str:
    parts = [head]
    for title, module, names in of:
        parts.append(f"## {title}\nFrom `{'slipstream' if not names else module}`.\n")
        room = importlib.import_module(module)
        for name in _names(module, names):
            thing = getattr(room, name)
            if inspect.isclass(thing):
                parts += _show_class(thing)
            elif callable(thing):
                word = "async " if inspect.iscoroutinefunction(thing) else ""
                parts.append(
                    f"### {name}\n\n```py\n{word}{signature(thing, name)}\n```\n\n{_doc(thing)}\n"
                )
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts))


def pages() -> dict[str, str]:
    """Return the pages, by their names."""
    return {
        "api.md": _page(_HEAD, _PARTS),
        "api-aleo.md": _page(_HEAD_ALEO, (("Aleo", "slipstream.aleo", ("*",)),)),
    }


if __name__ == "__main__":
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
