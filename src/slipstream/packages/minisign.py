"""Keys and signatures as minisign has them: Ed25519, over the BLAKE2b of the file.

https://jedisct1.github.io/minisign/#signature-format says what the files are made of.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import struct
import time
from dataclasses import dataclass
from typing import Any

from slipstream.errors import PackageError
from slipstream.extras import need
from slipstream.text import printable

_PLAIN, _HASHED = b"Ed", b"ED"
_KDF, _NO_KDF, _CHECK = b"Sc", b"\0\0", b"B2"
_SECRET = struct.Struct("<2s2s2s32sQQ104s")
_PUBLIC_BYTES = 42
_MOST_COST = 1024 * 1024 * 1024  # bytes for a password, as minisign's own keys take


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key.

    Attributes:
        number: Its number, 8 bytes.
        raw: The key itself, 32 bytes.
    """

    number: bytes
    raw: bytes

    @property
    def id(self) -> str:
        """Its number, as minisign writes it."""
        return self.number[::-1].hex().upper()

    def to_text(self) -> str:
        """Return it as a file has it."""
        packed = base64.b64encode(_PLAIN + self.number + self.raw).decode()
        return f"untrusted comment: minisign public key {self.id}\n{packed}\n"


@dataclass(frozen=True, slots=True, repr=False)
class SecretKey:
    """A secret key, open.

    Attributes:
        public: The key that belongs to it.
        seed: The secret, 32 bytes.
    """

    public: PublicKey
    seed: bytes


def _ed25519() -> Any:
    return need("cryptography.hazmat.primitives.asymmetric.ed25519", "packages")


def _decoded(line: str, length: int, what: str) -> bytes:
    try:
        raw = base64.b64decode(line.strip(), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) == length:
        return raw
    if (len(raw), length) == (_PUBLIC_BYTES, _SECRET.size):
        raise PackageError(
            f"{what} is the public half; signing needs the secret one",
            "give the file of the secret key, such as release.key",
        )
    if (len(raw), length) == (_SECRET.size, _PUBLIC_BYTES):
        raise PackageError(
            f"{what} is the SECRET half; verifying needs the public one",
            "give the file of the public key, such as release.pub; give others only that one",
        )
    raise PackageError(f"{what} is damaged", "use the file that minisign has written")


def _lines(text: str, count: int, what: str) -> list[str]:
    lines = text.splitlines()
    if len(lines) != count or not lines[0].startswith("untrusted comment:"):
        raise PackageError(
            f"{what} is not one that minisign makes", "use the file that it has written"
        )
    return lines


def read_public(text: str, what: str) -> PublicKey:
    """Read a public key's file.

    Raises:
        PackageError: It is none.
    """
    raw = _decoded(_lines(text, 2, what)[1], _PUBLIC_BYTES, what)
    if raw[:2] != _PLAIN:
        raise PackageError(f"{what} is of another algorithm than Ed25519", "make a new key")
    return PublicKey(raw[2:10], raw[10:])


def generate() -> SecretKey:
    """Make a key."""
    seed = os.urandom(32)
    key = _ed25519().Ed25519PrivateKey.from_private_bytes(seed)
    return SecretKey(PublicKey(os.urandom(8), key.public_key().public_bytes_raw()), seed)


def write_secret(key: SecretKey) -> str:
    """Return a secret key as a file without a password has it: ``minisign -W``."""
    body = key.public.number + key.seed + key.public.raw
    body += hashlib.blake2b(_PLAIN + body, digest_size=32).digest()
    packed = _SECRET.pack(_PLAIN, _NO_KDF, _CHECK, bytes(32), 0, 0, body)
    return f"untrusted comment: minisign secret key\n{base64.b64encode(packed).decode()}\n"


