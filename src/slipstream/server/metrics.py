"""What Prometheus gets of a manager: one collector, which reads when it is asked.

Events are counted by the core, in any case; here nothing is counted but log lines.
"""

from __future__ import annotations

import contextlib
import logging
import platform
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from slipstream import __version__
from slipstream.errors import SlipstreamError
from slipstream.logs import fields_of
from slipstream.server.exposition import OPENMETRICS, TEXT, Family, base_of, labels, write
from slipstream.status import LOSSES, PluginState

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as ClientMetric

    from slipstream.loaded import Plugin
    from slipstream.manager import PluginManager
    from slipstream.status import Counters, Metric

# The core's buckets end at powers of two, in nanoseconds; every other one from 128 ns to 34 s is
# shown, and the last holds the rest.
_ENDS = range(7, 36, 2)
_BOUNDS = tuple(repr(2**n / 1e9) for n in _ENDS)
_NAMES_MAX = 1024
SOURCE = {
    "events": ("events", "counter", "Events that came from sources."),
    "bytes": ("bytes", "counter", "Bytes of those events."),
    "repeated": ("repeated_events", "counter", "Events that came again, and were left out."),
    "bad": ("faults", "counter", "Producers that were sent away for a bad frame."),
    "producers": ("producers", "gauge", "Producers that are connected."),
    "streams": ("streams", "gauge", "Streams that are known."),
    "unrecorded": ("unrecorded", "gauge", "1 if --record has failed: nothing is settled any more."),
}
"""What the sources of events have brought: the name, kind and meaning of each figure."""

_CALLS = ("sent", "unsent", "answered", "denied", "retries", "timeouts", "nonsense")
_OUTCOMES = ("delivered", "dead", "told", "undelivered")
_STATES = tuple(str(state) for state in PluginState)
_RESERVED = re.compile(r"^(__.*|plugin)$")


