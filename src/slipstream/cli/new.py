"""``slipstream new``: begin a plugin."""

from __future__ import annotations

import re
import shutil
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from ._errors import FAILED, USAGE, Ended
from ._output import emit

LANGUAGES = {"c": "C", "cpp": "C++"}
# Where `make debug` stops: the function of the plugin that takes events.
_BREAKS = {"c": "on_broadcast", "cpp": "plugin::on_event"}
# slipstream.h: the names of plugins
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def _fill(text: str, values: dict[str, str]) -> str:
    return re.sub(r"@([A-Z]+)@", lambda found: values[found[1]], text)


def _templates(lang: str) -> list[Traversable]:
    folder = files("slipstream") / "templates"
    return [
        file
        for part in ("common", lang)
        for file in (folder / part).iterdir()
        if file.is_file() and file.name != "rules.mk"
    ]


@click.command(epilog="Example: slipstream new counter --lang c && make -C counter test check")
@click.argument("name", metavar="NAME")
@click.option("--lang", type=click.Choice(list(LANGUAGES)), default="c", show_default=True)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Where it is made; must not be there yet.  [default: NAME]",
)
def new(*, name: str, lang: str, folder: Path | None) -> None:
    """Begin a plugin called NAME: a folder with source, config, test, makefile and readme.

    It builds with one command, passes all checks, and counts blocks until you write something
    better.
    """
    if not _NAME.fullmatch(name):
        raise Ended(
            f"{name!r} is no name for a plugin",
            "take 1 to 63 of a-z, 0-9, '.', '_' and '-', a letter or digit first",
            USAGE,
        )
    place = folder or Path(name)
    common = files("slipstream") / "templates" / "common"
    values = {
        "NAME": name,
        "ID": re.sub(r"[^a-z0-9]", "_", name),
        "LANGUAGE": LANGUAGES[lang],
        "BREAK": _BREAKS[lang],
    }
    values["RULES"] = _fill((common / "rules.mk").read_text("utf-8"), values).rstrip("\n")
    made = {
        place / _fill(file.name.removesuffix(".in"), values): _fill(file.read_text("utf-8"), values)
        for file in _templates(lang)
    }
    try:
        place.mkdir(parents=True)
    except FileExistsError:
        raise Ended(
            f"{place} is there already",
            "take another name, or say --folder; nothing was written",
            FAILED,
        ) from None
    except OSError as error:
        raise Ended(
            f"cannot make {place}: {error.strerror}", "check the folder above", FAILED
        ) from None
    try:
        for path, text in made.items():
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        shutil.rmtree(place, ignore_errors=True)
        raise Ended(
            f"cannot write {path}: {error.strerror}", "make room there; nothing is left", FAILED
        ) from None
    for path in made:
        emit(f"{path}\n")
    emit(f"\nNext: make -C {place} test check\n")
