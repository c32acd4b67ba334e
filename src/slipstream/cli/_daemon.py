"""How commands reach a daemon: its admin socket, or a URL with a token."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from slipstream.extras import need
from slipstream.server.data_dir import usual_folder

from ._paths import PATH

if TYPE_CHECKING:
    from slipstream.server.client import Client

_OPTIONS = (
    click.option(
        "--data-dir",
        metavar="DIR",
        envvar="SLIPSTREAM_DATA_DIR",
        type=PATH,
        help="The daemon's data folder; by default $SLIPSTREAM_DATA_DIR, else that of the network.",
    ),
    click.option(
        "--network", metavar="NAME", default="", help="mainnet (the default), testnet or canary."
    ),
    click.option(
        "--url",
        metavar="URL",
        default="",
        envvar="SLIPSTREAM_URL",
        help="Instead of the folder: where its REST is.",
    ),
    click.option(
        "--token-file",
        metavar="FILE",
        envvar="SLIPSTREAM_TOKEN_FILE",
        type=PATH,
        help="The file with the token for --url.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Write JSON instead of text."),
)


def reaches_daemon(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say which daemon; it gets `client`, and `as_json`."""

    @functools.wraps(command)
    def with_client(
        *, data_dir: Path | None, network: str, url: str, token_file: Path | None, **more: Any
    ) -> Any:
        with client_of(data_dir, network, url, token_file) as client:
            return command(client=client, **more)

    for option in reversed(_OPTIONS):
        with_client = option(with_client)
    return with_client


def client_of(data_dir: Path | None, network: str, url: str, token_file: Path | None) -> Client:
    """Return a client for what the options say.

    Raises:
        SlipstreamError: They cannot be used.
    """
    module: Any = need("slipstream.server.client", "server")
    client: Client
    if not url:
        folder = data_dir or usual_folder(network or "mainnet")
        client = module.Client(socket=folder / "admin.sock", network=network)
        return client
    token = "" if token_file is None else module.read_token(token_file)
    client = module.Client(url=url, token=token, network=network)
    return client


def complete_plugin(context: click.Context, _parameter: object, begun: str) -> list[str]:
    """Return the names of plugins of the running daemon that begin so; none where none runs."""
    given = {
        name: context.params.get(name) for name in ("data_dir", "network", "url", "token_file")
    }
    try:
        folder = given["data_dir"]
        with client_of(
            Path(folder) if folder else None,
            str(given["network"] or ""),
            str(given["url"] or ""),
            Path(given["token_file"]) if given["token_file"] else None,
        ) as client:
            return [name for name in client.names() if name.startswith(begun)]
    except Exception:  # noqa: BLE001 - a shell that completes shows no errors
        return []
