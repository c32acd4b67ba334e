"""The checks, a module for each section of the catalogue."""

from slipstream.check.sections import (
    binary,
    entry,
    events,
    lifecycle,
)

__all__ = ["binary", "entry", "events", "lifecycle"]
