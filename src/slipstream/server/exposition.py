"""Numbers as Prometheus and OpenMetrics write them.

`prometheus_client` has the same, in several times the time: with 64 plugins a scrape has more than
three thousand numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Labels = dict[str, str]

_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_COUNTS = re.compile(r"(_total|_created|_bucket|_count|_sum|_info)$")


def labels(**pairs: str) -> str:
    """Return labels as they stand between the braces."""
    return ",".join(f'{name}="{value.translate(_ESCAPED)}"' for name, value in pairs.items())


def number(value: float) -> str:
    """Return a number as both formats have it."""
    if isinstance(value, int):
        return str(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)


@dataclass(slots=True)
class Family:
    """One metric with all its series.

    Attributes:
        name: Without the `_total` or `_info` that its samples have.
        kind: counter, gauge, histogram or info.
        says: What it is.
        samples: For each: what follows the name, the labels, the value.
    """

    name: str
    kind: str
    says: str
    samples: list[tuple[str, str, float]] = field(default_factory=list)

    def add(self, where: str, value: float) -> None:
        """Add a number to a counter, a gauge or an info.

        Args:
            where: Its labels, as `labels` gives them.
            value: The number; of an info 1.
        """
        suffix = {"counter": "_total", "info": "_info"}.get(self.kind, "")
        self.samples.append((suffix, where, value))

    def add_histogram(
        self, where: str, buckets: Iterable[tuple[str, int]], count: int, total: float
    ) -> None:
        """Add a histogram.

        Args:
            where: Its labels.
            buckets: Upper bounds and how many are below each, without the last.
            count: How many there are.
            total: Their sum.
        """
        add = self.samples.append
        for bound, below in buckets:
            add(("_bucket", f'{where},le="{bound}"', below))
        add(("_bucket", f'{where},le="+Inf"', count))
        add(("_count", where, count))
        add(("_sum", where, total))


def write(families: Iterable[Family], *, openmetrics: bool) -> bytes:
    """Write metrics; those without a number are left out."""
    lines: list[str] = []
    for one in families:
        if not one.samples:
            continue
        name, kind = one.name, one.kind
        if not openmetrics:  # there a counter is called as its sample is, and an info is a gauge
            name += one.samples[0][0] if kind in {"counter", "info"} else ""
            kind = "gauge" if kind == "info" else kind
        lines.append(f"# HELP {name} {one.says}\n# TYPE {name} {kind}\n")
        lines += [
            f"{one.name}{suffix}{{{where}}} {number(value)}\n" if where
            else f"{one.name}{suffix} {number(value)}\n"
            for suffix, where, value in one.samples
        ]  # fmt: skip
    if openmetrics:
        lines.append("# EOF\n")
    return "".join(lines).encode()


def base_of(name: str) -> str:
    """Return a name without an end that the formats keep for themselves."""
    return _COUNTS.sub("", name) or name
