"""The shipped streams: every text and its bytes agree, and the numbers add up."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TypeAlias

import pytest

from slipstream import aleo
from slipstream.aleo import BlockPrefix, Literal, Struct

STREAMS = Path(__file__).parents[2] / "examples/streams"
GENESIS = "mainnet_genesis.jsonl"
DERIVED = "mainnet_derived_blocks_1_to_5.jsonl"
SUPPLY = 1_499_999_994_894_244

Line: TypeAlias = dict[str, str | int]

CODECS = {
    "program_id": (aleo.program_id_to_bytes, aleo.program_id_to_text),
    "mapping_name": (aleo.identifier_to_bytes, aleo.identifier_to_text),
    "key": (aleo.plaintext_to_bytes, aleo.plaintext_to_text),
    "value": (aleo.value_to_bytes, aleo.value_to_text),
    "staker": (aleo.address_to_bytes, aleo.address_to_text),
    "validator": (aleo.address_to_bytes, aleo.address_to_text),
}
FIELDS = {
    "MappingUpdate": {"program_id", "mapping_name", "key", "value"},
    "StakingReward": {"staker", "validator"},
    "Block": {"block"},
}
# Mainnet's genesis block; its hash was recomputed from these fields.
HEADER: Line = {
    "block_hash": "ab19dklwl9vp63zu3hwg57wyhvmqf92fx5g8x0t6dr72py8r87pxupqfne5t9",
    "previous_hash": "ab1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq5g436j",
    "previous_state_root": "sr1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq6gk0xu",
    "transactions_root": (
        "4035423126578141205530950321011047260434062165156342052517186048435222015114field"
    ),
    "finalize_root": (
        "803107333740631196711813867264618322872728443340420270708893355272477996939field"
    ),
    "ratifications_root": (
        "6701210049320844088765023442008963474924577059865519254276507158093251663465field"
    ),
    "solutions_root": "0field",
    "subdag_root": "0field",
    "network": 0,
    "round": 0,
    "height": 0,
    "cumulative_weight": "0",
    "cumulative_proof_target": "0",
    "coinbase_target": 536870911,
    "proof_target": 134217728,
    "last_coinbase_target": 536870911,
    "last_coinbase_timestamp": 1725462000,
    "timestamp": 1725462000,
}


def lines(name: str) -> list[Line]:
    return [json.loads(line) for line in (STREAMS / name).read_text().splitlines()]


def microcredits(line: Line) -> int:
    value = aleo.parse_plaintext(str(line["value"]))
    if isinstance(value, Struct):
        value = dict(value.members)["microcredits"]
    assert isinstance(value, Literal)
    return int(value.value)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        (GENESIS, {"MappingUpdate": 396, "Block": 1}),
        (DERIVED, {"StakingReward": 545, "MappingUpdate": 705}),
    ],
)
def test_text_and_bytes_agree(name: str, kinds: dict[str, int]) -> None:
    stream = lines(name)
    assert Counter(line["kind"] for line in stream) == kinds
    assert [line["seq"] for line in stream] == list(range(len(stream)))
    for line in stream:
        found = {key.removesuffix("_hex") for key in line if key.endswith("_hex")}
        assert found == FIELDS[str(line["kind"])]
        for field in found - {"block"}:
            to_bytes, to_text = CODECS[field]
            text, data = str(line[field]), bytes.fromhex(str(line[f"{field}_hex"]))
            assert to_bytes(text) == data
            assert to_text(data) == text


def test_block_event_is_the_head_of_genesis() -> None:
    block = lines(GENESIS)[-1]
    data = bytes.fromhex(str(block["block_hex"]))
    assert len(data) == 345
    assert "345" in str(block["note"])
    prefix = BlockPrefix.from_bytes(data)
    assert prefix.to_json() == HEADER
    assert BlockPrefix.from_json(HEADER).to_bytes() == data
    assert HEADER["block_hash"] == block["block_hash"]


def test_supply_at_genesis() -> None:
    last: dict[tuple[str, str], int] = {}
    for line in lines(GENESIS)[:-1]:
        if line["mapping_name"] in ("account", "bonded"):
            last[str(line["mapping_name"]), str(line["key"])] = microcredits(line)
    assert sum(last.values()) == SUPPLY == 1_500_000_000_000_000 - 4 * (1_250_000 + 26_439)


def test_stakes_agree_with_rewards() -> None:
    rewards: dict[tuple[str, int], int] = {}
    zeros: Counter[str] = Counter()
    checked = 0
    for line in lines(DERIVED):
        height = int(line["block_height"])
        if line["kind"] == "StakingReward":
            rewards[str(line["staker"]), height] = int(line["new_stake"])
            zeros[str(line["staker"])] += line["reward"] == 0
        elif line["mapping_name"] == "bonded":
            assert rewards[str(line["key"]), height] == microcredits(line)
            checked += 1
    assert checked == 545
    assert sorted(zeros.values())[-7:] == [0, 5, 5, 5, 5, 5, 5]


def test_origin_is_stated() -> None:
    readme = (STREAMS / "README.md").read_text()
    assert f"{SUPPLY:,}" in readme
    assert "Apache License" in readme
    licence = STREAMS / "LICENSE.snarkVM-parameters.Apache-2.0.md"
    assert licence.name in readme
    assert "Apache License" in licence.read_text()
