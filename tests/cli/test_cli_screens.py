"""What the commands show on screens of 80 and of 60 columns, compared with what was kept.

SLIPSTREAM_KEEP=1 keeps anew what they show: look at the change before it is committed.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import unittest.mock
from collections.abc import Callable
from pathlib import Path

import pytest

from slipstream.cli import COMMANDS, cli, main
from slipstream.cli._output import emit
from slipstream.cli._tables import show_table
from slipstream.cli.top import Watched
from slipstream.server import Tokens

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


# What is shown, by name: the words of a command, with {} for what is made for it.
SHOWN = {
    "run": (f"run --slipstream-config {TALLY} {EVENTS}", None),
    "show": (f"show {EVENTS} --limit 4", None),
    "inspect": ("inspect examples/tally/tally.so", None),
    "doctor": (f"doctor {TALLY}", None),
    "doctor-refuses": ("doctor /dev/null", None),
    "checks": ("checks --explain binary.kind", None),
    "tokens": ("token list --data-dir {}", tokens),
    "plugins": ("", a_row),
    "top": ("", a_look),
}
# What is another on each machine, or at each time.
VOLATILE = [
    (r"[\d.]+ s \([\d,]+ a second\)", "N s (N a second)"),
    (r" +[\d.,]+ \u00b5s", " N \u00b5s"),
    (r"sha256 +\w+\n +\w+", "sha256 HEX"),
    (r"  build id .*\n", ""),
    (r"\b[0-9a-f]{9,}\b", "HEX"),
    (r"[\d,]+ bytes", "N bytes"),
    (r"this machine:(.|\n)*(?=^\S+:)", ""),  # some lack something
    (r"all \d+ steps", "all N steps"),
    (r"\d\d:\d\d:\d\d UTC", "HH:MM:SS UTC"),
]


def screen(words: str, columns: int, made: Callable[[Path], str] = a_row) -> str:
    out = io.StringIO()
    with (
        unittest.mock.patch.dict(os.environ, COLUMNS=str(columns)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.chdir(ROOT),
    ):
        if words:
            main(words.split())
        else:
            made(ROOT)
    return out.getvalue()


@pytest.mark.parametrize("columns", [80, 60])
@pytest.mark.parametrize("name", SHOWN)
def test_a_screen_is_as_it_was_kept(name: str, columns: int, tmp_path: Path, examples) -> None:
    words, made = SHOWN[name]
    given = made(tmp_path) if made is not None and words else ""
    text = screen(words.format(given), columns, made or a_row)
    for pattern, instead in VOLATILE:
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    kept = SCREENS / f"{name}-{columns}.txt"
    if os.environ.get("SLIPSTREAM_KEEP"):
        kept.write_text(text)
    assert text == kept.read_text()


@pytest.mark.parametrize("columns", [80, 60])
def test_no_line_is_wider_than_the_screen(columns: int, tmp_path: Path, examples) -> None:
    """Events are lines of their own width: `show` is for pipes, too; so is code to be copied."""
    own = ("show ", "--explain ")
    shown = [
        words.format(tokens(tmp_path))
        for words, _ in SHOWN.values()
        if not any(one in words for one in own)
    ]
    context = cli.make_context("slipstream", [], resilient_parsing=True)
    for name in COMMANDS:
        below = getattr(cli.get_command(context, name), "commands", {})
        shown += [f"{name} --help", *(f"{name} {one} --help" for one in below)]
    for words in [*shown, "doctor -v", "checks"]:
        for line in screen(words, columns).splitlines():
            assert len(line) <= columns, (words, line)
