"""One reload for every mode: another version of a plugin is opened, checked, and takes over.

A plugin's first load is the same, with nothing to take over from. In a worker process the core
lets versions take over; how that is done with instances in this process stands here as well.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from slipstream import _native
from slipstream._native import lib
from slipstream._platform import who_bars
from slipstream.config import Mode, Overflow, Reload, plugin_config, settle_own
from slipstream.delivery.description import Description, Identity
from slipstream.delivery.instance import Instance, LoadReason
from slipstream.delivery.letters import Letters, tell_of_waiting
from slipstream.delivery.plugin import Delivery
from slipstream.errors import (
    ConfigError,
    PluginFailed,
    PluginLoadError,
    Refusal,
    SlipstreamError,
)
from slipstream.library import PrivateCopy
from slipstream.status import Metric

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from slipstream.config import PluginConfig
    from slipstream.delivery.host import Host


# What of the application stands behind an extension.
_SERVICES = {
    "slipstream.send/1": (lib.SS_OFFERS_SEND, "control"),
    "slipstream.peers/1": (lib.SS_OFFERS_PEERS, "peers"),
    "slipstream.identity/1": (lib.SS_OFFERS_IDENTITY, "identity"),
}


class Version(Protocol):
    """One version of a plugin, from opening to its end."""

    copy: PrivateCopy
    config: PluginConfig
    log_id: int
    description: Description

    def close(self, timeout: float) -> object:
        """Give it up, or end it."""


V = TypeVar("V", bound=Version)


class Reloadable(Delivery, Generic[V]):
    """A plugin that is a library: its versions come one after the other.

    Attributes:
        mode: Where its callbacks run.
        config: The config of the present version, or of the first one until that is loaded.
        present: The version that serves; None before the first one does.
    """

    mode: Mode
    present: V | None = None
    _kept: tuple[str, ...] = ()  # what the configs of all versions have in common

    def __init__(self, host: Host, config: PluginConfig, name: str) -> None:
        """Begin with a plugin of which nothing runs yet.

        Args:
            host: What it shares with others.
            config: Its config.
            name: Its name, as far as it is known.

        Raises:
            PluginLoadError: What its mode needs is not to be had.
        """
        super().__init__(host, name)
        self.config = config
        self._letters = Letters(host.pump)

    @property
    def unload_timeout(self) -> float:
        """The longest wait for each step of its end, in seconds."""
        return self._host.hurry.short(self.config.unload_timeout)

    @property
    def settings(self) -> PluginConfig:
        """The config of the version that serves."""
        return self.config

    @property
    def dead_letter_file(self) -> Path | None:
        """The file with the events that it refuses for good; None: they are not kept."""
        return self._letters.path

    def bring(
        self, config: PluginConfig, path: Path, accept: Callable[[str], None] | None = None
    ) -> str:
        """Open a version of the library, check it, and let it take over.

        Args:
            config: The version's config.
            path: The library.
            accept: For the first version, whose name is the plugin's unless the config has
                another: raises if that cannot be taken.

        Returns:
            What did not go well, "" if all did.

        Raises:
            SlipstreamError: It was refused or not started; nothing is left of it. The version
                before goes on, or was started again; else the plugin's state is `failed`.
        """
        for key in self._kept:
            if getattr(self.config, key) != getattr(config, key):
                raise ConfigError(
                    f"`{key}` of {self.name} cannot be changed by a reload",
                    "unload it and load it again",
                )
        copy = self._copied(path, config)
        try:
            _require_services(copy, self._host)
            _require_way(copy.path, config.user)
            own = settle_own(config, None if copy.info is None else copy.info.config_schema)
            _native.hide(own.forms)
        except BaseException:
            copy.close()
            raise
        fresh = self._open(copy, config)
        try:
            if accept is not None:
                self.name = config.name or fresh.description.name
                accept(self.name)
                if self._desk is not None:
                    self._desk.name = self.name
            self._tell_grants(fresh)
            self._host.pump.names[fresh.log_id] = self.name
            self._check(fresh)
            data_dir = self._host.make_folder(self.name, config.user)
            _require_way(data_dir, config.user)
            if self.present is None:
                tell_of_waiting(self._host.folder(self.name), self.name, self._host.pump)
            settled = plugin_config(config, self.name, resolved=own)
            self._write_letters(fresh)
        except BaseException:
            fresh.close(self._host.hurry.short(config.unload_timeout))
            raise
        try:
            problem = self._switch(fresh, settled, data_dir)
        except BaseException:
            if self.present is not None:
                self._write_letters(self.present)
            raise
        self.identity = Identity(
            name=self.name,
            version=fresh.description.version,
            mode=self.mode,
            path=path,
            digest=copy.digest,
            config_file=config.source,
            flags=fresh.description.flags,
            kinds=fresh.description.kinds,
            info=copy.info,
        )
        return problem

    def _copied(self, path: Path, config: PluginConfig) -> PrivateCopy:
        """Make the copy that is opened, of the bytes that were checked where there are such."""
        sealed = config.content
        shared = config.user is not None
        apart = sealed is not None
        return PrivateCopy(path, config.sha256, of=sealed, apart=apart, shared=shared)

    def _tell_grants(self, version: V) -> None:
        """Say what a version asks to be granted, and is not."""
        info = version.copy.info
        missing = sorted(set(() if info is None else info.grants) - set(version.config.grants))
        if missing and self._desk is not None:
            self._host.pump.say(
                logging.WARNING,
                "the plugin is not granted all that it asks for; see `grants` in its config",
                {"plugin": self.name, "missing": ", ".join(missing)},
            )

    def _write_letters(self, version: V) -> None:
        """Let what a version refuses go where its config says.

        Raises:
            CaptureError: That file cannot be used; all is as it was.
        """
        self._letters.write_to(version.config, self._host.folder(self.name))
        self._letters.serve(
            version.log_id, self.name, version.description.version, version.copy.digest
        )

    def _check(self, fresh: V) -> None:
        """Refuse a version that was opened, but does not go with its config."""
        config, flags = fresh.config, fresh.description.flags
        explicit = self.mode is not Mode.INLINE and flags & lib.SLIPSTREAM_FLAG_EXPLICIT_ACK
        if explicit and config.overflow is Overflow.DROP_OLDEST:
            raise PluginLoadError(
                f"{fresh.description.name} acknowledges events itself (EXPLICIT_ACK); "
                "overflow: 'drop_oldest' would drop events before it has acknowledged them",
                "use overflow: 'block' or 'drop_newest'",
            )
        if self.present is not None and config.reload is Reload.OVERLAP:
            both = flags & self.present.description.flags
            if not both & lib.SLIPSTREAM_FLAG_MULTI_INSTANCE:
                raise PluginLoadError(
                    "reload: overlap needs a plugin with the flag MULTI_INSTANCE, in both versions",
                    "use reload: 'replace' in the config",
                )

    @abstractmethod
    def _open(self, copy: PrivateCopy, config: PluginConfig) -> V:
        """Open, check and construct a version, beside the one that serves.

        Args:
            copy: The library's private copy; closed with the version, also if it is refused.
            config: The version's config.

        Raises:
            PluginLoadError: It was refused; `refusal` says why. Nothing is left of it.
        """

    @abstractmethod
    def _switch(self, fresh: V, settled: bytes, data_dir: Path | None) -> str:
        """Load a version that is open, and let it take over.

        Args:
            fresh: The new version; closed if it is not started.
            settled: The config for its `on_load`, packed.
            data_dir: The plugin's own folder, if it has one.
        """


def _require_way(path: Path | None, user: str | None) -> None:
    """Refuse a plugin that is to run as a user who cannot get to a file of his.

    Raises:
        ConfigError: The user cannot.
    """
    if path is None or user is None:
        return
    try:
        folder = who_bars(path, user)
    except OSError:
        return  # there is no such user, which its worker says
    if folder is not None:
        raise ConfigError(
            f"the user {user} cannot get to {path}: this user may not pass through {folder}",
            f"run: chmod o+x {folder}; or use a folder that is open to this user",
        )


def _require_services(copy: PrivateCopy, host: Host) -> None:
    """Refuse a library that cannot do without a service that the application does not have."""
    if copy.info is None:
        return
    offered = 0 if host.served is None else host.served.offers
    for name, (offer, service) in _SERVICES.items():
        if name in copy.info.requires and not offered & offer:
            raise PluginLoadError(
                f"{copy.original} requires {name}, and this application has no such service",
                f"give it one: PluginManager(services=Services({service}=...))",
                Refusal.EXTENSION_MISSING,
            )


class InHost(Reloadable[Instance]):
    """A plugin whose instance lives in this process."""

    # Does the old version serve until the very moment at which the new one does?
    serves_to_the_last = False

    def _open(self, copy: PrivateCopy, config: PluginConfig) -> Instance:
        return Instance(self._host.pump, copy, config, self.name, self._host.hurry, self._desk)

    def bring(
        self, config: PluginConfig, path: Path, accept: Callable[[str], None] | None = None
    ) -> str:
        """Open a version and let it take over; see `Reloadable.bring`."""
        old = self.present
        if not config.reload_close_first or old is None or not old.is_loaded:
            return super().bring(config, path, accept)
        with self._copied(path, config) as checked:
            _ = checked.info  # what can be refused without running it is, while the old one serves
        again = self._copied_again(old)
        try:
            problem = self._end_first(old)
        except BaseException:
            again.close()
            raise
        try:
            more = super().bring(config, path, accept)
        except BaseException as error:
            self._open_again(old, again, error)
            raise
        again.close()
        return "; ".join(filter(None, (problem, more)))

    def _end_first(self, old: Instance) -> str:
        """End the version that serves, and close its library, before another is opened."""
        timeout = self.config.unload_timeout
        try:
            self._withdraw(old, overlap=False)
        except BaseException:
            self._go_on(old)
            raise
        return "; ".join(filter(None, (old.unload(timeout), old.end(timeout).problem)))

    def metrics(self) -> list[Metric]:
        """Return the numbers that the plugin reports."""
        return [] if self.present is None else self.present.metrics()

    def _switch(self, fresh: Instance, settled: bytes, data_dir: Path | None) -> str:
        old = self.present
        serving = None if old is None or not old.is_loaded else old
        overlap = serving is not None and fresh.config.reload is Reload.OVERLAP
        reason = LoadReason.START if old is None else LoadReason.RELOAD
        timeout = self.config.unload_timeout
        problems: list[str] = []
        try:
            if overlap:
                fresh.load(settled, data_dir, reason)
            if serving is not None:
                self._withdraw(serving, overlap=overlap)
                if not (overlap and self.serves_to_the_last):
                    problems.append(serving.unload(timeout))
            if not overlap:
                fresh.load(settled, data_dir, reason)
            self._take_over(fresh)
        except BaseException as error:
            if self.present is old:
                try:
                    fresh.close(timeout)
                finally:
                    if serving is not None:
                        self._go_back(serving, error)
            raise
        finally:
            if old is not None and self.present is not old:
                problems.append(old.unload(timeout) if old.is_loaded else "")
                problems.append(old.close(timeout).problem)
        return "; ".join(filter(None, problems))

    def _go_back(self, old: Instance, cause: BaseException) -> None:
        """Let the old version go on, from its kept copy if it was unloaded already."""
        if old.is_loaded:
            self._go_on(old)
            return
        self._open_again(old, self._copied_again(old), cause)

    def _copied_again(self, old: Instance) -> PrivateCopy:
        """Make another copy of an open one, which nobody has changed meanwhile."""
        copy, apart = old.copy, old.config.content is not None
        return PrivateCopy(copy.original, copy.digest, of=copy.path, apart=apart)

    def _open_again(self, old: Instance, copy: PrivateCopy, cause: BaseException) -> None:
        """Start an unloaded version anew, from a copy of its copy."""
        try:
            self._switch(self._open(copy, old.config), *old.loaded_with)
        except SlipstreamError as error:
            self._fail(f"neither version could be started: {error.message}")
            text = cause.message if isinstance(cause, SlipstreamError) else repr(cause)
            raise PluginFailed(
                f"the new version was not started: {text}; and the old one could not be started "
                f"again: {error.message}",
                "fix one of them and reload, or unload the plugin",
            ) from cause

    @abstractmethod
    def _withdraw(self, old: Instance, *, overlap: bool) -> None:
        """Give the old version nothing more; what it has is made durable.

        Raises:
            PluginFailed: It does not get there; it goes on as before.
        """

    @abstractmethod
    def _take_over(self, fresh: Instance) -> None:
        """Make a loaded version the present one, and give it the events."""

    @abstractmethod
    def _go_on(self, old: Instance) -> None:
        """Give the old version, which is still loaded, the events again."""

    @abstractmethod
    def _fail(self, reason: str) -> None:
        """Say that no version is left that could serve."""
