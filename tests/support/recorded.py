"""The plugin tests/plugins/recorder.c, and what it has written."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from slipstream.events import AppEvent, Block, MappingUpdate, Payload, StakingReward
from support.gated import PATIENCE, wait_until

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

    # A call that is held does not return until it is released, however long that takes; for
    # plugins whose config has `hold`, as `held_config` makes it.

    def held_config(self, **more: object) -> dict[str, object]:
        return self.config(hold=str(self.log.with_suffix(".hold")), **more)

    def _hold(self, call: str) -> Path:
        return self.log.with_suffix(f".hold.{call}")

    def hold(self, call: str) -> None:
        """Hold the next call: load, event, flush or unload."""
        self._held(call).unlink(missing_ok=True)
        self._hold(call).touch()

    def release(self, call: str) -> None:
        self._hold(call).unlink(missing_ok=True)

    def _held(self, call: str) -> Path:
        return self.log.with_suffix(f".hold.{call}.held")

    def wait_until_held(self, call: str) -> None:
        wait_until(self._held(call).exists, f"{call} was not called")

    @contextmanager
    def ctrl_c_while_held(self, call: str, after: float = 0.0) -> Iterator[None]:
        """The block is ended by Ctrl-C, while a call is held or so many seconds later.

        The call returns once the main thread has noticed: not before, else the interrupt would
        come anywhere behind the wait that is to be interrupted.
        """
        noticed = threading.Event()

        def notice(_number: int, _frame: object) -> None:
            noticed.set()
            raise KeyboardInterrupt

        def send() -> None:
            try:
                self.wait_until_held(call)
                time.sleep(after)
                os.kill(os.getpid(), signal.SIGINT)
                noticed.wait(PATIENCE)
            finally:
                self.release(call)

        thread = threading.Thread(target=send)
        usual = signal.signal(signal.SIGINT, notice)
        try:
            with pytest.raises(KeyboardInterrupt):
                thread.start()
                yield
        finally:
            thread.join()
            signal.signal(signal.SIGINT, usual)

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
        wait_until(lambda: self.calls.count(call) >= count, f"not {count} times {call}")


SOME = [
    MappingUpdate(b"p", b"m", b"k", b"v", 1),
    StakingReward(b"s", b"v", 1, 2, 2),
    Block(b"b", None),
    Payload(b"n", b"body"),
    AppEvent(40, b"own", 9),
]
