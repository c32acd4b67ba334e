"""``slipstream run``: load plugins, stream a file of events to them, unload."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import click

from slipstream._platform import HAS_PROCESS_MODE
from slipstream.config import Mode, PluginConfig, load_config
from slipstream.errors import (
    CaptureError,
    ConfigError,
    FlushTimeout,
    FrameError,
    PluginFailed,
)
from slipstream.loaded import Plugin
from slipstream.manager import PluginManager
from slipstream.status import PluginState, Status
from slipstream.streams import EventFile
from slipstream.text import counted

from ._errors import Failure, Stopped, failure_of, report
from ._logging import Settings
from ._output import emit
from ._paths import PATH, TEXT_PATH
from ._progress import Advance, Progress, progress_bar
from ._signals import StopSignals
from ._tables import show_table

if TYPE_CHECKING:
    from slipstream.delivery.crash_report import CrashReport

DEFAULT_MODE = Mode.PROCESS if HAS_PROCESS_MODE else Mode.THREAD
"""The mode of plugins whose config names none."""

BATCH_BYTES = 64 * 1024
STANDSTILL = 30.0  # seconds without headway before it gives up

_COUNTS = ("accepted", "delivered", "dead", "lost", "gaps", "acked", "restarts", "callback")

JsonObject: TypeAlias = dict[str, object]

_log = logging.getLogger("slipstream")


@dataclass(slots=True)
class Report:
    """What is known of a run so far."""

    events: int = 0
    seconds: float = 0.0
    plugins: list[tuple[Plugin, Status]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


@click.command(epilog="Example: slipstream run --slipstream-config tally.json5 events.jsonl --json")
@click.argument("events", metavar="EVENTS", type=TEXT_PATH)
@click.option(
    "--slipstream-config",
    "configs",
    metavar="FILE",
    type=TEXT_PATH,
    multiple=True,
    required=True,
    help="A plugin's config file; once for each plugin, in the order of loading.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object instead of a table.")
@click.option(
    "--insecure-paths", is_flag=True, help="Load libraries that other users could replace, too."
)
@click.option(
    "--data-dir",
    metavar="DIR",
    type=PATH,
    help="Where each plugin gets a folder of its own.",
)
@click.option("--no-progress", is_flag=True, help="Show no progress bar on a terminal.")
@click.pass_obj
def run(  # noqa: PLR0913 - the options of the command
    settings: Settings,
    *,
    events: str,
    configs: tuple[str, ...],
    as_json: bool,
    insecure_paths: bool,
    data_dir: Path | None,
    no_progress: bool,
) -> int:
    """Load plugins, stream EVENTS to them, flush and unload.

    EVENTS is a file of JSON lines, a capture, or - for either on standard input. The last
    plugin loaded is unloaded first, also after an error, Ctrl-C or SIGTERM.
    """
    _refuse_twice(configs)
    result = Report()
    failure: Failure | None = None

    def make_manager() -> PluginManager:
        return PluginManager(
            DEFAULT_MODE,
            data_dir=data_dir,
            insecure_paths=insecure_paths,
            log_level=settings.log_level,
        )

    with StopSignals() as signals:
        try:
            loaded = _read_configs(configs, result)
            with signals.interruptible():  # whoever opens a FIFO waits for its writer
                source = EventFile(events, on_warning=_log.warning)
            with source as file:
                progress = progress_bar(file, shown=not (as_json or no_progress))
                with make_manager() as manager:
                    Run(result, signals, file, manager).do(loaded, progress)
            refuse_losses(result)
        except (Exception, Stopped) as error:  # noqa: BLE001 - all of it is in the report
            failure = failure_of(error)
    with contextlib.suppress(click.exceptions.Exit):  # nobody reads it; the code still counts
        if as_json:
            emit(json.dumps(as_json_object(result, failure)) + "\n")
        elif result.plugins:
            show_report(result)
    if failure is None:
        return 0
    report(failure, traceback=settings.debug)
    return failure.code


def _refuse_twice(configs: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in configs:
        path = os.path.realpath(name)
        if path in seen:
            raise click.UsageError(
                f"the config file {name} is given twice; a plugin that may be loaded several "
                "times needs a config file, with another `name`, for each"
            )
        seen.add(path)


def _read_configs(paths: Sequence[str], result: Report) -> list[PluginConfig]:
    configs: list[PluginConfig] = []
    for path in paths:
        config = load_config(path)
        if config.enabled:
            configs.append(config)
        else:
            result.left_out.append(path)
            _log.warning("plugin left out: its config says enabled: false", extra={"config": path})
    if not configs:
        raise ConfigError(
            "no plugin is left to run: all configs say enabled: false",
            "set enabled: true in one of them, or remove the key",
        )
    return configs


@dataclass(slots=True)
class Run:
    """One run; what it has done is in `result`, also when it is broken off."""

    result: Report
    signals: StopSignals
    file: EventFile
    manager: PluginManager

    def do(self, configs: Sequence[PluginConfig], progress: Progress) -> None:
        """Load, stream and flush; the manager's end unloads."""
        if not HAS_PROCESS_MODE:
            _log.warning(
                "plugins run in threads of this process, and a crash of one ends it: mode process "
                "exists on Linux only"
            )
        try:
            with self.signals.interruptible():
                for config in configs:
                    self.manager.load_plugin(config)
            started = time.monotonic()
            try:
                with progress as advance:
                    self._stream(advance)
                with self.signals.interruptible():
                    self._flush()
            finally:
                self.result.seconds = time.monotonic() - started
        finally:
            # The states from before the unload; the counters go on counting.
            plugins = self.manager.plugins.values()
            self.result.plugins = [(plugin, plugin.status) for plugin in plugins]

    def _flush(self) -> None:
        """Wait for the plugins as long as any of them makes headway, or asks for it."""
        while True:
            before = self._headway()
            try:
                self.manager.flush(STANDSTILL)
            except FlushTimeout as error:
                if self._headway() == before and not self._is_retrying():
                    raise
                _log.info("still delivering", extra={"detail": error.message})
            else:
                return

    def _headway(self) -> list[tuple[int, int]]:
        counters = [plugin.counters for plugin in self.manager.plugins.values()]
        return [(c.delivered, c.acknowledged) for c in counters]

    def _is_retrying(self) -> bool:
        """Say whether a plugin has asked for an event again: it waits for something else."""
        return any(plugin.counters.retrying for plugin in self.manager.plugins.values())

    def _stream(self, advance: Advance) -> None:
        runs = self.file.runs(BATCH_BYTES)
        while True:
            with self.signals.interruptible():
                run = next(runs, None)
            if run is None:
                return
            self._send(run)
            advance()

    def _send(self, run: bytes) -> None:
        try:
            self.result.events += self.manager.broadcast_frames(run)
        except FrameError as error:
            self.result.events += error.index  # those before the bad one were sent
            sent = self.result.events
            raise CaptureError(
                f"{self.file.name}: event {sent} cannot be sent: "
                f"{error.message.partition(': ')[2]}",
                f"{error.hint}; the "
                f"{counted(sent, 'event before it was', 'events before it were')} sent",
            ) from None


