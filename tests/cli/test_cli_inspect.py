"""``slipstream inspect``: what files say, and that nothing of a library runs for it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from support.foreign_libraries import macho, pe, plugin

INFO = b'SLIPINFO1\n{"name": "far", "version": "2", "abi": 1, "kinds": ["BLOCK", 40]}\0'


def inspected(command, *arguments: object) -> tuple[int, list[dict[str, object]]]:
    done = command("inspect", *arguments, "--json")
    assert "Traceback" not in done.stderr
    answer = json.loads(done.stdout)
    assert answer["ok"] == (done.returncode == 0)
    return done.returncode, answer["files"]


def test_a_library(command, examples) -> None:
    path = examples / "tally" / "tally.so"
    code, (found,) = inspected(command, path)
    assert code == 0
    assert found["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found["size"] == path.stat().st_size
    assert found["format"] == "ELF"
    assert found["constructor"] is True
    assert found["info"]["name"] == "tally"
    assert found["info"]["config_schema"]["properties"]["log_every"]["default"] == 0
    assert found["problem"] is None
    table = command("inspect", path).stdout
    for said in ("tally 1.0.0", "PROMPT MULTI_INSTANCE BATCH", "log_every: type", found["sha256"]):
        assert said in table


def test_a_config_is_held_against_the_info(command, examples, tmp_path: Path) -> None:
    config = tmp_path / "c.json5"
    library = examples / "ledger" / "ledger.so"
    config.write_text(f"{{libpath: '{library}', database: 'env://INSPECTED'}}")
    done = command("inspect", config, "--json", INSPECTED="a secret word")
    assert done.returncode == 0
    assert "a secret word" not in done.stdout
    (found,) = json.loads(done.stdout)["files"]
    assert found["keys"]["database"] == "***(env://INSPECTED)"
    assert found["keys"]["history"] == "all"
    config.write_text(f"{{libpath: '{library}'}}")
    code, (found,) = inspected(command, config)
    assert code == 1
    assert "c.json5:1:1: the config has no database" in found["problem"]["message"]
    config.write_text(f"{{libpath: '{library}', database: 'x',\n history: 'al'}}")
    message = inspected(command, config)[1][0]["problem"]["message"]
    assert 'c.json5:2:11: history must be "all" or "changes" or "none", not "al"' in message


@pytest.mark.parametrize(("writer", "name"), [(pe, "PE"), (macho, "Mach-O")])
def test_a_library_of_another_system_is_no_fault(command, tmp_path: Path, writer, name) -> None:
    path = tmp_path / "far"
    path.write_bytes(writer(plugin(INFO)))
    code, (found,) = inspected(command, path)
    assert code == 0
    assert (found["format"], found["info"]["kinds"]) == (name, ["BLOCK", "40"])
    assert name in str(found["foreign"])
    shown = command("inspect", path).stdout
    assert "unusable here" in shown
    assert "nothing is wrong with it, but it is not for this machine" in shown


def test_what_is_refused(command, tmp_path: Path, examples) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_bytes(pe(plugin(INFO.replace(b'"abi": 1', b'"abi": 3'))))
    files = [wrong, tmp_path / "gone.so", tmp_path, examples / "tally" / "README.md"]
    code, found = inspected(command, *files, examples / "minimal" / "minimal.so")
    assert code == 1
    assert [one["problem"] is None for one in found] == [False, False, False, False, True]
    assert [one["problem"]["refusal"] for one in found[:4]] == [
        "wrong abi major", "cannot open", "cannot open", "not a library",
    ]  # fmt: skip
    assert all(one["problem"]["hint"] for one in found[:4])
    table = command("inspect", wrong)
    assert table.returncode == 1
    assert "refused" in table.stdout
    assert "next: use a build of the plugin for major 1" in table.stdout


def test_no_file_is_a_wrong_use(command) -> None:
    assert command("inspect").returncode == 2


def test_nothing_runs(command, build, tmp_path: Path) -> None:
    config = build("quiet", ON_CREATE="abort()")
    assert inspected(command, config, tmp_path / "quiet.so")[0] == 0


def test_control_characters_are_escaped(command, tmp_path: Path, examples) -> None:
    path = tmp_path / "a\x1b[31m.so"
    shutil.copy(examples / "minimal" / "minimal.so", path)
    done = command("inspect", path)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
