"""``slipstream symbolize``: name the functions of a crash report."""

from __future__ import annotations

from pathlib import Path

import click

from slipstream.check.symbols import read_report
from slipstream.check.symbols import symbolize as name_calls

from ._output import emit
from ._paths import PATH


@click.command(epilog="Example: slipstream symbolize data/ledger/crash-ledger-1764132000.json")
@click.argument("report", metavar="REPORT", type=PATH)
def symbolize(*, report: Path) -> None:
    """Name function and line of each call that was under way when a worker crashed.

    It needs addr2line of binutils; lines are known where the library was built with -g.
    """
    read = read_report(report)
    emit(f"{read.get('plugin')}: {read.get('reason')}\n")
    if read.get("thread"):
        emit(f"on thread {read['thread']}\n")
    for number, call in enumerate(name_calls(read)):
        place = f"{call.module or 'in no file'} + {call.offset:#x}"
        names = call.functions or ("?",)
        for name in names[:-1]:
            emit(f"#{number:<3} {name} (inlined)\n")
        emit(f"#{number:<3} {names[-1]}\n     {place}\n")
