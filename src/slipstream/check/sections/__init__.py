"""The checks, a module for each section of the catalogue."""

from slipstream.check.sections import (
    binary,
    contract,
    entry,
    errors,
    events,
    hostile,
    hygiene,
    lifecycle,
    peers,
    resources,
    subscriptions,
    table,
    threads,
    unload,
)

__all__ = [
    "binary",
    "contract",
    "entry",
    "errors",
    "events",
    "hostile",
    "hygiene",
    "lifecycle",
    "peers",
    "resources",
    "subscriptions",
    "table",
    "threads",
    "unload",
]
