"""The plugin tests/plugins/caller.c, and services for it to call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from hashlib import sha512
from pathlib import Path
from typing import Any, NamedTuple

from slipstream import Payload, PluginManager

ALL = ["send", "peers", "identity.sign", "identity.open"]
SEED = bytes.fromhex("5eed0123456789abcdef00112233445566778899aabbccddeeff5eed5eed5eed")


class Line(NamedTuple):
    """What came of one command of the plugin."""

    command: str
    status: int
    length: int
    data: bytes


class Directory:
    """Two peers: bob, who has a key and a name, and carol, of whom nothing is known."""

    def public_key(self, peer: bytes) -> bytes | None:
        return b"K" * 32 if peer == b"bob" else None

    def name(self, peer: bytes) -> str | None:
        return {b"bob": "Bob", b"long": "n" * 5000}.get(peer)

    def peer_at(self, index: int) -> bytes | None:
        return [b"bob", b"carol"][index] if index < 2 else None


class Sender:
    """Keeps what is sent; `gate` holds it up, `fails` are peers that are not connected."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, bytes, bytes]] = []
        self.gate = threading.Event()
        self.gate.set()

    def send_direct(self, peer: bytes, name: bytes, body: bytes) -> None:
        self.gate.wait(60)
        if peer == b"gone":
            raise LookupError("not connected")
        self.sent.append(("direct", peer, name, body))

    async def send_routed(self, peer: bytes, name: bytes, body: bytes) -> None:
        self.sent.append(("routed", peer, name, body))


class Key:
    """An identity whose seed stays in this process."""

    def public_key(self) -> bytes:
        return b"P" * 32

    def sign(self, data: bytes) -> bytes:
        return sha512(SEED + data).digest()

    async def open(self, sealed: bytes) -> bytes | None:
        return sealed[4:] if sealed.startswith(b"box:") else None


class Calling:
    """The plugin, loaded, and its lines."""

    def __init__(
        self,
        compile_plugin: Callable[..., Path],
        folder: Path,
        manager: PluginManager,
        mode: str,
        *,
        grants: list[str] | None = None,
        name: str = "caller",
        flags: tuple[str, ...] = (),
        **config: Any,
    ) -> None:
        self.out = folder / f"{name}.lines"
        self.manager, self.name = manager, name
        self.config = {
            "libpath": str(compile_plugin("caller.c", "-pthread", *flags, name="caller")),
            "name": name,
            "mode": mode,
            "grants": ALL if grants is None else grants,
            "out": str(self.out),
            **config,
        }
        self.plugin = manager.load_plugin(self.config)

    def lines(self) -> list[Line]:
        """What it has told so far."""
        if not self.out.exists():
            return []
        found = []
        for line in self.out.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                command, status, length, data = line.rstrip("\n").split("|")
                found.append(Line(command, int(status), int(length), bytes.fromhex(data)))
        return found

    def tell(self, command: str, claim: bytes = b"chat") -> None:
        """Let it do something."""
        assert self.manager.route(Payload(claim, command.encode()))

    def do(self, command: str, claim: bytes = b"chat") -> Line:
        """Let it do something that is told, and wait for that."""
        before = len(self.lines())

        def told() -> list[Line]:  # others may tell of what they began before
            return [line for line in self.lines()[before:] if line.command == command]

        self.tell(command, claim)
        until(told)
        return told()[0]

    def answers(self) -> dict[int, int]:
        """How often each status was answered, of the last flood."""
        pairs = (pair.split(":") for pair in self.lines()[-1].data.decode().split())
        return {int(status): int(count) for status, count in pairs}

    def wait(self, count: int) -> list[Line]:
        """Wait for so many lines."""
        until(lambda: len(self.lines()) >= count)
        return self.lines()


def until(done: Callable[[], Any], timeout: float = 60.0) -> Any:
    """Wait until something is so, and return it."""
    end = time.monotonic() + timeout
    while not (found := done()):
        assert time.monotonic() < end, "it does not come about"
        time.sleep(0.002)
    return found
