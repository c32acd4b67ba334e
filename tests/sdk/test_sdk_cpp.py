"""sdk/cpp/slipstream.hpp: what a plugin throws, in each function, in each mode; config; tally."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from slipstream import Block, PluginManager, PluginStartError, SlipstreamError
from slipstream.streams import read_events
from slipstream.testing import FakeHost, PluginBuildError
from support.logs import capture_logs
from support.toolbox import require

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
GENESIS = EXAMPLES / "streams" / "mainnet_genesis.jsonl"
EXPORTS = f"-Wl,--version-script={ROOT / 'sdk' / 'cpp' / 'exports.map'}"
FUNCTIONS = ["on_load", "subscribed_events", "on_broadcast", "flush", "on_unload"]
TEXTS = {
    "exception": "a thing of the library",
    "status": "the disk is gone",
    "memory": "std::bad_alloc",
    "number": "an exception that is not a std::exception",
}


@pytest.fixture
def thrower(compile_plugin: Callable[..., Path]) -> Path:
    return compile_plugin("thrower.cpp", EXPORTS, lang="cpp", name="thrower")


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("mode", ["inline", "thread", "process"])
def test_what_is_thrown_stays_in_the_plugin(
    manager: PluginManager, thrower: Path, mode: str, function: str
) -> None:
    for what, text in TEXTS.items():
        told = []
        config = {"libpath": str(thrower), "mode": mode, "function": function, "what": what}
        with capture_logs() as logs:
            try:
                plugin = manager.load_plugin({**config, "retry": {"max_time": 0.05}})
                for height in range(3):
                    manager.broadcast(Block(b"%d" % height, height))
                manager.flush(10)
            except SlipstreamError as error:
                told.append(str(error))
            else:
                # What lacks memory is tried again, where there is a thread that may wait.
                again = what == "memory" and mode != "inline"
                dead = function == "on_broadcast" and not again
                none = function == "subscribed_events"
                assert plugin.counters.dead == dead
                assert plugin.counters.delivered == (0 if none else 3 - dead)
                assert plugin.restarts == 0
            for name in list(manager.plugins):
                manager.unload_plugin(name)
        told += [str(line) for line in logs]
        assert any(f"{function}: " in line and text in line for line in told), told
        assert all("thrower" in line for line in told)


def test_names_are_given_one_by_one(thrower: Path) -> None:
    with FakeHost(thrower, {"names": ["a.b", "c"]}) as host:
        assert host.deliver(Block(b"x", 1)).ok


@pytest.mark.parametrize(
    ("own", "text"),
    [
        ({"function": 7}, "config key 'function' must be a text"),
        ({"names": "a"}, "config key 'names' must be an array"),
        ({"names": ["a", 1]}, "config key '/names/1' must be a text"),
    ],
)
def test_a_wrong_config_names_the_key(
    manager: PluginManager, thrower: Path, own: dict[str, object], text: str
) -> None:
    with pytest.raises(PluginStartError) as caught:
        manager.load_plugin({"libpath": str(thrower), "mode": "inline", **own})
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("flag", "text"), [("BATCH", "writes on_run"), ("CONCURRENT", "needs the table")]
)
def test_a_flag_that_the_class_does_not_carry_is_told_by_the_compiler(
    compile_plugin: Callable[..., Path], flag: str, text: str
) -> None:
    source = (ROOT / "tests" / "plugins" / "thrower.cpp").read_text()
    wrong = source.replace("SLIPSTREAM_FLAG_EXPLICIT_ACK)", f"SLIPSTREAM_FLAG_{flag})")
    with pytest.raises(PluginBuildError, match=text):
        compile_plugin(wrong, EXPORTS, lang="cpp", name=f"wrong-{flag}")


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
@pytest.mark.parametrize("standard", ["c++17", "c++20"])
def test_the_header_compiles_without_a_warning(compiler: str, standard: str) -> None:
    require(compiler, "-fsyntax-only")
    strict = ("-Wall", "-Wextra", "-Werror", "-pedantic", "-Wshadow", "-Wconversion")
    done = subprocess.run(
        [
            *(compiler, f"-std={standard}", "-fsyntax-only", *strict, "-Wold-style-cast"),
            *("-I", ROOT / "include", ROOT / "tests" / "plugins" / "thrower.cpp"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_tally_counts_the_genesis_block(examples: Path) -> None:
    tables = {}
    for name in ("tally", "tally-cpp"):
        with capture_logs() as logs, PluginManager(insecure_paths=True) as manager:
            manager.load_plugin({"libpath": str(examples / name / f"{name}.so")})
            manager.broadcast_many(list(read_events(str(GENESIS), on_warning=pytest.fail)))
        tables[name] = [line["event"] for line in logs]
    assert "397 events, 0 lost" in tables["tally-cpp"]
    for line in tables["tally"]:
        words = line.split()
        if words and words[0] == "credits.aleo":
            count = int(words[2]) + int(words[3])
            assert f"{count} credits.aleo/{words[1]}" in tables["tally-cpp"]
