"""Hostile requests beside a stream of events: the daemon lives, and no event is disturbed.

python tests/stress/hostile.py [--requests N] [--limited N] [--rate EVENTS] [--seed N]

A `slipstream start` sends events to plugins in modes thread and process, and gets requests that are
made up: paths, methods, headers, bodies, tokens, slow and half-closed callers, and 2,000 connections
at once. Every answer has to be one that is documented, and the admin socket is served all the time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import httpx

from slipstream.server import Tokens
from slipstream.server.routes import ROUTES, Route, match
from support.daemon import Daemon, config

ROOT = Path(__file__).resolve().parents[2]
EVENTS = ROOT / "examples" / "streams" / "mainnet_derived_blocks_1_to_5.jsonl"
WATCHED = ("watched-thread", "watched-process")
ERROR = {"message", "error_type", "chain"}
CALLERS = 24
A_CONNECTION = 40  # requests
PATIENCE = 60.0
# What is no request is answered so, past every route.
BROKEN = {400, 401, 408, 413, 431, 501, 503, 505}


@dataclass
class Target:
    """Where requests go, and the tokens that may be tried."""

    port: int
    tokens: list[str]
    plugin: str
    config_file: str


@dataclass
class Tally:
    """What was answered."""

    codes: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    unanswered: int = 0


# ---- Requests ----------------------------------------------------------------------------------


def a_path(rng: random.Random, target: Target, route: Route) -> str:
    odd = ["nix", "..", "%2e%2e", "a%2fb", "%00", "\\"]
    name = target.plugin if rng.random() < 0.7 else rng.choice(odd)
    network = rng.choice(["mainnet"] * 9 + ["canary", "MAINNET", ""])
    path = rng.choice(["", "/v1", "/v2", "/v3"]) + route.path.format(network=network, name=name)
    if rng.random() < 0.2:
        junk = rng.choice(
            ["/", "//", "/..", "%", "%zz", "%ff", ";x", "a" * 3000, "%0d%0aX: y", "*"]
        )
        at = rng.randrange(len(path) + 1)
        path = path[:at] + junk + path[at:]
    if rng.random() < 0.4:
        path += rng.choice(
            [
                "?",
                "?limit=-1",
                "?limit=5",
                "?lines=x",
                "?lines=%39",
                "?skip=" + "9" * 30,
                "?a&b=c&&",
            ]
        )
    return path


def a_body(rng: random.Random, target: Target) -> bytes:
    files = [
        target.config_file,
        target.config_file,
        "../x",
        "/etc/passwd",
        "/dev/zero",
        "\0",
        "",
        7,
    ]
    value: object = {"config_file": rng.choice(files)}
    if rng.random() < 0.2:
        value = rng.choice([None, [], 1.5, "x", {}, {"config_file": {}}, {"config_fil": "x"}])
    body = json.dumps(value).encode()
    if rng.random() < 0.2:
        at = rng.randrange(len(body) + 1)
        body = body[:at] + rng.randbytes(rng.randrange(1, 9)) + body[at:]
    if rng.random() < 0.02:
        body = rng.choice([b"[" * 50_000, b" " * 70_000, b'{"config_file": "' + b"a" * 60_000])
    return body


def a_request(rng: random.Random, target: Target) -> tuple[str, str, bytes]:
    """Method, path and the whole request."""
    methods = ["GET"] * 6 + ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "X" * 50]
    route = rng.choice(ROUTES)
    method = rng.choice([route.method, rng.choice(methods)])
    path = a_path(rng, target, route)
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    if rng.random() < 0.8:
        lines.append(f"Authorization: Bearer {rng.choice(target.tokens)}")
    if rng.random() < 0.1:
        lines.append(rng.choice(["Authorization: Basic x", "Authorization:", "Cookie: a=b"]))
    if rng.random() < 0.2:
        lines.append(f"Origin: {rng.choice(['null', 'http://evil', 'http://127.0.0.1'])}")
    if rng.random() < 0.1:
        lines += [f"X-{n}: {'y' * rng.randrange(100)}" for n in range(rng.randrange(40))]
    body = b""
    if method in {"POST", "PUT", "PATCH"} or rng.random() < 0.1:
        body = a_body(rng, target)
        kinds = ["application/json"] * 5 + ["application/json; charset=x", "text/plain", "", "\t"]
        lines.append(f"Content-Type: {rng.choice(kinds)}")
        if rng.random() < 0.8:
            lines.append(f"Content-Length: {len(body)}")
        else:
            lines.append("Transfer-Encoding: chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    return method, path, "\r\n".join([*lines, "", ""]).encode() + body


def broken(rng: random.Random, request: bytes) -> bytes:
    """A request that may be none."""
    data = bytearray(request)
    for _ in range(rng.randrange(1, 5)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data[: rng.randrange(1, len(data) + 1)])


def wrong_with(method: str, path: str, code: int, body: bytes) -> str:
    """What is wrong with an answer; "" if it is documented."""
    bare = path.partition("?")[0]
    routes, _ = match(bare)
    route = routes.get("GET" if method == "HEAD" else method)
    may = {404, 405, 429}
    if route is not None:
        may |= {*route.codes}
    if method == "OPTIONS":
        may |= {204, 403, 503}
    # Percent-encoded paths are others than they look.
    if "%" not in path and code not in may | {400, 503}:
        return f"{code} of {method} {path[:200]}"
    if code >= 500 and code != 503 and not bare.endswith("/flush"):
        return f"{code} of {method} {path[:200]}: {body[:200]!r}"
    if code >= 400 and method != "HEAD":
        with contextlib.suppress(ValueError):
            if set(json.loads(body)) == ERROR:
                return ""
        return f"{code} of {method} {path[:200]} has the body {body[:200]!r}"
    return ""


# ---- Callers -----------------------------------------------------------------------------------


async def an_answer(reader: asyncio.StreamReader, method: str) -> tuple[int, bytes, bool]:
    """Code and body of the next answer, and whether the connection goes on."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    code = int(lines[0].split()[1])
    body = b""
    if method != "HEAD" and code != 204:
        if "content-length" in headers:
            body = await reader.readexactly(int(headers["content-length"]))
        elif headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readline(), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
    return code, body, headers.get("connection") != "close"


