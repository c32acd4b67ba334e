"""Block heads of real blocks, and the walk to the transactions."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from slipstream.aleo import BlockPrefix, transaction_count
from slipstream.aleo.blocks import PREFIX_SIZE
from slipstream.errors import AleoFormatError

# Mainnet block 22369939; its hash was recomputed from these fields.
HEADER: dict[str, str | int] = {
    "block_hash": "ab1zy60eflwe4x2ckkskgq4yrewq9dtqsvt3azr9xp4xxk6uf989sqqadluk2",
    "previous_hash": "ab1dyr49rv205j9jz4n8zdnsju3ft6swyeqe9sspjpycr5s550dqq9sutr7h8",
    "previous_state_root": "sr15x69ss0frq82wyjgxvz6kzda408tkvvj34epe8ymaamlfvuwyczsfcdgs4",
    "transactions_root": (
        "2449630514757590735592165275681839596434496033848637546042865593440128621146field"
    ),
    "finalize_root": (
        "5246081434122824537575195746515286915219799743941480513099979876852249962482field"
    ),
    "ratifications_root": (
        "1918692284312002615780703340072856206237105160070552181707051419359975329084field"
    ),
    "solutions_root": (
        "3094004176463938465523137694104156300524838775619279222832879945469652795184field"
    ),
    "subdag_root": (
        "2947175956165120493247655725292148335670128397726200922714732661385460571301field"
    ),
    "network": 0,
    "round": 45222358,
    "height": 22369939,
    "cumulative_weight": "1563879126068247403924",
    "cumulative_proof_target": "0",
    "coinbase_target": 132957959585328,
    "proof_target": 33239489896333,
    "last_coinbase_target": 132957959585328,
    "last_coinbase_timestamp": 1790692292,
    "timestamp": 1790692292,
}
HEAD = bytes.fromhex(
    "011134fca7eecd4cac5ad0b201520f2e015ab0418b8f4432983531adae24a72c006907528d8a7d24590ab3389b"
    "384b914af5071320c96100c824c0e90a51ed000b01a1b45841e9180ea712483305ab09bdabcebb31928d721c9c"
    "9bef77f4b38e26055a5a6e73e078a7328f8b536b3029bdc3d9a192ba5443c1a0020ef6b815716a05f2a748787f"
    "3482f24ec6bf2ebd6ba4ca4a45b7542a766c45926a7c39472d990b3c4d34f60c5480c3310583557ab5148503e4"
    "e2ddf7bf47f09084f338fcf03d04307f1e57183b61ca07e65a6d99d080d32418cf0b5655f717e5ee4637f124d7"
    "06a5dc2d965f688c9e7c243b26761294d417321a212d40e66e54b870d6df0a8406010000d609b2020000000093"
    "565501941d38525fc32ec7540000000000000000000000000000000000000000000000307ef3afec7800008ddf"
    "fc2b3b1e0000307ef3afec780000c4cbbb6a00000000c4cbbb6a00000000"
)


def test_real_head_both_ways() -> None:
    prefix = BlockPrefix.from_bytes(HEAD)
    assert len(HEAD) == PREFIX_SIZE
    assert prefix.to_bytes() == HEAD
    assert prefix.to_json() == HEADER
    assert BlockPrefix.from_json(HEADER) == prefix
    assert BlockPrefix.from_bytes(HEAD + b"the rest") == prefix
    assert prefix.height == 22369939


def test_json_numbers_may_be_numbers_or_text() -> None:
    weight = "cumulative_weight"
    assert BlockPrefix.from_json({**HEADER, weight: int(HEADER[weight]), "height": "22369939"})
    for value in (1.5, None, "1u128", "1 ", "", "0x1", "9" * 5000, "-1", 1 << 128, True):
        with pytest.raises(AleoFormatError, match=weight):
            BlockPrefix.from_json({**HEADER, weight: value})
    for value in ("5", "5u8", 5, "5field field", None):
        with pytest.raises(AleoFormatError, match="finalize_root"):
            BlockPrefix.from_json({**HEADER, "finalize_root": value})
    with pytest.raises(AleoFormatError, match="no 'round'"):
        BlockPrefix.from_json({name: HEADER[name] for name in HEADER if name != "round"})
    with pytest.raises(AleoFormatError, match="ab1"):
        BlockPrefix.from_json({**HEADER, "block_hash": HEADER["previous_state_root"]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((0, b"\x02"), "version is 2, not 1 at byte 0"),
        ((65, b"\x00"), "version is 0, not 1 at byte 65"),
        ((258, b"\x09"), "version is 9, not 1 at byte 258"),
        ((33, b"\xff" * 32), "not below the modulus at byte 33"),
        ((98, b"\xff" * 32), "not below the modulus at byte 98"),
    ],
)
def test_malformed_heads(change: tuple[int, bytes], message: str) -> None:
    at, data = change
    with pytest.raises(AleoFormatError, match=message):
        BlockPrefix.from_bytes(HEAD[:at] + data + HEAD[at + len(data) :])


def test_short_heads() -> None:
    for size in range(PREFIX_SIZE):
        with pytest.raises(AleoFormatError, match="at byte"):
            BlockPrefix.from_bytes(HEAD[:size])


@pytest.mark.parametrize(
    "change",
    [
        {"height": 1 << 32},
        {"height": -1},
        {"height": "1"},
        {"block_hash": b""},
        {"block_hash": b"\xff" * 32},
        {"block_hash": 1},
        {"finalize_root": 1 << 255},
        {"timestamp": 1 << 63},
    ],
)
def test_fields_are_checked(change: dict[str, object]) -> None:
    with pytest.raises(AleoFormatError):
        replace(BlockPrefix.from_bytes(HEAD), **change)  # type: ignore[arg-type]


def test_timestamps_are_signed() -> None:
    prefix = replace(BlockPrefix.from_bytes(HEAD), timestamp=-1)
    assert BlockPrefix.from_bytes(prefix.to_bytes()).timestamp == -1


def beacon() -> bytes:
    return b"\x00" + bytes(128)


def quorum() -> bytes:
    transmissions = b"\x00" + b"\x01" + bytes(24) + b"\x02" + bytes(48)
    certificate = (
        b"\x01\x01"
        + bytes(32 + 32 + 8 + 8 + 32)
        + struct.pack("<I", 3)
        + transmissions
        + struct.pack("<H", 2)
        + bytes(64 + 128)
        + struct.pack("<H", 3)
        + bytes(3 * 128)
    )
    one_round = bytes(8) + struct.pack("<H", 2) + certificate * 2
    return b"\x01\x01" + struct.pack("<I", 2) + one_round * 2


def genesis_ratification() -> bytes:
    committee = b"\x01" + bytes(40) + struct.pack("<H", 2) + bytes(2 * 42 + 8)
    balances = struct.pack("<H", 3) + bytes(3 * 40) + struct.pack("<H", 4) + bytes(4 * 104)
    return b"\x01\x00" + committee + balances


def tail(count: int, solutions: bytes = b"\x01\x00") -> bytes:
    return solutions + struct.pack("<I", 2) + bytes(16) + b"\x01" + struct.pack("<I", count)


REWARDS = b"\x01\x01" + bytes(8) + b"\x01\x02" + bytes(8)


@pytest.mark.parametrize("authority", [beacon(), quorum()], ids=["beacon", "quorum"])
@pytest.mark.parametrize(
    "ratifications",
    [b"\x00" * 4, struct.pack("<I", 3) + genesis_ratification() + REWARDS],
    ids=["none", "all"],
)
@pytest.mark.parametrize("solutions", [b"\x01\x00", b"\x01\x01\x03" + bytes(240)])
def test_transaction_count(authority: bytes, ratifications: bytes, solutions: bytes) -> None:
    block = HEAD + authority + b"\x01" + ratifications + tail(77, solutions)
    assert transaction_count(block + b"transactions") == 77
    for size in range(len(block)):
        with pytest.raises(AleoFormatError, match="at byte"):
            transaction_count(block[:size])


def test_unknown_forms_are_refused() -> None:
    for body in (
        b"\x02",
        b"\x01\x02",
        beacon() + b"\x02",
        beacon() + b"\x01\x01\x00\x00\x00\x01\x03",
        beacon() + b"\x01\x00\x00\x00\x00\x01\x02",
    ):
        with pytest.raises(AleoFormatError, match=r"unknown|not 1"):
            transaction_count(HEAD + body + bytes(300))


def test_giant_counts_end_at_the_end() -> None:
    for body in (b"\x01\x01\xff\xff\xff\xff", beacon() + b"\x01\xff\xff\xff\xff"):
        with pytest.raises(AleoFormatError):
            transaction_count(HEAD + body + b"\x01\x01" * 1000)
