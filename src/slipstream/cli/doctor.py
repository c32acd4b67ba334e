"""``slipstream doctor``: what this machine can do, and why a library does not load."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from slipstream.check.library_file import Step, look_at
from slipstream.check.machine import Finding, State, examine
from slipstream.text import printable

from ._output import emit, show_table

_COLOURS = {State.OK: "green", State.FALLBACK: "yellow", State.MISSING: "red"}


@click.command(epilog="Example: slipstream doctor ./libplugin.so")
@click.argument("file", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object instead of tables.")
@click.option(
    "--insecure-paths", is_flag=True, help="Accept a library that other users could replace."
)
def doctor(*, file: Path | None, as_json: bool, insecure_paths: bool) -> int:
    """Try what the host needs of this machine and, with FILE, load a plugin.

    FILE is a library, or a config file (.json5, .json). The library is loaded in another
    process up to its constructor; its on_load is not called. Exits with 1 unless all is well.
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
        _show_machine(machine)
        if file is not None:
            _show_steps(file, steps)
    return 0 if ok else 1


def _show_machine(findings: list[Finding]) -> None:
    from rich import box  # noqa: PLC0415 - 30 ms that only tables need
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(title="this machine", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("what", "state", "found", "for", "without it"):
        table.add_column(name)
    for finding in findings:
        table.add_row(
            finding.name,
            Text(finding.state, style=_COLOURS[finding.state]),
            finding.detail,
            finding.purpose,
            finding.fallback or "-",
        )
    show_table(table)


def _show_steps(file: Path, steps: list[Step]) -> None:
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(title=printable(str(file)), title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("step", "state", "found"):
        table.add_column(name)
    for step in steps:
        detail = "\n".join(map(printable, step.detail.splitlines()))
        if not step.ok and step.hint:
            detail += f"\nnext: {step.hint}"
        table.add_row(step.name, Text("ok", "green") if step.ok else Text("failed", "red"), detail)
    show_table(table)
