"""How the pages of the docs are read and run.

Each page is one session in a folder of its own, with links to `conformance`,
`examples` and `include`; blocks run in the page's order:

    ```c file=NAME         saved; so are cpp, python, json5 and text blocks that name a file
    ```c                   compiled as it stands behind the header
    ```python              run; output that follows in a ```text block is compared
    ```json5               accepted as a plugin's config
    ```console             each line with "$ " is run by bash and has to exit with 0; the lines
                           below it are its output
    ```py                  a signature: only shown
    ```                    a drawing

Of output each line has to occur in its order; "..." stands for anything. `make` is only asked
whether it knows what to do, because these tests are themselves run by it. A block below the
comment ``<!-- not run: REASON -->`` is left out.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import slipstream
from slipstream.config import parse_config
from support.toolbox import gdb_trouble, trouble_with

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 600
# Tools that a machine without them may do without; the rest of the page is tested all the same.
OPTIONAL = {"c++": lambda: trouble_with("c++"), "gdb": gdb_trouble}


@dataclass(frozen=True)
class Block:
    line: int
    language: str
    file: str | None
    text: str
    reason: str | None


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    pattern = r"(?:<!-- not run: (.+?) -->\n+)?^```(\S*)(?: file=(\S+))?\n(.*?)^```$"
    for match in re.finditer(pattern, text, re.DOTALL | re.MULTILINE):
        line = text.count("\n", 0, match.start(2)) + 1
        yield Block(line, match[2], match[3], match[4], match[1])


def missing_line(expected: str, actual: str) -> str | None:
    """The first line of `expected` that does not occur in its order; None if all do."""
    rest = iter(actual.splitlines())
    for line in filter(None, map(str.strip, expected.splitlines())):
        pattern = ".*".join(map(re.escape, line.split("...")))
        if line != "..." and not any(re.search(pattern, found) for found in rest):
            return line
    return None


def steps(block: Block) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with the output below it."""
    for step in re.split(r"^\$ ", block.text, flags=re.MULTILINE):
        # A command goes on in the next line after a backslash.
        match = re.match(r"((?:.*\\\n)*.+)\n?", step)
        if match is not None:
            yield match[1], step[match.end() :]


class Session:
    """A page's folder and what was run there."""

    def __init__(self, page: Path, folder: Path) -> None:
        self.page = page
        self.folder = folder
        self.output = ""
        self.missing: set[str] = set()
        for name in ("conformance", "examples", "include"):
            (folder / name).symlink_to(ROOT / name)

    def run(self, what: Block, *command: str) -> str:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            command,
            check=False,
            cwd=self.folder,
            env={**os.environ, "PATH": path, "COLUMNS": "100"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
        shown = f"{self.page.name}:{what.line}: {command}\n{done.stdout}"
        assert done.returncode == 0, shown
        return done.stdout

    def end(self) -> None:
        """End what the page left running, whose number it wrote into a file NAME.pid."""
        for file in self.folder.glob("*.pid"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(file.read_text()), signal.SIGKILL)

    def expect(self, what: Block, expected: str) -> None:
        line = missing_line(expected, self.output)
        shown = f"{self.page.name}:{what.line}: not in the output: {line}\n{self.output}"
        assert line is None, shown

    def take(self, block: Block) -> None:
        if block.reason is not None or block.language == "py":
            return
        if block.file is not None:
            (self.folder / block.file).write_text(block.text, encoding="utf-8")
            return
        if not block.language:
            return
        kind = getattr(self, f"take_{block.language}", None)
        assert kind is not None, f"{self.page.name}:{block.line}: what is ```{block.language}?"
        kind(block)

    def take_c(self, block: Block) -> None:
        source = self.folder / f"line_{block.line}.c"
        source.write_text(f"#include <slipstream.h>\n{block.text}", encoding="utf-8")
        self.run(block, *self.compiler("-fsyntax-only"), source.name)

    @staticmethod
    def compiler(*flags: str) -> list[str]:
        return [
            "cc",
            "-std=c11",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-I",
            slipstream.get_include(),
            *flags,
        ]

    def take_python(self, block: Block) -> None:
        source = self.folder / f"line_{block.line}.py"
        source.write_text(block.text, encoding="utf-8")
        self.output = self.run(block, sys.executable, source.name)

    def take_text(self, block: Block) -> None:
        self.expect(block, block.text)

    def take_json5(self, block: Block) -> None:
        parse_config(block.text, folder=self.folder)

    def take_console(self, block: Block) -> None:
        for command, output in steps(block):
            tool = command.split()[0]
            if tool in OPTIONAL and OPTIONAL[tool]():
                self.missing.add(tool)
                return  # what follows in this block needs what it would have made
            if command.startswith("make "):
                asked = command.replace("make", f"make --dry-run -C {ROOT}", 1)
                self.run(block, "bash", "-euo", "pipefail", "-c", asked)
                continue
            self.output = self.run(block, "bash", "-euo", "pipefail", "-c", command)
            self.expect(block, output)
