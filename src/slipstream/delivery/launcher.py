"""Bringing a plugin up in its mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slipstream._platform import HAS_PROCESS_MODE
from slipstream.config import NO_PROCESS_MODE, Mode
from slipstream.delivery.inline import InlinePlugin
from slipstream.delivery.process import ProcessPlugin
from slipstream.delivery.thread import ThreadPlugin
from slipstream.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from slipstream.config import PluginConfig
    from slipstream.delivery.host import Host

LibraryPlugin = InlinePlugin | ThreadPlugin | ProcessPlugin

_MODES: dict[Mode, type[LibraryPlugin]] = {
    Mode.INLINE: InlinePlugin,
    Mode.THREAD: ThreadPlugin,
    Mode.PROCESS: ProcessPlugin,
}


def launch(
    host: Host, config: PluginConfig, path: Path, mode: Mode, accept: Callable[[str], None]
) -> LibraryPlugin:
    """Bring a plugin up.

    Args:
        host: What it shares with the other plugins of its manager.
        config: Its config.
        path: Its library.
        mode: Where its callbacks run.
        accept: Raises if the effective name cannot be taken.

    Returns:
        The plugin, running.

    Raises:
        SlipstreamError: It was refused, or did not start; nothing is left of it.
    """
    if mode is Mode.PROCESS and not HAS_PROCESS_MODE:
        raise ConfigError(NO_PROCESS_MODE, 'use mode: "thread"')
    plugin = _MODES[mode](host, config, config.name or path.stem)
    try:
        plugin.bring(config, path, accept)
    except BaseException:
        plugin.close(host.hurry.short(config.unload_timeout))
        raise
    return plugin
