"""A log file that another program may move away."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from pathlib import Path

from slipstream._platform import open_for_append
from slipstream.errors import ConfigError
from slipstream.files import limit_hint


class LogFile(logging.Handler):
    """Appends lines to a file; `reopen` begins anew where it has been moved away."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            ConfigError: That cannot be done.
        """
        super().__init__()
        self._path = path.absolute()
        self._guard = threading.Lock()
        self._file = -1
        self.reopen()

    def reopen(self) -> None:
        """Open the file again, under its name.

        Raises:
            ConfigError: That cannot be done; lines go where they went before.
        """
        try:
            file = open_for_append(self._path)
        except OSError as error:
            raise ConfigError(
                f"cannot open the log file {self._path}: {error.strerror}",
                limit_hint(error.errno) or "check its folder and who may write there",
            ) from None
        with self._guard:
            old, self._file = self._file, file
        if old >= 0:
            os.close(old)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; a failure is nobody's but its own."""
        with contextlib.suppress(Exception):
            data = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
            with self._guard:
                os.write(self._file, data)