def refuse_losses(result: Report) -> None:
    """Fail if an event was not delivered and acknowledged."""
    problems = [text for plugin, status in result.plugins for text in _losses(plugin, status)]
    if problems:
        raise PluginFailed(
            "not every event was delivered and acknowledged: " + "; ".join(problems),
            "the log above says why; `dead_letter` in a config keeps what a plugin refuses",
        )


def _losses(plugin: Plugin, status: Status) -> Iterator[str]:
    counters = plugin.counters
    if status.state is PluginState.FAILED:
        yield f"{plugin.name} failed: {status.reason}"
    for what in ("dead", "lost", "undelivered", "waiting"):
        if getattr(counters, what):
            yield f"{plugin.name}: {getattr(counters, what)} {what}"


def as_json_object(result: Report, failure: Failure | None) -> JsonObject:
    """Return a run as the object that --json writes."""
    return {
        "events": result.events,
        "seconds": round(result.seconds, 6),
        "plugins": [_plugin_json(plugin, status) for plugin, status in result.plugins],
        "left_out": result.left_out,
        "error": None if failure is None else failure.as_json(),
    }


def _plugin_json(plugin: Plugin, status: Status) -> JsonObject:
    counters = plugin.counters
    return {
        "name": plugin.name,
        "version": plugin.version,
        "mode": str(plugin.mode),
        "state": str(status.state),
        "reason": status.reason,
        "accepted": counters.accepted,
        "delivered": counters.delivered,
        "dead": counters.dead,
        "told": counters.told,
        "undelivered": counters.undelivered,
        "waiting": counters.waiting,
        "dead_unkept": counters.dead_unkept,
        "lost": counters.lost,
        "acknowledged": counters.acknowledged,
        "retrying": counters.retrying,
        "callback_ns_mean": _mean_ns(plugin),
        "restarts": plugin.restarts,
        "gaps": counters.told,
        "last_crash": _crash_json(plugin.last_crash),
    }


def _crash_json(crash: CrashReport | None) -> JsonObject | None:
    if crash is None:
        return None
    return {
        "time": crash.time,
        "reason": crash.reason,
        "ordinal": crash.ordinal,
        "report": None if crash.file is None else str(crash.file),
    }


def _mean_ns(plugin: Plugin) -> int | None:
    counters = plugin.counters
    return counters.callback_ns // counters.callbacks_timed if counters.callbacks_timed else None


def show_report(result: Report) -> None:
    """Write a run as a table for people."""
    rate = result.events / result.seconds if result.seconds else 0.0
    show_table(
        ("plugin", "version", "mode", "state", *_COUNTS),
        [_row(plugin, str(status.state)) for plugin, status in result.plugins],
        title=f"{counted(result.events, 'event')} in {result.seconds:.3f} s ({rate:,.0f} a second)",
        numbers=_COUNTS,
        dull=("dead", "lost", "gaps", "restarts"),
    )
    for plugin, _ in result.plugins:
        if (crash := plugin.last_crash) is not None:
            where = "" if crash.file is None else f": {crash.file}"
            emit(f"last crash of {plugin.name}: {crash.reason}{where}\n")


def _row(plugin: Plugin, state: str) -> list[str]:
    counters, mean = plugin.counters, _mean_ns(plugin)
    counts = (
        counters.accepted,
        counters.delivered,
        counters.dead,
        counters.lost,
        counters.told,
        counters.acknowledged,
        plugin.restarts,
    )
    texts = [plugin.name, plugin.version, str(plugin.mode), state]
    return [*texts, *(f"{n:,}" for n in counts), "-" if mean is None else f"{mean / 1000:.1f} µs"]
