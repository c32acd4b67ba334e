"""An application with plugins: its own events and pages, and the admin surface of slipstream.

python examples/host-asgi/host.py CONFIG...   then see the addresses that it prints
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from slipstream import PluginManager
from slipstream.server import Tokens, admin_app

SECONDS = 0.1


def make_app(manager: PluginManager, configs: list[Path], data: Path) -> Starlette:
    """Return an application that sends an event now and then, with the admin surface at /admin."""
    tokens = Tokens(data)
    sent = 0

    def metrics(_openmetrics: bool) -> tuple[bytes, str]:  # noqa: FBT001 - admin_app calls it so
        lags = [
            f'host_plugin_lag{{plugin="{plugin.name}"}} {plugin.counters.lag}'
            for plugin in list(manager.plugins.values())
        ]
        lines = [f"host_events_sent_total {sent}", *lags, ""]
        return "\n".join(lines).encode(), "text/plain; version=0.0.4"

    admin = admin_app(
        manager,
        tokens=tokens,
        config_dirs={path.parent for path in configs},
        audit=data / "audit.jsonl",
        metrics=metrics,
        metrics_open=True,
    )

    async def tick() -> None:
        nonlocal sent
        while True:
            manager.mapping_update(b"clock", b"ticks", b"now", str(sent).encode(), sent)
            sent += 1
            await asyncio.sleep(SECONDS)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with admin:  # whoever mounts it ends it
            ticking = asyncio.create_task(tick())
            yield
            ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ticking

    async def home(_request: Request) -> JSONResponse:
        return JSONResponse({"sent": sent, "plugins": manager.list_plugins()})

    return Starlette(routes=[Route("/", home), Mount("/admin", admin)], lifespan=lifespan)


def main() -> None:
    """Load the plugins, print a token, serve."""
    logging.basicConfig(level=logging.INFO)
    configs = [Path(name).absolute() for name in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as folder, PluginManager("process") as manager:
        data = Path(folder)
        for path in configs:
            manager.load_plugin(path)
        app = make_app(manager, configs, data)
        print(f"token: {Tokens(data).issue('me')}", flush=True)
        uvicorn.run(app, host="127.0.0.1", port=8000, log_level="warning")


if __name__ == "__main__":
    main()
