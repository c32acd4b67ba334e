"""Where log lines go: to standard error, for people or as JSON."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from slipstream.logs import LEVELS as _PLUGIN_LEVELS
from slipstream.logs import StandardErrorHandler

if TYPE_CHECKING:
    import structlog

FORMATS = ("console", "json")
LEVELS = tuple(_PLUGIN_LEVELS)

# Plugins' lines of the level trace are told from those of debug before they come here.
_NUMBERS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """The options that all commands share."""

    debug: bool
    log_format: str
    log_level: str


def _stamp(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Say when the line was made, which may be long before it is written."""
    made = datetime.fromtimestamp(event["_record"].created, UTC)
    event["timestamp"] = made.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return event


def configure(settings: Settings) -> None:
    """Let structlog render what the library logs in this process."""
    import structlog  # noqa: PLC0415 - 100 ms that only commands need

    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        _stamp,
    ]
    render: structlog.typing.Processor
    if settings.log_format == "json":
        shared.append(structlog.processors.format_exc_info)
        render = structlog.processors.JSONRenderer()
    else:
        render = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty() and not os.environ.get("NO_COLOR"),
            exception_formatter=structlog.dev.plain_traceback,
        )
    handler = StandardErrorHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logger = logging.getLogger("slipstream")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(_NUMBERS[settings.log_level])
