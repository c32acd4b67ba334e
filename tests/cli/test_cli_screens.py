"""What the commands show on screens of 80 and of 60 columns, compared with what was kept.

SLIPSTREAM_KEEP=1 keeps anew what they show: look at the change before it is committed.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import re
import unittest.mock
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from slipstream import get_include
from slipstream.check.bench import Cost
from slipstream.cli import COMMANDS, cli, main
from slipstream.cli._output import emit
from slipstream.cli._tables import show_table
from slipstream.cli.bench import show_costs
from slipstream.cli.top import Watched
from slipstream.server import Tokens
from support.daemon import Daemon as Process

ROOT = Path(__file__).resolve().parents[2]
SCREENS = Path(__file__).with_name("screens")
EVENTS = "examples/streams/mainnet_derived_blocks_1_to_5.jsonl"
TALLY = "examples/tally/tally.json5"
PLUGIN = {
    "plugin": "ledger",
    "state": "backoff",
    "version": "1.0.0",
    "mode": "process",
    "accepted": "1250",
    "lag": "1250",
    "reason": "its worker died of signal 11 in libledger.so + 0x1234; it is started again in 0.4 s",
}


def tokens(folder: Path) -> str:
    made = Tokens(folder)
    made.issue("operator", at=1_700_000_000, life=1e9)
    made.issue("grafana", ["metrics:read"], at=1_700_000_000, life=1e9)
    return str(folder)


def a_row(_folder: Path) -> str:
    show_table(list(PLUGIN), [list(PLUGIN.values())] * 2, numbers=("accepted", "lag"))
    return ""


class Daemon:
    """What a daemon says of its plugins; time goes on between two looks."""

    network = "mainnet"

    def plugins(self) -> list[dict[str, object]]:
        callback = {"buckets": [0] * 10 + [900, 90, 10]}
        common = {"callback": callback, "restarts": 3}
        counters = {"acknowledged": 12_345, "lag": 1250}
        return [
            {"name": "ledger", "state": "running", "reason": "", "counters": counters, **common},
            {
                "name": "a-plugin-with-a-long-name",
                "state": PLUGIN["state"],
                "reason": PLUGIN["reason"],
                "counters": {"acknowledged": 7, "lag": 10**9},
                **common,
            },
        ]


def a_look(_folder: Path) -> str:
    watched = Watched(Daemon())
    watched.look()
    emit(watched.text(int(os.environ["COLUMNS"])) + "\n")
    return ""


def costs(_folder: Path) -> str:
    modes = (("inline", 131.4, 62.1), ("thread", 1_250.0, 98.6), ("process", 1_234_567.0, 70.2))
    show_costs(Cost(*each) for each in modes)
    return ""


def package(folder: Path) -> str:
    """A package and a key that has signed it."""
    made = folder / "made"
    screen(f"package build examples/tally/tally.so --out {made}", 80)
    (path,) = made.glob("*.zip")
    screen(f"package keygen --out {folder}", 80)
    screen(f"package sign {path} --key {folder}/slipstream.key", 80)
    return str(path)


def verified(folder: Path) -> str:
    return f"{package(folder)} --key {folder}/slipstream.pub"


def settings(folder: Path) -> str:
    """A package that is installed."""
    wanted = {"chain": {"name": "tally", "version": "1.0.0"}}
    file = folder / "plugins.json"
    file.write_text(json.dumps({"providers": wanted, "trust": [{"key": "slipstream.pub"}]}))
    where = f"--plugins {file} --data-dir {folder}/data"
    screen(f"package install --yes {package(folder)} {where}", 80)
    return where


def central(folder: Path) -> str:
    return f"{folder}/www {package(folder)}"


def report(folder: Path) -> str:
    """The report of a crash in a library that is not there any more."""
    path = folder / "crash-ledger-1764132000.json"
    frames = [{"module": "/srv/libledger.so", "offset": "0x1234"}, {"module": "", "offset": "0x8"}]
    reason = "died of signal 11 (Segmentation fault)"
    path.write_text(
        json.dumps({"plugin": "ledger", "reason": reason, "thread": "slip-3", "backtrace": frames})
    )
    return str(path)


def letters(folder: Path) -> str:
    """A file without dead letters of the plugin."""
    path = folder / "dead-letters.slip"
    screen(f"convert {EVENTS} {path}", 80)
    return f"{path} --slipstream-config {TALLY} --data-dir {folder}/data"


def three(folder: Path) -> str:
    """A file of three events."""
    path = folder / "three.jsonl"
    with (ROOT / EVENTS).open() as events:
        path.write_text("".join(itertools.islice(events, 3)))
    return str(path)


@contextlib.contextmanager
def daemon(folder: Path) -> Iterator[str]:
    """What takes events from producers."""
    address = f"unix:{folder}/node.sock"
    with Process(folder, address, folder / "taken.slip", command="record") as taker:
        taker.wait_for("recording")
        yield address


def folder_of(folder: Path) -> str:
    return str(folder)


# What is shown, by name: the words of a command, with {} for what is made for it.
SHOWN = {
    "help": ("--help", None),
    "run": (f"run --slipstream-config {TALLY} {EVENTS}", None),
    "show": (f"show {EVENTS} --limit 4", None),
    "show-block": ("show examples/streams/mainnet_genesis.jsonl --kind Block", None),
    "show-update": (f"show {EVENTS} --kind MappingUpdate --limit 3", None),
    "inspect": ("inspect examples/tally/tally.so", None),
    "doctor": (f"doctor {TALLY}", None),
    "doctor-refuses": ("doctor /dev/null", None),
    "check": ("check --only binary.kind --only binary.exports examples/tally/tally.so", None),
    "checks": ("checks --explain binary.kind", None),
    "tokens": ("token list --data-dir {}", tokens),
    "plugins": ("", a_row),
    "top": ("", a_look),
    "bench": ("", costs),
    "new": ("new counter --folder {}/counter", folder_of),
    "completion": ("completion bash", None),
    "config": ("config --cflags --libs", None),
    "convert": ("convert {} -", three),
    "package-build": ("package build examples/tally/tally.so --out {}", folder_of),
    "package-keygen": ("package keygen --out {}", folder_of),
    "package-inspect": ("package inspect {}", package),
    "package-verify": ("package verify {}", verified),
    "package-list": ("package list {}", settings),
    "package-central": ("package central {}", central),
    "symbolize": ("symbolize {}", report),
    "record": (f"record {EVENTS} {{}}/events.slip", folder_of),
    "replay": (f"replay {EVENTS} --to {{}}", daemon),
    "redeliver": ("redeliver {}", letters),
    "start": (
        f"start --check-config --norest --slipstream-config {TALLY} --data-dir {{}}",
        folder_of,
    ),
}
# What is there to be copied, or for programs: code, digests, paths, JSON.
COPIED = {"checks", "completion", "config", "convert", "package-build", "package-verify"}
# What is another on each machine, or at each time.
VOLATILE = [
    (r"[\d.]+ s \([\d,]+ a second\)", "N s (N a second)"),
    (r" +[\d.,]+ \u00b5s", " N \u00b5s"),
    (r"sha256 +\w+\n +\w+", "sha256 HEX"),
    (r"  build id .*\n", ""),
    (r"^size( +)\d+$", r"size\1N"),
    (r"settled in [\d.]+ s$", "settled in N s"),
    (r"; [\d.]+ s$", "; N s"),
    (r"minisign:[0-9A-F]{16}", "minisign:HEX"),
    (r"\b[0-9a-f]{9,}\b", "HEX"),
    (r"[\d,]+ bytes", "N bytes"),
    (r"this machine:(.|\n)*(?=^\S+:)", ""),  # some lack something
    (r"all \d+ steps", "all N steps"),
    (r"\d\d:\d\d:\d\d UTC", "HH:MM:SS UTC"),
    (r"^_slipstream_completion\(\) \{(.|\n)*", "what click makes\n"),  # as its version is
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def screen(words: str, columns: int, made: Callable[[Path], object] = a_row) -> str:
    out = Terminal() if words.startswith("show ") else io.StringIO()
    with (
        unittest.mock.patch.dict(os.environ, COLUMNS=str(columns), NO_COLOR="1"),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.chdir(ROOT),
    ):
        if words:
            main(words.split())
        else:
            made(ROOT)
    return out.getvalue()


def shown(name: str, columns: int, folder: Path) -> str:
    words, made = SHOWN[name]
    with contextlib.ExitStack() as stack:
        given = made(folder) if made is not None and words else ""
        if isinstance(given, contextlib.AbstractContextManager):
            given = stack.enter_context(given)
        text = screen(words.format(given), columns, made or a_row)
    return text.replace(str(folder), "FOLDER").replace(get_include(), "INCLUDE")


@pytest.mark.parametrize("columns", [80, 60])
@pytest.mark.parametrize("name", SHOWN)
def test_a_screen_is_as_it_was_kept(name: str, columns: int, tmp_path: Path, examples) -> None:
    text = shown(name, columns, tmp_path)
    assert text, "nothing was shown"
    if name not in COPIED:
        assert max(map(len, text.splitlines())) <= columns, text
    for pattern, instead in VOLATILE:
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    kept = SCREENS / f"{name}-{columns}.txt"
    if os.environ.get("SLIPSTREAM_KEEP"):
        kept.write_text(text)
    assert text == kept.read_text()


@pytest.mark.parametrize("columns", [80, 60])
def test_no_line_of_help_is_wider_than_the_screen(columns: int, examples) -> None:
    context = cli.make_context("slipstream", [], resilient_parsing=True)
    words = ["doctor -v", "checks"]
    for name in COMMANDS:
        below = getattr(cli.get_command(context, name), "commands", {})
        words += [f"{name} --help", *(f"{name} {one} --help" for one in below)]
    for one in words:
        for line in screen(one, columns).splitlines():
            assert len(line) <= columns, (one, line)


@pytest.mark.parametrize("columns", [40, 79, 119, 120, 200])
def test_events_fit_a_terminal_of_any_width(columns: int) -> None:
    words = "show examples/streams/mainnet_genesis.jsonl"
    lines = screen(words, columns).splitlines()
    assert len(lines) == 398
    assert max(map(len, lines)) <= columns
    full = screen(f"{words} --full", columns).splitlines()
    with contextlib.chdir(ROOT):
        piped = CliRunner(env={"COLUMNS": "40"}).invoke(cli, words.split()).stdout.splitlines()
    assert [line.split() for line in full] == [line.split() for line in piped]
    for short, long in zip(lines, piped, strict=True):
        begin, _, end = short.partition("…")
        assert " ".join(long.split()).startswith(" ".join(begin.split()))
        assert "…" in end or long.endswith(end)


def test_each_command_has_a_screen() -> None:
    first = {name.partition("-")[0].removesuffix("s") for name in SHOWN}
    assert {name.removesuffix("s") for name in COMMANDS} <= first
    for file in SCREENS.iterdir():
        assert file.stem.rpartition("-")[0] in SHOWN, f"nobody compares {file.name}"
