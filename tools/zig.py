"""Where zig is, whose clang builds for other systems."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def path() -> str:
    """Return the path of zig, which the package `ziglang` brings.

    Raises:
        SystemExit: The package is not there.
    """
    found = importlib.util.find_spec("ziglang")
    if found is None or found.origin is None:
        raise SystemExit("zig: the package ziglang is missing; make test installs it")
    return str(Path(found.origin).parent / "zig")
