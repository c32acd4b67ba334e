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
def capture_logs(*, alone: bool = False) -> Iterator[list[dict]]:
    """``with capture_logs() as logs``: every line of the library, also below the level.

    Args:
        alone: Nobody else gets them; pytest keeps all that it gets to the test's end.
    """
    logger = logging.getLogger("slipstream")
    catcher, level = _Catcher(), logger.level
    logger.addHandler(catcher)
    logger.setLevel(logging.DEBUG)
    logger.propagate = not alone
    try:
        yield catcher.lines
    finally:
        logger.propagate = True
        logger.setLevel(level)
        logger.removeHandler(catcher)