class LineCounts(logging.Handler):
    """Counts log lines by plugin and level; attached to the logger ``slipstream`` until closed."""

    aside = True  # it shows nothing to anybody

    def __init__(self) -> None:
        """Count from now on."""
        super().__init__()
        self.counts: Counter[tuple[str, str]] = Counter()
        self._names: set[str] = set()
        logging.getLogger("slipstream").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Count a line; called by one thread at a time."""
        name = fields_of(record).get("plugin", "")
        if not isinstance(name, str):
            return
        if name not in self._names and len(self._names) >= _NAMES_MAX:
            return
        self._names.add(name)
        self.counts[name, record.levelname.lower()] += 1

    def close(self) -> None:
        """Count nothing more."""
        logging.getLogger("slipstream").removeHandler(self)
        super().close()


class Metrics:
    """The collector of a manager. Called it gives a scrape: the body, and its content type.

    It can also be registered with a `prometheus_client` registry, beside an application's own.
    """

    def __init__(
        self,
        manager: PluginManager,
        *,
        network: str = "mainnet",
        figures: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """Collect from a manager.

        Args:
            manager: Whose plugins.
            network: The network of this host.
            figures: Gives what the sources of events have brought, by the names in `SOURCE`.
        """
        self._manager, self._network, self._figures = manager, network, figures
        self._lines = LineCounts()

    def close(self) -> None:
        """Count no log lines any more."""
        self._lines.close()

    def __call__(self, openmetrics: bool = False) -> tuple[bytes, str]:  # noqa: FBT001, FBT002
        """Return a scrape.

        Args:
            openmetrics: In that format instead of Prometheus' text.

        Returns:
            The body and its content type.
        """
        body = write(self.families(), openmetrics=openmetrics)
        return body, OPENMETRICS if openmetrics else TEXT

    def collect(self) -> Iterator[ClientMetric]:
        """Yield the same for a registry of `prometheus_client`."""
        from prometheus_client.metrics_core import Metric as Client  # noqa: PLC0415 - who registers

        for family in self.families():
            metric = Client(family.name, family.says, family.kind)
            for suffix, where, value in family.samples:
                pairs = dict(_PAIR.findall(where))
                metric.add_sample(
                    family.name + suffix, {k: _unescaped(v) for k, v in pairs.items()}, value
                )
            if metric.samples:
                yield metric

    def families(self) -> list[Family]:
        """Return all metrics, as they are now."""
        made = _Families()
        made.build.add(
            labels(version=__version__, python=platform.python_version(), network=self._network),
            1,
        )
        with contextlib.suppress(SlipstreamError):  # a manager of the process before a fork
            for plugin in list(self._manager.plugins.values()):
                with contextlib.suppress(SlipstreamError):
                    made.add_plugin(plugin)
        for name, value in self._figures().items():
            made.source[name].add("", value)
        for (name, level), count in list(self._lines.counts.items()):
            made.lines.add(labels(plugin=name, level=level), count)
        return [*made.all, *made.custom.values()]


_PAIR = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: {"n": "\n"}.get(found[1], found[1]), text)


class _Families:
    """The metrics of one scrape."""

    def __init__(self) -> None:
        self.all: list[Family] = []
        self.custom: dict[str, Family] = {}
        family = self._family
        self.build = family("build", "info", "What this is.")
        self.plugins = family("plugin", "info", "A loaded plugin.")
        self.state = family("plugin_state", "gauge", "1 for the state that a plugin is in.")
        self.since = family(
            "plugin_state_since_seconds", "gauge", "Since when, in seconds since 1970 UTC."
        )
        self.accepted = family("accepted_events", "counter", "Events accepted for a plugin.")
        self.events = family("events", "counter", "What became of a plugin's events.")
        self.lag = family("lag_events", "gauge", "Events that are not yet acknowledged.")
        self.retrying = family("retrying_event", "gauge", "Ordinal that is offered again; else 0.")
        self.unkept = family(
            "unkept_events", "counter", "Refused events that no dead-letter file has."
        )
        self.gaps = family("gaps", "counter", "Events that were lost, by reason.")
        self.ring = family("ring_bytes", "gauge", "A plugin's ring: what is used, and free.")
        self.calls = family(
            "calls", "counter", "What became of a plugin's calls of the application."
        )
        self.outbox = family(
            "outbox_messages", "gauge", "Messages of a plugin that wait to be sent."
        )
        self.restarts = family("restarts", "counter", "Crashes of a plugin's worker.")
        self.callback = family("callback_seconds", "histogram", "Time in a plugin's callback.")
        self.lines = family("log_lines", "counter", "Log lines of a plugin; of the host: no name.")
        self.source = {
            figure: family(f"source_{name}", kind, says)
            for figure, (name, kind, says) in SOURCE.items()
        }

    def _family(self, name: str, kind: str, says: str) -> Family:
        made = Family(f"slipstream_{name}", kind, says)
        self.all.append(made)
        return made

    def add_plugin(self, plugin: Plugin) -> None:
        """Add all numbers of a plugin."""
        status, counters, identity = plugin.status, plugin.counters, plugin.identity
        me = labels(plugin=plugin.name)
        self.plugins.add(
            labels(
                plugin=plugin.name,
                version=identity.version,
                digest=identity.digest,
                mode=str(identity.mode),
            ),
            1,
        )
        for state in _STATES:
            self.state.add(f'{me},state="{state}"', int(state == status.state))
        self.since.add(me, status.since)
        self.accepted.add(me, counters.accepted)
        for result in _OUTCOMES:
            self.events.add(f'{me},result="{result}"', getattr(counters, result))
        self.lag.add(me, counters.lag)
        self.retrying.add(me, counters.retrying)
        self.unkept.add(me, counters.dead_unkept)
        for reason in LOSSES:
            self.gaps.add(f'{me},reason="{reason}"', counters.lost_for.get(reason, 0))
        if counters.ring_bytes:
            free = counters.ring_bytes - counters.ring_used
            self.ring.add(f'{me},state="used"', counters.ring_used)
            self.ring.add(f'{me},state="free"', free)
        calls = plugin.calls
        if calls is not None:
            for result in _CALLS:
                self.calls.add(f'{me},result="{result}"', getattr(calls, result))
            self.outbox.add(me, calls.waiting)
        self.restarts.add(me, plugin.restarts)
        self._add_callback(me, counters)
        for metric in plugin.metrics:
            self._add_custom(me, metric)

    def _add_callback(self, me: str, counters: Counters) -> None:
        below, at, buckets = 0, 0, []
        for end, bound in zip(_ENDS, _BOUNDS, strict=True):
            below += sum(counters.callback_buckets[at : end + 1])
            at = end + 1
            buckets.append((bound, below))
        # What is counted meanwhile is in the buckets first.
        count = below + sum(counters.callback_buckets[at:])
        self.callback.add_histogram(me, buckets, count, counters.callback_ns / 1e9)

    def _add_custom(self, me: str, metric: Metric) -> None:
        kind = "counter" if isinstance(metric.value, int) else "gauge"
        name = "slipstream_custom_" + base_of(metric.name)
        family = self.custom.get(name)
        if family is not None and family.kind != kind:  # another plugin counts what is a gauge here
            name += f"_{kind}"
            family = self.custom.get(name)
        if family is None:
            family = self.custom[name] = Family(name, kind, f"What plugins call {metric.name}.")
        key, _, value = metric.label.partition("=")
        if key:
            key = f"exported_{key.lstrip('_')}" if _RESERVED.match(key) else key
            me = f"{me},{labels(**{key: value})}"
        family.add(me, metric.value)
