"""A served application with tokens, and a plugin that does as its config says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slipstream import PluginManager
from slipstream.server import admin_app
from slipstream.server.tokens import Tokens
from support.gated import Gated
from support.rest import Served


class Host:
    """A manager with an application that is served, and a folder of configs."""

    def __init__(self, folder: Path, gated: Gated, **options: object) -> None:
        self.folder = folder
        self.gated = gated
        self.configs = folder / "configs"
        self.configs.mkdir()
        self.manager = PluginManager("thread", insecure_paths=True, data_dir=folder / "data")
        self.tokens = Tokens(folder / "keys")
        self.audit = folder / "audit.jsonl"
        settings = {
            "tokens": self.tokens,
            "config_dirs": [self.configs],
            "rest_rps": 0,
            "audit": self.audit,
            **options,
        }
        self.app = admin_app(self.manager, **settings)
        self.served = Served(self.app)
        self.token = self.tokens.issue("tester")
        self.base = "/mainnet/slipstream/plugins"

    def config(self, file: str = "gated.json5", **more: object) -> str:
        """Write a config file; returns its path."""
        import json

        path = self.configs / file
        path.write_text(json.dumps({**self.gated.config(), **more}))
        return str(path)

    def load(self, **more: object) -> None:
        self.manager.load_plugin(self.config(**more))

    def client(self, token: str | None = None, **headers: str):
        return self.served.client(self.token if token is None else token, **headers)


@pytest.fixture
def make_host(
    compile_plugin: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> Iterator[Callable[..., Host]]:
    caplog.set_level("INFO", "slipstream")
    made: list[Host] = []

    def make(**options: object) -> Host:
        folder = tmp_path / f"host{len(made)}"
        folder.mkdir()
        host = Host(folder, Gated(compile_plugin, folder), **options)
        host.served.__enter__()
        made.append(host)
        return host

    yield make
    for host in made:
        host.served.__exit__()
        host.manager.close()


@pytest.fixture
def host(make_host: Callable[..., Host]) -> Host:
    return make_host()
