"""``slipstream config``: what it answers is used, by a compiler, CMake and a validator of schemas."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

import slipstream
from slipstream.config import PluginConfig
from slipstream.config._keys import HOST, RULES
from slipstream.errors import ConfigError
from support.toolbox import is_not_here

ROOT = Path(__file__).resolve().parents[2]
MINIMAL = ROOT / "examples" / "minimal" / "minimal.c"


def asked(command, *options: object) -> str:
    done = command("config", *options)
    assert done.returncode == 0, done.stderr
    return done.stdout.rstrip("\n")


def test_a_plugin_is_built_with_what_it_says(command, tmp_path: Path) -> None:
    flags = asked(command, "--cflags", "--libs")
    assert asked(command, "--include") == slipstream.get_include()
    done = subprocess.run(f"cc {flags} {MINIMAL} -o {tmp_path}/mine.so", shell=True, check=False)
    assert done.returncode == 0
    assert command("inspect", tmp_path / "mine.so").returncode == 0


def test_pkg_config_says_the_same(command) -> None:
    folder = asked(command, "--pkgconfig")
    text = Path(folder, "slipstream.pc").read_text()
    assert f"\nVersion: {slipstream.__version__}\n" in text
    program = shutil.which("pkg-config") or shutil.which("pkgconf")
    if program is None:
        is_not_here("there is no pkg-config")
    done = subprocess.run(
        [program, "--cflags", "--libs", "slipstream"], capture_output=True, text=True, check=True,
        env={**os.environ, "PKG_CONFIG_PATH": folder},
    )  # fmt: skip
    include = re.search(r"-I(\S+)", done.stdout)
    assert include is not None
    assert Path(include[1]).resolve() == Path(slipstream.get_include()).resolve()
    assert "-shared" in done.stdout


def test_cmake_builds_a_plugin(command, tmp_path: Path) -> None:
    cmake = Path(sys.executable).with_name("cmake")
    program = str(cmake) if cmake.exists() else shutil.which("cmake")
    if program is None:
        is_not_here("there is no cmake")
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.18)\nproject(mine C)\n"
        "find_package(slipstream CONFIG REQUIRED)\n"
        f"slipstream_add_plugin(mine {MINIMAL})\n"
    )
    found = f"-Dslipstream_DIR={asked(command, '--cmake')}"
    for words in (["-S", tmp_path, "-B", tmp_path, found], ["--build", tmp_path]):
        done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert command("inspect", tmp_path / "mine.so").returncode == 0


def test_it_says_what_to_ask(command) -> None:
    for options in ((), ("--schema", "--libs")):
        done = command("config", *options)
        assert done.returncode == 2
        assert "slipstream config --help" in done.stderr


GOOD = [
    {"libpath": "x.so"},
    {"libpath": "x.so", "mode": "thread", "ring_bytes": "1MiB", "own": [1]},
    {"libpath": "x.so", "host": {"mode": "inline"}, "callback_timeout": 0, "dead_letter": False},
    {"libpath": "x.so", "restart": {"max_crashes": 0, "window": 60}, "sha256": "0" * 64},
]
BAD = [
    {},
    {"libpath": ""},
    {"libpath": "x.so", "mode": "threads"},
    {"libpath": "x.so", "callback_timeout": -1},
    {"libpath": "x.so", "dead_letter": True},
    {"libpath": "x.so", "restart": {"windows": 60}},
    {"libpath": "x.so", "ring_bytes": "1 GB"},
    {"libpath": "x.so", "name": "Not A Name"},
]


@pytest.mark.parametrize(
    ("config", "is_good"), [(c, True) for c in GOOD] + [(c, False) for c in BAD]
)
def test_the_schema_takes_what_the_host_takes(command, config, is_good: bool) -> None:
    schema = json.loads(asked(command, "--schema"))
    validator = jsonschema.Draft202012Validator(schema)
    assert set(schema["properties"]) == {*RULES, HOST}
    assert validator.is_valid(config) == is_good
    try:
        PluginConfig.from_mapping(config, folder="/")
    except ConfigError:
        assert not is_good
    else:
        assert is_good


def test_the_schema_of_a_library_has_its_own_keys(command, examples) -> None:
    schema = json.loads(asked(command, "--schema", examples / "tally" / "tally.so"))
    validator = jsonschema.Draft202012Validator(schema)
    assert "minimum" in schema["properties"]["log_every"]
    assert schema["properties"]["mode"]["enum"] == ["inline", "thread", "process"]
    assert validator.is_valid({"libpath": "x.so", "log_every": 5})
    assert not validator.is_valid({"libpath": "x.so", "log_every": "often"})
