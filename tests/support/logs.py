"""What the library logs, caught as dictionaries: text, level and fields."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from slipstream.logs import fields_of


class _Catcher(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = {"event": record.getMessage(), "log_level": record.levelname.lower()}
        if record.exc_info:
            line["exc_info"] = record.exc_info
        self.lines.append(line | fields_of(record))


@contextmanager
def capture_logs() -> Iterator[list[dict]]:
    """``with capture_logs() as logs``: every line of the library, also below the level."""
    logger = logging.getLogger("slipstream")
    catcher, level, propagate = _Catcher(), logger.level, logger.propagate
    logger.addHandler(catcher)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False  # pytest keeps what it gets
    try:
        yield catcher.lines
    finally:
        logger.setLevel(level)
        logger.propagate = propagate
        logger.removeHandler(catcher)
