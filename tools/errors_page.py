"""Write docs/errors.md, every error with its next step, out of the code that raises them.

python tools/errors_page.py

`tests/test_reference.py` holds the page against the code.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from slipstream import errors
from slipstream.errors import Refusal, SlipstreamError

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"

_HEAD = """\
# Errors

Each error of slipstream says what happened, and what to do next. In Python it is a
`SlipstreamError` with `message` and `hint`; commands show both:

```
error: cannot open nowhere.jsonl: No such file or directory
  next: name a capture or a .jsonl file that this user may read, or - for standard input
```

This page lists them by class, each text with its next step. Words in *italics* stand for what is
different each time. Search the page for a part of the text that you see. It is made of the code by
`tools/errors_page.py`.
"""
_REFUSALS = """\
## Why a library is refused

`PluginLoadError.refusal` is one of these. They never change, so programs may compare them.
`slipstream doctor FILE` goes through the same steps and says which one fails.
"""
_MEANS = {
    Refusal.NOT_FOUND: "There is no such file.",
    Refusal.UNSAFE_PATH: "Other users could replace the library. The error has the command that "
    "repairs it; `--insecure-paths` loads it all the same.",
    Refusal.DIGEST_MISMATCH: "The library is not the one that `sha256` in the config names.",
    Refusal.NOT_A_LIBRARY: "The file is no shared library, or it is damaged.",
    Refusal.WRONG_ARCHITECTURE: "The library was built for another system or processor.",
    Refusal.NO_CONSTRUCTOR: "The library does not export `slipstream_create_plugin_v1`.",
    Refusal.RUST_ABI_PLUGIN: "It is a plugin of snarkVM or Geyser: see [Porting](porting.md).",
    Refusal.WRONG_ABI_MAJOR: "It was built for another major version of the ABI.",
    Refusal.CANNOT_OPEN: "The system cannot open it: a library that it needs is missing, or room.",
    Refusal.CONSTRUCTOR_REFUSED: "The plugin's constructor returned NULL; its own text says why.",
    Refusal.TABLE_UNREADABLE: "What the constructor returned is not readable memory.",
    Refusal.TABLE_TOO_SMALL: "`struct_size` is smaller than the table of ABI 1.0.",
    Refusal.HOST_TOO_OLD: "The plugin's `min_host_minor` asks for a newer host.",
    Refusal.FUNCTION_MISSING: "A function that every plugin needs is NULL.",
    Refusal.FUNCTION_INVALID: "A function of the table does not point to code.",
    Refusal.NAME_INVALID: "The plugin's name has other characters than a-z 0-9 . _ -, or too many.",
    Refusal.VERSION_INVALID: "The plugin's version is NULL, too long, or has control characters.",
    Refusal.BROADCAST_MISSING: "The plugin subscribes to events, and `on_broadcast` is NULL.",
    Refusal.FLUSH_MISSING: "The plugin has the flag EXPLICIT_ACK, and `flush` is NULL.",
    Refusal.TIMED_OUT: "Opening or loading it took longer than `load_timeout`.",
    Refusal.FILE_CHANGED: "The file changed while the host copied it. Try again, and replace "
    "libraries by renaming a new file.",
    Refusal.INFO_MISPLACED: "`slipstream_info_v1` lies where no text can be read. Use the macro "
    "`SLIPSTREAM_INFO`.",
    Refusal.INFO_UNREADABLE: "`slipstream_info_v1` does not begin as it has to, or has no end.",
    Refusal.INFO_INVALID: "`slipstream_info_v1` is not the JSON that slipstream.h describes.",
    Refusal.INFO_DISAGREES: "`slipstream_info_v1` and the plugin's table say different things.",
    Refusal.SCHEMA_INVALID: "The `config_schema` in the info uses what is not supported.",
    Refusal.EXTENSION_MISSING: "The plugin requires something that this application has not.",
}
_COMMANDS = """\
## Errors of commands

