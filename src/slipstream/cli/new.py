"""``slipstream new``: begin a plugin."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import click

from slipstream._platform import LIBRARY_SUFFIX

from ._errors import FAILED, USAGE, Ended
from ._output import emit
from ._paths import PATH
from .config import rust_sdk

LANGUAGES = {"c": "C", "cpp": "C++", "rust": "Rust"}
# Where `make debug` stops: the function of the plugin that takes events.
_BREAKS = {
    "c": "on_broadcast",
    "cpp": "plugin::on_event",
    "rust": "plugin_@ID@::{impl#0}::block",
}
_TEMPLATES = Path(__file__).parents[1] / "templates"
# slipstream.h: the names of plugins
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def _fill(text: str, values: dict[str, str]) -> str:
    return re.sub(r"@([A-Z]+)@", lambda found: values[found[1]], text)


def _files(lang: str, values: dict[str, str]) -> dict[Path, str]:
    """What a project of this language consists of, by its path in there."""
    folders = [_TEMPLATES / "common", _TEMPLATES / lang]
    found = {
        path.relative_to(folder): path.read_text("utf-8")
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "rules.mk"
    }
    return {
        Path(_fill(str(path).removesuffix(".in"), values)): _fill(text, values)
        for path, text in found.items()
    }


def _crate() -> dict[Path, str]:
    """The crate for plugins in Rust, which lies in the project, so that cargo alone builds it."""
    sdk = rust_sdk()
    files = (sdk / "Cargo.toml", *sorted((sdk / "src").glob("*.rs")))
    return {sdk.name / path.relative_to(sdk): path.read_text("utf-8") for path in files}


@click.command(epilog="Example: slipstream new counter --lang c && make -C counter test check")
@click.argument("name", metavar="NAME")
@click.option(
    "--lang",
    type=click.Choice(list(LANGUAGES), case_sensitive=False),
    default="c",
    show_default=True,
    help="What it is written in.",
)
@click.option(
    "--folder",
    type=PATH,
    help="Where it is made; must not be there yet.  [default: NAME]",
)
def new(*, name: str, lang: str, folder: Path | None) -> None:
    """Begin a plugin called NAME: a folder with source, config, test, makefile and readme.

    It builds with one command, passes all checks, and counts blocks until you write something
    better.
    """
    if not _NAME.fullmatch(name):
        raise Ended(
            f"{name!r} is not a valid name for a plugin",
            "take 1 to 63 of a-z, 0-9, '.', '_' and '-', a letter or digit first",
            USAGE,
        )
    place = folder or Path(name)
    values = {
        "NAME": name,
        "ID": re.sub(r"[^a-z0-9]", "_", name),
        "LANGUAGE": LANGUAGES[lang],
        "SUFFIX": LIBRARY_SUFFIX,
        "PREFIX": "" if LIBRARY_SUFFIX == ".dll" else "lib",  # what linkers put before a name
    }
    values["BREAK"] = _fill(_BREAKS[lang], values)
    rules = (_TEMPLATES / "common" / "rules.mk").read_text("utf-8")
    values["RULES"] = _fill(rules, values).rstrip("\n")
    own = {place / path: text for path, text in _files(lang, values).items()}
    crate = {place / path: text for path, text in _crate().items()} if lang == "rust" else {}
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
        for path, text in {**own, **crate}.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        shutil.rmtree(place, ignore_errors=True)
        raise Ended(
            f"cannot write {path}: {error.strerror}", "make room there; nothing is left", FAILED
        ) from None
    for path in [*own, *sorted({path.parents[1] for path in crate if path.suffix == ".rs"})]:
        emit(f"{path}\n")
    emit(f"\nNext: make -C {shlex.quote(str(place))} test check\n")
