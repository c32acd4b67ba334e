"""The checks, a module for each section of the catalogue."""

from slipstream.check.sections import (
    entry,
    events,
    lifecycle,
)

__all__ = ["entry", "events", "lifecycle"]
