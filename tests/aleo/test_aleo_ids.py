"""Bech32m and the curve."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipstream import aleo
from slipstream.aleo.bech32m import ID_SIZES, _expand, _polymod
from slipstream.aleo.curve import BASE_MODULUS, is_group_x
from slipstream.errors import AleoFormatError

CHARACTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
GENESIS = Path(__file__).parents[2] / "examples/streams/mainnet_genesis.jsonl"


@given(st.sampled_from(sorted(ID_SIZES)), st.data())
def test_known_ids_round_trip(prefix: str, data: st.DataObject) -> None:
    size = ID_SIZES[prefix]
    raw = data.draw(st.binary(min_size=size, max_size=size))
    assert aleo.decode_id(aleo.encode_id(prefix, raw), prefix) == (prefix, raw)


@pytest.mark.parametrize(
    ("prefix", "size"),
    [
        *(("aleo", 32), ("sign", 128), ("ab", 32), ("sr", 32), ("at", 32), ("au", 32)),
        *(("ar", 32), ("solution", 8)),
    ],
)
def test_known_ids_have_one_size(prefix: str, size: int) -> None:
    assert aleo.encode_id(prefix, bytes(size))
    for wrong in (size - 1, size + 1):
        with pytest.raises(AleoFormatError, match=f"not {wrong}"):
            aleo.encode_id(prefix, bytes(wrong))


@given(st.binary(max_size=300))
def test_other_ids_have_any_size(raw: bytes) -> None:
    assert aleo.decode_id(aleo.encode_id("record", raw)) == ("record", raw)


@given(st.binary(min_size=32, max_size=32), st.integers(0, 60), st.sampled_from(CHARACTERS))
def test_one_wrong_character_is_noticed(raw: bytes, place: int, character: str) -> None:
    text = aleo.encode_id("ab", raw)
    place = 3 + place % (len(text) - 3)
    changed = text[:place] + character + text[place + 1 :]
    if changed == text:
        assert aleo.decode_id(changed) == ("ab", raw)
    else:
        with pytest.raises(AleoFormatError, match="checksum"):
            aleo.decode_id(changed)


def test_bip_350_vectors() -> None:
    assert aleo.decode_id("a1lqfn3a") == ("a", b"")
    groups = "".join(f"{value:05b}" for value in reversed(range(32)))
    data = int(groups, 2).to_bytes(20, "big")
    assert aleo.decode_id("abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx") == ("abcdef", data)
    assert aleo.encode_id("abcdef", data) == "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx"
    for text in ("a1lqfn3q", "m1vctc34", "au1s5cgom", "1p2gdwpf", "16plkw9"):
        with pytest.raises(AleoFormatError):
            aleo.decode_id(text)


@pytest.mark.parametrize("groups", [[0], [1, 1], [0, 0, 0], [1]])
def test_padding_is_checked(groups: list[int]) -> None:
    # With a right checksum, so that only the padding is wrong.
    check = _polymod([*_expand("a"), *groups, *[0] * 6]) ^ 0x2BC830A3
    groups = groups + [check >> 5 * place & 31 for place in range(5, -1, -1)]
    with pytest.raises(AleoFormatError, match="padding"):
        aleo.decode_id("a1" + "".join(CHARACTERS[group] for group in groups))


@pytest.mark.parametrize("prefix", ["", "AB", "a1", "é", "a" * 17])
def test_prefixes(prefix: str) -> None:
    with pytest.raises(AleoFormatError, match="prefix"):
        aleo.encode_id(prefix, b"")


def test_sizes_and_prefixes_are_checked() -> None:
    with pytest.raises(AleoFormatError, match="holds 32 bytes, not 31"):
        aleo.encode_id("at", b"\x00" * 31)
    text = aleo.encode_id("at", b"\x00" * 32)
    with pytest.raises(AleoFormatError, match="starts with ab1"):
        aleo.decode_id(text, "ab")
    with pytest.raises(AleoFormatError, match="too long"):
        aleo.decode_id("a1" + "q" * 300_000)
    with pytest.raises(AleoFormatError, match="not below the modulus"):
        aleo.address_to_text(b"\xff" * 32)
    with pytest.raises(AleoFormatError, match="32 bytes"):
        aleo.address_to_text(b"")


def test_real_addresses_are_points_and_few_other_numbers_are() -> None:
    addresses: set[str] = set()
    for line in GENESIS.read_text().splitlines():
        event = json.loads(line)
        if event["kind"] == "MappingUpdate":
            words = f"{event['key']} {event['value']}".replace(",", " ").split()
            addresses.update(word for word in words if word.startswith("aleo1"))
    # 229 accounts, and x = 0 and 2, which are the keys of credits.aleo/metadata.
    assert len(addresses) == 231
    for address in addresses:
        assert aleo.address_to_bytes(address, strict=True)
    assert is_group_x(0)
    assert is_group_x(2)
    found = sum(map(is_group_x, range(1000, 1400)))
    assert 0.15 < found / 400 < 0.35
    assert not is_group_x(BASE_MODULUS)
    assert not is_group_x(-1)


def test_strict_reaches_every_literal() -> None:
    bad = next(x for x in range(1000, 1100) if not is_group_x(x))
    address = aleo.address_to_text(bad.to_bytes(32, "little"))
    for text in (f"{bad}group", address, f"{{ a: [{address}] }}"):
        data = aleo.plaintext_to_bytes(text)
        with pytest.raises(AleoFormatError, match="subgroup at line 1"):
            aleo.plaintext_to_bytes(text, strict=True)
        with pytest.raises(AleoFormatError, match="subgroup at byte"):
            aleo.plaintext_to_text(data, strict=True)
    with pytest.raises(AleoFormatError, match="subgroup"):
        aleo.address_to_bytes(address, strict=True)
    signature = bytes(64) + bad.to_bytes(32, "little") + bytes(32)
    with pytest.raises(AleoFormatError, match="subgroup"):
        aleo.decode_literal(b"\x0f\x00" + signature, strict=True)
    assert aleo.literal_to_text(b"\x0f\x00" + bytes(128), strict=True).startswith("sign1")
    assert aleo.literal_to_text(b"\x02\x00" + bad.to_bytes(32, "little"), strict=True)
