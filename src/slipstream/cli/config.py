"""``slipstream config``: what compilers, build systems and editors ask."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from slipstream import get_include

from ._output import emit
from ._paths import PATH


def _shared(kind: str) -> str:
    return str(Path(get_include()).parent / "share" / kind)


def rust_sdk() -> Path:
    """The folder of the crate for plugins in Rust."""
    return Path(get_include()).parent / "sdk" / "rust" / "slipstream-plugin"


_ANSWERS = {
    "include": ("The folder of slipstream.h.", get_include),
    "cflags": (
        "What a plugin is compiled with.",
        lambda: f"{shlex.quote(f'-I{get_include()}')} -fPIC -fvisibility=hidden",
    ),
    "libs": ("What it is linked with: nothing of slipstream.", lambda: "-shared"),
    "pkgconfig": (
        "The folder of slipstream.pc, for PKG_CONFIG_PATH.",
        lambda: _shared("pkgconfig"),
    ),
    "cmake": (
        "The folder of the CMake config, for slipstream_DIR.",
        lambda: _shared("cmake/slipstream"),
    ),
    "rust-sdk": ("The folder of the crate slipstream-plugin, for cargo.", lambda: str(rust_sdk())),
}


@click.command(
    epilog="Example: slipstream config --schema > schema.json; "
    "cc $(slipstream config --cflags --libs) plugin.c -o plugin.so"
)
@click.argument("library", metavar="[FILE]", required=False, type=PATH)
@click.option("--schema", is_flag=True, help="JSON Schema of config files, with FILE's own keys.")
@click.pass_context
def config(context: click.Context, /, *, library: Path | None, schema: bool, **asked: bool) -> None:
    """Say what a plugin is built with, and what its config file may hold.

    If you name FILE, a library, the schema has its own keys, too. Answers are in one line, in the
    order of the options below.
    """
    wanted = [name for name in _ANSWERS if asked[name.replace("-", "_")]]
    if library is not None and not schema and str(library) in _ANSWERS:
        raise click.UsageError(f"{library} is not a file; did you mean --{library}?", context)
    if schema == bool(wanted):
        raise click.UsageError("ask for --schema, or for some of the others", context)
    if schema:
        emit(json.dumps(_schema(library), indent=2) + "\n")
    else:
        emit(" ".join(_ANSWERS[name][1]() for name in wanted) + "\n")


for _name, (_help, _) in reversed(_ANSWERS.items()):
    config = click.option(f"--{_name}", is_flag=True, help=_help)(config)


def _schema(library: Path | None) -> dict[str, object]:
    from slipstream.config import editor_schema  # noqa: PLC0415 - for this alone
    from slipstream.library import read_file  # noqa: PLC0415

    info = None if library is None else read_file(library).info()
    return editor_schema(None if info is None else info.config_schema)
