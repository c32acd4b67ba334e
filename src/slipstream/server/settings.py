"""What a daemon is told by its options, and everything that is wrong with it, at once."""

from __future__ import annotations

import base64
import binascii
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream._platform import group_number
from slipstream.config import PluginConfig, load_config, settle_own
from slipstream.errors import ConfigError, SlipstreamError
from slipstream.library import check_library_path, judge, verify_digest
from slipstream.packages.flags import Flags
from slipstream.server.data_dir import usual_folder
from slipstream.server.origins import Origins
from slipstream.server.sources.addresses import Address, is_loopback, parse_address, parse_host_port
from slipstream.server.sources.pace import Speed, parse_speed
from slipstream.server.token_files import TokenFiles

if TYPE_CHECKING:
    from slipstream.packages.settings import PluginSettings

NETWORKS = ("mainnet", "testnet", "canary")
USAGE, NOT_STARTED = 2, 3


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that keeps a daemon from starting.

    Attributes:
        where: The option or the file.
        error: What is wrong, and the next step.
        code: What a start would exit with.
    """

    where: str
    error: SlipstreamError
    code: int


@dataclass(slots=True, kw_only=True)
class Options:
    """The options as they were given; `docs/commands.md` says what each means."""

    configs: tuple[str, ...] = ()
    network: str = "mainnet"
    node: str = "client"
    data_dir: Path | None = None
    insecure_paths: bool = False
    safe_mode: bool = False
    events: str = ""
    loop: bool = False
    speed: str = ""
    record: Path | None = None
    listen: tuple[str, ...] = ()
    listen_insecure: bool = False
    listen_group: str = ""
    listen_mode: str = ""
    rest: str = "127.0.0.1:3030"
    norest: bool = False
    rest_rps: float = 10.0
    rest_insecure: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    cors_origins: tuple[str, ...] = ()
    config_dirs: tuple[str, ...] = ()
    jwt_secret: str = ""
    jwt_timestamp: int | None = None
    nojwt: bool = False
    nobanner: bool = False
    plugins: str = ""
    node_config: Path | None = None
    flags: Flags = field(default_factory=Flags)
    metrics_open: bool = False
    stop_timeout: float = 30.0
    log_level: str = "info"


@dataclass(slots=True)
class Settings:
    """The options, understood.

    Attributes:
        options: As they were given.
        configs: Those of the plugins that are to be loaded, in order, by their files.
        rest: Where REST is served; None: nowhere.
        listen: Where producers connect.
        listen_group: The number of the group of their socket files; -1: as the system gives it.
        listen_mode: The mode of their socket files.
        speed: How fast a file is sent.
        secret: The key for tokens, if it was given.
        packages: What --plugins or --config wants; None: nothing.
        warnings: What is doubtful.
        faults: What is wrong; then the rest may be missing.
    """

    options: Options
    configs: dict[str, PluginConfig] = field(default_factory=dict)
    rest: Address | None = None
    listen: list[Address] = field(default_factory=list)
    listen_group: int = -1
    listen_mode: int = 0o600
    speed: Speed = field(default_factory=Speed)
    secret: bytes | None = None
    packages: PluginSettings | None = None
    warnings: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """What a start would exit with."""
        return max((fault.code for fault in self.faults), default=0)

    def fault(self, where: str, error: SlipstreamError, code: int = USAGE) -> None:
        """Note what is wrong."""
        self.faults.append(Fault(where, error, code))


def understand(options: Options) -> Settings:
    """Check all configs and options; what is wrong is in `faults`."""
    found = Settings(options)
    _configs(found)
    _packages(found)
    _rest(found)
    _tokens(found)
    _listeners(found)
    _socket_files(found)
    _file(found)
    if options.node == "prover" and (options.configs or found.packages is not None):
        found.fault(
            "--prover",
            ConfigError(
                "a prover finalizes no blocks, so its plugins would never get an event",
                "use --client or --validator, or leave out --slipstream-config and --plugins",
            ),
        )
    return found


def read_config(path: str, *, insecure: bool) -> PluginConfig:
    """Read a plugin's config and hold it against its library, without running anything of it.

    Raises:
        SlipstreamError: What is wrong.
    """
    config = load_config(path)
    if not config.enabled:
        return config
    library = check_library_path(config.libpath, insecure=insecure)
    if config.sha256 is not None:
        verify_digest(library, config.sha256)
    info = judge(library, library)
    settle_own(config, None if info is None else info.config_schema)
    return config


def _configs(found: Settings) -> None:
    options = found.options
    seen: set[str] = set()
    names: dict[str, str] = {}
    for path in options.configs:
        real = os.path.realpath(path)
        if real in seen:
            found.fault(path, ConfigError("it is given twice", "leave one of them out"))
            continue
        seen.add(real)
        try:
            config = read_config(path, insecure=options.insecure_paths)
        except SlipstreamError as why:
            found.fault(path, why, NOT_STARTED)
            continue
        if not config.enabled:
            found.warnings.append(f"{path} says enabled: false, and is left out")
            continue
        if config.name is not None and config.name in names:
            error = ConfigError(
                f"the name {config.name} is taken by {names[config.name]}", "choose another `name`"
            )
            found.fault(path, error, NOT_STARTED)
        elif config.name is not None:
            names[config.name] = path
        found.configs[path] = config


def read_packages(options: Options) -> PluginSettings:
    """Read what --plugins or --config wants.

    Raises:
        ConfigError: It cannot be used.
    """
    # Late, here and below: a daemon without packages starts sooner.
    from slipstream.packages.settings import path_of_uri, read_settings  # noqa: PLC0415

    options.flags.check()
    if options.plugins and options.node_config is not None:
        raise ConfigError("only --plugins or --config must be set", "leave out one of them")
    if options.node_config is not None:
        return read_settings(options.node_config, in_node=True)
    return read_settings(path_of_uri(options.plugins, "plugins"))


def _packages(found: Settings) -> None:
    options = found.options
    where = "--plugins" if options.plugins else "--config"
    if not options.plugins and options.node_config is None:
        if options.flags != Flags():
            error = ConfigError("there are no packages to verify", "name settings: --plugins URI")
            found.fault("--plugins", error)
        return
    try:
        found.packages = read_packages(options)
    except ConfigError as why:
        found.fault(where, why, NOT_STARTED)
        return
    taken = {config.name for config in found.configs.values()}
    for name in found.packages.providers:
        if name in taken:
            error = ConfigError(f"the name {name} is taken by a config file", "choose another one")
            found.fault(where, error, NOT_STARTED)
    if not options.flags.trust_on_first_use:  # that may fetch a key, and write it down
        _check_packages(found, found.packages, where)
    if options.flags.skip_verify:
        found.warnings.append("--plugins.skipverify: who has made a package is not looked at")


def _check_packages(found: Settings, settings: PluginSettings, where: str) -> None:
    """Verify the packages that are here; what is to be fetched is seen when it has come."""
    from slipstream.packages.providers import Providers  # noqa: PLC0415

    options = found.options
    data = (options.data_dir or usual_folder(options.network)).absolute()
    try:
        providers = Providers(settings, options.flags, data)
    except SlipstreamError as why:
        found.fault(where, why, NOT_STARTED)
        return
    for name in settings.providers:
        try:
            providers.check(name)
        except SlipstreamError as why:
            found.fault(f"the provider {name}", why, NOT_STARTED)


def _rest(found: Settings) -> None:
    options = found.options
    if bool(options.tls_cert) != bool(options.tls_key):
        found.fault("--tls-cert", ConfigError("--tls-cert and --tls-key go together", "give both"))
    given = {"--tls-cert": options.tls_cert, "--tls-key": options.tls_key}
    unread = [name for name, file in given.items() if file and not os.access(file, os.R_OK)]
    for name in unread:
        error = ConfigError(f"{given[name]} cannot be read", "check its path and mode")
        found.fault(name, error)
    if options.tls_cert and options.tls_key and not unread:
        _certificate(found, options.tls_cert, options.tls_key)
    if options.rest_rps < 0:
        found.fault("--rest-rps", ConfigError("it is negative", "0 means no limit"))
    _origins(found)
    if options.norest:
        return
    try:
        found.rest = parse_host_port(options.rest)
    except ConfigError as error:
        found.fault("--rest", error)
        return
    if not is_loopback(found.rest.host):
        _reachable(found)


def _certificate(found: Settings, cert: Path, key: Path) -> None:
    import ssl  # noqa: PLC0415 - 10 ms that only TLS needs

    try:
        # Without the password nobody is asked for one.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="")
    except (ssl.SSLError, OSError, ValueError) as problem:
        error = ConfigError(
            f"{cert} and {key} cannot be used for TLS: {problem}",
            "give a PEM file with the certificate and its chain, and one with its key, without a "
            "password",
        )
        found.fault("--tls-cert", error)


def _origins(found: Settings) -> None:
    options = found.options
    for origin in options.cors_origins:
        try:
            Origins([origin], with_tokens=not options.nojwt)
            if origin == "*" and not options.nojwt:
                raise ConfigError("pages of every origin would be let in", "name their origins")
        except ConfigError as error:
            found.fault("--cors-origin", error)


def _reachable(found: Settings) -> None:
    """REST is for others, too."""
    options = found.options
    if options.nojwt:
        error = ConfigError(
            f"without tokens everybody who reaches {options.rest} could load code",
            "leave out --nojwt, or use --rest 127.0.0.1:3030",
        )
        found.fault("--nojwt", error)
    if options.tls_cert is None and not options.rest_insecure:
        error = ConfigError(
            f"tokens would cross the network to {options.rest} unencrypted",
            "give --tls-cert and --tls-key, or --rest-insecure if a proxy in front has TLS",
        )
        found.fault("--rest", error)


def _tokens(found: Settings) -> None:
    options = found.options
    if not options.norest and not options.nojwt:
        try:
            folder = options.data_dir or usual_folder(options.network)
            if folder.is_dir():  # what else it may be is told by who takes it
                TokenFiles(folder).check(with_key=not options.jwt_secret)
        except SlipstreamError as why:
            found.fault("--data-dir", why, NOT_STARTED)
    text = options.jwt_secret
    if not text:
        return
    try:
        found.secret = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        found.secret = b""
    if len(found.secret) < 16:
        error = ConfigError(
            "it is not at least 16 bytes in base64", "openssl rand -base64 32 makes a good one"
        )
        found.fault("--jwt-secret", error)
    elif len(found.secret) < 32:
        found.warnings.append("--jwt-secret has fewer than 32 bytes, as snarkOS makes them")


def _listeners(found: Settings) -> None:
    options = found.options
    for text in options.listen:
        try:
            address = parse_address(text)
        except ConfigError as why:
            found.fault("--listen", why)
            continue
        if not address.is_local and not options.listen_insecure:
            error = ConfigError(
                f"everybody who reaches {address} could send events",
                "listen at a loopback address, or say --listen-insecure",
            )
            found.fault("--listen", error)
        found.listen.append(address)


def _socket_files(found: Settings) -> None:
    """Who may connect to the socket files of producers."""
    options = found.options
    given = {"--listen-group": options.listen_group, "--listen-mode": options.listen_mode}
    if not any(text.startswith("unix:") for text in options.listen):
        for name in (name for name, text in given.items() if text):
            error = ConfigError("it is for a socket file only", "give --listen unix:PATH, too")
            found.fault(name, error)
        return
    if options.listen_group:
        found.listen_mode = 0o660
        number = group_number(options.listen_group)
        if number is None:
            error = ConfigError(
                f"there is no group {options.listen_group!r}", "see /etc/group: getent group"
            )
            found.fault("--listen-group", error)
        else:
            found.listen_group = number
    if options.listen_mode:
        if re.fullmatch("0?[0-7]{3}", options.listen_mode) is None:
            error = ConfigError(
                f"{options.listen_mode!r} is not a mode of a socket file", "write it as 0660"
            )
            found.fault("--listen-mode", error)
            return
        found.listen_mode = int(options.listen_mode, 8)
    if found.listen_mode & 0o002 and not options.listen_insecure:
        error = ConfigError(
            "every user of this machine could send events",
            "use --listen-group and 0660, or say --listen-insecure",
        )
        found.fault("--listen-mode", error)


def _file(found: Settings) -> None:
    options = found.options
    if not options.events:
        for name, given in (("--loop", options.loop), ("--speed", options.speed)):
            if given:
                found.fault(name, ConfigError("it needs --events", "name a file, too"))
        return
    if options.events == "-" and options.loop:
        error = ConfigError("standard input has no beginning to go back to", "name a file")
        found.fault("--loop", error)
    if options.events != "-" and not os.access(options.events, os.R_OK):
        error = ConfigError(f"{options.events} cannot be read", "check its path and mode")
        found.fault("--events", error)
    if options.speed:
        try:
            found.speed = parse_speed(options.speed)
        except ConfigError as why:
            found.fault("--speed", why)