What only commands say; [the exit codes](commands.md#exit-codes) go with it.
"""
_CLASSES = {
    name: kind
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, SlipstreamError)
}
Row = tuple[str, str]


def _word(node: ast.expr) -> str:
    """What stands for a value in a text: the last name in it."""
    names = [
        one.id if isinstance(one, ast.Name) else one.attr
        for one in ast.walk(node)
        if isinstance(one, ast.Name | ast.Attribute)
    ]
    usual = {"self", "str", "len", "printable", "shown", "spell", "join", "map", "repr", "sorted"}
    good = [name.strip("_").replace("_", " ") for name in names if name not in usual]
    return f"*{good[0]}*" if good else "*...*"


def _text(node: ast.expr | None) -> str | None:
    """A text as it stands in the code; None if the code makes it elsewhere."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _plain(node.value)
    if isinstance(node, ast.JoinedStr):
        parts = []
        for one in node.values:
            if isinstance(one, ast.Constant):
                parts.append(_plain(str(one.value)))
            elif isinstance(one, ast.FormattedValue):
                parts.append(_counted(one.value) or _word(one.value))
        return "".join(parts)
    if isinstance(node, ast.BoolOp):  # what is usual comes last
        return _text(node.values[-1])
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "hint":
        return _text(node.args[0])
    if isinstance(node, ast.IfExp):
        texts = [_text(one) for one in (node.body, node.orelse)]
        return " / ".join(one for one in texts if one) or None
    return None


def _counted(node: ast.expr) -> str | None:
    """What stands for a call of `counted`: the number, and what is said of many; else None."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        return None
    if node.func.id != "counted":
        return None
    number, *forms = node.args
    words = [str(form.value) for form in forms if isinstance(form, ast.Constant)]
    return f"{_word(number)} {_plain(words[1] if len(words) > 1 else words[0] + 's')}"


def _plain(text: str) -> str:
    """A text whose signs mean nothing to Markdown."""
    return re.sub(r"([\\*_|<>`\[\]])", r"\\\1", " ".join(text.split(" ")).replace("\n", " "))


def raised() -> Iterator[tuple[str, str | None, Row]]:
    """Each error that Python code makes: its class, its refusal (or None), its text and hint."""
    for file in sorted((ROOT / "src" / "slipstream").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            name = node.func.id if isinstance(node.func, ast.Name) else called
            arguments = list(node.args)
            if called in {"error", "refusal"} and arguments and isinstance(arguments[0], ast.Name):
                name, arguments = arguments[0].id, arguments[1:]  # document.error(ConfigError, ...)
            if name not in _CLASSES and name != "Ended":
                continue
            named = {one.arg: one.value for one in node.keywords}
            text = _text(arguments[0] if arguments else named.get("message"))
            hint = _text(arguments[1] if len(arguments) > 1 else named.get("hint"))
            why = arguments[2] if len(arguments) > 2 else named.get("refusal")
            refusal = why.attr if isinstance(why, ast.Attribute) else None
            if text and text.strip("*. "):
                yield name, refusal, (text, hint or "")


_C_CALL = re.compile(
    r"ss_(?:refuse\(\s*\w+,\s*(?P<number>SS_REFUSED_\w+)|advise\(\s*\w+),(?P<rest>.*?)\);",
    re.DOTALL,
)
_C_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')


def refused() -> Iterator[tuple[str, Row]]:
    """Each refusal of the core: its name in `Refusal`, its text and the next step below it."""
    for file in sorted((ROOT / "native").rglob("*.c")):
        name, text = "", ""
        for call in _C_CALL.finditer(file.read_text(encoding="utf-8")):
            said = _c_text(call["rest"])
            if call["number"]:
                if name and text:
                    yield name, (text, "")
                name, text = call["number"].removeprefix("SS_REFUSED_"), said
            elif name and said:
                yield name, (text, said)
                text = ""
        if name and text:
            yield name, (text, "")


_INLINE = ROOT / "native" / "platform" / "linux" / "inline.h"
_C_NAMES = dict(
    re.findall(r'^#define (SS_OS_\w+) ("[^"]*")', _INLINE.read_text(encoding="utf-8"), re.MULTILINE)
)


def _c_text(rest: str) -> str:
    """The format of a call, the alternatives of a condition with a stroke between them."""
    rest = re.sub(r"\bSS_OS_\w+", lambda found: _C_NAMES.get(found[0], found[0]), rest)
    runs = re.findall(r'((?:"(?:[^"\\]|\\.)*"\s*|\b[A-Z_]{6,}\b\s*(?="))+)', rest)
    texts = ["".join(_C_TEXT.findall(run)).replace('\\"', '"') for run in runs]
    shown = [re.sub(r"%[-+.*\d]*(?:zu|l*[uds]|c)|%\w", "\0", text) for text in texts]
    return " / ".join(_plain(text).replace("\0", "*...*") for text in shown if text.strip("\0 :"))


def _table(rows: list[Row]) -> str:
    lines = [f"| {text} | {hint or '-'} |" for text, hint in dict.fromkeys(rows)]
    return "\n".join(["| it says | next |", "|---|---|", *lines]) + "\n"


def page() -> str:
    """Return the page."""
    rows: dict[str, list[Row]] = {}
    why: dict[str, list[Row]] = {one.name: [] for one in Refusal}
    for name, refusal, row in raised():
        if refusal in why:
            why[refusal].append(row)
        else:
            rows.setdefault(name, []).append(row)
    for name, row in refused():
        if name in why:
            why[name].append(row)
    parts = [_HEAD]
    for name, kind in _CLASSES.items():
        above = kind.__mro__[1].__name__
        says = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0]
        parts.append(f"## {name}\n{says} Base: `{above}`.\n")
        if rows.get(name):
            parts.append(_table(sorted(rows[name])))
    parts.append(_REFUSALS)
    for one in Refusal:
        parts.append(f"### {one.value}\n`Refusal.{one.name}`. {_MEANS[one]}\n")
        if why[one.name]:
            parts.append(_table(sorted(why[one.name])))
    parts += [_COMMANDS, _table(sorted(rows.get("Ended", [])))]
    return "\n".join(parts)


def pages() -> dict[str, str]:
    """Return the pages, by their names."""
    return {"errors.md": page()}


if __name__ == "__main__":
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
