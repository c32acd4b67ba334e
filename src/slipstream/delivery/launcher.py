"""Bringing a plugin up in its mode."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from slipstream.config import Mode
from slipstream.delivery.inline import InlinePlugin
from slipstream.delivery.process import ProcessPlugin
from slipstream.delivery.thread import ThreadPlugin

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


class Launcher:
    """Brings up the plugins of one manager."""

    def __init__(self, host: Host) -> None:
        """Begin without plugins."""
        self._host = host
        self._processes: weakref.WeakSet[ProcessPlugin] = weakref.WeakSet()
        host.pump.afterwards = self.look_after

    def look_after(self) -> None:
        """Take the crash reports that wait."""
        for plugin in list(self._processes):
            plugin.collect_reports()

    def close(self) -> None:
        """Kill workers that still run, and end their supervisor."""
        for plugin in list(self._processes):
            plugin.kill()
        self._host.close()

    def launch(
        self, config: PluginConfig, path: Path, mode: Mode, accept: Callable[[str], None]
    ) -> LibraryPlugin:
        """Bring a plugin up.

        Args:
            config: Its config.
            path: Its library.
            mode: Where its callbacks run.
            accept: Raises if the effective name cannot be taken.

        Returns:
            The plugin, running.

        Raises:
            SlipstreamError: It was refused, or did not start; nothing is left of it.
        """
        plugin = _MODES[mode](self._host, config, config.name or path.stem)
        try:
            plugin.bring(config, path, accept)
        except BaseException:
            plugin.close(config.unload_timeout)
            raise
        if isinstance(plugin, ProcessPlugin):
            self._processes.add(plugin)
        return plugin
