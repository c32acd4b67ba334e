"""What the tests do under Windows: each function is one, and says in a line what came of it.

python inside.py FOLDER    libraries lie there, and stream.jsonl; one JSON object a line is printed
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import logging
import sys
import threading
import traceback
from pathlib import Path

from slipstream import Block, PluginManager, SlipstreamError
from slipstream._native import ffi, lib
from slipstream.cli import main
from slipstream.config import load_config
from slipstream.library import check_library_path
from slipstream.streams import EventFile

HERE = Path(sys.argv[1])
STREAM = HERE / "stream.jsonl"
CYCLES = int(sys.argv[2])
USUAL = {*vars(logging.makeLogRecord({})), "message"}
said: list[str] = []


class Keep(logging.Handler):
    """Keeps what is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = {name: str(value) for name, value in vars(record).items() if name not in USUAL}
        said.append(f"{record.getMessage()} {fields or ''}".strip())


def events() -> list[object]:
    with EventFile(str(STREAM), on_warning=said.append) as file:
        return list(file)


def lines(*words: str) -> list[str]:
    return [line for line in said if any(word in line for word in words)]


def command(*arguments: str) -> tuple[int, str]:
    """The exit code of a command and what it has printed."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            code = main(list(arguments)) or 0
        except SystemExit as end:
            code = int(end.code or 0)
        out.flush()
    return code, out.buffer.getvalue().decode()


def what_the_core_asks_for_works() -> object:
    trial, found, number = ffi.new("ss_os_trial *"), {}, 0
    while lib.ss_os_try(number, trial):
        found[ffi.string(trial.name).decode()] = bool(trial.works)
        number += 1
    return found


def streams() -> object:
    found = {}
    for name in ("digest", "tally"):
        for mode in ("inline", "thread"):
            said.clear()
            with PluginManager(log_level="info") as manager:
                plugin = manager.load_plugin({"libpath": str(HERE / f"{name}.dll"), "mode": mode})
                for event in events():
                    manager.broadcast(event)
                manager.flush(60)
                delivered = plugin.counters.delivered
            found[f"{name} {mode}"] = [delivered, *lines("digest ", "credits.aleo")]
    return found


def unmapped() -> object:
    """Load, stream, reload, unload, again and again: what is left."""
    kernel = ctypes.windll.kernel32

    def left() -> list[int]:
        handles = ctypes.c_ulong()
        kernel.GetProcessHandleCount(ctypes.c_void_p(-1), ctypes.byref(handles))
        files = len([path for path in HERE.iterdir() if "slipstream-copy" in path.name])
        return [handles.value, threading.active_count(), files]

    def cycle(mode: str) -> None:
        manager.load_plugin({"libpath": str(HERE / "digest.dll"), "mode": mode, "name": "one"})
        manager.broadcast(Block(b"a block", 1))
        manager.reload_plugin("one")
        manager.broadcast(Block(b"another", 2))
        manager.unload_plugin("one")

    said.clear()
    with PluginManager(log_level="info") as manager:
        for mode in ("inline", "thread"):
            cycle(mode)
        before = left()
        for number in range(CYCLES):
            cycle(("inline", "thread")[number % 2])
        after = left()
    return {"before": before, "after": after, "stays": lines("stays mapped", "misbehaving")}


def stays() -> object:
    found = {}
    for name in ("pinned", "keeps"):
        said.clear()
        with PluginManager(log_level="debug") as manager:
            manager.load_plugin({"libpath": str(HERE / f"{name}.dll"), "mode": "inline"})
            manager.broadcast(Block(b"a block", 1))
            try:
                manager.unload_plugin(name)
            except SlipstreamError as error:
                said.append(f"{error}")
        found[name] = said[:]
    return found


def refusals() -> object:
    found = {}
    for name in (
        "text.dll",
        "empty.dll",
        "linux.dll",
        "cut.dll",
        "needy.dll",
        "none.dll",
        "arm.dll",
    ):
        with PluginManager() as manager:
            try:
                manager.load_plugin({"libpath": str(HERE / name), "mode": "inline"})
                found[name] = "loaded"
            except SlipstreamError as error:
                found[name] = f"{error}"
    try:
        load_config(HERE / "process.json5")
    except SlipstreamError as error:
        found["process"] = f"{error}"
    with PluginManager() as manager:
        try:
            manager.load_plugin({"libpath": str(HERE / "digest.dll"), "mode": "process"})
        except SlipstreamError as error:
            found["process in a call"] = f"{error}"
    return found


def paths() -> object:
    found = {}
    for name, path in (("own", HERE / "digest.dll"), ("open", HERE / "open" / "digest.dll")):
        try:
            check_library_path(path)
            found[name] = "safe"
        except SlipstreamError as error:
            found[name] = f"{error}"
    return found


def commands() -> object:
    kept, converted = HERE / "kept.capture", HERE / "back.jsonl"
    return {
        "convert": command("convert", str(STREAM), str(kept))[0],
        "back": command("convert", str(HERE / "linux.capture"), str(converted))[0],
        "show": command("show", str(kept)),
        "doctor": command("doctor"),
        "inspect": command("inspect", str(HERE / "digest.dll")),
        "run": command(
            "run", "--no-progress", "--slipstream-config", str(HERE / "plain.json5"), str(STREAM)
        ),
    }


if __name__ == "__main__":
    log = logging.getLogger("slipstream")
    log.setLevel(logging.DEBUG)
    log.addHandler(Keep())
    for do in (what_the_core_asks_for_works, paths, streams, unmapped, stays, refusals, commands):
        try:
            result = {"test": do.__name__, "found": do()}
        except BaseException:  # noqa: BLE001 - all of it is told
            result = {"test": do.__name__, "failed": traceback.format_exc()}
        sys.__stdout__.write(json.dumps(result) + "\n")
        sys.__stdout__.flush()
