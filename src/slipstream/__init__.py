"""slipstream hosts native plugins and streams events to them at native speed.

A host::

    from slipstream import PluginManager

    with PluginManager.from_config_files(["tally.json5"]) as manager:
        manager.mapping_update(program_id, mapping_name, key, value, height)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slipstream.config import Mode, PluginConfig
    from slipstream.errors import (
        AleoFormatError,
        BroadcastError,
        CallFailed,
        CannotOpenConfigFile,
        CannotReadConfigFile,
        CaptureError,
        ChangeUnderWay,
        ClosedError,
        ConfigError,
        FlushTimeout,
        FrameError,
        InternalError,
        InvalidConfigFileFormat,
        InvalidPluginPath,
        LibPathNotSet,
        PluginAlreadyLoaded,
        PluginFailed,
        PluginLoadError,
        PluginNotLoaded,
        PluginStartError,
        Refusal,
        SlipstreamError,
    )
    from slipstream.events import (
        AppEvent,
        Block,
        Encoding,
        Event,
        EventKind,
        Gap,
        GapReason,
        MappingRemoval,
        MappingUpdate,
        Mark,
        Meta,
        Payload,
        PeerForgotten,
        PeerSeen,
        StakingReward,
    )
    from slipstream.library import PluginInfo
    from slipstream.loaded import Plugin
    from slipstream.manager import PluginManager, enable_crash_handler
    from slipstream.peers import (
        ControlSender,
        Identity,
        PeerDirectory,
        PluginContext,
        Services,
        Via,
    )
    from slipstream.status import Calls, Counters, PluginState

__version__ = "0.1.0"

# Where the names of this package come from, the quickest to import first.
_ROOMS = ("errors", "events", "peers", "config", "status", "library", "loaded", "manager")


def __getattr__(name: str) -> object:
    """Import what is asked for, and not before: a program that only asks for help is quick."""
    if name in __all__:
        for room in _ROOMS:
            names = vars(importlib.import_module(f"slipstream.{room}"))
            if name in names:
                return globals().setdefault(name, names[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def get_include() -> str:
    """Return the folder that holds ``slipstream.h``, for a compiler's ``-I``."""
    from pathlib import Path  # noqa: PLC0415 - as all else here, when it is asked for

    here = Path(__file__).resolve().parent
    installed = here / "include"
    return str(installed if installed.is_dir() else here.parents[1] / "include")


__all__ = [
    "AleoFormatError",
    "AppEvent",
    "Block",
    "BroadcastError",
    "CallFailed",
    "Calls",
    "CannotOpenConfigFile",
    "CannotReadConfigFile",
    "CaptureError",
    "ChangeUnderWay",
    "ClosedError",
    "ConfigError",
    "ControlSender",
    "Counters",
    "Encoding",
    "Event",
    "EventKind",
    "FlushTimeout",
    "FrameError",
    "Gap",
    "GapReason",
    "Identity",
    "InternalError",
    "InvalidConfigFileFormat",
    "InvalidPluginPath",
    "LibPathNotSet",
    "MappingRemoval",
    "MappingUpdate",
    "Mark",
    "Meta",
    "Mode",
    "Payload",
    "PeerDirectory",
    "PeerForgotten",
    "PeerSeen",
    "Plugin",
    "PluginAlreadyLoaded",
    "PluginConfig",
    "PluginContext",
    "PluginFailed",
    "PluginInfo",
    "PluginLoadError",
    "PluginManager",
    "PluginNotLoaded",
    "PluginStartError",
    "PluginState",
    "Refusal",
    "Services",
    "SlipstreamError",
    "StakingReward",
    "Via",
    "enable_crash_handler",
    "get_include",
]
