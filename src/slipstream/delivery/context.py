"""What a plugin written in Python asks of the application: the same calls, by the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slipstream import _native
from slipstream._native import ffi, lib
from slipstream._native.handle import Handle
from slipstream.errors import CallFailed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from slipstream._native.cdef import ss_caller
    from slipstream.delivery.desk import Desk
    from slipstream.logs import LogPump

_FIRST_ROOM = 4096  # bytes; most answers are shorter

_HINTS = {
    lib.SLIPSTREAM_DENIED: "give the plugin the grant: install(plugin, grants=[...])",
    lib.SLIPSTREAM_RETRY: "too much waits already: try again later",
    lib.SLIPSTREAM_TIMEOUT: "the application's service took longer than call_timeout",
    lib.SLIPSTREAM_FAILED: "see the log: the application's service raised, or returned nonsense",
    lib.SLIPSTREAM_UNSUPPORTED: "give the manager such a service: PluginManager(services=...)",
}


def _failed(what: str, status: int) -> CallFailed:
    name = _native.status_name(status)
    return CallFailed(f"{what}: {name}", _HINTS.get(status, ""), name.split(" ", 1)[0])


class Asking(Handle["ss_caller"]):
    """The plugin's side of a hatch, in Python."""

    def __init__(
        self, desk: Desk, grants: Iterable[str], call_timeout: float, pump: LogPump
    ) -> None:
        """Open a hatch.

        Args:
            desk: Where the plugin asks.
            grants: What it may.
            call_timeout: The longest wait for an answer, in seconds.
            pump: Takes the lines about what is denied.
        """
        terms = desk.terms(grants, call_timeout)
        self.offers = int(terms.offers)
        log_id = pump.open_log(desk.name)
        side = ffi.new("uint64_t *")
        pointer = lib.ss_desk_caller(desk.pointer, terms, log_id, side)
        if pointer == ffi.NULL:
            raise MemoryError
        self._desk, self._side = desk, int(side[0])
        super().__init__(pointer, lib.ss_caller_free, desk, pump)

    def close(self) -> None:
        """Ask nothing any more."""
        if not self.is_closed and not self.is_foreign:
            lib.ss_desk_leave(self._desk.pointer, self._side)
        super().close()

    def require(self, offer: int, what: str) -> None:
        """Raise `CallFailed` where the application has no such service."""
        if not self.offers & offer:
            raise _failed(what, lib.SLIPSTREAM_UNSUPPORTED)

    def send(self, how: int, peer: bytes, name: bytes, body: bytes) -> int:
        """Put a message into the outbox; return its number."""
        self.require(lib.SS_OFFERS_SEND, "send")
        ticket = ffi.new("uint64_t *")
        status = lib.ss_caller_send(
            self.pointer, how, peer, len(peer), name, len(name), body, len(body), ticket
        )
        if status != lib.SLIPSTREAM_OK:
            raise _failed("send", status)
        return int(ticket[0])

    def ask(self, name: str, what: int, number: int = 0, question: bytes = b"") -> bytes | None:
        """Ask, and wait for the answer; None for NOT_FOUND."""
        room = lib.SLIPSTREAM_SIGNATURE_LEN if what == lib.SS_ASKS_SIGN else _FIRST_ROOM
        while True:
            buffer = ffi.new("uint8_t[]", room)
            size = ffi.new("size_t *", room)
            status = lib.ss_caller_ask(
                self.pointer, what, number, question, len(question), buffer, size
            )
            if status == lib.SLIPSTREAM_TOO_LARGE and size[0] > room:
                room = size[0]
                continue
            if status == lib.SLIPSTREAM_NOT_FOUND:
                return None
            if status != lib.SLIPSTREAM_OK:
                raise _failed(name, status)
            return bytes(ffi.buffer(buffer, size[0]))


class _Send:
    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def direct(self, peer: bytes, name: str | bytes, body: bytes) -> int:
        return self._asking.send(lib.SLIPSTREAM_PEER_DIRECT, peer, _as_bytes(name), body)

    def routed(self, peer: bytes, name: str | bytes, body: bytes) -> int:
        return self._asking.send(lib.SLIPSTREAM_PEER_ROUTED, peer, _as_bytes(name), body)


class _Peers:
    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def public_key(self, peer: bytes) -> bytes | None:
        return self._ask("public_key", lib.SS_ASKS_LOOKUP, lib.SLIPSTREAM_PEER_PUBLIC_KEY, peer)

    def name(self, peer: bytes) -> bytes | None:
        return self._ask("name", lib.SS_ASKS_LOOKUP, lib.SLIPSTREAM_PEER_NAME, peer)

    def peer_at(self, index: int) -> bytes | None:
        return self._ask("peer_at", lib.SS_ASKS_PEER_AT, index)

    def _ask(self, name: str, what: int, number: int, peer: bytes = b"") -> bytes | None:
        self._asking.require(lib.SS_OFFERS_PEERS, f"peers.{name}")
        return self._asking.ask(f"peers.{name}", what, number, peer)


class _Identity:
    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def public_key(self) -> bytes:
        return self._ask("public_key", lib.SS_ASKS_PUBLIC_KEY)

    def sign(self, data: bytes) -> bytes:
        return self._ask("sign", lib.SS_ASKS_SIGN, data)

    def open(self, sealed: bytes) -> bytes:
        return self._ask("open", lib.SS_ASKS_OPEN, sealed)

    def _ask(self, name: str, what: int, question: bytes = b"") -> bytes:
        self._asking.require(lib.SS_OFFERS_IDENTITY, f"identity.{name}")
        answer = self._asking.ask(f"identity.{name}", what, 0, question)
        if answer is None:
            raise _failed(f"identity.{name}", lib.SLIPSTREAM_NOT_FOUND)
        return answer


class _Nothing:
    """What there is without an application that offers anything: each call is UNSUPPORTED."""

    def __getattr__(self, name: str) -> object:
        def call(*_: object) -> object:
            raise _failed(name, lib.SLIPSTREAM_UNSUPPORTED)

        return call


class Context:
    """What the `on_load(context)` of a plugin written in Python gets; see `PluginContext`.

    Attributes:
        send: Messages to peers.
        peers: Whom the application knows.
        identity: The application's key.
        data_dir: The plugin's own folder; None if its host gives none.
        is_stopping: The plugin should return from a long call soon.
    """

    is_stopping = False

    def __init__(self, asking: Asking | None, data_dir: Path | None) -> None:
        """Make it; without `asking` the application offers nothing."""
        self.send = _Nothing() if asking is None else _Send(asking)
        self.peers = _Nothing() if asking is None else _Peers(asking)
        self.identity = _Nothing() if asking is None else _Identity(asking)
        self.data_dir = data_dir


def _as_bytes(name: str | bytes) -> bytes:
    return name.encode() if isinstance(name, str) else name
