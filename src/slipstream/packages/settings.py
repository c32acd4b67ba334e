"""Which plugins an operator wants: the settings of ``--plugins``, in Quorum's form.

The keys are Quorum's, letter for letter, and in TOML also as Quorum writes them there
(``BaseDir``, ``CertFingerPrint``). Two are added: ``trust`` at the top, ``host`` in a provider.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from slipstream.config import (
    MASK,
    MAX_CONFIG_BYTES,
    Document,
    JsonValue,
    closest,
    is_misspelt,
    is_plugin_name,
    shown,
    spell,
)
from slipstream.errors import ConfigError
from slipstream.files import FileProblem, read_small
from slipstream.packages.names import NAME, VERSION
from slipstream.packages.toml import read_toml
from slipstream.text import printable

PUBLIC_KEY = "Central.pgp.pk"
"""The key that --plugins.localverify uses unless --plugins.publickey names one, in `baseDir`."""

_DIST = "maven/bin/{{.Name}}/{{.Version}}/{{.Name}}-{{.Version}}-{{.OS}}-{{.Arch}}"
DIST, SIG = f"{_DIST}.zip", f"{_DIST}-sha256.checksum.asc"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEYS = {
    "": ("baseDir", "central", "providers", "trust"),
    "central": (
        *("baseURL", "certFingerprint", "publicKeyURI", "insecureSkipTLSVerify"),
        *("pluginDistPathTemplate", "pluginSigPathTemplate"),
    ),
    "provider": ("name", "version", "config", "host"),
    "trust": ("key", "names", "origin"),
}
_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"')
_SHORT = 6  # a quoted sign of JSON, and no secret
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Central:
    """A plugin central.

    Attributes:
        base_url: What all paths count from; HTTPS.
        fingerprint: SHA-256 of its certificate, in hexadecimal; "": any that is good.
        public_key_uri: Its key: ``file://`` for one on this disk, else a path at the central.
        insecure: Do not look whether the certificate is good.
        dist: The path template of archives.
        sig: The path template of OpenPGP signatures.
    """

    base_url: str
    fingerprint: str = ""
    public_key_uri: str = ""
    insecure: bool = False
    dist: str = DIST
    sig: str = SIG

    @property
    def origin(self) -> str:
        """Its scheme, host and port."""
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A plugin that is wanted.

    Attributes:
        interface: What it is for; its name in the host.
        name: The name of its package.
        version: The version.
        config: As it stands in the settings.
        host: Keys for the host, as in a plugin's own config file.
        place: Where it stands in the settings.
    """

    interface: str
    name: str
    version: str
    config: JsonValue = field(default=None, repr=False)
    host: dict[str, JsonValue] = field(default_factory=dict)
    place: tuple[str | int, ...] = ()


@dataclass(frozen=True, slots=True)
class TrustRule:
    """A key that vouches for some packages.

    Attributes:
        key: Its file.
        names: A pattern of packages' names.
        origin: Where they come from; "*": from anywhere.
    """

    key: Path
    names: str = "*"
    origin: str = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginSettings:
    """What an operator wants.

    Attributes:
        source: The file.
        base_dir: Where packages lie; None: in the data folder.
        central: Where they are fetched; None: nowhere.
        providers: The plugins, by their interfaces, in the order of loading.
        trust: Which keys vouch for what.
    """

    source: Path
    base_dir: Path | None = None
    central: Central | None = None
    providers: dict[str, Provider] = field(default_factory=dict)
    trust: tuple[TrustRule, ...] = ()


def path_of_uri(uri: str, what: str) -> Path:
    """Return the file that a URI or a path names.

    Raises:
        ConfigError: It is of another scheme.
    """
    scheme, found, rest = uri.partition("://")
    if not found:
        return Path(uri).absolute()
    if scheme.lower() != "file":
        raise ConfigError(
            f"{what}: unable to create reader due to unsupported scheme {printable(scheme)}",
            "name a file: file:///etc/slipstream/plugins.json",
        )
    return Path(unquote(rest)).absolute()


