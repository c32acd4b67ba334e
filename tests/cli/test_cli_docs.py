"""docs/commands.md shows what the commands really do."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from slipstream.cli import cli
from support.pages import Session, blocks

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "commands.md"
CONTEXT = click.Context(cli)
NAMES = cli.list_commands(CONTEXT)
COMMANDS = {name: cli.get_command(CONTEXT, name) for name in NAMES}


def test_the_page_runs(examples, tmp_path: Path) -> None:
    session = Session(PAGE, tmp_path)
    count = 0
    for count, block in enumerate(blocks(PAGE), 1):  # noqa: B007
        session.take(block)
    assert count > 5


def section(text: str, name: str) -> str:
    found = re.search(rf"^## {name}$(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found is not None, name
    return found[1]


def test_the_page_has_every_command_and_option() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(COMMANDS) > 10
    for name, command in COMMANDS.items():
        assert command is not None, name
        said = section(text, name)
        for other in re.findall(r"are those of \[(\w+)\]", said):
            said += section(text, other)
        for option in command.params:
            if option.opts[0].startswith("--"):
                assert re.search(rf"[` ]{option.opts[0]}\b", said), (name, option.opts)
    for option in cli.params:
        assert f"`{option.opts[0]}" in text, option.opts


@pytest.mark.parametrize("name", ["", *NAMES])
def test_every_help_has_an_example(command, name) -> None:
    done = command(*name.split(), "--help")
    assert done.returncode == 0
    assert "Example: slipstream" in done.stdout
    assert done.stderr == ""


def test_a_shell_completes_file_names_wherever_a_file_is_named() -> None:
    """click asks the shell for its file names only where it knows that a file is meant."""
    named = ("FILE", "CONFIG", "IN", "OUT", "EVENTS", "REPORT", "DIR", "FOLDER", "SOURCE")
    seen = 0
    for name, command in COMMANDS.items():
        assert command is not None, name
        below = getattr(command, "commands", {}).values()
        for one in (command, *below):
            for option in one.params:
                if (option.metavar or "").strip("[].") in named:
                    asked = option.shell_complete(click.Context(one), "")
                    assert [item.type for item in asked] in (["file"], ["dir"]), (name, option)
                    seen += 1
    assert seen > 30


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("run --config x", "--slipstream-config"),
        ("redeliver --config x", "--slipstream-config"),
        ("show --limits 3", "--limit"),
        ("check --quik", "--quick"),
        ("run --nothing-like-it", None),
    ],
)
def test_an_option_that_there_is_not_names_the_right_one(command, given, meant) -> None:
    done = command(*given.split())
    assert done.returncode == 2
    name = given.split()[0]
    asked = f"did you mean {meant}? " if meant else ""
    assert done.stderr.splitlines()[1] == f"  next: {asked}slipstream {name} --help"
