"""The configs that a daemon was started with, read again on SIGHUP.

Each config file stands for itself: what is wrong with one changes nothing for the others.
"""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream.config import PluginConfig
from slipstream.errors import CannotOpenConfigFile, ConfigError, SlipstreamError
from slipstream.server.settings import Options, read_config, read_packages

if TYPE_CHECKING:
    from slipstream.manager import PluginManager
    from slipstream.server.packages import Packages


@dataclass(slots=True)
class _Known:
    """A config file, and the plugin that came of it."""

    config: PluginConfig
    plugin: str


class Configs:
    """The config files of a daemon, and what is loaded from them.

    Attributes:
        packages: The plugins that come out of packages, if there are such.
    """

    def __init__(self, manager: PluginManager, options: Options, data: Path) -> None:
        """Begin with nothing loaded.

        Args:
            manager: Who loads.
            options: The daemon's.
            data: Its data folder.

        Raises:
            SlipstreamError: The packages' keys or settings cannot be had.
        """
        self._manager = manager
        self._insecure = options.insecure_paths
        self._safe_mode = options.safe_mode
        self.packages: Packages | None = None
        if options.plugins or options.node_config is not None:
            from slipstream.server.packages import Packages  # noqa: PLC0415 - only where they are

            read = functools.partial(read_packages, options)
            self.packages = Packages(
                manager, read, options.flags, data, safe_mode=options.safe_mode
            )
        self._paths: list[str] = []
        self._known: dict[str, _Known] = {}

    def name(self, paths: Iterable[str]) -> None:
        """These are the files, in the order of loading."""
        self._paths = list(paths)

    def loads(self, configs: Mapping[str, PluginConfig]) -> Iterator[Callable[[], None]]:
        """Yield what loads each plugin, in order."""
        for path, config in configs.items():
            yield functools.partial(self.load, path, config)
        if self.packages is not None:
            for name in self.packages.names:
                yield functools.partial(self.packages.load, name)

    def load(self, path: str, config: PluginConfig) -> None:
        """Load the plugin of a file.

        Raises:
            SlipstreamError: What is wrong.
        """
        plugin = self._manager.load_plugin(config)
        self._known[path] = _Known(config, plugin.name)
        if self._safe_mode:
            self._manager.pause(plugin.name)

    def read_again(self) -> None:
        """Reload what has changed, load what is new, unload what went; each fault is a line."""
        done = {"loaded": 0, "reloaded": 0, "unloaded": 0, "as_before": 0, "failed": 0}
        for path in self._paths:
            try:
                done[self._one(path)] += 1
            except SlipstreamError as error:
                done["failed"] += 1
                self._manager.say(
                    logging.ERROR,
                    "a config could not be applied; what runs goes on as before",
                    {"config": path, "problem": error.message, "next": error.hint},
                )
            except Exception as error:  # noqa: BLE001 - the other configs are still read
                done["failed"] += 1
                self._manager.say(
                    logging.ERROR, "a config could not be applied", {"config": path}, error=error
                )
        self._manager.say(logging.INFO, "the configs were read again", dict(done))
        if self.packages is not None:
            self.packages.read_again()

    def _one(self, path: str) -> str:
        known = self._known.get(path)
        if known is not None and known.plugin not in self._manager.plugins:
            known = None  # somebody has unloaded it
            del self._known[path]
        try:
            config = read_config(path, insecure=self._insecure)
        except CannotOpenConfigFile:
            if Path(path).exists():
                raise
            return self._unload(path, known, "its config file is missing", logging.WARNING)
        if not config.enabled:
            return self._unload(path, known, "its config says enabled: false", logging.INFO)
        if known is None:
            self.load(path, config)
            return "loaded"
        if config == known.config and not self._is_other_library(known):
            return "as_before"
        if config.name not in (None, known.plugin):
            raise ConfigError(
                f"the plugin {known.plugin} cannot become {config.name} while it is loaded",
                f"unload {known.plugin}, and then send SIGHUP again",
            )
        self._manager.reload_plugin(known.plugin, config)
        known.config = config
        return "reloaded"

    def _unload(self, path: str, known: _Known | None, why: str, level: int) -> str:
        if known is None:
            return "as_before"
        self._manager.say(level, f"{why}: unloaded", {"plugin": known.plugin, "config": path})
        self._manager.unload_plugin(known.plugin)
        del self._known[path]
        return "unloaded"

    def _is_other_library(self, known: _Known) -> bool:
        with known.config.libpath.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return digest != self._manager.plugins[known.plugin].digest
