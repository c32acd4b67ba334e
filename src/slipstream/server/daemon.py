"""The life of `slipstream start`: what comes first, what runs, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipstream.config import Mode
from slipstream.errors import FlushTimeout, SlipstreamError
from slipstream.loaded import Plugin
from slipstream.manager import PluginManager
from slipstream.server import beginning
from slipstream.server.configs import Configs
from slipstream.server.data_dir import DataDir, usual_folder
from slipstream.server.settings import Settings
from slipstream.server.sources.addresses import Address, name_of, unbind
from slipstream.server.sources.files import FileSource
from slipstream.server.sources.kept import Streams
from slipstream.server.sources.listen import Listener
from slipstream.server.sources.path import EventPath, PluginSink
from slipstream.server.sources.recorder import Both, CaptureSink
from slipstream.server.sources.settling import Settling
from slipstream.server.systemd import Notify
from slipstream.status import PluginState

SUBJECT = "operator"
"""Whose token is written at start."""

_FLUSH_SLICE = 5.0  # seconds, after which it is looked whether there is a hurry
_SUPERVISOR_WITHIN = 5.0  # seconds in which it has to be seen to make headway
_HURRY = 1.0  # seconds for each step, once there is
_HELD = {PluginState.PAUSED, PluginState.QUARANTINED, PluginState.FAILED}


@dataclass(slots=True)
class Outcome:
    """How a daemon has ended.

    Attributes:
        undelivered: Of each plugin, how many events it was not given or has not acknowledged.
        source: What was wrong with the source of events.
        broken: What went wrong in the daemon itself.
    """

    undelivered: dict[str, int] = field(default_factory=dict)
    source: SlipstreamError | None = None
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
            self._rest = self._bound(stack, self._settings.rest)
            self._admin = self._bound(stack, Address(path=str(data.admin_socket)))
            self._listening = [self._bound(stack, one) for one in self._settings.listen]
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

    def _bound(self, stack: contextlib.ExitStack, address: Address | None) -> socket.socket | None:
        if address is None:
            return None
        bound = address.bind()
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
        self._servers: list[Any] = []
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
        app = self._application(module)
        await self._serve(app, module)
        if self._outcome.broken is not None:
            return await self._end(app)
        self._write_token()
        self._tell_ready()
        await self._open_sources()
        if self._notify.watchdog:
            self._task(self._feed_watchdog())
        await self._stop.wait()
        return await self._end(app)

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
        except SlipstreamError:
            self._manager.unload()
            raise

    # ---- Serving ------------------------------------------------------------------------------

    def _application(self, server: Any) -> Any:
        options = self._options
        dirs = options.config_dirs or {
            str(Path(path).absolute().parent) for path in options.configs
        }
        self._tokens = None
        if self._rest is not None and not options.nojwt:
            self._tokens = server.Tokens(
                self._data.path, options.network, secret=self._settings.secret
            )
        return server.admin_app(
            self._manager,
            network=options.network,
            tokens=self._tokens,
            config_dirs=dirs,
            cors_origins=options.cors_origins,
            audit=self._data.audit,
            rest_rps=options.rest_rps,
            metrics=server.Metrics(self._manager, network=options.network, figures=self.figures),
            ready=self._not_ready,
            metrics_open=options.metrics_open,
            packages=self._configs.packages,
        )

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
        }

    def _not_ready(self) -> list[str]:
        reasons = []
        if self._stop.is_set():
            reasons.append("the daemon is stopping")
        if self._record is not None and self._record.problem is not None:
            reasons.append(f"events are not recorded: {self._record.problem.strerror}")
        if self._outcome.source is not None:
            reasons.append(f"the source of events failed: {self._outcome.source.message}")
        return reasons

    async def _serve(self, app: Any, server: Any) -> None:
        connections = server.Connections()
        options = self._options
        tls: dict[str, object] = {}
        if options.tls_cert is not None:
            tls = {"ssl_certfile": options.tls_cert, "ssl_keyfile": options.tls_key}
        for bound, more in ((self._rest, tls), (self._admin, {})):
            if bound is None:
                continue
            config = server.config_for(app, lifespan=False, connections=connections, **more)
            one = server.Server(config)
            self._servers.append(one)
            self._task(one.serve(sockets=[bound]))
        for one in self._servers:
            await one.begun.wait()

    def _write_token(self) -> None:
        if self._tokens is None or self._options.nobanner:
            return
        at = self._options.jwt_timestamp
        token = self._tokens.issue(SUBJECT, at=None if at is None else float(at))
        try:
            kept = f" (also in {self._data.write_token(SUBJECT, token)})"
        except OSError as error:  # others can be issued, once there is room
            kept = ""
            self._say(logging.WARNING, "the token is in no file", {"problem": error.strerror})
        self._show(f"REST: {self._rest_url()}\ntoken of {SUBJECT}{kept}:\n{token}\n")

    def _rest_url(self) -> str:
        if self._rest is None:
            return ""
        host, port = self._rest.getsockname()[:2]
        scheme = "http" if self._options.tls_cert is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    def _tell_ready(self) -> None:
        said: dict[str, object] = {
            "plugins": len(self._manager.plugins),
            "rest": self._rest_url() or "none",
            "data": str(self._data.path),
            "seconds": round(time.monotonic() - self._began, 3),
        }
        if self._options.safe_mode:
            said["safe_mode"] = "every plugin is paused"
        self._say(logging.INFO, "ready", said)
        self._notify.tell("READY=1", f"STATUS={len(self._manager.plugins)} plugins")
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

    async def _end(self, app: Any) -> list[Plugin]:
        self._notify.tell("STOPPING=1")
        deadline = time.monotonic() + self._options.stop_timeout
        app.stop()
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
        for server in self._servers:
            server.leave()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                await app.aclose()
                for server in self._servers:
                    await server.over.wait()
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
        timeout = _HURRY if self._signals > 1 else None
        await self._in_thread(self._manager.unload, timeout)
        return plugins

    def _count(self, plugins: list[Plugin]) -> Outcome:
        outcome = self._outcome
        for plugin in plugins:
            counters = plugin.counters
            if counters.undelivered + counters.waiting:
                outcome.undelivered[plugin.name] = counters.undelivered + counters.waiting
        total = sum(outcome.undelivered.values())
        if total:
            said: dict[str, object] = {"undelivered": total, **outcome.undelivered}
            text = "ended; not every event was acknowledged, see the undelivered files"
            self._say(logging.ERROR, text, said)
        else:
            self._say(logging.INFO, "ended; every event was acknowledged", {})
        return outcome


def _unless_closed(
    loop: asyncio.AbstractEventLoop, do: Callable[..., None], *given: object
) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(do, *given)
