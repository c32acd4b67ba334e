"""From what an operator wants to what a host loads: each provider's package, found and verified.

The library that a plugin is loaded from comes out of the bytes that were verified; the files that
are laid down beside it are for the plugin to read, and no library is taken from there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from slipstream._platform import let_through, make_private_folder
from slipstream.config import JsonValue, PluginConfig, SchemaProblem, settle_own
from slipstream.errors import ConfigError, PackageError
from slipstream.files import FileProblem, read_small
from slipstream.packages import archive as archives
from slipstream.packages import disk
from slipstream.packages.archive import Archive
from slipstream.packages.central import CentralClient
from slipstream.packages.flags import Flags
from slipstream.packages.lock import FILE as LOCK
from slipstream.packages.names import PackageName
from slipstream.packages.settings import (
    PUBLIC_KEY,
    Central,
    PluginSettings,
    Provider,
    config_of,
    path_of_uri,
)
from slipstream.packages.store import KEPT, Store
from slipstream.packages.trust import TrustedKey, read_key
from slipstream.text import printable

_CURRENT, _PINNED, _UNPACKED = "current.json", "pinned", "packages"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A provider whose package was found and verified.

    Attributes:
        provider: What was wanted.
        package: The package.
        signer: Who has signed it.
        origin: Where it comes from.
        config: What to load; good as long as this object is there.
        archive: The package's bytes.
    """

    provider: Provider
    package: PackageName
    signer: str
    origin: str
    config: PluginConfig
    archive: Archive = field(repr=False)


@dataclass(slots=True)
class _Current:
    """Which version of a provider is used, where that is another one than the settings say.

    Attributes:
        settings: The version in the settings when it was changed; another one there counts anew.
        versions: Those that were used, the present one last.
    """

    settings: str
    versions: list[str]


