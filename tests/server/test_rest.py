"""Every route, code and body, over real HTTP, at the plain paths and below /v1 and /v2."""

from __future__ import annotations

import json

import pytest

from slipstream.server.routes import PREFIXES, ROUTES
from support.gated import wait_until
from support.rest import read_all

ERROR = {"message", "error_type", "chain"}


def refused(answer, code: int, kind: str, message: str | None = None) -> dict:
    assert answer.status_code == code, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == ERROR
    assert body["error_type"] == kind
    assert message is None or body["message"] == message, body
    return body


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_life_of_a_plugin(host, prefix) -> None:
    base = prefix + host.base
    with host.client() as client:
        assert client.get(base).json() == []
        assert client.get(f"{prefix}/readyz").json() == {"ready": True}
        assert client.get(f"{prefix}/healthz").json() == {"healthy": True}
        answer = client.post(base, json={"config_file": host.config(password="env://PATH")})
        assert (answer.status_code, answer.json()) == (200, {"loaded": "gated"})
        assert client.get(base).json() == ["gated"]
        for _ in range(3):
            host.manager.mapping_update(b"p", b"m", b"k", b"v", 1)
        assert client.post(f"{base}/gated/flush").json() == {"flushed": "gated"}

        status = client.get(f"{base}/gated").json()
        assert status["state"] == "running"
        assert status["mode"] == "thread"
        assert status["version"] == "1"
        assert status["path"] == str(host.gated.library)
        assert len(status["digest"]) == 64
        assert status["config_file"] == str(host.configs / "gated.json5")
        assert status["counters"]["delivered"] == 3
        assert status["counters"]["lag"] == 0
        assert status["callback"]["count"] == sum(status["callback"]["buckets"]) == 3
        assert status["config"]["own"]["password"] == "***(env://PATH)"
        assert status["config"]["ring_bytes"] == 16 << 20

        assert client.post(f"{base}/gated/pause").json() == {"paused": "gated"}
        body = refused(client.get(f"{prefix}/readyz"), 503, "service_unavailable", "not ready")
        assert body["chain"] == ["gated is paused"]
        assert client.get(f"{prefix}/healthz").status_code == 200
        assert client.post(f"{base}/gated/resume").json() == {"resumed": "gated"}
        assert client.get(f"{prefix}/readyz").status_code == 200

        answer = client.put(f"{base}/gated")
        assert answer.json() == {"reloaded": "gated", "version": "1", "previous_version": "1"}
        answer = client.put(f"{base}/gated", json={"config_file": host.config("other.json5")})
        assert answer.json()["reloaded"] == "gated"
        logs = client.get(f"{base}/gated/logs").json()
        assert "plugin reloaded" in [line["text"] for line in logs]
        assert [line["number"] for line in logs] == [*range(1, len(logs) + 1)]
        assert client.get(f"{base}/gated/logs?lines=1").json() == logs[-1:]
        assert client.get(f"{base}/gated/crashes").json() == []
        assert client.get(f"{base}/gated/dead-letters").text == ""

        assert client.delete(f"{base}/gated").json() == {"unloaded": True}
        refused(client.delete(f"{base}/gated"), 404, "not_found", "no plugin gated is loaded")
        assert client.get(base).json() == []


