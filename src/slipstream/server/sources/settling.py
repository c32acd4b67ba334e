"""The part of settling that asyncio has: looks, writes down, and tells the producers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING

from slipstream.files import limit_hint

if TYPE_CHECKING:
    from slipstream.server.sources.kept import Streams
    from slipstream.server.sources.path import Say
    from slipstream.server.sources.settle import Change, Settler

EVERY = 0.1  # seconds


class Settling:
    """Looks how far the plugins are, as long as something is unsettled.

    Attributes:
        is_ending: The daemon ends, and waits for no disk: what is not kept comes again.
    """

    def __init__(
        self,
        settler: Settler,
        streams: Streams,
        writer: Executor,
        tell: Callable[[], None],
        say: Say,
    ) -> None:
        """Begin; `run` is to be made a task.

        Args:
            settler: Has the notes.
            streams: Keeps what is settled.
            writer: Where it waits for the disk.
            tell: Called when something may have changed for producers.
            say: Takes log lines.
        """
        self._settler = settler
        self._streams = streams
        self._writer = writer
        self._tell = tell
        self._say = say
        self._noted = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        self._is_failing = False
        self.is_ending = False

    def wake(self) -> None:
        """Something was noted; from any thread."""
        if not self._noted.is_set():
            self._loop.call_soon_threadsafe(self._noted.set)

    async def run(self) -> None:
        """Settle, for as long as the daemon lives."""
        while True:
            await self._noted.wait()
            self._noted.clear()
            await self.once()
            if self._settler.waits:
                self._noted.set()
            await asyncio.sleep(EVERY)

    async def once(self) -> None:
        """Look, write down, tell. A look reads counters, and may wait for the disk."""
        async with self._turn:
            changes = await self._loop.run_in_executor(self._writer, self._settler.advance)
            if changes:
                await self._keep(changes)
        self._tell()

    async def _keep(self, changes: list[Change]) -> None:
        while True:
            try:
                records = [change.record for change in changes]
                await self._loop.run_in_executor(self._writer, self._streams.keep, records)
            except OSError as error:  # told to nobody before it is kept
                if not self._is_failing:
                    self._is_failing = True
                    room = "make room in the data folder, and check that it exists"
                    hint = limit_hint(error.errno) or room
                    said: dict[str, object] = {"problem": error.strerror, "next": hint}
                    self._say(logging.ERROR, "cannot save which events are settled", said)
                if self.is_ending:
                    return
                await asyncio.sleep(1)
                continue
            break
        if self._is_failing:
            self._is_failing = False
            self._say(logging.INFO, "settled events are saved again", {})
        for change in changes:
            state = change.state
            state.settled, state.dead, state.told = change.settled, change.dead, change.told