async def send(writer: asyncio.StreamWriter, request: bytes, *, slowly: bool) -> None:
    """Send a request; its first bytes one after the other, if it is to be slow."""
    first = 60 if slowly else 0
    for at in range(min(len(request), first)):
        writer.write(request[at : at + 1])
        await writer.drain()
        await asyncio.sleep(0.001)
    writer.write(request[first:])


async def a_connection(rng: random.Random, target: Target, count: int, tally: Tally) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
    manner = rng.random()
    try:
        for _ in range(count):
            method, path, request = a_request(rng, target)
            if "follow" in path:
                continue
            if manner < 0.1:  # whatever comes of it
                writer.write(broken(rng, request))
                writer.write_eof()
                code, body, _ = await an_answer(reader, "GET")
                tally.codes[code] += 1
                if code in BROKEN and set(json.loads(body)) != ERROR:
                    tally.wrong.append(f"{code} to what is not a request: {body[:200]!r}")
                return
            await send(writer, request, slowly=manner < 0.12)
            if manner < 0.15:  # who does not wait for the answer
                return
            if manner > 0.95:
                writer.write_eof()
            code, body, goes_on = await an_answer(reader, method)
            tally.codes[code] += 1
            wrong = wrong_with(method, path, code, body)
            if wrong:
                tally.wrong.append(wrong)
            if not goes_on or manner > 0.95:
                return
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def attack(target: Target, requests: int, seed: int) -> Tally:
    """Send so many requests, and hold many connections for a while."""
    tally = Tally()
    sent = 0

    async def caller(number: int) -> None:
        nonlocal sent
        rng = random.Random(f"{seed} {number}")
        while sent < requests:
            try:
                async with asyncio.timeout(PATIENCE):
                    await a_connection(rng, target, A_CONNECTION, tally)
            except (OSError, EOFError, ValueError):
                tally.unanswered += 1
            sent = tally.codes.total() + tally.unanswered

    await asyncio.gather(*(caller(number) for number in range(CALLERS)))
    return tally


async def crowd(target: Target, count: int) -> int:
    """Open so many connections at once, and say whether somebody is answered meanwhile."""
    opened = []
    for _ in range(count):
        with contextlib.suppress(OSError):
            opened.append(await asyncio.open_connection("127.0.0.1", target.port))
    answered = 0
    for _ in range(20):
        with contextlib.suppress(OSError, EOFError):
            reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
            opened.append((reader, writer))
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            async with asyncio.timeout(PATIENCE):
                answered += (await an_answer(reader, "GET"))[0] in {200, 429}
    for _, writer in opened:
        writer.close()
    return answered


# ---- The daemon --------------------------------------------------------------------------------


