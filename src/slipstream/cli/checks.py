"""``slipstream checks``: which checks there are, and what each is for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from slipstream.check.catalogue import SECTIONS, catalogue
from slipstream.check.report import check_as_json
from slipstream.config import closest

from ._check_report import rule_lines, wrapped
from ._output import emit

if TYPE_CHECKING:
    from slipstream.check.catalogue import Check

_COLOURS = {"fail": "red", "warn": "yellow", "note": "cyan"}
_MARGIN = 10


@click.command(epilog="Example: slipstream checks --explain events.over-read")
@click.option("--explain", metavar="ID", help="What one check asks, why, and how to fix it.")
@click.option("--json", "as_object", is_flag=True, help="Write one JSON object instead of text.")
def checks(*, explain: str | None, as_object: bool) -> None:
    """List the checks of ``slipstream check``, by section; a * marks those of --quick."""
    known = catalogue()
    if explain is not None and explain not in known:
        near = closest(explain, known)
        raise click.BadParameter(
            f"there is no check {explain!r}"
            + (f": did you mean {near}?" if near else "; slipstream checks lists them"),
            param_hint="--explain",
        )
    chosen = list(known.values()) if explain is None else [known[explain]]
    if as_object:
        emit(json.dumps({"form": 1, "checks": [check_as_json(one) for one in chosen]}) + "\n")
    elif explain is not None:
        emit("\n".join(_explained(chosen[0])) + "\n")
    else:
        emit("\n".join(_listed(known)) + "\n")


def _listed(known: dict[str, Check]) -> Iterator[str]:
    longest = max(map(len, known)) + 2
    for section in SECTIONS:
        of_it = [one for name, one in known.items() if name.startswith(f"{section}.")]
        if not of_it:
            continue
        yield click.style(section, bold=True)
        for one in of_it:
            mark = "*" if one.quick else " "
            margin = longest + 9
            said = wrapped(one.title, margin)[margin:]
            name = f"{one.id:<{longest}}"
            yield f" {click.style(f'{one.level:<5}', fg=_COLOURS[one.level])}{mark} {name} {said}"
        yield ""
    quick = sum(one.quick for one in known.values())
    yield f"{len(known)} checks, {quick} of them quick; --explain ID says more of one"


def _explained(one: Check) -> Iterator[str]:
    quick = ", quick" if one.quick else ""
    level = click.style(one.level, fg=_COLOURS[one.level])
    yield f"{click.style(one.id, bold=True)} ({level}{quick}): a plugin that passes"
    yield wrapped(one.title, 2)
    yield ""
    yield from rule_lines(one)
    if one.rule and one.reason_of_rule:
        yield wrapped(one.reason_of_rule, _MARGIN, "  reason")
    yield wrapped(one.why, _MARGIN, "  why")
    yield wrapped(one.mend, _MARGIN, "  fix")
    if one.needs:
        yield wrapped(", ".join(one.needs), _MARGIN, "  needs")
    yield ""
    for line in one.example.splitlines():
        yield f"    {line}"
