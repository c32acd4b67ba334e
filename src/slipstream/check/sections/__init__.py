"""The checks, a module for each section of the catalogue."""

from slipstream.check.sections import (
    contract,
    entry,
    errors,
    events,
    hostile,
    hygiene,
    lifecycle,
    resources,
    subscriptions,
    table,
    threads,
    unload,
)

__all__ = [
    "contract",
    "entry",
    "errors",
    "events",
    "hostile",
    "hygiene",
    "lifecycle",
    "resources",
    "subscriptions",
    "table",
    "threads",
    "unload",
]
