"""The plugin tests/plugins/recorder.c, and what it has written."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from slipstream.events import AppEvent, Block, MappingUpdate, Payload, StakingReward

PROMPT, MULTI, EXPLICIT_ACK, BATCH = 2, 4, 8, 16
GAP = 5
NONE = -1  # a height that there is not, as the recorder writes it


class Recorder:
    """One build of the recorder and its file."""

    def __init__(
        self,
        compile_plugin: Callable[..., Path],
        folder: Path,
        *defines: str,
        flags: int = PROMPT,
        name: str = "recorder",
        version: str = "1",
        kinds: str = "0xFFFFFFFF0000001F",
    ) -> None:
        self.library = compile_plugin(
            "recorder.c",
            f"-DFLAGS={flags}",
            f'-DNAME="{name}"',
            f'-DVERSION="{version}"',
            f"-DKINDS={kinds}",
            *defines,
            name=name,
        )
        self.log = folder / f"{name}.log"
        self.name = name

    def config(self, **more: object) -> dict[str, object]:
        return {"libpath": str(self.library), "log": str(self.log), **more}

    @property
    def lines(self) -> list[dict]:
        text = self.log.read_text() if self.log.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    @property
    def calls(self) -> list[str]:
        return [line["call"] for line in self.lines]

    @property
    def events(self) -> list[dict]:
        return [line for line in self.lines if line["call"] == "event"]

    @property
    def ordinals(self) -> list[int]:
        return [line["ordinal"] for line in self.events]

    def wait_for(self, call: str, count: int = 1) -> None:
        end = time.monotonic() + 10
        while self.calls.count(call) < count:
            assert time.monotonic() < end, f"no {call} in {self.calls}"
            time.sleep(0.005)


SOME = [
    MappingUpdate(b"p", b"m", b"k", b"v", 1),
    StakingReward(b"s", b"v", 1, 2, 2),
    Block(b"b", None),
    Payload(b"n", b"body"),
    AppEvent(40, b"own", 9),
]
