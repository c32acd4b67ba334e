"""What an application with peers offers its plugins: messages, peers and its identity.

An application implements as many of `PeerDirectory`, `ControlSender` and `Identity` as it likes
and gives them to its manager, as `Services`. Plugins find them as the extensions
``slipstream.send/1``, ``slipstream.peers/1`` and ``slipstream.identity/1`` (in the header), and
plugins written in Python in their `PluginContext`. Each plugin may use what the `grants` of its
config name, and nothing else.

The methods of a service may be plain functions or coroutine functions. They are called on threads
of the manager's own, several at a time, never on one that sends events; coroutines run on the event
loop that `Services.loop` names. What a method does wrong (it raises, does not come back within the
plugin's `call_timeout`, or returns what it must not) fails the one call that it was made for.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

from slipstream._native import lib

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

SIGNATURE_LEN: int = lib.SLIPSTREAM_SIGNATURE_LEN
"""The length of a signature, in bytes."""


class Via(IntEnum):
    """How a peer was seen, and how a message is sent to it."""

    DIRECT = lib.SLIPSTREAM_PEER_DIRECT
    ROUTED = lib.SLIPSTREAM_PEER_ROUTED


# ---- What an application implements --------------------------------------------------------------


class PeerDirectory(Protocol):
    """Whom the application knows. A peer is named by bytes of the application's own choice."""

    def public_key(self, peer: bytes) -> bytes | Awaitable[bytes | None] | None:
        """Return a peer's public key; None if the peer, or its key, is not known."""

    def name(self, peer: bytes) -> str | bytes | Awaitable[str | bytes | None] | None:
        """Return what a peer calls itself; None if the peer, or its name, is not known."""

    def peer_at(self, index: int) -> bytes | Awaitable[bytes | None] | None:
        """Return peer number `index`, from 0; None after the last one."""


class ControlSender(Protocol):
    """Sends messages to peers.

    One message of a plugin at a time is handed over, in the order in which it has sent them. A
    method that raises has not sent the message: that is counted, and logged at a bounded rate.
    """

    def send_direct(self, peer: bytes, name: bytes, body: bytes) -> Awaitable[None] | None:
        """Send a message to a peer that is connected.

        Args:
            peer: To whom.
            name: What kind of message it is; the name of the PAYLOAD event that the peer gets.
            body: Its bytes.

        Raises:
            LookupError: The peer is not connected.
        """

    def send_routed(self, peer: bytes, name: bytes, body: bytes) -> Awaitable[None] | None:
        """Send a message to a peer over others.

        Args:
            peer: To whom.
            name: What kind of message it is.
            body: Its bytes.

        Raises:
            LookupError: No route leads to it.
        """


class Identity(Protocol):
    """The application's own key, which is used for plugins and never shown to them."""

    def public_key(self) -> bytes | Awaitable[bytes]:
        """Return the public key."""

    def sign(self, data: bytes) -> bytes | Awaitable[bytes]:
        """Return the signature of some bytes: 64 bytes."""

    def open(self, sealed: bytes) -> bytes | Awaitable[bytes | None] | None:
        """Open a box that was sealed for this application; None if it was not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What an application offers its plugins, for `PluginManager(services=...)`.

    Attributes:
        peers: Whom it knows: grant ``peers``.
        control: Sends messages: grant ``send``.
        identity: Its key: grants ``identity.sign`` and ``identity.open``.
        loop: Where coroutines of these run. None: the event loop that runs when the manager is
            made; where there is none, one on a thread of the manager's own.
        outbox_messages: How many messages of one plugin may wait to be handed to `control`.
        outbox_bytes: How many bytes of them.
    """

    peers: PeerDirectory | None = None
    control: ControlSender | None = None
    identity: Identity | None = None
    loop: asyncio.AbstractEventLoop | None = None
    outbox_messages: int = 1024
    outbox_bytes: int = 16 * 1024 * 1024


# ---- What a plugin written in Python gets --------------------------------------------------------


class SendsMessages(Protocol):
    """Grant ``send``, for a plugin written in Python."""

    def direct(self, peer: bytes, name: str | bytes, body: bytes) -> int:
        """Send a message to a peer that is connected; return its number, for log lines.

        It is handed to the application later, in order: that it could not be sent is logged and
        counted.

        Raises:
            CallFailed: It was not taken; `status` says why: DENIED, RETRY (the outbox is full),
                TOO_LARGE, UNSUPPORTED (the application sends nothing).
        """

    def routed(self, peer: bytes, name: str | bytes, body: bytes) -> int:
        """Send a message to a peer over others; as `direct`."""


class AsksPeers(Protocol):
    """Grant ``peers``, for a plugin written in Python. All raise `CallFailed`."""

    def public_key(self, peer: bytes) -> bytes | None:
        """Return a peer's public key; None if it is not known."""

    def name(self, peer: bytes) -> bytes | None:
        """Return what a peer calls itself; None if it is not known."""

    def peer_at(self, index: int) -> bytes | None:
        """Return peer number `index`, from 0; None after the last one."""


class UsesIdentity(Protocol):
    """Grants ``identity.sign`` and ``identity.open``, for a plugin written in Python.

    All raise `CallFailed`.
    """

    def public_key(self) -> bytes:
        """Return the application's public key."""

    def sign(self, data: bytes) -> bytes:
        """Return its signature of some bytes."""

    def open(self, sealed: bytes) -> bytes:
        """Open a box that was sealed for it; `CallFailed` with MALFORMED if it was not."""


class PluginContext(Protocol):
    """What the `on_load(context)` of a plugin written in Python gets.

    In a plugin with coroutine functions the calls of `peers` and `identity` block its event loop
    while they wait: await ``asyncio.to_thread(context.peers.name, peer)`` where that matters.
    """

    @property
    def send(self) -> SendsMessages:
        """Messages to peers."""

    @property
    def peers(self) -> AsksPeers:
        """Whom the application knows."""

    @property
    def identity(self) -> UsesIdentity:
        """The application's key."""

    @property
    def data_dir(self) -> Path | None:
        """The plugin's own folder, kept over restarts; None if its host gives none."""

    @property
    def is_stopping(self) -> bool:
        """It should return from a long call soon."""
