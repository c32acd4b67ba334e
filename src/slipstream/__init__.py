"""slipstream hosts native plugins and streams events to them at native speed.

A host::

    from slipstream import PluginManager

    with PluginManager.from_config_files(["tally.json5"]) as manager:
        manager.mapping_update(program_id, mapping_name, key, value, height)
"""

from __future__ import annotations

from pathlib import Path

from slipstream.config import Mode, PluginConfig
from slipstream.errors import (
    AleoFormatError,
    BroadcastError,
    CannotOpenConfigFile,
    CannotReadConfigFile,
    CaptureError,
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
    Event,
    EventKind,
    Gap,
    GapReason,
    MappingRemoval,
    MappingUpdate,
    Meta,
    Payload,
    StakingReward,
)
from slipstream.loaded import Plugin
from slipstream.manager import PluginManager
from slipstream.status import Counters, PluginState

__version__ = "0.1.0"


def get_include() -> str:
    """Return the folder that holds ``slipstream.h``, for a compiler's ``-I``."""
    here = Path(__file__).resolve().parent
    installed = here / "include"
    return str(installed if installed.is_dir() else here.parents[1] / "include")


__all__ = [
    "AleoFormatError",
    "AppEvent",
    "Block",
    "BroadcastError",
    "CannotOpenConfigFile",
    "CannotReadConfigFile",
    "CaptureError",
    "ClosedError",
    "ConfigError",
    "Counters",
    "Event",
    "EventKind",
    "FlushTimeout",
    "FrameError",
    "Gap",
    "GapReason",
    "InternalError",
    "InvalidConfigFileFormat",
    "InvalidPluginPath",
    "LibPathNotSet",
    "MappingRemoval",
    "MappingUpdate",
    "Meta",
    "Mode",
    "Payload",
    "Plugin",
    "PluginAlreadyLoaded",
    "PluginConfig",
    "PluginFailed",
    "PluginLoadError",
    "PluginManager",
    "PluginNotLoaded",
    "PluginStartError",
    "PluginState",
    "Refusal",
    "SlipstreamError",
    "StakingReward",
    "get_include",
]
