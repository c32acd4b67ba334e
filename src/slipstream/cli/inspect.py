"""``slipstream inspect``: what libraries and configs say, without anything of them being run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from slipstream.check.inspection import Inspection
from slipstream.check.inspection import inspect as look_into
from slipstream.check.library_file import describe_keys
from slipstream.library import kind_name, kinds_in_words
from slipstream.text import counted, printable

from ._output import emit
from ._paths import PATH
from ._tables import Cell, show_table

if TYPE_CHECKING:
    from slipstream.config import JsonValue
    from slipstream.library import PluginInfo


@click.command(epilog="Example: slipstream inspect ./libplugin.so tally.json5")
@click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=PATH,
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object instead of tables.")
def inspect(*, files: tuple[Path, ...], as_json: bool) -> int:
    """Show all that each FILE says: its format, its digest, and the plugin's own info.

    FILE is a library for any system, or a config file (.json5, .json). A config is compared with
    the info of its library. Nothing of a library runs. Exits with 1 if a file is refused. A library
    for another system or machine is not refused for that.
    """
    found = [look_into(file) for file in files]
    ok = all(one.problem is None for one in found)
    if as_json:
        emit(json.dumps({"ok": ok, "files": [_as_json(one) for one in found]}) + "\n")
    else:
        for one in found:
            _show(one)
    return 0 if ok else 1


def _as_json(found: Inspection) -> dict[str, object]:
    file, problem = found.file, found.problem
    foreign = None if file is None else file.foreign
    return {
        "path": str(found.path),
        "library": None if found.library is None else str(found.library),
        "size": found.size,
        "sha256": found.sha256,
        "format": None if file is None else file.format,
        "bits": None if file is None else file.bits,
        "machine": None if file is None else file.machine,
        "machines": None if file is None else file.machines,
        "build_id": None if file is None else file.build_id,
        "constructor": file is not None and file.has_constructor,
        "foreign": None if foreign is None else foreign.message,
        "info": None if found.info is None else _info_as_json(found.info),
        "keys": found.keys,
        "problem": None
        if problem is None
        else {
            "message": problem.message,
            "hint": problem.hint,
            "refusal": getattr(problem, "refusal", None),
        },
    }


def _info_as_json(info: PluginInfo) -> dict[str, object]:
    kinds = None if info.kinds is None else list(map(kind_name, info.kinds))
    encodings = {kind_name(kind): numbers for kind, numbers in info.encodings.items()}
    return {**asdict(info), "kinds": kinds, "encodings": encodings}


# ---- Tables ------------------------------------------------------------------------------------


def _show(found: Inspection) -> None:
    rows: list[tuple[str, Cell]] = [(what, _lines(said)) for what, said in _rows(found)]
    if found.problem is None and found.file is not None and found.file.foreign is not None:
        rows.append(
            ("verdict", ("nothing is wrong with it, but it is not for this machine", "yellow"))
        )
    elif found.problem is None:
        rows.append(("verdict", ("nothing is wrong with it", "green")))
    else:
        rows.append(("refused", (_lines(str(found.problem)), "red")))
    show_table(("", ""), rows, title=printable(str(found.path)))


def _lines(text: str) -> str:
    return "\n".join(map(printable, text.splitlines()))


def _rows(found: Inspection) -> Iterator[tuple[str, str]]:
    file = found.file
    if file is None:
        return
    if found.library != found.path:
        yield "library", str(found.library)
    yield "file", f"{file}, {counted(found.size, 'byte')}"
    yield "sha256", found.sha256
    if file.build_id:
        yield "build id", file.build_id
    yield "constructor", "slipstream_create_plugin_v1" if file.has_constructor else "none"
    if file.foreign is not None:
        yield "unusable here", file.foreign.message
    if found.info is None:
        yield "info", "none that can be read" if found.problem else "none"
    else:
        yield from _info_rows(found.info)
    if found.keys is not None:
        yield "config", _pretty(found.keys)


def _info_rows(info: PluginInfo) -> Iterator[tuple[str, str]]:
    unsaid = "it does not say"
    yield "plugin", f"{info.name} {info.version}"
    yield "flags", unsaid if info.flags is None else " ".join(info.flags) or "none"
    kinds = info.kinds
    yield "kinds", unsaid if kinds is None else kinds_in_words(kinds)
    for what, words in (
        ("requires", info.requires),
        ("optional", info.optional),
        ("grants", info.grants),
        ("not known here", info.unknown),
    ):
        if words:
            yield what, " ".join(words)
    for kind, numbers in info.encodings.items():
        yield f"reads {kind_name(kind)}", f"encodings {' '.join(map(str, numbers))}"
    for what, text in (("licence", info.licence), ("url", info.url)):
        if text:
            yield what, text
    if info.config_schema is not None:
        yield "config keys", "\n".join(describe_keys(info.config_schema)) or "none"
    if info.sample_config is not None:
        yield "sample config", _pretty(info.sample_config)


def _pretty(values: Mapping[str, JsonValue]) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False)
