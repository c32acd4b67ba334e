"""Who changed what: one JSON line a change."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from slipstream._platform import open_for_append


class Audit:
    """A file to which each change appends a line; opened for each, so that it may be rotated."""

    def __init__(self, path: Path) -> None:
        """Name the file; it is made when there is something to write."""
        self._path = path

    def write(self, what: dict[str, object]) -> None:
        """Append a line; the time is added.

        Raises:
            OSError: It cannot be written.
        """
        line = json.dumps({"time": time.time(), **what}, ensure_ascii=True).encode() + b"\n"
        descriptor = open_for_append(self._path)
        try:
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
