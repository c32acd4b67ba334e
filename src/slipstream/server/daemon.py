"""The life of `slipstream start`: what comes first, what runs, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from slipstream.config import Mode
from slipstream.errors import FlushTimeout, SlipstreamError
from slipstream.loaded import Plugin
from slipstream.manager import PluginManager
from slipstream.server import beginning
from slipstream.server.configs import Configs
from slipstream.server.data_dir import DataDir, usual_folder
from slipstream.server.front import Front
from slipstream.server.settings import Settings
from slipstream.server.sources import accepting
from slipstream.server.sources.addresses import Address, name_of, unbind
from slipstream.server.sources.files import FileSource
from slipstream.server.sources.kept import Streams
from slipstream.server.sources.listen import Listener
from slipstream.server.sources.path import EventPath, PluginSink
from slipstream.server.sources.recorder import Both, CaptureSink
from slipstream.server.sources.settling import Settling
from slipstream.server.systemd import Notify
from slipstream.status import PluginState

_FLUSH_SLICE = 5.0  # seconds, after which it is looked whether there is a hurry
_SUPERVISOR_WITHIN = 5.0  # seconds in which it has to be seen to make headway
_HELD = {PluginState.PAUSED, PluginState.QUARANTINED, PluginState.FAILED}


@dataclass(slots=True)
class Outcome:
    """How a daemon has ended.

    Attributes:
        undelivered: Of each plugin, how many events it was not given or has not acknowledged.
        source: What was wrong with the source of events.
        unrecorded: What kept events from being recorded.
        broken: What went wrong in the daemon itself.
    """

    undelivered: dict[str, int] = field(default_factory=dict)
    source: SlipstreamError | None = None
    unrecorded: OSError | None = None
    broken: BaseException | None = None


class _StoppedEarly(Exception):
    """A signal has come while plugins were loaded."""


class Daemon:
    """One daemon, from its folder's lock to its last line."""

    def __init__(
        self,
        settings: Settings,
        *,
        show: Callable[[str], None],
        reopen_log: Callable[[], None],
    ) -> None:
        """Take what was checked.

        Args:
            settings: Without faults.
            show: Writes a line for whoever has started it.
            reopen_log: Opens the log file anew.
        """
        self._settings = settings
        self._options = settings.options
        self._show = show
        self._reopen_log = reopen_log
        self._notify = Notify()
        self._outcome = Outcome()
        self._signals = 0
        self._began = time.monotonic()

    def run(self) -> Outcome:
        """Live until a signal ends it.

        Raises:
            SlipstreamError: It could not start, or one of its plugins could not.
        """
        options = self._options
        beginning.require_libraries()
        beginning.survive_early_signals()
        with contextlib.ExitStack() as stack:
            data = DataDir(options.data_dir or usual_folder(options.network))
            stack.callback(data.close)
            self._data = data
            rest = self._bound(stack, self._settings.rest)
            admin = self._bound(stack, Address(path=str(data.admin_socket)))
            self._front = Front(self._settings, data, rest, admin, self._say)
            access = {
                "mode": self._settings.listen_mode,
                "group": self._settings.listen_group,
            }
            self._listening = [self._bound(stack, one, access) for one in self._settings.listen]
            self._record: CaptureSink | None = None
            if options.record is not None:
                self._record = CaptureSink(options.record, append=True, say=self._say)
                stack.callback(self._record.close)
            self._streams = Streams(data.streams)
            stack.callback(self._streams.close)
            self._manager = PluginManager(
                Mode.PROCESS,
                data_dir=data.plugins,
                insecure_paths=options.insecure_paths,
                log_level=options.log_level,
            )
            stack.callback(self._manager.close)
            self._configs = Configs(self._manager, options, data.path)
            plugins = asyncio.run(self._live())
            self._manager.close()
        return self._count(plugins)

    def _bound(
        self,
        stack: contextlib.ExitStack,
        address: Address | None,
        access: Mapping[str, int] = MappingProxyType({}),
    ) -> socket.socket | None:
        if address is None:
            return None
        bound = address.bind(**access)
        stack.callback(unbind, bound, address, address.file_id())
        return bound

    def _say(self, level: int, text: str, fields: dict[str, object]) -> None:
        self._manager.say(level, text, fields)

    # ---- asyncio ------------------------------------------------------------------------------

    async def _live(self) -> list[Plugin]:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._stop_early = False
        self._is_ready = asyncio.Event()
        self._changing = asyncio.Lock()
        self._hup_waits = False
        self._control = ThreadPoolExecutor(4, "slipstream-control")
        self._tasks: set[asyncio.Task[Any]] = set()
        accepting.tell_of_shortage(self._loop, self._say)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._on_stop, number)
        self._loop.add_signal_handler(signal.SIGHUP, self._on_hup)
        self._loop.add_signal_handler(signal.SIGUSR1, self._on_usr1)
        try:
            return await self._start_and_stop()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
                self._loop.remove_signal_handler(number)
            beginning.survive_early_signals()
            self._control.shutdown(wait=False)

    async def _start_and_stop(self) -> list[Plugin]:
        for text in self._settings.warnings:
            self._say(logging.WARNING, text, {})
        for folder in self._data.narrowed:
            text = "other users could look into a folder; now only this user can"
            self._say(logging.INFO, text, {"folder": str(folder)})
        if self._streams.damaged:
            text = "some of what was settled cannot be read and may come again: look at the disk"
            self._say(logging.WARNING, text, {"records": self._streams.damaged})
        try:
            load = self._in_thread(self._load)
            _, module = await asyncio.gather(load, self._in_thread(beginning.import_server))
        except _StoppedEarly:
            self._say(logging.INFO, "stopped while plugins were loaded", {})
            return await self._unload()
        plugins = PluginSink(self._manager, self._say)
        sink = plugins if self._record is None else Both(plugins, self._record)
        self._path = EventPath(sink, self._streams, self._wake, self._event_path_failed)
        self._listener = Listener(self._path, self._say)
        self._settling = Settling(
            self._path.settler, self._streams, self._control, self._listener.answer, self._say
        )
        self._task(self._settling.run())
        packages = self._configs.packages
        self._front.make(module, self._manager, self.figures, self._not_ready, packages)
        await self._front.serve(module, self._task)
        if self._outcome.broken is not None:
            return await self._end()
        self._front.write_token(self._show)
        self._tell_ready()
        await self._open_sources()
        if self._notify.watchdog:
            self._task(self._feed_watchdog())
        await self._stop.wait()
        return await self._end()

    def _wake(self) -> None:
        self._settling.wake()

    def _event_path_failed(self, error: Exception) -> None:
        _unless_closed(self._loop, self._broken, error)

    def _broken(self, error: BaseException) -> None:
        """Something that must not end has ended: it is better to begin anew."""
        if self._outcome.broken is None:
            self._outcome.broken = error
            self._manager.say(logging.ERROR, "internal error; the daemon ends", error=error)
            self._stop.set()

    def _task_is_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken(error)

    def _task(self, work: Coroutine[Any, Any, Any]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_is_done)

    async def _in_thread(self, do: Callable[..., Any], *arguments: object) -> Any:
        return await self._loop.run_in_executor(self._control, do, *arguments)

    def _load(self) -> None:
        self._configs.name(self._options.configs)
        try:
            for load in self._configs.loads(self._settings.configs):
                if self._stop_early:
                    raise _StoppedEarly
                load()
        except SlipstreamError as error:
            if self._stop_early:  # it was given up, or nobody needs it any more
                self._say(logging.WARNING, "a plugin was not loaded", {"problem": error.message})
                raise _StoppedEarly from None
            self._manager.unload()
            raise

    # ---- Serving ------------------------------------------------------------------------------

    def figures(self) -> dict[str, int]:
        """What the sources have brought so far."""
        figures = self._path.figures
        return {
            "events": figures.events,
            "bytes": figures.bytes,
            "repeated": figures.repeated,
            "bad": figures.bad,
            "producers": len(self._listener.producers),
            "streams": len(self._streams.states),
            "unrecorded": int(self._unrecorded() is not None),
        }

    def _unrecorded(self) -> OSError | None:
        """Return what keeps events from being recorded."""
        return None if self._record is None else self._record.problem

    def _not_ready(self) -> list[str]:
        reasons = []
        if self._stop.is_set():
            reasons.append("the daemon is stopping")
        if (problem := self._unrecorded()) is not None:
            reasons.append(f"events are not recorded: {problem.strerror}")
        if self._outcome.source is not None:
            reasons.append(f"the source of events failed: {self._outcome.source.message}")
        return reasons

    def _tell_ready(self) -> None:
        said: dict[str, object] = {
            "plugins": len(self._manager.plugins),
            "rest": self._front.url or "none",
            "data": str(self._data.path),
            "seconds": round(time.monotonic() - self._began, 3),
        }
        if self._options.safe_mode:
            said["safe_mode"] = "every plugin is paused"
        self._say(logging.INFO, "ready", said)
        self._notify.tell("READY=1", f"STATUS=plugins: {len(self._manager.plugins)}")
        self._is_ready.set()

    async def _open_sources(self) -> None:
        self._path.start()
        options = self._options
        self._file: FileSource | None = None
        for bound in self._listening:
            if bound is not None:
                name = name_of(bound)
                await self._listener.add(bound, name.rpartition("/")[2])
                self._say(logging.INFO, "listening for producers", {"address": name})
        if options.events:
            self._file = FileSource(
                options.events,
                self._path,
                loop=options.loop,
                speed=self._settings.speed,
                say=self._say,
                on_end=lambda error: _unless_closed(self._loop, self._source_ended, error),
            )
            self._file.start()
        elif not self._listening:
            self._say(logging.WARNING, "no source of events: see --events and --listen", {})

    def _source_ended(self, error: SlipstreamError | None) -> None:
        if error is not None and not self._stop.is_set():
            self._outcome.source = error
            self._say(
                logging.ERROR,
                "the source of events failed; the daemon ends",
                {"problem": error.message, "next": error.hint},
            )
            self._stop.set()

    # ---- Signals ------------------------------------------------------------------------------

    def _on_stop(self, number: int) -> None:
        self._signals += 1
        name = signal.Signals(number).name
        if self._signals == 1:
            self._say(logging.INFO, f"{name}: stopping; a second signal hurries", {})
            self._stop_early = True
            self._stop.set()
        elif self._signals == 2:
            self._say(logging.WARNING, f"{name}: hurrying; a third signal ends it at once", {})
            self._manager.hurry()
        else:
            os._exit(128 + number)

    def _on_hup(self) -> None:
        if not self._hup_waits:  # the one that waits will see all that has changed until now
            self._hup_waits = True
            self._task(self._read_configs())

    async def _read_configs(self) -> None:
        await self._is_ready.wait()  # the same files are being loaded
        async with self._changing:
            self._hup_waits = False
            if not self._stop.is_set():
                self._notify.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
                await self._in_thread(self._configs.read_again)
                self._front.look_at_tokens()
                self._notify.tell("READY=1")

    def _on_usr1(self) -> None:
        try:
            self._reopen_log()
        except SlipstreamError as error:
            self._say(logging.ERROR, "the log file stays as it is", {"problem": error.message})

    async def _feed_watchdog(self) -> None:
        """Tell systemd that there is headway, as long as there is."""
        seen = -1
        supervised: int | None = None
        moved = time.monotonic()
        patience = max(_SUPERVISOR_WITHIN, self._notify.watchdog / 2)
        while True:
            beats, supervisor = self._path.beats, self._manager.supervisor_beats
            if supervisor is None or supervisor != supervised:
                supervised, moved = supervisor, time.monotonic()
            is_moving = not self._path.is_busy or beats != seen
            if is_moving and time.monotonic() - moved < patience:
                self._notify.tell("WATCHDOG=1")
            seen = beats
            await asyncio.sleep(self._notify.watchdog / 3)

    # ---- The end ------------------------------------------------------------------------------

    async def _end(self) -> list[Plugin]:
        self._notify.tell("STOPPING=1")
        deadline = time.monotonic() + self._options.stop_timeout
        self._front.stop()
        self._listener.stop()
        if self._file is not None:
            self._file.stop()
        self._path.stop()
        self._settling.is_ending = True
        async with self._changing:
            await self._in_thread(self._path.join, max(0.1, deadline - time.monotonic()))
            await self._flush(deadline)
            await self._settling.once()
            self._path.settler.is_ending = True
            plugins = await self._unload()
        await self._settling.once()  # some have acknowledged in their last call
        self._listener.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                await self._front.close()
        return plugins

    async def _flush(self, deadline: float) -> None:
        """Wait until the plugins are done, as long as there is time and no hurry."""
        while self._signals < 2 and (left := deadline - time.monotonic()) > 0:
            try:
                await self._in_thread(self._manager.flush, min(left, _FLUSH_SLICE))
            except FlushTimeout:
                behind = [p for p in list(self._manager.plugins.values()) if p.counters.lag]
                if all(plugin.state in _HELD for plugin in behind):
                    return
                await asyncio.sleep(0.05)
            except SlipstreamError as error:
                self._say(logging.WARNING, "the plugins cannot flush", {"problem": error.message})
                return
            else:
                return

    async def _unload(self) -> list[Plugin]:
        plugins = list(self._manager.plugins.values())
        await self._in_thread(self._manager.unload)
        return plugins

    def _count(self, plugins: list[Plugin]) -> Outcome:
        outcome = self._outcome
        for plugin in plugins:
            counters = plugin.counters
            if counters.undelivered + counters.waiting:
                outcome.undelivered[plugin.name] = counters.undelivered + counters.waiting
        total = sum(outcome.undelivered.values())
        outcome.unrecorded = self._unrecorded()
        said: dict[str, object] = {}
        if outcome.unrecorded is not None:
            said = {"record": str(self._options.record), "problem": outcome.unrecorded.strerror}
        if total:
            said |= {"undelivered": total, **outcome.undelivered}
            text = "ended; not every event was acknowledged, see the undelivered files"
            self._say(logging.ERROR, text, said)
        elif said:
            self._say(logging.ERROR, "ended; not every event was recorded", said)
        else:
            self._say(logging.INFO, "ended; every event was acknowledged", {})
        return outcome


def _unless_closed(
    loop: asyncio.AbstractEventLoop, do: Callable[..., None], *given: object
) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(do, *given)
