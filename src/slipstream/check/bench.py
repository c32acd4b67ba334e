"""What an event costs with a plugin, beside a plugin that does nothing, in each mode."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream import _native, frames
from slipstream._native import lib
from slipstream._platform import HAS_PROCESS_MODE, LIBRARY_SUFFIX
from slipstream.check.given import subject_of
from slipstream.check.library_file import CONFIG_ENDINGS
from slipstream.check.samples import usual
from slipstream.config import Mode, PluginConfig, load_config
from slipstream.errors import ConfigError, PluginFailed
from slipstream.events import EventKind
from slipstream.manager import PluginManager
from slipstream.text import counted

if TYPE_CHECKING:
    from slipstream.events import Event
    from slipstream.loaded import Plugin

NOOP = Path(_native.MODULE_FILE).resolve().with_name(f"slipstream-noop{LIBRARY_SUFFIX}")
MODES = ("inline", "thread", "process")
"""Where a plugin can run."""

MODES_HERE = MODES if HAS_PROCESS_MODE else MODES[:2]
"""Those of them that this system has."""

_RUN = 256  # events that are handed over at once
_WAIT = 600.0
# What a host sends by itself is not measured.
_KINDS = (
    EventKind.MAPPING_UPDATE,
    EventKind.MAPPING_REMOVAL,
    EventKind.STAKING_REWARD,
    EventKind.BLOCK,
    EventKind.PAYLOAD,
    *range(lib.SLIPSTREAM_KIND_APP_FIRST, lib.SLIPSTREAM_KIND_APP_LAST + 1),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How it is measured.

    Attributes:
        events: Those that are sent, by their kind; None: a usual one of each kind it subscribes to.
        modes: Where the plugin runs.
        count: How many events are sent a round.
        rounds: The two plugins take turns so often.
        insecure: Accept a library that other users could replace.
    """

    events: Mapping[int, Sequence[Event]] | None
    modes: Sequence[str]
    count: int
    rounds: int
    insecure: bool


@dataclass(frozen=True, slots=True)
class Cost:
    """Nanoseconds an event, as medians over the rounds.

    Attributes:
        mode: Where the plugin ran.
        plugin: With the plugin.
        noop: With the plugin that does nothing.
    """

    mode: str
    plugin: float
    noop: float

    @property
    def own(self) -> float:
        """What the plugin adds."""
        return self.plugin - self.noop

    @property
    def ratio(self) -> float:
        """How many times as much as with the other."""
        return self.plugin / self.noop


class _Side:
    """One of the two plugins, in a manager of its own, so that each gets what is sent to it."""

    def __init__(self, config: PluginConfig, folder: Path, *, insecure: bool) -> None:
        self._manager = PluginManager(
            insecure_paths=insecure, log_level="error", data_dir=folder / "data"
        )
        try:
            self.plugin: Plugin = self._manager.load_plugin(config)
        except BaseException:
            self._manager.close()
            raise
        self.close = self._manager.close

    def wants(self, kind: int) -> bool:
        """Whether it gets events of a kind."""
        return self._manager.has_subscribers(kind)

    def measure(self, run: bytes, times: int) -> float:
        """Send a run of frames so often; the seconds until all of it is delivered."""
        start = time.perf_counter()
        for _ in range(times):
            self._manager.broadcast_frames(run)
        self._manager.flush(_WAIT)
        return time.perf_counter() - start

    def check(self) -> None:
        """Refuse to measure what was not done.

        Raises:
            PluginFailed: Events were refused or lost: their cost says nothing.
        """
        counters = self.plugin.counters
        if counters.dead or counters.lost or self.plugin.restarts:
            raise PluginFailed(
                f"{self.plugin.name} did not take all events: {counters.dead} dead, "
                f"{counters.lost} lost, {counted(self.plugin.restarts, 'restart')}",
                "look at its log; give events that it takes with --events, or a --config",
            )


def measure(file: Path, plan: Plan, *, config: Path | None = None) -> Iterator[Cost]:
    """Yield what an event costs in each mode.

    Args:
        file: A library; or a config file, which names one.
        plan: How it is measured.
        config: The plugin's own keys, or a whole config; as in `subject_of`.

    Raises:
        ConfigError: It cannot be configured, or subscribes to none of the events.
        PluginFailed: It did not take all events.
    """
    mine = _config_of(file, config)
    with tempfile.TemporaryDirectory(prefix="slipstream-bench-") as name:
        for mode in map(Mode, plan.modes):
            with ExitStack() as both:
                sides: list[_Side] = []
                for base in (mine, PluginConfig(libpath=NOOP)):
                    folder = Path(name) / f"{mode}-{len(sides)}"
                    insecure = plan.insecure or bool(sides)
                    side = _Side(replace(base, mode=mode), folder, insecure=insecure)
                    both.callback(side.close)
                    sides.append(side)
                yield _compare(mode, sides, plan)


def _config_of(file: Path, config: Path | None) -> PluginConfig:
    """The host's keys are those of a config that is measured; else they are the usual ones."""
    subject = subject_of(file, config=config)
    base = PluginConfig(libpath=subject.path)
    if file.suffix in CONFIG_ENDINGS:
        base = load_config(file)
    return replace(base, own=dict(subject.own), document=None)


def _run_for(side: _Side, events: Mapping[int, Sequence[Event]] | None) -> tuple[bytes, int]:
    """A run of events that the plugin subscribes to, and their number."""
    if events is None:
        usuals = {int(kind): usual(kind) for kind in _KINDS if side.wants(kind)}
        chosen = [event for event in usuals.values() if event is not None]
    else:
        chosen = [event for kind in events if side.wants(kind) for event in events[kind]]
    if not chosen:
        raise ConfigError(
            f"{side.plugin.name} subscribes to none of these events",
            "give others with --events, or a --config with which it subscribes to some",
        )
    encoded = [frames.encode(event) for event in chosen]
    several = (encoded * (_RUN // len(encoded) + 1))[: max(_RUN, len(encoded))]
    return b"".join(several), len(several)


def _compare(mode: str, sides: Sequence[_Side], plan: Plan) -> Cost:
    run, size = _run_for(sides[0], plan.events)
    times = max(1, plan.count // size)
    found: list[list[float]] = [[] for _ in sides]
    for number in range(plan.rounds + 1):  # the first warms up
        for side, samples in zip(sides, found, strict=True):
            seconds = side.measure(run, times if number else 1)
            side.check()
            if number:
                samples.append(seconds * 1e9 / (times * size))
    plugin, noop = map(statistics.median, found)
    return Cost(mode, plugin, noop)
