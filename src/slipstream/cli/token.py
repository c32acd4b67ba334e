"""``slipstream token``: issue, list and revoke the tokens of a daemon, and rotate its key."""

from __future__ import annotations

import json
import re
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from slipstream.extras import need
from slipstream.text import printable

from ._errors import USAGE, Ended
from ._output import emit
from ._paths import OLD_FOLDER
from ._tables import show_table

if TYPE_CHECKING:
    from slipstream.server.token_files import Issued
    from slipstream.server.tokens import Tokens

# As in slipstream.server.routes; a wrong one is refused there.
_SCOPES = "plugins:read plugins:write metrics:read"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _seconds(value: str) -> float:
    match = re.fullmatch(r"(\d{1,6})([smhd])", "0s" if value == "0" else value)
    if match is None:
        raise click.BadParameter(f"{value!r} is not a time with a unit: write 30d, 12h or 90s")
    return float(int(match[1]) * _UNITS[match[2]])


def _tokens(folder: Path, network: str, *, check: bool = True) -> Tokens:
    need("slipstream.server.tokens", "server")
    from slipstream.server.tokens import Tokens  # noqa: PLC0415 - what this needs may be missing

    return Tokens(folder, network, check=check)


_data_dir = click.option(
    "--data-dir",
    metavar="DIR",
    type=OLD_FOLDER,
    required=True,
    help="The data folder of the daemon.",
)
_network = click.option(
    "--network",
    type=click.Choice(["mainnet", "testnet", "canary"]),
    default="mainnet",
    show_default=True,
    help="The network of the daemon.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Write JSON.")


@click.group(epilog="Example: slipstream token issue grafana --data-dir DIR --scope metrics:read")
def token() -> None:
    """Issue, list and revoke tokens, or rotate the key that signs them.

    A daemon that runs sees each change at once.
    """


@token.command(epilog="Example: slipstream token issue deploy --data-dir DIR --life 7d")
@click.argument("subject", metavar="SUBJECT")
@_data_dir
@_network
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    metavar="SCOPE",
    help=f"What it allows; may be given more than once. Without it: {_SCOPES}.",
)
@click.option(
    "--life",
    metavar="TIME",
    type=_seconds,
    default="30d",
    show_default=True,
    help="How long it is good.",
)
@_json
def issue(  # noqa: PLR0913 - the options of the command
    *,
    subject: str,
    data_dir: Path,
    network: str,
    scopes: tuple[str, ...],
    life: float,
    as_json: bool,
) -> None:
    """Issue a token, and write it to standard output. SUBJECT says who uses it."""
    text = _tokens(data_dir, network).issue(subject, scopes or _SCOPES.split(), life=life)
    emit(json.dumps({"token": text}) + "\n" if as_json else f"{text}\n")


@token.command("list", epilog="Example: slipstream token list --data-dir DIR --json")
@_data_dir
@_network
@_json
def list_(*, data_dir: Path, network: str, as_json: bool) -> None:
    """List the tokens that have not ended, revoked ones too.

    The tokens themselves are kept nowhere.
    """
    found = _tokens(data_dir, network).issued()
    if as_json:
        emit(json.dumps([_shown(one) for one in found]) + "\n")
        return
    heads = ("jti", "subject", "scope", "issued", "ends", "state")
    states = {True: "revoked", False: "good"}
    rows = [
        (one.jti, one.sub, one.scope, _date(one.iat), _date(one.exp), states[one.revoked])
        for one in found
    ]
    show_table(heads, rows)


@token.command(
    epilog="Example: slipstream token revoke 5f1c0e9a7b3d4826a1e0c4d29b7f6538 --data-dir DIR"
)
@click.argument("jti", metavar="JTI")
@_data_dir
@_network
@_json
def revoke(*, jti: str, data_dir: Path, network: str, as_json: bool) -> None:
    """Revoke the token with the number JTI. `list` shows the numbers."""
    if re.fullmatch(r"[0-9a-f]{32}", jti) is None:
        raise Ended(
            f"{printable(jti)!r} is not the number (jti) of a token: it has 32 hexadecimal digits; "
            "nothing was revoked",
            f"slipstream token list --data-dir {shlex.quote(str(data_dir))} shows the numbers",
            USAGE,
        )
    known = _tokens(data_dir, network).revoke(jti)
    if as_json:
        emit(json.dumps({"revoked": jti, "known": known is not None}) + "\n")
        return
    whose = ", which was not issued here," if known is None else f" of {known.sub}"
    emit(f"{jti}{whose} is revoked\n")


@token.command(epilog="Example: slipstream token rotate --data-dir DIR --grace 1h")
@_data_dir
@_network
@click.option(
    "--grace",
    metavar="TIME",
    type=_seconds,
    default="1d",
    show_default=True,
    help="How long tokens of the present key stay good; 0: they end at once.",
)
@_json
def rotate(*, data_dir: Path, network: str, grace: float, as_json: bool) -> None:
    """Sign with a new key from now on.

    Tokens of the present key stay good for the time of --grace, those of older keys end at once.
    With --grace 0 all tokens end, and files that are missing or damaged are made anew.
    """
    key = _tokens(data_dir, network, check=False).rotate(grace)
    if as_json:
        emit(json.dumps({"rotated": key.name, "grace": grace}) + "\n")
        return
    emit(f"tokens are signed with the key {key.name}; those of the one before end in {grace:g} s\n")


def _shown(one: Issued) -> dict[str, object]:
    names = ("jti", "sub", "scope", "iat", "exp", "kid", "revoked")
    return {name: getattr(one, name) for name in names}


def _date(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at))
