"""Who a node is: an Ed25519 key that names it and signs, an X25519 key for boxes sealed for it."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_LEN = 32
SIGNATURE_LEN = 64
_NONCE = bytes(12)  # each box has a key of its own

# In front of what is signed, so that a signature says nothing in another place: what a plugin has
# signed is no proof of who a node is.
CARD, PROOF, PLUGIN = b"mesh card\0", b"mesh proof\0", b"mesh plugin\0"


def is_signed(peer: bytes, signature: bytes, data: bytes) -> bool:
    """Whether a peer has signed this."""
    try:
        Ed25519PublicKey.from_public_bytes(peer).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


@dataclass(frozen=True)
class Card:
    """What a node says of itself, signed.

    Attributes:
        peer: Its Ed25519 key, which is its name for other nodes.
        box_key: Its X25519 key.
        name: What it calls itself.
        signature: Of these, by `peer`.
    """

    peer: bytes
    box_key: bytes
    name: str
    signature: bytes

    def packed(self) -> bytes:
        """Return it as bytes."""
        return self.peer + self.box_key + self.signature + self.name.encode()

    @classmethod
    def read(cls, data: bytes) -> Card:
        """Return the card in some bytes.

        Raises:
            ValueError: They are none, or nobody has signed it.
        """
        peer, box_key = data[:KEY_LEN], data[KEY_LEN : 2 * KEY_LEN]
        signature, name = data[2 * KEY_LEN :][:SIGNATURE_LEN], data[2 * KEY_LEN + SIGNATURE_LEN :]
        if not is_signed(peer, signature, CARD + box_key + name):
            raise ValueError("this is no card, or not one of its peer")
        return cls(peer, box_key, name.decode(), signature)


class Keys:
    """A node's keys. As the `identity` of its services it lends them to plugins.

    Attributes:
        card: What others may know.
    """

    def __init__(self, name: str) -> None:
        """Make new keys; a daemon that stays would keep them."""
        self._signing = Ed25519PrivateKey.generate()
        self._opening = X25519PrivateKey.generate()
        box_key = self._opening.public_key().public_bytes_raw()
        signature = self._signing.sign(CARD + box_key + name.encode())
        self.card = Card(self._signing.public_key().public_bytes_raw(), box_key, name, signature)

    def prove(self, challenge: bytes) -> bytes:
        """Return what only this node can say to a challenge."""
        return self._signing.sign(PROOF + challenge)

    def public_key(self) -> bytes:
        """Return the key that signs."""
        return self.card.peer

    def sign(self, data: bytes) -> bytes:
        """Sign for a plugin."""
        return self._signing.sign(PLUGIN + data)

    def open(self, sealed: bytes) -> bytes | None:
        """Open a box that was sealed for this node; None if it was not."""
        try:
            sender = X25519PublicKey.from_public_bytes(sealed[:KEY_LEN])
            key = _box_key(self._opening.exchange(sender), sealed[:KEY_LEN], self.card.box_key)
            return ChaCha20Poly1305(key).decrypt(_NONCE, sealed[KEY_LEN:], None)
        except (InvalidTag, ValueError):
            return None


def seal(box_key: bytes, data: bytes) -> bytes:
    """Return a box that only the owner of a key can open; who sealed it, it does not say."""
    once = X25519PrivateKey.generate()
    sender = once.public_key().public_bytes_raw()
    shared = once.exchange(X25519PublicKey.from_public_bytes(box_key))
    return sender + ChaCha20Poly1305(_box_key(shared, sender, box_key)).encrypt(_NONCE, data, None)


def _box_key(shared: bytes, sender: bytes, receiver: bytes) -> bytes:
    return HKDF(SHA256(), KEY_LEN, salt=None, info=b"mesh box\0" + sender + receiver).derive(shared)
