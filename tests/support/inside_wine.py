"""For scripts that run under wine: what is logged is kept, and each function tells what it found."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import traceback
from collections.abc import Callable

from slipstream.cli import main

USUAL = {*vars(logging.makeLogRecord({})), "message"}
said: list[str] = []


class Keep(logging.Handler):
    """Keeps what is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = {name: str(value) for name, value in vars(record).items() if name not in USUAL}
        said.append(f"{record.getMessage()} {fields or ''}".strip())


def lines(*words: str) -> list[str]:
    return [line for line in said if any(word in line for word in words)]


def command(*arguments: str) -> tuple[int, str]:
    """The exit code of a command and what it has printed."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            code = main(list(arguments)) or 0
        except SystemExit as end:
            code = int(end.code or 0)
        out.flush()
    return code, out.buffer.getvalue().decode()


def tell(*functions: Callable[[], object]) -> None:
    """Call each, and print a line of JSON with what it returns."""
    log = logging.getLogger("slipstream")
    log.setLevel(logging.DEBUG)
    log.addHandler(Keep())
    for do in functions:
        try:
            result = {"test": do.__name__, "found": do()}
        except BaseException:  # noqa: BLE001 - all of it is told
            result = {"test": do.__name__, "failed": traceback.format_exc()}
        sys.__stdout__.write(json.dumps(result) + "\n")
        sys.__stdout__.flush()
