"""A node of the mesh: links to neighbours, routes over them, and a mailbox in a worker process.

It is started by mesh.py, which tells it what to do by lines of JSON on its standard input, and
reads what it answers on its standard output.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import secrets
import socket
import struct
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from keys import PROOF, Card, Keys, is_signed
from outbox import RECEIPT, Outbox
from slipstream import Payload, PluginManager, PluginState, Services, Via

_CARD, _PROOF, _KNOWS, _MESSAGE = range(4)  # what is sent over a link
_HEAD = struct.Struct("<IB")  # its length, and which of them it is
_ROUTE = struct.Struct("<32s32sBB")  # of a message: to, from, hops, length of its name
_CHALLENGE = 32
_MOST_BYTES = 1 << 24
_MOST_HOPS = 8
_HANDSHAKE = 10.0  # seconds
_DEATH = 60.0  # seconds in which a worker has to die that is to be killed


class Link:
    """A connection to a neighbour.

    Attributes:
        peer: Who it is; b"" until that is proven.
    """

    def __init__(self, connection: socket.socket) -> None:
        """Take the connection over."""
        self.peer = b""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        self._reader = connection.makefile("rb", 1 << 16)
        self._lock = threading.Lock()

    def send(self, what: int, *data: bytes) -> None:
        """Send one thing or more; may wait for the neighbour."""
        with self._lock:
            self._socket.sendall(b"".join(_HEAD.pack(len(one), what) + one for one in data))

    def receive(self) -> tuple[int, bytes]:
        """Wait for the next thing that comes.

        Raises:
            EOFError: Nothing comes any more, or nonsense.
        """
        head = self._reader.read(_HEAD.size)
        length, what = _HEAD.unpack(head) if len(head) == _HEAD.size else (_MOST_BYTES, 0)
        data = self._reader.read(length) if length < _MOST_BYTES else b""
        if len(data) < length:
            raise EOFError
        return what, data

    def expect(self, what: int) -> bytes:
        """Wait for a thing that has to come now."""
        found, data = self.receive()
        if found != what:
            raise EOFError
        return data

    def shake_hands(self, keys: Keys, challenge: bytes) -> Card:
        """Show who we are, and see that the neighbour is who it says.

        Raises:
            EOFError: It is not.
            ValueError: The same.
        """
        self._socket.settimeout(_HANDSHAKE)
        self.send(_CARD, challenge + keys.card.packed())
        said = self.expect(_CARD)
        card = Card.read(said[_CHALLENGE:])
        self.send(_PROOF, keys.prove(said[:_CHALLENGE]))
        if not is_signed(card.peer, self.expect(_PROOF), PROOF + challenge):
            raise EOFError
        self._socket.settimeout(None)
        return card

    def close(self) -> None:
        """End it; who waits for it gets EOFError."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Node:
    """A node; it is the peer directory and the sender of its plugins.

    Attributes:
        keys: Who it is.
        manager: Its plugins.
        outboxes: What it sends, by the peer that gets it.
    """

    def __init__(self, name: str, folder: Path, library: Path) -> None:
        """Start its mailbox."""
        self.keys = Keys(name)
        self.me = self.keys.card.peer
        self.outboxes: dict[bytes, Outbox] = {}
        self._lock = threading.Lock()
        self._cards: dict[bytes, Card] = {}
        self._routes: dict[bytes, tuple[Link, int]] = {}
        self._links: dict[bytes, Link] = {}
        self._forgotten: set[bytes] = set()
        services = Services(peers=self, control=self, identity=self.keys)
        self.manager = PluginManager("process", data_dir=folder / "data", services=services)
        self.mailbox = self.manager.load_plugin({
            "libpath": str(library), "database": str(folder / "mailbox.db"),
            "grants": ["send", "identity.sign", "identity.open"], "flush_interval": 0.02,
            "restart": {"initial_delay": 0.1, "max_delay": 0.2, "max_crashes": 0},
        })  # fmt: skip

    # ---- What plugins ask ------------------------------------------------------------------

    def public_key(self, peer: bytes) -> bytes | None:
        """Return the key for a peer's boxes."""
        card = self._cards.get(peer)
        return None if card is None else card.box_key

    def name(self, peer: bytes) -> str | None:
        """Return what a peer calls itself."""
        card = self._cards.get(peer)
        return None if card is None else card.name

    def peer_at(self, index: int) -> bytes | None:
        """Return peer number `index`."""
        peers = list(self._cards)
        return peers[index] if index < len(peers) else None

    def send_direct(self, peer: bytes, name: bytes, body: bytes) -> None:
        """Send a message to a neighbour."""
        self._send(self._links[peer], peer, [(name, body)])

    def send_routed(self, peer: bytes, name: bytes, body: bytes) -> None:
        """Send a message over others."""
        self.send_many(peer, [(name, body)])

    def send_many(self, peer: bytes, messages: Sequence[tuple[bytes, bytes]]) -> None:
        """Send messages, each a name and a body, over others."""
        self._send(self._routes[peer][0], peer, messages)

    def _send(self, link: Link, peer: bytes, messages: Sequence[tuple[bytes, bytes]]) -> None:
        heads = (_ROUTE.pack(peer, self.me, 0, len(name)) for name, _ in messages)
        try:
            link.send(_MESSAGE, *(h + n + b for h, (n, b) in zip(heads, messages, strict=True)))
        except OSError:
            raise LookupError("the link is gone") from None

    # ---- Links -----------------------------------------------------------------------------

    def listen(self) -> int:
        """Wait for neighbours from now on; return the port."""
        listener = socket.create_server(("127.0.0.1", 0))
        _start(self._accept, listener)
        return int(listener.getsockname()[1])

    def _accept(self, listener: socket.socket) -> None:
        while True:
            _start(self._serve, listener.accept()[0])

    def connect(self, port: int) -> None:
        """Become a neighbour of the node that listens there."""
        _start(self._serve, socket.create_connection(("127.0.0.1", port)))

    def _serve(self, connection: socket.socket) -> None:
        """Serve a link until its end."""
        link = Link(connection)
        with contextlib.suppress(EOFError, ValueError, OSError):
            card = link.shake_hands(self.keys, secrets.token_bytes(_CHALLENGE))
            with self._lock:
                known = [(c, self._routes[peer][1]) for peer, c in self._cards.items()]
                if card.peer not in self._forgotten:
                    link.peer = card.peer
                    self._links[card.peer] = link
            for other, hops in known:
                link.send(_KNOWS, bytes([hops + 1]) + other.packed())
            self._learn(card, link, 0)
            while link.peer:
                self._take(link, *link.receive())
        link.close()
        with self._lock:
            self._links = {peer: one for peer, one in self._links.items() if one is not link}
            self._routes = {p: way for p, way in self._routes.items() if way[0] is not link}
            self._cards = {p: card for p, card in self._cards.items() if p in self._routes}

    def _take(self, link: Link, what: int, data: bytes) -> None:
        if what == _KNOWS and 0 < data[0] < _MOST_HOPS:
            self._learn(Card.read(data[1:]), link, data[0])
        elif what == _MESSAGE:
            peer, source, hops, name_len = _ROUTE.unpack_from(data)
            if hops == 0 and source != link.peer:
                return  # it speaks for somebody else
            if peer == self.me:
                name = data[_ROUTE.size : _ROUTE.size + name_len]
                self._deliver(source, name, data[_ROUTE.size + name_len :])
            elif hops < _MOST_HOPS and peer in self._routes:
                head = _ROUTE.pack(peer, source, hops + 1, name_len)
                with contextlib.suppress(OSError):
                    self._routes[peer][0].send(_MESSAGE, head + data[_ROUTE.size :])

    def _learn(self, card: Card, link: Link, hops: int) -> None:
        """Know a peer from now on, and tell the other neighbours."""
        with self._lock:
            is_new = card.peer not in self._routes
            if card.peer == self.me or card.peer in self._forgotten or not is_new:
                return
            self._cards[card.peer], self._routes[card.peer] = card, (link, hops)
            others = [one for one in self._links.values() if one is not link]
        via = Via.DIRECT if hops == 0 else Via.ROUTED
        self.manager.peer_seen(card.peer, public_key=card.box_key, name=card.name, via=via)
        for other in others:
            with contextlib.suppress(OSError):
                other.send(_KNOWS, bytes([hops + 1]) + card.packed())

    def _deliver(self, source: bytes, name: bytes, body: bytes) -> None:
        outbox = self.outboxes.get(source)
        if source not in self._cards:
            return  # it was forgotten
        if name == RECEIPT and outbox is not None:
            outbox.take_receipt(source, body)
        else:
            self.manager.route(Payload(name, body, source=source))

    # ---- What mesh.py wants ----------------------------------------------------------------

    def peer_named(self, name: str) -> bytes | None:
        """Return the peer that calls itself so."""
        return next((card.peer for card in self._cards.values() if card.name == name), None)

    def outbox(self, peer: bytes) -> Outbox:
        """Return what is sent to a peer's mailbox."""
        if peer not in self.outboxes:
            self.outboxes[peer] = Outbox(self.send_many, self.me, self._cards[peer])
        return self.outboxes[peer]

    def forget(self, peer: bytes) -> None:
        """Take nothing of a peer any more, and have what there is of it wiped."""
        with self._lock:
            self._forgotten.add(peer)
            self._cards.pop(peer, None)
            self._routes.pop(peer, None)
            link = self._links.pop(peer, None)
        if link is not None:
            link.close()
        self.manager.peer_forgotten(peer)

    def close(self) -> None:
        """End everything."""
        for outbox in self.outboxes.values():
            outbox.close()
        for link in list(self._links.values()):
            link.close()
        self.manager.close()


