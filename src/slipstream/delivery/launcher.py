"""Bringing a plugin up, or a new version of it, in each of the modes."""

from __future__ import annotations

import itertools
import weakref
from typing import TYPE_CHECKING

from slipstream._native import lib
from slipstream.config import Mode, plugin_config
from slipstream.delivery.description import Description, Identity
from slipstream.delivery.inline import InlinePlugin
from slipstream.delivery.instance import Instance, LoadReason
from slipstream.delivery.process import ProcessPlugin
from slipstream.delivery.python import InlinePython
from slipstream.delivery.supervisor import Supervisor
from slipstream.delivery.thread import ThreadPlugin
from slipstream.errors import ConfigError, PluginLoadError
from slipstream.library import PrivateCopy
from slipstream.logs import LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from slipstream.config import PluginConfig
    from slipstream.delivery.python import PythonPlugin
    from slipstream.delivery.sequencer import Sequencer
    from slipstream.logs import LogPump

Reloadable = InlinePlugin | ThreadPlugin | ProcessPlugin

_numbers = itertools.count(1)  # of instances, in log lines


class Launcher:
    """What all plugins of a manager share while they are brought up."""

    def __init__(
        self, pump: LogPump, sequencer: Sequencer, data_dir: Path | None, log_level: str
    ) -> None:
        """Nothing is started yet.

        Args:
            pump: Takes the plugins' log lines.
            sequencer: Where plugins are attached.
            data_dir: Holds a folder for each plugin; None: they get none.
            log_level: The lowest level of log lines.
        """
        self._pump = pump
        self._sequencer = sequencer
        self._data_dir = data_dir
        self._log_level = LEVELS[log_level]
        self._supervisor = Supervisor(pump.queue)
        self._processes: weakref.WeakSet[ProcessPlugin] = weakref.WeakSet()
        pump.afterwards = self.look_after

    def look_after(self) -> None:
        """Take the crash reports that wait."""
        for plugin in list(self._processes):
            plugin.collect_reports()

    def close(self) -> None:
        """Kill workers that still run, and end their supervisor."""
        for plugin in list(self._processes):
            plugin.abandon()
        self._supervisor.close()

    def launch(
        self, config: PluginConfig, path: Path, mode: Mode, accept: Callable[[str], None]
    ) -> tuple[Identity, Reloadable]:
        """Bring a plugin up.

        Args:
            config: Its config.
            path: Its library.
            mode: Where its callbacks run.
            accept: Raises if the effective name cannot be taken.

        Returns:
            What it is, and its running delivery.

        Raises:
            SlipstreamError: It was refused, or did not start; nothing is left of it.
        """
        if mode is Mode.PROCESS:
            return self._launch_process(config, path, accept)
        instance = self._open(path, config)
        try:
            name = config.name or instance.describe().name
            self._pump.names[instance.log_id] = name
            accept(name)
            if mode is Mode.THREAD:
                self._check_overflow(config, instance.describe())
            settled = plugin_config(config, name)
            self._give_data_dir(instance, name)
            instance.load(settled, LoadReason.START, config.load_timeout)
            delivery: Reloadable
            if mode is Mode.INLINE:
                delivery = InlinePlugin(self._sequencer, instance, config, settled)
            else:
                delivery = self._start_thread(instance, name, settled, config)
        except BaseException:
            self._abandon(instance, config)
            raise
        described = instance.describe()
        return _identity(name, path, config, mode, described, instance.copy.digest), delivery

    def _start_thread(
        self, instance: Instance, name: str, settled: bytes, config: PluginConfig
    ) -> ThreadPlugin:
        plugin = ThreadPlugin(self._pump.queue, config, self._folder(name))
        try:
            plugin.start(instance, name, settled, config)
            plugin.attach(self._sequencer)
        except BaseException:
            plugin.discard()
            raise
        return plugin

    def _launch_process(
        self, config: PluginConfig, path: Path, accept: Callable[[str], None]
    ) -> tuple[Identity, ProcessPlugin]:
        copy = PrivateCopy(path, config.sha256, shared=config.user is not None)
        log_id = self._new_log_id(config.name or path.stem)
        name = config.name or path.stem
        plugin: ProcessPlugin | None = None
        try:
            plugin = ProcessPlugin(self._supervisor, config, self._folder(name))
            described = plugin.open(copy, log_id, config, self._data_folder(name), self._log_level)
            name = config.name or described.name
            self._pump.names[log_id] = name
            accept(name)
            self._check_overflow(config, described)
            plugin.load(copy, name, plugin_config(config, name), config, LoadReason.START)
            plugin.attach(self._sequencer, log_id)
            self._processes.add(plugin)
        except BaseException:
            if plugin is not None:
                plugin.collect_reports()
                plugin.discard()
            copy.close()
            self._pump.forget(log_id)
            raise
        identity = _identity(name, path, config, Mode.PROCESS, plugin.describe(), copy.digest)
        return identity, plugin

    def install(self, plugin: PythonPlugin, name: str) -> tuple[Identity, InlinePython]:
        """Bring up a plugin that is a Python object.

        Args:
            plugin: The object.
            name: Its name.

        Returns:
            What it is, and its running delivery.

        Raises:
            PluginLoadError: What it subscribes to or claims makes no sense.
            Exception: What its own functions raised.
        """
        log_id = self._new_log_id(name)
        try:
            delivery = InlinePython(self._sequencer, plugin, name, log_id)
        except BaseException:
            self._pump.forget(log_id)
            raise
        identity = Identity(
            name=name,
            version=str(getattr(plugin, "version", "0")),
            mode=Mode.INLINE,
            path=None,
            digest="",
            config_file=None,
            flags=lib.SLIPSTREAM_FLAG_PROMPT,
            kinds=delivery.kinds,
        )
        return identity, delivery

    def relaunch(
        self, delivery: Reloadable, name: str, config: PluginConfig, path: Path
    ) -> tuple[Identity, str]:
        """Let a new version take over.

        Args:
            delivery: The plugin's.
            name: Its name.
            config: The new config.
            path: The new library.

        Returns:
            What it is now, and what did not go well ("" if all did).

        Raises:
            SlipstreamError: The new version was refused or did not start; the old one serves.
        """
        if not isinstance(delivery, InlinePlugin):
            _check_ring(delivery.config, config, name)
        if isinstance(delivery, ProcessPlugin):
            return self._relaunch_process(delivery, name, config, path)
        old = delivery.config
        before = delivery.log_id
        fresh = self._open(path, config)
        self._pump.names[fresh.log_id] = name
        try:
            if isinstance(delivery, ThreadPlugin):
                self._check_overflow(config, fresh.describe())
            settled = plugin_config(config, name)
            self._give_data_dir(fresh, name)
        except BaseException:
            self._abandon(fresh, config)
            raise
        try:
            problem = delivery.reload(
                fresh, config, settled, lambda kept: self._reopen(kept, name, old)
            )
        finally:
            for number in {before, fresh.log_id} - {delivery.log_id}:
                self._pump.forget(number)
        mode = Mode.INLINE if isinstance(delivery, InlinePlugin) else Mode.THREAD
        described = fresh.describe()
        return _identity(name, path, config, mode, described, fresh.copy.digest), problem

    def _relaunch_process(
        self, plugin: ProcessPlugin, name: str, config: PluginConfig, path: Path
    ) -> tuple[Identity, str]:
        copy = PrivateCopy(path, config.sha256, shared=config.user is not None)
        before = plugin.log_id
        log_id = self._new_log_id(name)
        try:
            described = plugin.open(copy, log_id, config, self._data_folder(name), self._log_level)
            try:
                self._check_overflow(config, described)
                settled = plugin_config(config, name)
                plugin.check_overlap(config, described)
            except BaseException:
                plugin.cancel()
                raise
            plugin.load(copy, name, settled, config, LoadReason.RELOAD)
        except BaseException:
            copy.close()
            self._pump.forget(log_id)
            raise
        plugin.refresh()
        self._pump.forget(before)
        described = plugin.describe()
        return _identity(name, path, config, Mode.PROCESS, described, copy.digest), ""

    # ---- Steps --------------------------------------------------------------------

    def _new_log_id(self, name: str) -> int:
        """Return a number for log lines, which then carry this name."""
        number = next(_numbers)
        self._pump.names[number] = name
        return number

    def _open(self, path: Path, config: PluginConfig) -> Instance:
        """Copy, open, construct and check; what was opened is closed on failure."""
        return self._open_copy(PrivateCopy(path, config.sha256), config.name or path.stem, config)

    def _open_copy(self, copy: PrivateCopy, name: str, config: PluginConfig) -> Instance:
        number = self._new_log_id(name)
        instance = Instance(self._pump.queue, number, copy, config.folder)
        try:
            instance.open(config.load_timeout)
        except BaseException:
            self._abandon(instance, config)
            raise
        return instance

    def _reopen(self, kept: PrivateCopy, name: str, config: PluginConfig) -> Instance:
        again = self._open_copy(PrivateCopy(kept.original, of=kept.path), name, config)
        try:
            self._give_data_dir(again, name)
        except BaseException:
            self._abandon(again, config)
            raise
        return again

    def _abandon(self, instance: Instance, config: PluginConfig) -> None:
        """Close an instance that will not serve; if it was loaded, unload it first."""
        instance.discard(config.unload_timeout)
        self._pump.forget(instance.log_id)

    def _folder(self, name: str) -> Path | None:
        return None if self._data_dir is None else self._data_dir / name

    def _data_folder(self, name: str) -> str:
        """Make the plugin's own folder; "" where there is none."""
        folder = self._folder(name)
        if folder is None:
            return ""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"cannot make the data folder {folder}: {error.strerror}",
                "check `data_dir` of the manager and its permissions",
            ) from None
        return str(folder)

    def _give_data_dir(self, instance: Instance, name: str) -> None:
        folder = self._folder(name)
        if self._data_folder(name) and folder is not None:
            instance.set_data_dir(folder)

    @staticmethod
    def _check_overflow(config: PluginConfig, described: Description) -> None:
        explicit = described.has(lib.SLIPSTREAM_FLAG_EXPLICIT_ACK)
        if explicit and config.overflow == "drop_oldest":
            raise PluginLoadError(
                f"{described.name} acknowledges events itself (EXPLICIT_ACK); "
                "overflow: 'drop_oldest' would take them from under it",
                "use overflow: 'block' or 'drop_newest'",
            )


def _check_ring(old: PluginConfig, new: PluginConfig, name: str) -> None:
    """Refuse a reload that would need another ring: events wait in the present one."""
    for key in ("ring_bytes", "overflow", "block_timeout", "dead_letter"):
        if getattr(old, key) != getattr(new, key):
            raise ConfigError(
                f"`{key}` of {name} cannot be changed by a reload",
                "unload it and load it again",
            )


def _identity(  # noqa: PLR0913 - it is a record's fields
    name: str,
    path: Path,
    config: PluginConfig,
    mode: Mode,
    described: Description,
    digest: str,
) -> Identity:
    return Identity(
        name=name,
        version=described.version,
        mode=mode,
        path=path,
        digest=digest,
        config_file=config.source,
        flags=described.flags,
        kinds=described.kinds,
    )
