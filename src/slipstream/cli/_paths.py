"""Paths on the command line. Whether one can be read is said by what reads it, in its own words."""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(readable=False, path_type=Path)
TEXT_PATH = click.Path(readable=False)  # it may also be an address, or - for standard input
FOLDER = click.Path(readable=False, path_type=Path, file_okay=False)
OLD_FOLDER = click.Path(readable=False, path_type=Path, file_okay=False, exists=True)
