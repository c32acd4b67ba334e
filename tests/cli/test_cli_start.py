"""How the command starts: its list of commands, and what it need not import for that."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from slipstream.cli import COMMANDS, cli

# Libraries that only some commands need, or that embedding does without.
HEAVY = {"asyncio", "json5", "msgspec", "rich", "structlog", "subprocess"}


def imported_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split())


def test_each_command_is_where_the_list_says() -> None:
    context = click.Context(cli)
    assert cli.list_commands(context) == list(COMMANDS)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        assert command.name == name
    assert cli.get_command(context, "no-such") is None


@pytest.mark.parametrize(
    "code", ["from slipstream import *", "from slipstream import PluginManager, get_include"]
)
def test_embedding_is_light(code) -> None:
    modules = imported_by(code)
    assert "slipstream.manager" in modules
    assert modules & (HEAVY | {"click"}) == set()


def test_help_is_light() -> None:
    code = "from slipstream.cli import main; main(['--help'])"
    modules = imported_by(code)
    assert "click" in modules
    assert modules & (HEAVY | {"slipstream.manager", "slipstream.streams"}) == set()


def test_a_daemon_without_packages_does_not_import_them() -> None:
    modules = imported_by("import slipstream.server.daemon")
    found = {name for name in modules if name.startswith("slipstream.packages.")}
    assert found == {"slipstream.packages.flags"}