def read_secret(text: str, what: str, password: bytes | None = None) -> SecretKey:
    """Read a secret key's file.

    Args:
        text: The file.
        what: What it is, for errors.
        password: Opens it, if it was locked with one.

    Raises:
        PackageError: It is none, or locked with another password.
    """
    line = _lines(text, 2, what)[1]
    algorithm, kdf, check, salt, cost, memory, body = _SECRET.unpack(
        _decoded(line, _SECRET.size, what)
    )
    if algorithm != _PLAIN or check != _CHECK or kdf not in {_KDF, _NO_KDF}:
        raise PackageError(f"{what} is of an unknown kind", "make a new key")
    if kdf == _KDF:
        if password is None:
            raise PackageError(
                f"{what} is locked with a password", "give it in SLIPSTREAM_KEY_PASSWORD"
            )
        body = _unlocked(body, password, salt, cost, memory)
        if hashlib.blake2b(algorithm + body[:72], digest_size=32).digest() != body[72:]:
            raise PackageError(f"{what} is locked with another password", "give that one")
    public = PublicKey(body[:8], body[40:72])
    own = _ed25519().Ed25519PrivateKey.from_private_bytes(body[8:40]).public_key()
    if own.public_bytes_raw() != public.raw:
        raise PackageError(f"{what} is damaged: its halves do not belong together", "restore it")
    return SecretKey(public, body[8:40])


def _unlocked(body: bytes, password: bytes, salt: bytes, cost: int, memory: int) -> bytes:
    """Undo what libsodium's scrypt has done, which picks its numbers by these two limits."""
    cost, rounds, times = max(cost, 32768), 8, 1
    sparing = cost < memory // 32
    most = cost // (4 * rounds) if sparing else memory // (128 * rounds)
    power = 1
    while power < 62 and 1 << power <= most // 2:
        power += 1
    if not sparing:
        times = min(cost // 4 // (1 << power), 0x3FFFFFFF) // rounds
    if memory > _MOST_COST or not 0 < times <= 64:
        raise PackageError("the key's password costs too much to try", "lock it again")
    stream = hashlib.scrypt(
        password, salt=salt, n=1 << power, r=rounds, p=times, maxmem=2**31 - 2, dklen=104
    )
    return bytes(one ^ other for one, other in zip(body, stream, strict=True))


def sign(key: SecretKey, content: memoryview, label: str) -> str:
    """Sign a file's content.

    Args:
        key: By which key.
        content: The bytes.
        label: What the signature says of them, below its own seal.
    """
    signer = _ed25519().Ed25519PrivateKey.from_private_bytes(key.seed)
    signature: bytes = signer.sign(hashlib.blake2b(content).digest())
    comment = f"timestamp:{int(time.time())}\t{label}\thashed"
    whole: bytes = signer.sign(signature + comment.encode())
    packed = base64.b64encode(_HASHED + key.public.number + signature).decode()
    return (
        f"untrusted comment: signature from slipstream, key {key.public.id}\n{packed}\n"
        f"trusted comment: {comment}\n{base64.b64encode(whole).decode()}\n"
    )


def verify(key: PublicKey, content: memoryview, signature: str, what: str) -> str:
    """See whether a signature is by a key and of a content.

    Args:
        key: The key.
        content: The bytes.
        signature: The signature's file.
        what: What it is, for errors.

    Returns:
        The comment that the signature seals.

    Raises:
        PackageError: It is not.
    """
    lines = _lines(signature, 4, what)
    raw, whole = _decoded(lines[1], 74, what), _decoded(lines[3], 64, what)
    if not lines[2].startswith("trusted comment: "):
        raise PackageError(
            f"{what} is not one that minisign makes", "use the file that it has written"
        )
    comment = lines[2].removeprefix("trusted comment: ")
    if raw[:2] not in {_PLAIN, _HASHED}:
        raise PackageError(f"{what} is of an unknown algorithm", "sign it again")
    if raw[2:10] != key.number:
        other = PublicKey(raw[2:10], b"").id
        raise PackageError(
            f"{what} was made with the key {other}, not with {key.id}",
            "ask who made the package for the right key; trust none that you do not know",
        )
    signed = hashlib.blake2b(content).digest() if raw[:2] == _HASHED else bytes(content)
    verifier = _ed25519().Ed25519PublicKey.from_public_bytes(key.raw)
    wrong = need("cryptography.exceptions", "packages").InvalidSignature
    try:
        verifier.verify(raw[10:], signed)
    except wrong:
        raise PackageError(
            f"{what} does not match this content: it was changed, or belongs to another file",
            "fetch both again, from whoever made it",
        ) from None
    try:
        verifier.verify(whole, raw[10:] + comment.encode())
    except wrong:
        raise PackageError(
            f"the comment of {what} was changed", "fetch the signature again"
        ) from None
    return printable(comment)
