"""The plugins of a daemon that come out of packages: loaded, reloaded, upgraded, put back."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream.config import PluginConfig
from slipstream.errors import ChangeUnderWay, PackageError, PluginNotLoaded, SlipstreamError
from slipstream.packages.flags import Flags
from slipstream.packages.names import PackageName, version_key
from slipstream.packages.providers import Prepared, Providers
from slipstream.packages.store import parse_name

if TYPE_CHECKING:
    from slipstream.manager import PluginManager
    from slipstream.packages.settings import PluginSettings

_PATIENCE = 60.0  # seconds for a change that is under way, a download among them


@dataclass(frozen=True, slots=True)
class Packaged:
    """What is known of a plugin's package.

    Attributes:
        package: Its whole name.
        name: Its name.
        version: Its version.
        digest: SHA-256 of its archive.
        signer: Who has signed it.
        origin: Where it comes from.
        before: The versions that can be gone back to, the last one last.
        newer: The versions that are installed and newer, the newest last.
    """

    package: str
    name: str
    version: str
    digest: str
    signer: str
    origin: str
    before: tuple[str, ...] = ()
    newer: tuple[str, ...] = ()


class Packages:
    """The providers of a daemon's settings, and what is loaded of them."""

    def __init__(
        self,
        manager: PluginManager,
        read: Callable[[], PluginSettings],
        flags: Flags,
        data: Path,
        *,
        safe_mode: bool,
    ) -> None:
        """Read keys; nothing is loaded yet.

        Args:
            manager: Who loads.
            read: Reads the settings, now and on SIGHUP.
            flags: How packages are verified.
            data: The data folder, which is this daemon's.
            safe_mode: Plugins are paused as they are loaded.

        Raises:
            SlipstreamError: What is wrong.
        """
        self._manager, self._read, self._flags, self._data = manager, read, flags, data
        self._safe_mode = safe_mode
        self._providers = self._make()
        self._providers.sweep()
        self._changing = threading.Lock()  # over finding, verifying and loading
        self._known: dict[str, tuple[PluginConfig, Packaged]] = {}
        self._locked: list[PackageName] = []
        self._locked_at = -1

    def _make(self) -> Providers:
        def say(text: str) -> None:
            self._manager.say(logging.WARNING, text, {})

        return Providers(self._read(), self._flags, self._data, say=say)

    @property
    def names(self) -> list[str]:
        """The plugins that are wanted, in the order of loading."""
        return list(self._providers.settings.providers)

    def about(self, name: str) -> Packaged | None:
        """Return what is known of a plugin's package; None if it comes from none."""
        known = self._known.get(name)
        plugin = self._manager.plugins.get(name)
        is_it = known is not None and plugin is not None and plugin.digest == known[0].sha256
        if known is None or not is_it:
            return None
        return dataclasses.replace(known[1], newer=self._newer(known[1]))

    def _newer(self, packaged: Packaged) -> tuple[str, ...]:
        """Return the versions that are locked and newer; the lock is read when it has changed."""
        store = self._providers.store
        try:
            changed = store.lock_path.stat().st_mtime_ns
            if changed != self._locked_at:
                self._locked = [one for one in map(parse_name, store.lock().packages) if one]
                self._locked_at = changed
        except (OSError, SlipstreamError):
            return ()  # whoever upgrades is told
        newer = {
            one.version
            for one in self._locked
            if one.name == packaged.name
            and one.is_for_here
            and version_key(one.version) > version_key(packaged.version)
        }
        return tuple(sorted(newer, key=version_key))

    # ---- Changing ---------------------------------------------------------------------------

    @contextmanager
    def _turn(self, what: str, wait: float | None) -> Iterator[None]:
        """Take the turn for a change; the manager's own comes inside of it."""
        if not self._changing.acquire(timeout=_PATIENCE if wait is None else wait):
            raise ChangeUnderWay(
                f"cannot {what}: another change of packages is under way", "try again"
            )
        try:
            yield
        finally:
            self._changing.release()

    def load(self, name: str) -> None:
        """Load a plugin.

        Raises:
            SlipstreamError: It was not; the text says which and why.
        """
        try:
            with self._turn("load a plugin", None):
                ready = self._providers.prepare(name)
                self._manager.load_plugin(ready.config)
                self._note(ready)
        except SlipstreamError as error:
            error.message = f"the provider {name}: {error.message}"
            raise
        if self._safe_mode:
            self._manager.pause(name)

    def reload(self, name: str, *, wait: float | None = None) -> None:
        """Read its config again, find and verify its package again, and let it take over.

        Raises:
            SlipstreamError: It does not; the version before serves on.
        """
        with self._turn("reload a plugin", wait):
            ready = self._providers.prepare(name)
            self._manager.reload_plugin(name, ready.config, wait=wait)
            self._note(ready)

    def upgrade(self, name: str, version: str, *, wait: float | None = None) -> None:
        """Let another version that is installed take over, from now on.

        Raises:
            SlipstreamError: It does not; the version before serves on.
        """
        with self._turn("upgrade a plugin", wait):
            self._providers.provider(name)
            self._change(name, version, wait=wait, back=False)

    def rollback(self, name: str, *, wait: float | None = None) -> None:
        """Let the version before take over again.

        Raises:
            SlipstreamError: There is none, or it does not; the present one serves on.
        """
        with self._turn("put a plugin back", wait):
            self._providers.provider(name)
            self._change(name, self._providers.version_before(name), wait=wait, back=True)

    def _change(self, name: str, version: str, *, wait: float | None, back: bool) -> None:
        if name not in self._manager.plugins:
            raise PluginNotLoaded(f"no plugin {name} is loaded", "see slipstream plugins list")
        ready = self._providers.prepare(name, version)
        self._manager.reload_plugin(name, ready.config, wait=wait)
        try:
            self._providers.chose(name, version, back=back)
        finally:
            self._note(ready)

    def _note(self, ready: Prepared) -> None:
        name = ready.provider.interface
        versions = self._providers.versions_of(name)
        packaged = Packaged(
            package=str(ready.package),
            name=ready.package.name,
            version=ready.package.version,
            digest=ready.archive.digest,
            signer=ready.signer,
            origin=ready.origin,
            before=tuple(one for one in versions if one != ready.package.version),
        )
        self._known[name] = (ready.config, packaged)

    # ---- SIGHUP -----------------------------------------------------------------------------

    def read_again(self) -> None:
        """Reload what has changed, load what is new, unload what went; each fault is a line."""
        done = {"loaded": 0, "reloaded": 0, "unloaded": 0, "as_before": 0, "failed": 0}
        try:
            fresh = self._make()
        except SlipstreamError as error:
            self._fault("the plugins' settings", error)
            return
        gone = [name for name in self._known if name not in fresh.settings.providers]
        self._providers = fresh
        for name in [*reversed(gone), *self.names]:
            try:
                done[self._one(name, is_gone=name in gone)] += 1
            except SlipstreamError as error:
                done["failed"] += 1
                self._fault(name, error)
        self._manager.say(logging.INFO, "the plugins' settings were read again", dict(done))

    def _fault(self, what: str, error: SlipstreamError) -> None:
        self._manager.say(
            logging.ERROR,
            "the plugins' settings could not be applied; what runs goes on as before",
            {"plugin": what, "problem": error.message, "next": error.hint},
        )

    def _one(self, name: str, *, is_gone: bool) -> str:
        is_loaded = name in self._manager.plugins
        if is_gone:
            del self._known[name]
            if is_loaded:
                self._manager.unload_plugin(name)
            return "unloaded"
        if not is_loaded:
            self.load(name)
            return "loaded"
        if name not in self._known:
            raise PackageError(f"the name {name} is taken by a config file", "choose another one")
        with self._turn("reload a plugin", None):
            ready = self._providers.prepare(name)
            if ready.config == self._known[name][0]:
                return "as_before"
            self._manager.reload_plugin(name, ready.config)
            self._note(ready)
        return "reloaded"
