"""``slipstream bench``: what an event costs with a plugin."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import click

from slipstream.check.bench import MODES, MODES_HERE, Cost, Plan, measure
from slipstream.check.given import events_of

from ._output import emit
from ._paths import PATH, TEXT_PATH
from ._tables import show_table

_log = logging.getLogger("slipstream")


@click.command(epilog="Example: slipstream bench ./libplugin.so --mode inline --mode process")
@click.argument("file", metavar="LIB", type=PATH)
@click.option(
    "--config",
    metavar="FILE",
    type=PATH,
    help="The plugin's own keys, or a whole config file. By default the sample config of its info.",
)
@click.option(
    "--events",
    metavar="FILE",
    type=TEXT_PATH,
    help="Events that it takes: JSON lines or a capture. By default one of each kind.",
)
@click.option(
    "--mode",
    "modes",
    type=click.Choice(MODES),
    multiple=True,
    help="Where it runs; may be given several times.  [default: each that this system has]",
)
@click.option(
    "--count",
    metavar="N",
    type=click.IntRange(1, 100_000_000),
    default=50_000,
    show_default=True,
    help="Events a round.",
)
@click.option(
    "--rounds",
    metavar="N",
    type=click.IntRange(1, 1000),
    default=7,
    show_default=True,
    help="How often the two plugins take turns.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object instead of a table.")
@click.option(
    "--insecure-paths", is_flag=True, help="Accept a library that other users could replace."
)
def bench(  # noqa: PLR0913 - the options of the command
    *,
    file: Path,
    config: Path | None,
    events: str | None,
    modes: tuple[str, ...],
    count: int,
    rounds: int,
    as_json: bool,
    insecure_paths: bool,
) -> None:
    """Measure what an event costs with the plugin LIB, beside one that does nothing.

    LIB is a library, or a config file (.json5, .json), which names one: it is loaded, and its code
    runs. Both plugins take turns and get the same events. The figures are nanoseconds an event,
    from the host's call until all is delivered: the median of the rounds.
    """
    given = None if events is None else events_of(events, on_warning=_log.warning)
    plan = Plan(given, modes or MODES_HERE, count, rounds, insecure_paths)
    if not modes and MODES_HERE != MODES:
        _log.warning("mode process is not measured: it exists on Linux only")
    level = _log.level
    _log.setLevel(logging.WARNING)  # of plugins that come and go nobody wants to read here
    try:
        costs = list(measure(file, plan, config=config))
    finally:
        _log.setLevel(level)
    if as_json:
        found = [asdict(cost) | {"own": cost.own, "ratio": cost.ratio} for cost in costs]
        emit(json.dumps({"library": str(file), "unit": "ns", "modes": found}) + "\n")
    else:
        show_costs(costs)


def show_costs(costs: Iterable[Cost]) -> None:
    """Show what an event costs in each mode."""
    show_table(
        ("mode", "plugin", "no-op", "own", "ratio"),
        [
            (
                cost.mode,
                f"{cost.plugin:,.0f} ns",
                f"{cost.noop:,.0f} ns",
                f"{cost.own:,.0f} ns",
                f"{cost.ratio:.2f}",
            )
            for cost in costs
        ],
        numbers=("plugin", "no-op", "own", "ratio"),
    )