def _start(function: Any, *arguments: object) -> None:
    threading.Thread(target=function, args=arguments, daemon=True).start()


# ---- Commands ---------------------------------------------------------------------------------


class Commands:
    """What mesh.py may ask for; each is answered by one line."""

    def __init__(self, node: Node) -> None:
        """Serve a node."""
        self._node = node

    def connect(self, port: int) -> dict[str, object]:
        """Become a neighbour."""
        self._node.connect(port)
        return {}

    def wait_for(self, peer: str, seconds: float) -> dict[str, object]:
        """Wait until a peer is known."""
        end = time.monotonic() + seconds
        while self._node.peer_named(peer) is None and time.monotonic() < end:
            time.sleep(0.01)
        return {"known": self._node.peer_named(peer) is not None}

    def send(self, peer: str, first: int, count: int, sealed_every: int) -> dict[str, object]:
        """Send messages to a peer's mailbox, without waiting for the last receipts."""
        outbox = self._node.outbox(cast("bytes", self._node.peer_named(peer)))
        for number in range(first, first + count):
            outbox.put(b"message %d" % number, sealed=number % sealed_every == 0)
        return {}

    def wait(self) -> dict[str, object]:
        """Wait for all receipts."""
        boxes = self._node.outboxes.values()
        for outbox in boxes:
            outbox.wait()
        return {
            "receipts": sum(outbox.receipts for outbox in boxes),
            "again": sum(outbox.sent_again for outbox in boxes),
        }

    def flush(self) -> dict[str, object]:
        """Wait until the mailbox has all that came."""
        self._node.manager.flush(60)
        counters = self._node.mailbox.counters
        return {"lost": counters.lost, "dead": counters.dead}

    def forget(self, peer: str) -> dict[str, object]:
        """Wait until the worker is dead, and forget a peer then."""
        found = cast("bytes", self._node.peer_named(peer))
        print(json.dumps({"ready": True}), flush=True)
        end = time.monotonic() + _DEATH
        while self._node.mailbox.state is PluginState.RUNNING and time.monotonic() < end:
            time.sleep(0.001)
        state = self._node.mailbox.state
        self._node.forget(found)
        return {"state": str(state)}


def main() -> int:
    """Run a node until its standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    parser.add_argument("library", type=Path)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, filename=arguments.folder / "log")
    sys.setswitchinterval(0.0005)
    node = Node(arguments.name, arguments.folder, arguments.library)
    commands = Commands(node)
    try:
        print(json.dumps({"port": node.listen(), "peer": node.me.hex()}), flush=True)
        for line in sys.stdin:
            wanted = json.loads(line)
            answer = getattr(commands, wanted.pop("do"))(**wanted)
            print(json.dumps(answer), flush=True)
    finally:
        node.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
