"""``slipstream doctor``: what this machine can do, and why a library does not load."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from slipstream.check.library_file import Step, look_at
from slipstream.check.machine import Finding, State, examine
from slipstream.text import printable

from ._output import emit
from ._paths import PATH
from ._tables import Cell, screen_width, show_table, wrap

_COLOURS = {State.OK: "green", State.FALLBACK: "yellow", State.MISSING: "red"}


@click.command(epilog="Example: slipstream doctor ./libplugin.so")
@click.argument("file", metavar="[FILE]", required=False, type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object instead of tables.")
@click.option("-v", "--verbose", is_flag=True, help="Show what is well, too, line by line.")
@click.option(
    "--insecure-paths", is_flag=True, help="Accept a library that other users could replace."
)
def doctor(*, file: Path | None, as_json: bool, verbose: bool, insecure_paths: bool) -> int:
    """Try what the host needs of this machine and, with FILE, load a plugin.

    FILE is a library, or a config file (.json5, .json). The library is opened in another process
    and its constructor called: its code runs. Its on_load is not called. What is well is one line;
    -v shows all. Exits with 1 unless all is well.
    """
    machine = examine()
    steps = [] if file is None else list(look_at(file, insecure=insecure_paths))
    ok = all(f.state is not State.MISSING for f in machine) and all(s.ok for s in steps)
    if as_json:
        answer: dict[str, object] = {"ok": ok, "machine": [asdict(f) for f in machine]}
        if file is not None:
            answer["file"] = {"path": str(file), "steps": [asdict(s) for s in steps]}
        emit(json.dumps(answer) + "\n")
    else:
        _show_machine(machine, verbose=verbose)
        if file is not None:
            _show_steps(file, steps, verbose=verbose)
    return 0 if ok else 1


def _show_machine(findings: list[Finding], *, verbose: bool) -> None:
    rows = [
        (finding.name, (finding.state, _COLOURS[finding.state]), _found(finding))
        for finding in findings
        if verbose or finding.state is not State.OK
    ]
    well = sum(finding.state is State.OK for finding in findings)
    _sum_up("this machine", "things", well, len(findings), verbose=verbose)
    if rows:
        show_table(("what", "state", "found"), rows)


def _found(finding: Finding) -> str:
    lines = [finding.detail, f"for: {finding.purpose}"]
    if finding.fallback and finding.state is not State.OK:
        lines.append(f"without it: {finding.fallback}")
    return "\n".join(lines)


def _show_steps(file: Path, steps: list[Step], *, verbose: bool) -> None:
    rows: list[tuple[str, Cell, str]] = []
    for step in steps:
        detail = "\n".join(map(printable, step.detail.splitlines()))
        if not step.ok and step.hint:
            detail += f"\nnext: {step.hint}"
        if verbose or not step.ok:
            rows.append((step.name, ("ok", "green") if step.ok else ("failed", "red"), detail))
        elif step.name == "load":
            _say(f"{printable(str(file))}: opened in another process, {detail}")
    well = sum(step.ok for step in steps)
    _sum_up(printable(str(file)), "steps", well, len(steps), verbose=verbose)
    if rows:
        show_table(("step", "state", "found"), rows)


def _sum_up(what: str, parts: str, well: int, count: int, *, verbose: bool) -> None:
    said = f"all {count} {parts} are well"
    if well < count:
        said = f"{well} of {count} {parts} {'is' if well == 1 else 'are'} well"
    _say(f"{what}: {said}" + ("" if verbose else "; -v lists them"))


def _say(text: str) -> None:
    emit("".join(f"{line}\n" for line in wrap(text, screen_width())))
