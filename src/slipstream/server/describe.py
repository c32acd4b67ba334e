"""What is answered of a plugin, as JSON."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream.config import MASK, PluginConfig, masked
from slipstream.events import EventKind
from slipstream.frames import kind_name
from slipstream.loaded import Plugin
from slipstream.status import PluginState

if TYPE_CHECKING:
    from slipstream.server.packages import Packaged

RETRIED_TOO_LONG = 60.0
"""Seconds for which an event may be offered again before its plugin counts as not ready."""

_NOT_SHOWN = {"own", "source", "folder", "document", "content", "own_from"}


def status_of(plugin: Plugin, package: Packaged | None = None) -> dict[str, object]:
    """Return everything that is known of a plugin, and of its package; waits for nobody."""
    status, counters, identity = plugin.status, plugin.counters, plugin.identity
    counted = asdict(counters)
    buckets = counted.pop("callback_buckets")
    timed, total = counted.pop("callbacks_timed"), counted.pop("callback_ns")
    counted.pop("retrying_since")
    crash, config, calls = plugin.last_crash, plugin.config, plugin.calls
    return {
        "name": plugin.name,
        "state": str(status.state),
        "reason": status.reason,
        "since": status.since,
        "mode": str(identity.mode),
        "version": identity.version,
        "path": None if identity.path is None else str(identity.path),
        "digest": identity.digest,
        "config_file": None if identity.config_file is None else str(identity.config_file),
        "kinds": [kind_name(kind) for kind in EventKind if identity.kinds >> kind & 1],
        "counters": {**counted, "lag": counters.lag},
        "calls": None if calls is None else asdict(calls),
        "restarts": plugin.restarts,
        "pid": plugin.pid,
        "callback": {"count": timed, "total_ns": total, "buckets": list(buckets)},
        "last_crash": None if crash is None else json.loads(crash.to_json()),
        "config": None if config is None else config_of(config),
        "metrics": [
            {"name": metric.name, "label": metric.label, "value": _finite(metric.value)}
            for metric in plugin.metrics
        ],
        "package": None if package is None else asdict(package),
    }


def config_of(config: PluginConfig) -> dict[str, object]:
    """Return a config with every value that counts, and secrets as references."""
    shown = {
        field.name: _plain(getattr(config, field.name))
        for field in fields(config)
        if field.name not in _NOT_SHOWN
    }
    own = dict.fromkeys(config.own, f"{MASK}({config.own_from})") if config.own_from else None
    return {**shown, "own": masked(config.own) if own is None else own}


def why_not_ready(plugin: Plugin) -> str:
    """Say why a plugin does not run as it should; "" if it does."""
    status, counters = plugin.status, plugin.counters
    because = f": {status.reason}" if status.reason else ""
    if status.state is not PluginState.RUNNING:
        return f"{plugin.name} is {status.state}{because}"
    if counters.retrying and time.time() - counters.retrying_since > RETRIED_TOO_LONG:
        return f"{plugin.name} makes no progress{because}"
    return ""


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None  # JSON has no other numbers


def _plain(value: object) -> object:
    if isinstance(value, StrEnum | Path):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return value
