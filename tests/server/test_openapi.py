"""The description of the routes, and the page on them, say what is served."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import jsonschema

from slipstream.server.routes import PREFIXES, ROUTES

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_up_to_date() -> None:
    tool = ROOT / "tools" / "rest_page.py"
    code = f"import runpy; print(runpy.run_path({str(tool)!r})['page'](), end='')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    page = (ROOT / "docs" / "rest.md").read_text(encoding="utf-8")
    assert done.stdout == page, "run: python tools/rest_page.py"


def test_the_description(make_host) -> None:
    host = make_host(metrics=lambda _: (b"", "text/plain"))
    host.load()
    with host.client() as client:
        described = client.get("/openapi.json").json()
        assert described["openapi"] == "3.1.0"
        assert [server["url"] for server in described["servers"]] == [
            prefix or "/" for prefix in PREFIXES
        ]
        offered = [route for route in ROUTES if host.app.offers(route)]
        assert len(offered) >= len(ROUTES) - 1
        for route in offered:
            path = route.path.replace("{network}", "mainnet")
            operation = described["paths"][path][route.method.lower()]
            assert [*operation["responses"]] == [str(code) for code in route.codes]
            assert bool(operation["security"]) == (route.scope is not None)
        # What is answered is as described.
        for route in ROUTES:
            if route.method == "GET" and "application/json" in route.gives:
                answer = client.get(route.path.format(network="mainnet", name="gated"))
                jsonschema.validate(answer.json(), route.gives["application/json"])
        names = [
            operation["operationId"]
            for path in described["paths"].values()
            for method, operation in path.items()
            if method != "parameters"
        ]
        assert len(names) == len(set(names))
        for reference in re.findall(r'"\$ref": ?"#/([^"]+)"', client.get("/openapi.json").text):
            value = described
            for part in reference.split("/"):
                value = value[part]


def test_it_knows_where_it_is_mounted() -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount

    from slipstream.server import admin_app
    from support.rest import Served

    admin = admin_app(None)
    served = Served(Starlette(routes=[Mount("/a/b", admin), Mount("/", admin_app(None))]))
    served.app.stop = admin.stop
    with served, served.client() as client:
        servers = client.get("/a/b/v2/openapi.json").json()["servers"]
        assert [server["url"] for server in servers] == ["/a/b", "/a/b/v1", "/a/b/v2"]
        assert client.get("/a/b/mainnet/slipstream/plugins").status_code == 503
        assert client.get("/a/b/nix").json()["error_type"] == "not_found"
