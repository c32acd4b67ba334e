"""``slipstream start``: the daemon."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from slipstream.errors import ConfigError
from slipstream.server.daemon import Daemon, Outcome
from slipstream.server.data_dir import DataFolderInUse
from slipstream.server.log_file import LogFile
from slipstream.server.settings import NETWORKS, Options, understand
from slipstream.server.settings import Settings as Understood
from slipstream.server.sources.addresses import CannotBind
from slipstream.text import counted

from ._errors import BAD_EVENTS, FAILED, Ended
from ._logging import Settings
from ._output import emit, say
from ._package_store import verifying
from ._paths import PATH, TEXT_PATH

IN_USE = 5

_NETWORK_NUMBERS = {"0": "mainnet", "1": "testnet", "2": "canary"}  # as snarkOS numbers them


class _Network(click.ParamType):  # type: ignore[type-arg]
    name = "network"

    def convert(self, value: str, param: Any, ctx: Any) -> str:
        name = _NETWORK_NUMBERS.get(value, value)
        if name not in NETWORKS:
            self.fail(f"{value!r} is none of {', '.join(NETWORKS)}", param, ctx)
        return name


_OPTIONS = (
    click.option(
        "--slipstream-config",
        "configs",
        metavar="FILE",
        type=TEXT_PATH,
        multiple=True,
        help="A plugin's config file; once for each plugin, in the order of loading.",
    ),
    click.option(
        "--plugins",
        metavar="URI",
        default="",
        help="Settings of plugins that come in packages: file:///... or a path.",
    ),
    click.option(
        "--config",
        "node_config",
        type=PATH,
        metavar="FILE",
        help="A node's TOML file that has these settings under [Node.Plugins].",
    ),
    click.option(
        "--network",
        type=_Network(),
        default="mainnet",
        metavar="NAME",
        help="mainnet (the default), testnet or canary; 0, 1 or 2 as well.",
    ),
    click.option("--validator", "node", flag_value="validator", help="The node is a validator."),
    click.option(
        "--client", "node", flag_value="client", default=True, help="The node is a client."
    ),
    click.option("--prover", "node", flag_value="prover", help="The node is a prover: no plugins."),
    click.option(
        "--data-dir",
        metavar="DIR",
        type=PATH,
        help="Where the daemon and its plugins keep what they need; one daemon each. "
        "By default $STATE_DIRECTORY, else $XDG_STATE_HOME/slipstream/NETWORK.",
    ),
    click.option(
        "--events",
        metavar="FILE",
        type=TEXT_PATH,
        default="",
        help="Send the events of a file; - is standard input. At its end the daemon goes on.",
    ),
    click.option(
        "--loop", is_flag=True, help="Begin the file again at its end, with new sequences."
    ),
    click.option(
        "--speed",
        metavar="N",
        default="",
        help="2: twice as fast as the times in the events; 5000/s: 5,000 events a second. Without "
        "it: as fast as plugins take them.",
    ),
    click.option(
        "--listen",
        metavar="ADDRESS",
        multiple=True,
        help="Accept events from producers: unix:PATH or tcp:HOST:PORT. May be given several "
        "times.",
    ),
    click.option(
        "--record",
        type=PATH,
        metavar="FILE",
        help="Append all events to a capture, too; what is not recorded is not settled.",
    ),
    click.option(
        "--listen-insecure",
        is_flag=True,
        help="Allow --listen where other users or machines can connect.",
    ),
    click.option(
        "--listen-group",
        default="",
        metavar="GROUP",
        help="The group of the socket files of --listen: its members may connect.",
    ),
    click.option(
        "--listen-mode",
        default="",
        metavar="MODE",
        help="The mode of those files: 0600 by default, 0660 with --listen-group. If every user "
        "may write to them, --listen-insecure is needed.",
    ),
    click.option(
        "--rest",
        metavar="HOST:PORT",
        default="127.0.0.1:3030",
        show_default=True,
        help="Where REST is served.",
    ),
    click.option("--norest", is_flag=True, help="Serve no REST; the admin socket is still there."),
    click.option(
        "--rest-rps",
        type=float,
        default=10.0,
        show_default=True,
        metavar="N",
        help="Requests a second from one address; 0 means no limit.",
    ),
    click.option("--rest-insecure", is_flag=True, help="Serve REST to other machines without TLS."),
    click.option(
        "--tls-cert",
        type=PATH,
        metavar="FILE",
        help="The certificate for REST.",
    ),
    click.option(
        "--tls-key",
        type=PATH,
        metavar="FILE",
        help="Its key.",
    ),
    click.option(
        "--cors-origin",
        "cors_origins",
        multiple=True,
        metavar="ORIGIN",
        help="Pages of this origin may call REST; may be given several times.",
    ),
    click.option(
        "--config-dir",
        "config_dirs",
        multiple=True,
        metavar="DIR",
        type=TEXT_PATH,
        help="REST may load configs from below this folder; by default the folders of those given.",
    ),
    click.option(
        "--jwt-secret",
        default="",
        metavar="BASE64",
        help="The key for tokens, instead of the one in the data folder.",
    ),
    click.option(
        "--jwt-timestamp",
        type=int,
        metavar="SECONDS",
        help="When the token of this start counts as issued, in seconds since 1970.",
    ),
    click.option("--nojwt", is_flag=True, help="Require no tokens; only on a loopback address."),
    click.option("--nobanner", is_flag=True, help="Neither print a token nor write it to a file."),
    click.option("--metrics-open", is_flag=True, help="/metrics needs no token."),
    click.option(
        "--stop-timeout",
        type=click.FloatRange(0.0, 86400.0),
        default=30.0,
        show_default=True,
        metavar="SECONDS",
        help="The longest wait for plugins at the end; then they are unloaded.",
    ),
    click.option(
        "--log-file",
        "--logfile",
        type=PATH,
        metavar="FILE",
        help="Append log lines to a file; SIGUSR1 reopens it.",
    ),
    click.option("--safe-mode", is_flag=True, help="Start every plugin paused."),
    click.option(
        "--insecure-paths", is_flag=True, help="Load libraries that other users could replace, too."
    ),
    click.option(
        "--check-config",
        is_flag=True,
        help="Say all that is wrong with configs and options, and end.",
    ),
)


def _with_options(command: Any) -> Any:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command(
    epilog="Example: slipstream start --slipstream-config ledger.json5 --listen unix:/run/node.sock"
)
@_with_options
@verifying
@click.pass_obj
def start(settings: Settings, /, *, check_config: bool, log_file: Path | None, **given: Any) -> int:
    """Run plugins as a daemon, until it is stopped.

    Events come from a file, standard input, or producers (docs/producers.md). SIGTERM and SIGINT
    end it, SIGHUP reads the configs again, SIGUSR1 opens the log file anew.
    """
    options = Options(log_level=settings.log_level, **given)
    understood = understand(options)
    _refuse(understood, check_config=check_config)
    if check_config:
        wanted = [] if understood.packages is None else understood.packages.providers
        number = len(understood.configs) + len(wanted)
        emit(f"nothing is wrong: {counted(number, 'plugin')}\n")
        return 0
    reopen = _nothing if log_file is None else _to_file(log_file)
    daemon = Daemon(understood, show=_show, reopen_log=reopen)
    try:
        outcome = daemon.run()
    except (CannotBind, DataFolderInUse) as error:
        raise Ended(error.message, error.hint, IN_USE) from None
    return _code(outcome)


def _nothing() -> None:
    """There is no log file."""


def _show(text: str) -> None:
    """Tell whoever has started it; that he does not read it ends no daemon."""
    with contextlib.suppress(OSError, ValueError, click.exceptions.Exit):
        emit(text)
        sys.stdout.flush()


def _refuse(understood: Understood, *, check_config: bool) -> None:
    """Tell all that is wrong, if anything is."""
    if check_config:
        for text in understood.warnings:
            say(f"warning: {text}")
    faults = understood.faults
    if not faults:
        return
    for fault in faults[:-1]:
        say(f"error: {fault.where}: {fault.error.message}")
        if fault.error.hint:
            say(f"  next: {fault.error.hint}")
    last = faults[-1]
    raise Ended(f"{last.where}: {last.error.message}", last.error.hint, understood.exit_code)


def _to_file(path: Path) -> Callable[[], None]:
    """Let log lines go to a file; return what reopens it."""
    logger = logging.getLogger("slipstream")
    try:
        file = LogFile(path)
    except ConfigError as error:
        raise click.UsageError(f"{error.message}; {error.hint}") from None
    file.setFormatter(logger.handlers[0].formatter)
    logger.handlers[:1] = [file]
    return file.reopen


def _code(outcome: Outcome) -> int:
    if outcome.source is not None:
        return BAD_EVENTS
    failed = outcome.undelivered or outcome.unrecorded or outcome.broken
    return FAILED if failed else 0
