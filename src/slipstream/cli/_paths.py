"""Paths on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


class _Path(click.Path):
    """Whether it can be read is said by what reads it, in its own words."""

    def __init__(self, **more: Any) -> None:
        super().__init__(readable=False, **more)

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if value == "" and param.default != "":  # else Path makes the current folder of it
            self.fail("the path is empty; check what it comes from, such as $(ls ...)", param, ctx)
        return super().convert(value, param, ctx)


PATH = _Path(path_type=Path)
TEXT_PATH = _Path()  # it may also be an address, or - for standard input
FOLDER = _Path(path_type=Path, file_okay=False)
OLD_FOLDER = _Path(path_type=Path, file_okay=False, exists=True)
