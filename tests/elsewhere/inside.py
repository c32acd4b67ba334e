"""What the tests do in another Python: each function is one, and says in a line what came of it.

python inside.py FOLDER CYCLES PYTHON    libraries lie in the folder, and stream.jsonl; PYTHON starts
                                         this Python once more; one JSON object a line is printed
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
import traceback
from pathlib import Path

from slipstream import Block, PluginManager, enable_crash_handler
from slipstream._native import ffi, lib
from slipstream.cli import main
from slipstream.streams import EventFile

HERE = Path(sys.argv[1])
CYCLES = int(sys.argv[2])
PYTHON = sys.argv[3]
MODES = ("inline", "thread", "process")
USUAL = {*vars(logging.makeLogRecord({})), "message"}
said: list[str] = []


class Keep(logging.Handler):
    """Keeps what is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = {name: str(value) for name, value in vars(record).items() if name not in USUAL}
        said.append(f"{record.getMessage()} {fields or ''}".strip())


def lines(*words: str) -> list[str]:
    return [line for line in said if any(word in line for word in words)]


def library(name: str) -> str:
    return str(HERE / f"{name}.so")


def command(*arguments: str) -> tuple[int, str]:
    """The exit code of a command and what it has printed."""
    out = io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            code = main(list(arguments)) or 0
        except SystemExit as end:
            code = int(end.code or 0)
    return code, out.getvalue()


def what_the_core_asks_for_works() -> object:
    trial, found, number = ffi.new("ss_os_trial *"), {}, 0
    while lib.ss_os_try(number, trial):
        found[ffi.string(trial.name).decode()] = bool(trial.works)
        number += 1
    return found


def streams() -> object:
    found = {}
    for name in ("digest", "tally"):
        for mode in MODES:
            said.clear()
            with PluginManager(log_level="info") as manager:
                plugin = manager.load_plugin({"libpath": library(name), "mode": mode})
                with EventFile(str(HERE / "stream.jsonl"), on_warning=said.append) as file:
                    for event in file:
                        manager.broadcast(event)
                manager.flush(120)
                delivered = plugin.counters.delivered
            found[f"{name} {mode}"] = [delivered, *lines("digest ", "credits.aleo")]
    return found


def left_behind() -> object:
    """Load, stream, reload, unload, again and again: what is left of it in the process."""

    def left() -> dict[str, int]:
        mapped = Path("/proc/self/maps").read_text(encoding="utf-8")
        names = {line.split()[-1] for line in mapped.splitlines() if ".so" in line}
        return {
            "mapped": len([name for name in names if "digest" in name]),
            "files": len([path for path in HERE.iterdir() if "slipstream-copy" in path.name]),
            "descriptors": len(os.listdir("/proc/self/fd")),
        }

    def cycle(mode: str) -> None:
        manager.load_plugin({"libpath": library("digest"), "mode": mode, "name": "one"})
        manager.broadcast(Block(b"a block", 1))
        manager.reload_plugin("one")
        manager.broadcast(Block(b"another", 2))
        manager.unload_plugin("one")

    said.clear()
    with PluginManager(log_level="info") as manager:
        for mode in MODES:
            cycle(mode)
        before = left()
        for number in range(CYCLES):
            cycle(MODES[number % len(MODES)])
        after = left()
    return {"before": before, "after": after, "said": lines("stays mapped", "misbehaving")}


def crash() -> object:
    """A worker that dies of an event, and of the same event again, until it gets no more of it."""
    said.clear()
    with PluginManager(log_level="info") as manager:
        plugin = manager.load_plugin({"libpath": library("crash"), "mode": "process"})
        for height in (1, 13, 14):
            manager.broadcast(Block(b"a block", height))
        manager.flush(120)
        counters = plugin.counters
        manager.reload_plugin("crash")
        manager.broadcast(Block(b"a block", 15))
        manager.flush(120)
        return {
            "delivered": [counters.delivered, plugin.counters.delivered],
            "dead": counters.dead,
            "state": str(plugin.state),
            "said": lines("crashed", "restarted"),
        }


def crash_of_the_host() -> object:
    done = subprocess.run(
        [PYTHON, __file__, str(HERE), "0", PYTHON, "fall"],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return [done.returncode, done.stderr]


def fall() -> None:
    enable_crash_handler()
    manager = PluginManager()
    manager.load_plugin({"libpath": library("crash"), "mode": "inline"})
    manager.broadcast(Block(b"a block", 13))


def commands() -> object:
    return {
        "inspect": command("inspect", library("digest")),
        "run": command(
            *("run", "--no-progress", "--slipstream-config", str(HERE / "plain.json5")),
            str(HERE / "stream.jsonl"),
        ),
        "doctor": command("doctor"),
        "check": command("check", "--quick", library("tally")),
        "refused": command("inspect", library("foreign")),
    }


if __name__ == "__main__":
    if sys.argv[4:] == ["fall"]:
        fall()
    log = logging.getLogger("slipstream")
    log.setLevel(logging.DEBUG)
    log.addHandler(Keep())
    for do in (
        what_the_core_asks_for_works, streams, left_behind, crash, crash_of_the_host, commands,
    ):  # fmt: skip
        try:
            result = {"test": do.__name__, "found": do()}
        except BaseException:  # noqa: BLE001 - all of it is told
            result = {"test": do.__name__, "failed": traceback.format_exc()}
        sys.__stdout__.write(json.dumps(result) + "\n")
        sys.__stdout__.flush()