class Providers:
    """The plugins of one settings file.

    Attributes:
        settings: What is wanted.
        store: Where packages lie.
    """

    def __init__(
        self,
        settings: PluginSettings,
        flags: Flags,
        data: Path,
        *,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Read keys; nothing else is looked at yet.

        Args:
            settings: What is wanted.
            flags: How packages are verified.
            data: The data folder.
            say: Gets a line about what is doubtful.

        Raises:
            SlipstreamError: The flags exclude each other, or a key cannot be had.
        """
        flags.check()
        self.settings, self._flags, self._data, self._say = settings, flags, data, say
        base = settings.base_dir or data / "plugins"
        keys = [] if flags.skip_verify else list(self._keys(base))
        lock = settings.source.absolute().parent / LOCK
        self.store = Store(base, lock, keys, skip_verify=flags.skip_verify)

    # ---- Keys -------------------------------------------------------------------------------

    def _keys(self, base: Path) -> Iterator[TrustedKey]:
        for rule in self.settings.trust:
            yield read_key(rule.key, rule.names, rule.origin)
        if self._flags.local_verify:
            named = self._flags.public_key
            yield read_key(
                path_of_uri(named, "--plugins.publickey") if named else base / PUBLIC_KEY
            )
            return
        central = self.settings.central
        if central is None or not central.public_key_uri:
            return
        uri = central.public_key_uri
        if uri.lower().startswith("file://"):
            yield read_key(path_of_uri(uri, "publicKeyURI"), origin=central.origin)
        elif not self.settings.trust:
            yield self._pinned_key()

    def _pinned_key(self) -> TrustedKey:
        """Return a key that only the central gives, if it was taken before or may be now."""
        central = self.settings.central
        assert central is not None  # noqa: S101 - the caller has looked
        name = "".join(c if c.isalnum() else "_" for c in central.origin)
        path = self._data / _PINNED / f"{name}.key"
        if not path.exists():
            if not self._flags.trust_on_first_use:
                raise PackageError(
                    f"publicKeyURI is {printable(central.public_key_uri)}, a key that only "
                    f"{central.origin} itself vouches for",
                    "get the key in another way and write file://...; or, to take what it gives "
                    "now for ever, --plugins.trust-on-first-use",
                )
            with CentralClient(central, self._data) as client:
                content = client.public_key()
            TrustedKey(f"the key of {central.origin}", content).open()
            disk.write_whole(path, [content], 0o600)
            self._say(f"the key of {central.origin} is taken on first use, and pinned: {path}")
        return read_key(path, origin=central.origin)

    # ---- Versions ---------------------------------------------------------------------------

    def _read_current(self) -> dict[str, _Current]:
        try:
            said = json.loads(read_small(self._data / _CURRENT, 1024 * 1024))
            return {name: _Current(**one) for name, one in said.items()}
        except (FileProblem, ValueError, TypeError, AttributeError, RecursionError):
            return {}  # the settings count

    def version_of(self, interface: str) -> str:
        """Return the version that is to be used: what was chosen last, else the settings'."""
        provider = self.settings.providers[interface]
        current = self._read_current().get(interface)
        if current is None or current.settings != provider.version or not current.versions:
            return provider.version
        return current.versions[-1]

    def versions_of(self, interface: str) -> list[str]:
        """Return the last versions that were used, the present one last."""
        provider = self.settings.providers[interface]
        current = self._read_current().get(interface)
        if current is None or current.settings != provider.version:
            return [provider.version]
        return current.versions

    def chose(self, interface: str, version: str, *, back: bool = False) -> None:
        """Note that a version is used from now on.

        Args:
            interface: The provider.
            version: The version.
            back: It is the one before; those after it are forgotten.
        """
        versions = self.versions_of(interface)
        if back and version in versions:
            versions = versions[: versions.index(version) + 1]
        elif versions[-1] != version:
            versions = [*(one for one in versions if one != version), version][-KEPT:]
        all_of = self._read_current()
        all_of[interface] = _Current(self.settings.providers[interface].version, versions)
        said = {name: dataclasses.asdict(one) for name, one in all_of.items()}
        disk.write_whole(self._data / _CURRENT, [json.dumps(said, indent=2).encode()], 0o600)

    def version_before(self, interface: str) -> str:
        """Return the version to go back to.

        Raises:
            PackageError: There is none.
        """
        versions = self.versions_of(interface)
        if len(versions) < 2:
            raise PackageError(
                f"{interface} has had no other version than {versions[-1]}",
                f"slipstream plugins upgrade {interface} VERSION names one",
            )
        return versions[-2]

    # ---- Bringing ---------------------------------------------------------------------------

    def provider(self, interface: str) -> Provider:
        """Return a provider.

        Raises:
            PackageError: The settings have no such one.
        """
        found = self.settings.providers.get(interface)
        if found is None:
            raise PackageError(
                f"{printable(interface)} comes from no package",
                f"packages provide {', '.join(self.settings.providers) or 'nothing'}",
            )
        return found

    def prepare(self, interface: str, version: str = "") -> Prepared:
        """Find and verify a provider's package, read its config, and lay its files down.

        Args:
            interface: The provider.
            version: Another one than the present one.

        Raises:
            SlipstreamError: It is refused; nothing of it is used.
        """
        provider = self.provider(interface)
        wanted = PackageName(provider.name, version or self.version_of(interface))
        if self.store.find(wanted) is None:
            self._fetch(wanted)
        ready = self._verified(provider, wanted)
        unpacked = self._data / _UNPACKED
        ready.archive.unpack(unpacked)
        if ready.config.user is not None:  # who has to get to the copy of the library that he runs
            let_through(unpacked)
        return ready

    def check(self, interface: str) -> None:
        """Do what can be done of that without changing or fetching anything.

        Raises:
            SlipstreamError: It would be refused.
        """
        provider = self.provider(interface)
        wanted = PackageName(provider.name, self.version_of(interface))
        if self.store.find(wanted) is None:
            self._require_source(wanted)
        else:
            self._verified(provider, wanted)

    def _verified(self, provider: Provider, wanted: PackageName) -> Prepared:
        archive, known, signer = self.store.open(wanted)
        interfaces = archive.meta.interfaces
        if interfaces and provider.interface not in interfaces:
            raise PackageError(
                f"{archive.name} is made for {', '.join(interfaces)}, and not for "
                f"{provider.interface}",
                "correct the settings",
            )
        own, own_from = config_of(provider, self.settings.source.absolute().parent)
        library = archive.place_in(self._data / _UNPACKED)
        config = self._config(provider, library, archive, own, own_from)
        self._check_schema(archive, config)
        return Prepared(provider, archive.package, signer, known.origin, config, archive)

    def _config(
        self,
        provider: Provider,
        library: Path,
        archive: Archive,
        own: dict[str, JsonValue],
        own_from: str,
    ) -> PluginConfig:
        folder = self.settings.source.absolute().parent
        for key in ("libpath", "name", "sha256"):
            if key in provider.host:
                raise ConfigError(
                    f"{provider.interface}: host has {key}, which the package decides",
                    "leave it out",
                )
        values = {
            **provider.host,
            "libpath": str(library),
            "name": provider.interface,
            "sha256": archive.library.digest,
        }
        config = PluginConfig.from_mapping(values, folder=folder)
        for stray in config.own:
            raise ConfigError(
                f"{provider.interface}: host has the unknown key {printable(stray)}",
                "the plugin's own keys belong in config",
            )
        return dataclasses.replace(config, own=own, own_from=own_from, content=archive.library.path)

    @staticmethod
    def _check_schema(archive: Archive, config: PluginConfig) -> None:
        """Hold a config against the plugin's schema, before anything of it runs."""
        info = archive.info
        schema = archive.meta.config_schema if info is None else info.config_schema
        try:
            settle_own(config, schema)
        except SchemaProblem as problem:
            raise PackageError(
                f"{archive.name} has a config_schema that hosts do not take: {problem}",
                "correct the package",
            ) from None

    def _require_source(self, wanted: PackageName) -> Central:
        """Return where a package that is locked and not here can be fetched."""
        central = self.settings.central
        locked = {str(one) for one in wanted.candidates()} & self.store.lock().packages.keys()
        if not locked:
            raise PackageError(
                f"{wanted} is neither in {printable(str(self.store.folder))} nor in "
                f"{printable(str(self.store.lock_path))}",
                f"slipstream package install {wanted.name} {wanted.version}",
            )
        if central is None:
            raise PackageError(
                f"{wanted} is not in {printable(str(self.store.folder))}, and the settings name no "
                "central",
                "put it there, or name a central",
            )
        return central

    def _fetch(self, wanted: PackageName) -> None:
        central = self._require_source(wanted)
        make_private_folder(self.store.folder)
        with CentralClient(central, self.store.folder) as client:
            archive, signatures = client.fetch(wanted)
        self.store.lock().require(archive)
        self.store.keep(archive, signatures)

    def sweep(self) -> None:
        """Remove what killed runs have left; for the one who has locked the data folder."""
        with contextlib.suppress(OSError, PackageError):
            disk.sweep(self._data)
            locked = self.store.lock().packages.values()
            archives.sweep(self._data / _UNPACKED, [one.sha256 for one in locked])