def read_settings(path: Path, *, in_node: bool = False) -> PluginSettings:
    """Read a settings file.

    Args:
        path: The file: JSON, JSON5 or TOML.
        in_node: It is a node's TOML file, and they stand under [Node.Plugins].

    Raises:
        ConfigError: It cannot be used.
    """
    where = printable(str(path))
    try:
        content = read_small(path, 16 * MAX_CONFIG_BYTES)
    except FileProblem as problem:
        raise ConfigError(
            f"the plugins' settings {where} {problem.reason}",
            problem.hint(
                "name a file that this user may read by --plugins; docs/packages.md shows one"
            ),
        ) from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(
            f"the plugins' settings {where} are not UTF-8", "save them as UTF-8"
        ) from None
    if in_node or path.suffix.lower() == ".toml":
        document = read_toml(text, path)
        return _Reader(document, path, folds=True).settings(_node_part(document, in_node=in_node))
    return _Reader(Document(path, text=text), path, folds=False).settings(())


def _node_part(document: Document, *, in_node: bool) -> tuple[str | int, ...]:
    """Return the place of the settings in a node's file."""
    at: tuple[str | int, ...] = ()
    inner: JsonValue = document.root
    for word in ("node", "plugins"):
        inner_keys = inner if isinstance(inner, dict) else {}
        name = next((key for key in inner_keys if key.casefold() == word), None)
        if name is None:
            if in_node:
                raise ConfigError(
                    f"{printable(str(document.source))} has no [Node.Plugins]", "add it there"
                )
            return ()
        at, inner = (*at, name), inner_keys[name]
    return at


