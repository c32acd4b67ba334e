"""Where log lines go: to standard error, for people or as JSON."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

import structlog

from slipstream.logs import LEVELS as _PLUGIN_LEVELS

FORMATS = ("console", "json")
LEVELS = tuple(_PLUGIN_LEVELS)

_NUMBERS = {"trace": 0, "debug": 10, "info": 20, "warning": 30, "error": 40}


@dataclass(frozen=True, slots=True)
class Settings:
    """The options that all commands share."""

    debug: bool
    log_format: str
    log_level: str


def configure(settings: Settings) -> None:
    """Set structlog up for this process."""
    render: structlog.typing.Processor
    if settings.log_format == "json":
        render = structlog.processors.JSONRenderer()
    else:
        render = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty() and not os.environ.get("NO_COLOR"),
            exception_formatter=structlog.dev.plain_traceback,
        )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([structlog.processors.format_exc_info] if settings.log_format == "json" else []),
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_NUMBERS[settings.log_level]),
        # Asked for with each line: a progress bar puts something else in stderr's place.
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
