"""The rogues: plugins of which each is wrong in one way, and what says so."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
INCLUDE = HERE.parents[1] / "include"
GOOD = HERE / "good.c"
# Rogues that stand for no check of their own: nothing that they do may confuse the checker.
HOSTILE_AUTHORS = "hostile-authors"

_FLAGS = (
    *("-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden"),
    *("-Wl,-z,relro", f"-I{INCLUDE}", f"-I{HERE}"),
)
_COMPILERS = {"c": ("cc", "-std=c11"), "c++": ("c++", "-std=c++11")}
_COMMENT = re.compile(r"/\* *(.*?) *\*/", re.DOTALL)
_SETTING = re.compile(r"^ *\* (build|after|lang|quirk|stub|expect): *(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Rogue:
    """One plugin, and what is wrong with it.

    Attributes:
        check: The id of the check that finds it, such as ``events.over-read``.
        source: Its file.
        sentence: What is wrong, in one sentence.
        flags: For its compiler; FILE is the library to be made, FOLDER where that lies.
        after: A shell command that is run once it is built, "" for none.
        lang: "c" or "c++".
        quirk: What it declares itself to be, "" for nothing.
        stub: The name of an empty library that is made beside it first, "" for none.
        verdict: What its check has to say; "" for what a finding of that check is.
    """

    check: str
    source: Path
    sentence: str
    flags: tuple[str, ...] = ()
    after: str = ""
    lang: str = "c"
    quirk: str = ""
    stub: str = ""
    verdict: str = ""

    @property
    def name(self) -> str:
        """What its library is called: ``events.over-read``, ``hostile-authors.hang``."""
        return f"{self.source.parent.name}.{self.source.stem}"

    @classmethod
    def read(cls, source: Path) -> Rogue:
        """The rogue in a file, by what its first comment says."""
        comment = _COMMENT.match(source.read_text(encoding="utf-8"))
        assert comment is not None, f"{source} does not begin with a comment"
        said = dict(_SETTING.findall(comment[1]))
        check, _, verdict = said.get("expect", "").partition(" ")
        return cls(
            check=check or f"{source.parent.name}.{source.stem}",
            source=source,
            sentence=" ".join(_SETTING.sub("", comment[1]).replace("\n *", " ").split()),
            flags=tuple(shlex.split(said.get("build", ""))),
            after=said.get("after", ""),
            lang=said.get("lang", "c"),
            quirk=said.get("quirk", ""),
            stub=said.get("stub", ""),
            verdict=verdict,
        )


def gallery(*, hostile_authors: bool = False) -> list[Rogue]:
    """One rogue for each check; or those of hostile authors."""
    sources = sorted(HERE.glob("*/*.c"))
    return [
        Rogue.read(path)
        for path in sources
        if (path.parent.name == HOSTILE_AUTHORS) == hostile_authors
    ]


def build(rogue: Rogue, folder: Path) -> Path:
    """Build a rogue, unless the folder has it already.

    Args:
        rogue: Which one.
        folder: Where the library goes.

    Returns:
        The library.
    """
    library = folder / f"{rogue.name}.so"
    inputs = (rogue.source, *HERE.glob("*.h"), INCLUDE / "slipstream.h")
    if library.exists() and library.stat().st_mtime >= max(one.stat().st_mtime for one in inputs):
        return library
    folder.mkdir(parents=True, exist_ok=True)
    if rogue.stub:
        _run("cc", "-shared", "-x", "c", "/dev/null", "-o", str(folder / rogue.stub))
    made = library.with_suffix(".new")  # a build that is cut off leaves no library
    places = {"FILE": str(made), "FOLDER": str(folder)}
    flags = [re.sub("FILE|FOLDER", lambda word: places[word[0]], flag) for flag in rogue.flags]
    _run(
        *_COMPILERS[rogue.lang],
        *_FLAGS,
        "-o",
        str(made),
        "-x",
        rogue.lang,
        str(rogue.source),
        "-x",
        "none",
        *flags,
    )
    if rogue.after:
        _run("sh", "-c", rogue.after.replace("FILE", shlex.quote(str(made))))
    made.replace(library)
    return library


def build_all(rogues: Iterable[Rogue], folder: Path, jobs: int = 2) -> dict[str, Path]:
    """Build many, so many at a time; the libraries by the rogues' names."""
    rogues = list(rogues)
    with ThreadPoolExecutor(jobs) as pool:
        libraries = pool.map(lambda rogue: build(rogue, folder), rogues)
        return {rogue.name: library for rogue, library in zip(rogues, libraries, strict=True)}


def kept(path: Path) -> dict[str, str]:
    """What a file keeps of each, by its name: the lines under it."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return dict(re.findall(r"^(\S+)\n((?:  .*\n)*)", text, re.MULTILINE))


def keep(path: Path, name: str, text: str) -> None:
    """Keep other lines under a name; other processes may keep some, or read them, meanwhile."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        known = sorted({**kept(path), name: text}.items())
        made = path.with_suffix(".new")
        made.write_text("".join(f"{name}\n{said}" for name, said in known), encoding="utf-8")
        made.replace(path)
    finally:
        os.close(folder)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stderr}"