class _Reader:
    """Reads one file's settings.

    Args:
        document: Its values.
        source: The file.
        folds: Keys may be written in TOML's way, in any case.
    """

    def __init__(self, document: Document, source: Path, *, folds: bool) -> None:
        self._document, self._source, self._folds = document, source, folds

    def error(
        self, message: str, hint: str, at: tuple[str | int, ...], *, at_key: bool = False
    ) -> ConfigError:
        return self._document.error(ConfigError, message, hint, at, at_key=at_key)

    def _at(self, at: tuple[str | int, ...]) -> JsonValue:
        value: JsonValue = self._document.root
        for step in at:
            value = value[step]  # type: ignore[index]
        return value

    def _object(self, at: tuple[str | int, ...], kind: str) -> dict[str, tuple[str | int, ...]]:
        """Return the places of an object's known keys; others are refused."""
        value, known = self._at(at), _KEYS[kind]
        if not isinstance(value, dict):
            raise self.error(f"{spell(at)} is {shown(value)}, and not an object", "write { }", at)
        found: dict[str, tuple[str | int, ...]] = {}
        for key in value:
            name = self._known(key, known)
            if name is None:
                near = next((one for one in known if is_misspelt(key, one)), None)
                near = near or closest(key, known)
                hint = f"did you mean {near}?" if near else f"known are {', '.join(known)}"
                raise self.error(f"unknown key {shown(key)}", hint, (*at, key), at_key=True)
            if name in found:
                raise self.error(f"{name} is given twice", "keep one", (*at, key), at_key=True)
            found[name] = (*at, key)
        return found

    def _known(self, key: str, known: Iterable[str]) -> str | None:
        if self._folds:
            key = key.replace("_", "").casefold()
            return next((one for one in known if one.casefold() == key), None)
        return key if key in known else None

    def _text(self, at: tuple[str | int, ...] | None, usual: str = "") -> str:
        if at is None:
            return usual
        value = self._at(at)
        if not isinstance(value, str):
            raise self.error(
                f"{spell(at)} is {shown(value)}, and not a text", "put it in quotes", at
            )
        return value

    def settings(self, at: tuple[str | int, ...]) -> PluginSettings:
        keys = self._object(at, "")
        providers: dict[str, Provider] = {}
        for provider in self._providers(keys.get("providers")):
            if provider.interface in providers:
                raise self.error(
                    f"{provider.interface} is provided twice",
                    "keep one",
                    provider.place,
                    at_key=True,
                )
            providers[provider.interface] = provider
        return PluginSettings(
            source=self._source,
            base_dir=self._base_dir(keys.get("baseDir")),
            central=self._central(keys.get("central")),
            providers=providers,
            trust=tuple(self._trust(keys.get("trust"))),
        )

    def _base_dir(self, at: tuple[str | int, ...] | None) -> Path | None:
        said = self._text(at)
        if said.startswith("env://"):
            name = said.removeprefix("env://")
            value = os.environ.get(name, "")
            if not value:
                raise self.error(
                    f"baseDir is {shown(said)}, and the environment variable {printable(name)} is "
                    "not set",
                    f"set {printable(name)}, or write a folder",
                    at or (),
                )
            said = value
        return self._file(said) if said else None

    def _file(self, said: str) -> Path:
        """Return a path of the settings; a relative one counts from their folder."""
        return Path(os.path.abspath(self._source.parent / said.removeprefix("file://")))  # noqa: PTH100

    def _central(self, at: tuple[str | int, ...] | None) -> Central | None:
        if at is None:
            return None
        keys = self._object(at, "central")
        url = self._text(keys.get("baseURL"))
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname or parts.query or parts.username:
            raise self.error(
                f"baseURL is {shown(url)}; a plugin central is reached by https:// alone",
                "write https://HOST/PATH/",
                keys.get("baseURL", at),
            )
        fingerprint = self._text(keys.get("certFingerprint")).replace(":", "").lower()
        if fingerprint and not _FINGERPRINT.fullmatch(fingerprint):
            raise self.error(
                "certFingerprint is no SHA-256 of a certificate: 64 hexadecimal digits",
                "openssl x509 -noout -fingerprint -sha256 -in CERTIFICATE shows it",
                keys["certFingerprint"],
            )
        insecure = keys.get("insecureSkipTLSVerify")
        skips = False if insecure is None else self._at(insecure)
        if not isinstance(skips, bool):
            raise self.error(
                "insecureSkipTLSVerify is neither true nor false", "write one", insecure or at
            )
        return Central(
            base_url=url if url.endswith("/") else f"{url}/",
            fingerprint=fingerprint,
            public_key_uri=self._text(keys.get("publicKeyURI")),
            insecure=skips,
            dist=self._text(keys.get("pluginDistPathTemplate")) or DIST,
            sig=self._text(keys.get("pluginSigPathTemplate")) or SIG,
        )

    def _providers(self, at: tuple[str | int, ...] | None) -> Iterable[Provider]:
        if at is None:
            return
        value = self._at(at)
        # In TOML also as [[Providers]] with [[Providers.NAME]] below it.
        tables = (
            [(*at, number) for number in range(len(value))] if isinstance(value, list) else [at]
        )
        for table in tables:
            inner = self._at(table)
            if not isinstance(inner, dict):
                raise self.error("providers is not an object", "write { INTERFACE: { } }", table)
            for interface, one in inner.items():
                place: tuple[str | int, ...] = (*table, interface)
                if self._folds and isinstance(one, list) and len(one) == 1:
                    place = (*place, 0)
                yield self._provider(interface.lower(), place)

    def _provider(self, interface: str, at: tuple[str | int, ...]) -> Provider:
        if not is_plugin_name(interface):
            raise self.error(
                f"{shown(interface)} is not a name of an interface",
                "use letters, digits and . _ -",
                at,
                at_key=True,
            )
        keys = self._object(at, "provider")
        for key, rule in (("name", NAME), ("version", VERSION)):
            text = self._text(keys.get(key))
            if not rule.fullmatch(text) or ".." in text:
                what = (
                    f"{key} is {shown(text)}, which no package has" if text else f"{key} is missing"
                )
                raise self.error(f"{interface}: {what}", f'write {key}: "..."', keys.get(key, at))
        config = self._at(keys["config"]) if "config" in keys else None
        if isinstance(config, bool | int | float):
            kind = "bool" if isinstance(config, bool) else "number"
            raise self.error(
                f"{interface}: unsupported type of config [{kind}]",
                "write an object, an array or a text",
                keys["config"],
            )
        host = self._at(keys["host"]) if "host" in keys else {}
        if not isinstance(host, dict):
            raise self.error(f"{interface}: host is not an object", "write { }", keys["host"])
        return Provider(
            interface=interface,
            name=self._text(keys["name"]),
            version=self._text(keys["version"]),
            config=config,
            host=host,
            place=at,
        )

    def _trust(self, at: tuple[str | int, ...] | None) -> Iterable[TrustRule]:
        if at is None:
            return
        value = self._at(at)
        if not isinstance(value, list):
            raise self.error("trust is not a list", 'write [{ key: "file://...", names: "*" }]', at)
        for number in range(len(value)):
            keys = self._object((*at, number), "trust")
            key = self._text(keys.get("key"))
            if not key:
                raise self.error("trust names no key", 'write key: "file://..."', (*at, number))
            yield TrustRule(
                self._file(key),
                self._text(keys.get("names"), "*"),
                self._text(keys.get("origin"), "*"),
            )


