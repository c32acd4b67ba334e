"""Pages of other origins: who may call, and who may change something."""

from __future__ import annotations

import pytest

from slipstream.errors import ConfigError
from slipstream.server import admin_app

PAGE = "https://admin.example.org"
OTHER = "https://evil.example.org"


def asked(origin: str, method: str = "PUT") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization, content-type",
    }


def test_a_configured_origin(make_host) -> None:
    host = make_host(cors_origins=[PAGE])
    host.load()
    with host.client("") as client:
        answer = client.options(f"/v2{host.base}/gated", headers=asked(PAGE))
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert answer.headers["access-control-allow-methods"] == "GET, POST, PUT, DELETE, OPTIONS"
        assert answer.headers["access-control-allow-headers"] == "Authorization, Content-Type"
        assert answer.headers["vary"] == "Origin"
        answer = client.options(f"{host.base}/gated", headers=asked(OTHER))
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
        # Errors can be read by the page, too.
        answer = client.get(host.base, headers={"Origin": PAGE})
        assert answer.status_code == 401
        assert answer.headers["access-control-allow-origin"] == PAGE
    with host.client() as client:
        assert client.put(f"{host.base}/gated", headers={"Origin": PAGE}).status_code == 200
        for origin in (OTHER, "null", f"{PAGE}.evil.org", "http://admin.example.org"):
            answer = client.post(f"{host.base}/gated/pause", headers={"Origin": origin})
            assert answer.status_code == 403, origin
            assert "access-control-allow-origin" not in answer.headers
        assert host.manager.plugins["gated"].state == "running"
        own = {"Origin": host.served.url}
        assert client.post(f"{host.base}/gated/pause", headers=own).status_code == 200


def test_without_tokens_only_pages_of_this_machine_are_their_own(make_host) -> None:
    host = make_host(tokens=None)
    host.load()
    with host.served.client() as client:
        path = f"{host.base}/gated/pause"
        assert client.post(path).status_code == 200
        assert client.post(path, headers={"Origin": host.served.url}).status_code == 200
        rebound = {"Origin": "http://evil.example.org:3030", "Host": "evil.example.org:3030"}
        assert client.post(path, headers=rebound).status_code == 403


def test_every_origin_only_without_tokens(host) -> None:
    with pytest.raises(ConfigError):
        admin_app(None, cors_origins=["*"], tokens=host.tokens)
    for origin in ("example.org", "https://example.org/path", "ftp://x", ""):
        with pytest.raises(ConfigError, match="not an origin"):
            admin_app(None, cors_origins=[origin])
    with pytest.raises(ConfigError, match="not a network"):
        admin_app(None, network="devnet")
