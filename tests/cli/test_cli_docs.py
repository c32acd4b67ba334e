"""docs/commands.md shows what the commands really do."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

from slipstream.cli import cli

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "commands.md"


def test_the_page_runs(examples, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("pages", ROOT / "tests" / "test_docs.py")
    assert spec is not None
    assert spec.loader is not None
    pages = importlib.util.module_from_spec(spec)
    sys.modules["pages"] = pages  # its dataclasses look themselves up there
    spec.loader.exec_module(pages)
    session = pages.Session(PAGE, tmp_path)
    count = 0
    for count, block in enumerate(pages.blocks(PAGE), 1):  # noqa: B007
        session.take(block)
    assert count > 5


def test_the_page_has_every_command_and_option() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name, command in cli.commands.items():
        section = re.search(rf"^## {name}$(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
        assert section is not None, name
        for option in command.params:
            if option.opts[0].startswith("--"):
                assert f"`{option.opts[0]}" in section[1], option.opts
    for option in cli.params:
        assert f"`{option.opts[0]}`" in text, option.opts


def test_every_help_has_an_example(command) -> None:
    for arguments in ((), *((name,) for name in cli.commands)):
        done = command(*arguments, "--help")
        assert done.returncode == 0
        assert "Example: slipstream" in done.stdout
        assert done.stderr == ""