# ---- A provider's config ---------------------------------------------------------------------


def config_of(provider: Provider, folder: Path) -> tuple[dict[str, JsonValue], str]:
    """Return a provider's config, read now.

    Args:
        provider: The provider.
        folder: From where relative paths count.

    Returns:
        The plugin's own keys; and where they come from, if they are not to be shown.

    Raises:
        ConfigError: What it names is missing or unusable.
    """
    said = provider.config
    if not isinstance(said, str):
        return _own(said), ""
    scheme, found, rest = said.partition("://")
    scheme = scheme.lower() if found else ""
    if scheme == "file":
        return _of_text(_content(folder / unquote(rest), provider.interface), provider), said
    if scheme == "env":
        name, _, query = rest.partition("?")
        value = os.environ.get(name)
        if not _VARIABLE.fullmatch(name) or query not in {"", "type=file"}:
            raise ConfigError(
                f"{provider.interface}: {shown(said)} does not name an environment variable",
                'write "env://NAME" or "env://NAME?type=file"',
            )
        if value is None:
            raise ConfigError(
                f"{provider.interface}: env variable {name} not found", f"set {name} and try again"
            )
        if query:
            value = _content(folder / value, provider.interface)
        return _of_text(value, provider), said
    return _of_text(said, provider), ""


def _content(path: Path, interface: str) -> str:
    where = printable(str(path))
    try:
        content = read_small(path, MAX_CONFIG_BYTES)
    except FileProblem as problem:
        raise ConfigError(
            f"{interface}: the config {where} {problem.reason}",
            problem.hint("correct config in the settings"),
        ) from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    raise ConfigError(f"{interface}: the config {where} is not UTF-8", "save it as UTF-8")


def _of_text(text: str, provider: Provider) -> dict[str, JsonValue]:
    """A text that is an object or an array of JSON is that; any other one stays as it is."""
    if not text.lstrip().startswith(("{", "[", "//", "/*")):
        return _own(text)
    try:
        root = Document(None, text=f'{{"config": {text}\n}}').root["config"]
    except ConfigError as error:
        # An excerpt could show what is secret, and so could what is quoted.
        told = _QUOTED.sub(_hidden, error.message.partition("\n")[0])
        raise ConfigError(
            f"{provider.interface}: its config is no JSON: {told}", error.hint
        ) from None
    return _own(root)


def _hidden(quoted: re.Match[str]) -> str:
    return quoted[0] if len(quoted[0]) < _SHORT else f'"{MASK}"'


def _own(value: JsonValue) -> dict[str, JsonValue]:
    if value is None:
        return {}
    return value if isinstance(value, dict) else {"config": value}
