"""Connections: slow ones, too many of them, what is no HTTP; and the Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading

import pytest

from slipstream.server import admin_app
from slipstream.server.serving import Connections, _Lingering
from support.gated import wait_until
from support.rest import Served, read_all

NO_REQUESTS = [
    b"\r\n\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET /nothing HTTP/1.1\r\n\r\n",
    b"GET /nothing HTTP/9.9\r\n\r\n",
    b"get / http/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET /nothing HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET /nothing HTTP/1.1\r\nHost: x\r\n bad\r\n\r\n",
    b"GET /nothing HTTP/1.1\r\nHost: x\r\nA\0: b\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: nix\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]
PATHS = [
    "//",
    "/..",
    "/%00",
    "/%2e%2e/",
    "/" + "a" * 9000,
    "*",
    "http://x/",
    "/v1",
    "/v1/v2/healthz",
]


@pytest.fixture
def served():
    with Served(admin_app(None, rest_rps=0)) as served:
        yield served


def test_an_idle_connection_does_not_hold_up_the_end(served) -> None:
    served.server.config.timeout_keep_alive = 3600  # seconds that it may be idle
    with served.raw() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"
        served.server.should_exit = True
        read_all(connection)


def test_what_is_no_request(served) -> None:
    for request in NO_REQUESTS:
        with served.raw() as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            head, _, body = read_all(connection).partition(b"\r\n\r\n")
        if head:
            assert head.startswith((b"HTTP/1.1 4", b"HTTP/1.1 501", b"HTTP/1.1 505")), request
            first = body.partition(b"HTTP/1.1 ")[0]
            assert set(json.loads(first)) == {"message", "error_type", "chain"}, request
    for path in PATHS:
        with served.raw() as connection:
            request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            connection.sendall(request.encode())
            head, _, body = read_all(connection).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 404"), path
        assert json.loads(body)["error_type"] == "not_found"
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    with served.raw() as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n".encode())
        assert connection.recv(12).startswith(b"HTTP/1.1 ")


def test_slow_heads_are_not_waited_for(monkeypatch) -> None:
    monkeypatch.setattr("slipstream.server.serving.HEAD_SECONDS", 0.3)
    with Served(admin_app(None)) as served:
        for some in (b"", b"GET / HT"):
            with served.raw() as connection:
                connection.sendall(some)
                answer = read_all(connection)
            assert answer.startswith(b"HTTP/1.1 408"), some
        with served.raw() as connection:  # byte after byte, as long as it is let
            with contextlib.suppress(ConnectionError):
                for byte in b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 10_000:
                    connection.sendall(bytes([byte]))
                    if not served.connections.open:
                        break
            assert b"HTTP/1.1 200" not in read_all(connection)


def test_many_connections(served) -> None:
    """The longest idle make room for others; those that are asked something stay."""
    with contextlib.ExitStack() as opened:
        for _ in range(500):
            opened.enter_context(served.raw())
        with served.client() as client:
            assert client.get("/healthz").status_code == 200
        wait_until(lambda: len(served.connections.open) <= 64, "too many")
    wait_until(lambda: not served.connections.open, "some are left")
    assert not served.connections.lingering


def test_a_connection_that_is_closed_lingers_until_the_other_side_has_heard(served) -> None:
    for _ in range(3):
        with served.raw() as connection:
            connection.sendall(b"nonsense\r\n\r\n")
            wait_until(lambda: served.connections.lingering == 1, "it was closed at once")
            assert b"400" in read_all(connection)
        wait_until(lambda: not served.connections.lingering, "it lingers on")


def test_a_connection_is_closed_once() -> None:
    async def work() -> None:
        ours, theirs = socket.socketpair()
        loop, shared = asyncio.get_running_loop(), Connections()
        transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, ours)
        connection = _Lingering(transport, shared)
        assert not connection.is_closing()
        for _ in range(2):
            connection.close()
            assert connection.is_closing()
            assert shared.lingering == 1
        assert theirs.recv(1) == b""  # the other side sees the end at once
        connection.lost()
        assert shared.lingering == 0
        transport.abort()
        theirs.close()

    asyncio.run(work())


def test_too_many_that_are_busy(host) -> None:
    host.load()
    host.served.connections.most = 3
    with contextlib.ExitStack() as opened:
        for _ in range(3):
            connection = opened.enter_context(host.served.raw())
            connection.sendall(
                f"GET {host.base}/gated/logs?follow=1 HTTP/1.1\r\nHost: x\r\n"
                f"Authorization: Bearer {host.token}\r\n\r\n".encode()
            )
            assert connection.recv(12) == b"HTTP/1.1 200"
        with host.served.raw() as connection:
            answer = read_all(connection)
            assert answer.startswith(b"HTTP/1.1 503")
            assert b"Retry-After: 1\r\n" in answer
    wait_until(lambda: not host.app.lines.followers, "who has gone is still followed")
    with host.client() as client:
        assert client.get("/healthz").status_code == 200


def test_so_many_may_follow(host, monkeypatch) -> None:
    monkeypatch.setattr("slipstream.server.actions.FOLLOWERS", 1)
    host.load()
    url = f"{host.base}/gated/logs?follow=1"
    with host.client() as second, host.client() as client, client.stream("GET", url) as answer:
        lines = answer.iter_lines()
        next(lines)
        refused = second.get(url)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "10"


def test_a_follower_without_its_token_is_let_go(host) -> None:
    host.load()
    url = f"{host.base}/gated/logs?follow=1"
    with host.client(host.tokens.issue("short")) as client, client.stream("GET", url) as answer:
        lines = answer.iter_lines()
        next(lines)
        host.tokens.revoke(host.tokens.issued()[-1].jti)
        assert "event: end" in list(lines)


def test_the_unix_socket_needs_no_token(host, tmp_path) -> None:
    host.load()
    host.app._buckets._rate = 0.001
    with Served(host.app, tmp_path / "admin.sock") as local, local.client() as client:
        for _ in range(60):  # nor is it limited
            assert client.get(host.base).json() == ["gated"]
        assert client.post(f"{host.base}/gated/pause").status_code == 200
    line = json.loads(host.audit.read_text().splitlines()[-1])
    assert line["sub"] == "local"
    assert line["from"].startswith("uid ")


def test_the_scope_cannot_be_told_by_a_header(host) -> None:
    with host.client("") as client:
        for name in ("slipstream.peer", "slipstream-peer", "X-Forwarded-For", "Forwarded"):
            answer = client.get(host.base, headers={name: "0"})
            assert answer.status_code == 401, name


def test_nothing_is_left_behind() -> None:
    before = {thread.name for thread in threading.enumerate()}
    with Served(admin_app(None)) as served, served.client() as client:
        assert client.get("/readyz").status_code == 503
    left = {thread.name for thread in threading.enumerate()} - before
    assert not left
