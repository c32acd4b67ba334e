"""Bech32m (BIP-350) text of addresses, signatures, hashes and ids.

The data part is the bytes in groups of five bits, most significant first, padded with
zero bits; then six characters of checksum with the constant 0x2bc830a3. Aleo does not
keep BIP-173's limit of 90 characters.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from slipstream.aleo.scanner import clip
from slipstream.errors import AleoFormatError

if TYPE_CHECKING:
    from collections.abc import Iterable

ID_SIZES = {
    "aleo": 32,
    "sign": 128,
    "ab": 32,
    "sr": 32,
    "at": 32,
    "au": 32,
    "ar": 32,
    "solution": 8,
}
"""Bytes behind each known prefix; others (record, ciphertext, proof) have any length."""

_CHARACTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES = {character: value for value, character in enumerate(_CHARACTERS)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECK = 0x2BC830A3
_CHECKSUM_SIZE = 6
_PREFIX = re.compile(r"[a-z]{1,16}")
# Longer than any record or proof of the chain; keeps hostile text cheap.
_LONGEST = 262_144


def _polymod(values: Iterable[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                check ^= generator
    return check


def _expand(prefix: str) -> list[int]:
    codes = prefix.encode("ascii")
    return [*(code >> 5 for code in codes), 0, *(code & 31 for code in codes)]


def _check_size(prefix: str, size: int) -> None:
    expected = ID_SIZES.get(prefix, size)
    if size != expected:
        raise AleoFormatError(f"a {prefix}1 id holds {expected} bytes, not {size}")


def encode_id(prefix: str, data: bytes) -> str:
    """Write bytes as bech32m text.

    Args:
        prefix: The part before the ``1``, e.g. ``"ab"`` for a block hash.
        data: The bytes behind it: 32 for most ids, see `ID_SIZES`.

    Returns:
        The text, e.g. ``"ab1..."``.

    Raises:
        AleoFormatError: The prefix is not 1 to 16 letters a-z, or the size is wrong.
    """
    if _PREFIX.fullmatch(prefix) is None:
        raise AleoFormatError(f"{clip(prefix)} is not an id prefix", "use a-z, e.g. 'ab' or 'at'")
    _check_size(prefix, len(data))
    groups, bits, count = [], 0, 0
    for byte in data:
        bits = (bits << 8 | byte) & 0xFFF
        count += 8
        while count >= 5:
            count -= 5
            groups.append(bits >> count & 31)
    if count:
        groups.append(bits << 5 - count & 31)
    check = _polymod([*_expand(prefix), *groups, *[0] * _CHECKSUM_SIZE]) ^ _CHECK
    groups += [check >> 5 * place & 31 for place in reversed(range(_CHECKSUM_SIZE))]
    return f"{prefix}1{''.join(_CHARACTERS[group] for group in groups)}"


def decode_id(text: str, prefix: str | None = None) -> tuple[str, bytes]:
    """Read bech32m text.

    Args:
        text: E.g. ``"at1..."``; lower case only, as a node writes and reads it.
        prefix: The only prefix to accept; None accepts all.

    Returns:
        The prefix and the bytes behind it.

    Raises:
        AleoFormatError: Not bech32m, a wrong checksum, prefix or size.
    """
    if len(text) > _LONGEST:
        raise AleoFormatError(f"an id of {len(text)} characters is too long")
    found, separator, body = text.rpartition("1")
    if not separator or _PREFIX.fullmatch(found) is None:
        raise AleoFormatError(f"{clip(text)} is not an id of the form prefix1...")
    if prefix is not None and found != prefix:
        raise AleoFormatError(f"expected an id that starts with {prefix}1, not {clip(text)}")
    try:
        groups = [_VALUES[character] for character in body]
    except KeyError as error:
        raise AleoFormatError(
            f"{clip(text)} has the character {error.args[0]!r}, which no id has",
            "copy the id again; ids are lower case and have no b, i, o or second 1",
        ) from None
    if len(groups) < _CHECKSUM_SIZE or _polymod([*_expand(found), *groups]) != _CHECK:
        raise AleoFormatError(
            f"the checksum of {clip(text)} is wrong", "copy the id again; a character was changed"
        )
    data, bits, count = bytearray(), 0, 0
    for group in groups[:-_CHECKSUM_SIZE]:
        bits = (bits << 5 | group) & 0xFFF
        count += 5
        if count >= 8:
            count -= 8
            data.append(bits >> count & 0xFF)
    if count >= 5 or bits & (1 << count) - 1:
        raise AleoFormatError(f"the padding of {clip(text)} is not zero")
    _check_size(found, len(data))
    return found, bytes(data)