class Watch(threading.Thread):
    """Looks at the rings of plugins, through the admin socket, until it is told to end."""

    def __init__(self, data: Path) -> None:
        super().__init__(name="watch")
        transport = httpx.HTTPTransport(uds=str(data / "admin.sock"))
        self._client = httpx.Client(transport=transport, base_url="http://daemon", timeout=PATIENCE)
        self._over = threading.Event()
        self.fullest = 0.0
        self.counters: dict[str, dict[str, int]] = {}
        self.problem = ""
        self.start()

    def run(self) -> None:
        try:
            while not self._over.wait(0.05):
                self._look()
            self._look()
        except (httpx.HTTPError, KeyError) as error:
            self.problem = repr(error)

    def _look(self) -> None:
        for name in WATCHED:
            answer = self._client.get(f"/mainnet/slipstream/plugins/{name}")
            found = self.counters[name] = answer.json()["counters"]
            self.fullest = max(self.fullest, found["ring_used"] / found["ring_bytes"])

    def end(self) -> None:
        self._over.set()
        self.join(PATIENCE)
        self._client.close()


def configs_in(folder: Path) -> dict[str, Path]:
    library = ROOT / "examples" / "tally" / "tally.so"
    victim = {"mode": "thread", "overflow": "drop_newest", "ring_bytes": 1 << 20}
    keys = {"watched-thread": {"mode": "thread"}, "watched-process": {}, "victim": victim}
    return {name: config(folder, library, name=name, **more) for name, more in keys.items()}


def run(
    requests: int, rate: int, rest_rps: float, seed: int, connections: int
) -> dict[str, object]:
    """Attack a daemon; return what came of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        configs = configs_in(folder)
        files = [word for path in configs.values() for word in ("--slipstream-config", path)]
        source = ("--events", EVENTS, "--loop", "--speed", f"{rate}/s")
        rest = ("--rest", "127.0.0.1:0", "--rest-rps", rest_rps, "--nobanner")
        with Daemon(folder, *files, *source, *rest) as daemon:
            url = daemon.wait_for("ready")["rest"]
            tokens = Tokens(folder / "data")
            good, reader = tokens.issue("good"), tokens.issue("reader", ["plugins:read"])
            target = Target(
                int(url.rpartition(":")[2]),
                [good, good, reader, good[:-2], "x", "a" * 5000],
                "victim",
                str(configs["victim"]),
            )
            watch = Watch(folder / "data")
            try:
                begun = time.monotonic()
                tally = asyncio.run(attack(target, requests, seed))
                answered = asyncio.run(crowd(target, connections))
                seconds = time.monotonic() - begun
                alive = httpx.get(f"{url}/healthz", timeout=PATIENCE).status_code in {200, 429}
            finally:
                watch.end()
            code = daemon.end()
            last = daemon.lines()[-1]
    return {
        "seconds": round(seconds, 1),
        "events": {name: found["accepted"] for name, found in watch.counters.items()},
        "lost": {name: found["lost"] for name, found in watch.counters.items()},
        "undelivered": {name: last.get(name, 0) for name in WATCHED},
        "fullest_ring": round(watch.fullest, 4),
        "exit_code": code,
        "last_line": last["event"],
        "unwatched": watch.problem,
        "alive": alive,
        "answers": tally.codes.total(),
        "codes": dict(sorted(tally.codes.items())),
        "unanswered": tally.unanswered,
        "answered_in_the_crowd": answered,
        "wrong": tally.wrong[:20],
    }


def faults_of(found: dict[str, object]) -> list[str]:
    """What must not be."""
    faults = [str(one) for one in found["wrong"]]  # type: ignore[attr-defined]
    lost = {what: found[what] for what in ("lost", "undelivered")}
    if any(set(counts.values()) != {0} for counts in lost.values()):  # type: ignore[attr-defined]
        faults.append(f"events did not arrive: {lost}")
    if found["exit_code"] not in {0, 1} or not str(found["last_line"]).startswith("ended"):
        faults.append(f"it ended with {found['exit_code']}: {found['last_line']}")
    if found["unwatched"]:
        faults.append(f"its rings could not be looked at: {found['unwatched']}")
    if float(str(found["fullest_ring"])) > 0.5:
        faults.append(f"a ring was {found['fullest_ring']} full")
    if not found["alive"] or not found["answered_in_the_crowd"]:
        faults.append("it does not answer any more")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--limited", type=int, default=5_000, help="so many with the limit on")
    parser.add_argument("--connections", type=int, default=2_000)
    parser.add_argument("--rate", type=int, default=123_000, help="events a second")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    failed = False
    for requests, rps in ((given.requests, 0.0), (given.limited, 10.0)):
        found = run(requests, given.rate, rps, given.seed, given.connections)
        faults = faults_of(found)
        failed = failed or bool(faults)
        print(json.dumps(found, indent=2), *faults, sep="\n", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
