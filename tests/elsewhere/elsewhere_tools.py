"""What the tests of other Pythons share: plugins built for their machine, and what they say."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from slipstream import PluginManager
from slipstream.streams import EventFile

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
STREAM = ROOT / "examples" / "streams" / "mainnet_genesis.jsonl"
DIGEST = ROOT / "tests" / "windows" / "digest.c"
SOURCES = (DIGEST, ROOT / "examples" / "tally" / "tally.c", HERE / "crash.c")
FLAGS = (
    *("-O1", "-std=c11", "-fvisibility=hidden", "-fPIC", "-shared"),
    *("-I", str(ROOT / "include")),
)
MISSING = 77


def fill(folder: Path, compiler: Sequence[str]) -> None:
    """Lay out what inside.py wants: libraries by a compiler for that machine, and one from here."""
    for source in SOURCES:
        made = folder / f"{source.stem}.so"
        # Without zig's own traps: a plugin that crashes shall do so as any other's.
        command = [*compiler, *FLAGS, "-fno-sanitize=undefined", "-o", str(made), str(source)]
        subprocess.run(command, check=True, timeout=600, capture_output=True)
    command = ["cc", *FLAGS, "-o", str(folder / "foreign.so"), str(DIGEST)]
    subprocess.run(command, check=True, timeout=600, capture_output=True)
    shutil.copy(STREAM, folder / "stream.jsonl")
    (folder / "plain.json5").write_text('{ libpath: "digest.so" }', encoding="utf-8")


def results(command: Sequence[str]) -> dict[str, Any]:
    """Run inside.py by a command; return what came of each of its functions."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500, check=False)
    if done.returncode == MISSING:
        pytest.fail(done.stderr.strip())
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert done.returncode == 0, done.stderr
    failed = "\n".join(result["failed"] for result in found if "failed" in result)
    assert not failed, failed
    return {result["test"]: result["found"] for result in found}


def digest_here(library: Path, caplog: pytest.LogCaptureFixture) -> str:
    """Return the line of the digest of the same events, streamed in this Python."""
    caplog.set_level(logging.INFO, "slipstream")
    with PluginManager(log_level="info") as manager:
        manager.load_plugin({"libpath": str(library), "mode": "inline"})
        with EventFile(STREAM, on_warning=print) as file:
            for event in file:
                manager.broadcast(event)
    (line,) = (text for text in caplog.messages if text.startswith("digest "))
    return line
