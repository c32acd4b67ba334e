"""How the command starts: its list of commands, and what it need not import for that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from slipstream.cli import COMMANDS, cli

COMMAND = str(Path(sys.executable).with_name("slipstream"))
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


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("start", [[COMMAND], [sys.executable, "-m", "slipstream"]], ids=len)
def test_ctrl_c_while_it_is_imported_shows_no_traceback(start, ignored: bool, tmp_path) -> None:
    (tmp_path / "click.py").write_text("print('importing', flush=True)\ninput()\n")
    trap = 'trap "" INT; ' if ignored else ""
    with subprocess.Popen(
        ["sh", "-c", f'{trap}exec "$@"', "-", *start, "--version"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        said = process.communicate("go on\n", timeout=60)[1]
    # What goes on then finds no click to use.
    assert process.returncode == (1 if ignored else -signal.SIGINT)
    assert ("Traceback" in said, "KeyboardInterrupt" in said) == (ignored, False)