@pytest.mark.parametrize("prefix", PREFIXES)
def test_what_is_refused(host, prefix) -> None:
    base = prefix + host.base
    host.load()
    missing = "Missing required field: config_file"
    kinds = {"Content-Type": "application/json"}
    with host.client() as client:
        refused(client.post(base), 400, "bad_request", missing)
        refused(client.post(base, json={}), 400, "bad_request", missing)
        refused(client.post(base, json={"config_file": 7}), 400, "bad_request")
        refused(client.post(base, json={"config_file": ""}), 400, "bad_request")
        refused(client.post(base, json=[]), 400, "bad_request")
        for text in ("{", "[" * 60_000, '{"config_file": ' + "9" * 5000, "\xff", '"\\ud800"'):
            content = text.encode("latin-1")
            refused(client.post(base, content=content, headers=kinds), 400, "bad_request")
        refused(client.post(base, content=b"{}"), 415, "unsupported_media_type")
        refused(client.put(f"{base}/gated", content=b"{}"), 415, "unsupported_media_type")
        large = b" " * (64 * 1024 + 1)
        for content in (large, iter([large])):
            answer = client.post(base, content=content, headers=kinds)
            refused(answer, 413, "payload_too_large")
        refused(client.get(f"{base}/nix"), 404, "not_found", "no plugin nix is loaded")
        for what in ("pause", "resume", "flush"):
            refused(client.post(f"{base}/nix/{what}"), 404, "not_found")
        for what in ("logs", "crashes", "dead-letters"):
            refused(client.get(f"{base}/nix/{what}"), 404, "not_found")
        refused(client.get(f"{base}/gated/logs?lines=-1"), 400, "bad_request")
        refused(client.get(f"{base}/gated/dead-letters?limit=x"), 400, "bad_request")
        for path in (f"{base}/", f"{base}/gated/nix"):
            refused(client.get(path), 404, "not_found", "there is nothing here")
        answer = client.get(f"{prefix}/canary/slipstream/plugins")
        refused(answer, 404, "not_found", "this host serves mainnet, not canary")
        refused(client.get(f"{prefix}/metrics"), 404, "not_found")
        answer = client.patch(f"{base}/gated")
        refused(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == "GET, PUT, DELETE, HEAD, OPTIONS"
        answer = client.post(base, json={"config_file": host.config()})
        body = refused(answer, 422, "unprocessable_entity")
        assert "is loaded already" in body["message"]
        host.config("broken.json5", load_status=5, name="broken", libpath="/nix.so")
        answer = client.post(base, json={"config_file": "broken.json5"})
        assert "/nix.so" in refused(answer, 422, body["error_type"])["message"]
        (host.configs / "bad.json5").write_text("{ libpath: ")
        answer = client.post(base, json={"config_file": "bad.json5"})
        assert "bad.json5" in refused(answer, 422, body["error_type"])["message"]
        worse = host.config("worse.json5", load_status=5)
        answer = client.put(f"{base}/gated", json={"config_file": worse})
        body = refused(answer, 422, body["error_type"])
        assert "told to fail" in body["message"]
        assert body["chain"][-1] == "version 1 serves on"
        assert client.get(f"{base}/gated").json()["state"] == "running"
        host.manager.pause("gated")
        body = refused(client.post(f"{base}/gated/flush"), 500, "internal_server_error")
        assert "gated (paused)" in body["message"]


def test_tokens_and_scopes(make_host) -> None:
    host = make_host(metrics=lambda openmetrics: (b"# EOF\n", f"text/plain; open={openmetrics}"))
    host.load()
    with host.client("") as client:
        for route in ROUTES:
            path = route.path.format(network="mainnet", name="gated")
            answer = client.request(route.method, path)
            if route.scope is None:
                assert answer.status_code in {200, 404}, path
            else:
                refused(answer, 401, "unauthorized", "a token is needed")
                assert answer.headers["www-authenticate"] == "Bearer"
    for route in ROUTES:
        others = {"plugins:read", "plugins:write", "metrics:read"} - {route.scope}
        with host.client(host.tokens.issue("other", others)) as client:
            path = route.path.format(network="mainnet", name="gated")
            if route.scope is not None:
                message = f"this token does not allow {route.scope}"
                refused(client.request(route.method, path), 403, "forbidden", message)
    with host.client(host.tokens.issue("scraper", ["metrics:read"])) as client:
        answer = client.get("/metrics")
        assert (answer.text, answer.headers["content-type"]) == (
            "# EOF\n",
            "text/plain; open=False",
        )
        answer = client.get("/v2/metrics", headers={"Accept": "application/openmetrics-text"})
        assert answer.headers["content-type"] == "text/plain; open=True"


def test_metrics_may_be_open(make_host) -> None:
    host = make_host(metrics=lambda _: (b"x 1\n", "text/plain"), metrics_open=True)
    with host.client("") as client:
        assert client.get("/metrics").text == "x 1\n"


def test_head_and_options(host) -> None:
    with host.client() as client:
        for path in (host.base, "/healthz", "/readyz", "/openapi.json"):
            whole, head = client.get(path), client.head(path)
            assert head.status_code == 200
            assert head.content == b""
            assert head.headers["content-length"] == whole.headers["content-length"]
        answer = client.options(host.base)
        assert answer.status_code == 204
        assert answer.headers["allow"] == "GET, POST, HEAD, OPTIONS"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_no_manager_and_shutting_down(make_host) -> None:
    host = make_host()
    manager = host.app.manager
    with host.client() as client:
        host.app.manager = None
        message = "No Slipstream plugin manager is installed"
        refused(client.get(host.base), 503, "service_unavailable", message)
        refused(client.get("/readyz"), 503, "service_unavailable", message)
        refused(
            client.post(host.base, json={"config_file": "x"}), 503, "service_unavailable", message
        )
        host.app.manager = manager
        host.app.stop()
        refused(client.get(host.base), 503, "service_unavailable", "the host is shutting down")
        assert client.get("/healthz").status_code == 200


def test_what_nobody_foresaw_is_a_500(make_host) -> None:
    def fail(_openmetrics):
        raise RuntimeError("a secret text")

    host = make_host(metrics=fail, ready=lambda: ["the disk is full"])
    with host.client() as client:
        answer = client.get("/metrics")
        refused(answer, 500, "internal_server_error", "internal error")
        assert "secret" not in answer.text
        assert refused(client.get("/readyz"), 503, "service_unavailable")["chain"] == [
            "the disk is full"
        ]


def test_the_rate_is_limited(make_host) -> None:
    host = make_host(rest_rps=0.01)
    with host.client() as client:
        codes = [client.get("/healthz").status_code for _ in range(51)]
        assert codes.count(200) >= 49  # one was asked for at the start
        answer = client.get("/healthz")
        refused(answer, 429, "too_many_requests", "Too many requests")
        assert 1 <= int(answer.headers["retry-after"]) <= 100


def test_a_body_that_does_not_come(host, monkeypatch) -> None:
    monkeypatch.setattr("slipstream.server.app.BODY_SECONDS", 0.2)
    with host.served.raw() as connection:
        connection.sendall(
            f"POST {host.base} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {host.token}\r\n"
            "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{".encode()
        )
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 408")
    assert set(json.loads(answer.partition(b"\r\n\r\n")[2])) == ERROR


def test_a_body_that_nobody_reads_ends_its_connection(host) -> None:
    """With a length, or in chunks; without one the connection stays."""
    with host.client() as client:
        assert client.get(host.base).headers.get("connection") != "close"
        for body in (b"12345", iter([b"123", b"45"])):
            assert client.request("GET", host.base, content=body).headers["connection"] == "close"
        assert client.get(host.base).headers.get("connection") != "close"


def test_every_change_is_written_down(host) -> None:
    with host.client() as client:
        client.post(host.base, json={"config_file": host.config()})
        client.put(f"{host.base}/gated", json={"config_file": "/etc/passwd"})
        client.post(f"{host.base}/gated/pause")
        client.delete(f"{host.base}/gated")
    lines = [json.loads(line) for line in host.audit.read_text().splitlines()]
    assert [(line["what"], line["plugin"], line["code"]) for line in lines] == [
        ("load", "gated", 200),
        ("reload", "gated", 403),
        ("pause", "gated", 200),
        ("unload", "gated", 200),
    ]
    assert {line["sub"] for line in lines} == {"tester"}
    assert {line["from"] for line in lines} == {"127.0.0.1"}
    assert len({line["jti"] for line in lines}) == 1
    load, reload, _, unload = lines
    assert (load["digest_before"], len(load["digest_after"])) == (None, 64)
    assert reload["config_file"] == "/etc/passwd"
    assert (len(unload["digest_before"]), unload["digest_after"]) == (64, None)
    assert host.audit.stat().st_mode & 0o777 == 0o600


def test_a_head_of_what_streams_ends(host) -> None:
    """Its connection serves the next request, and nobody follows."""
    host.load()
    dead = f"{host.base}/gated/dead-letters"
    with host.client() as client:
        for _ in range(3):
            answer = client.head(f"{host.base}/gated/logs?follow=1&lines=0")
            assert (answer.status_code, answer.text) == (200, "")
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert client.head(dead).status_code == client.get(dead).status_code == 200
        assert not host.app.lines.followers


def test_logs_are_followed(host) -> None:
    host.load()
    with host.client() as client:
        with client.stream("GET", f"{host.base}/gated/logs?follow=1&lines=1") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = answer.iter_lines()
            first = [next(lines) for _ in range(4)]
            assert json.loads(first[2].removeprefix("data: "))["text"] == "plugin loaded"
            number = int(first[0].removeprefix("id: "))
            host.manager.reload_plugin("gated")
            for line in lines:
                if line.startswith("data: ") and "plugin reloaded" in line:
                    break
            host.manager.unload_plugin("gated")
            assert "event: end" in list(lines)
        assert not host.app.lines.followers
        host.load()
        headers = {"Last-Event-ID": str(number)}
        url = f"{host.base}/gated/logs?follow=1&lines=0"
        with client.stream("GET", url, headers=headers) as answer:
            assert next(answer.iter_lines()) == f"id: {number + 1}"
    wait_until(lambda: not host.app.lines.followers, "who has gone is still followed")
