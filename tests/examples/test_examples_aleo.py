"""examples/common/aleo.h against the recorded events, whose texts a node's rules made."""

from __future__ import annotations

import ctypes
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples_tools import EXAMPLES, ROOT

TEXT = 64


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    path = tmp_path_factory.mktemp("shim") / "aleo_shim.so"
    subprocess.run(
        [
            *[compiler, "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"],
            *[f"-I{ROOT / 'include'}", f"-I{EXAMPLES / 'common'}", "-o", str(path)],
            str(Path(__file__).with_name("aleo_shim.c")),
        ],
        check=True,
        timeout=600,
    )
    return ctypes.CDLL(str(path))


@pytest.fixture(scope="module")
def events() -> list[dict[str, str]]:
    files = sorted((EXAMPLES / "streams").glob("*.jsonl"))
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    found = [json.loads(line) for line in lines]
    assert len(found) > 1000
    return found


def text_of(call: object, *arguments: object) -> str | None:
    buffer = ctypes.create_string_buffer(TEXT)
    return buffer.value.decode() if call(*arguments, buffer) else None  # type: ignore[operator]


def name(shim: ctypes.CDLL, data: bytes, identifiers: int) -> str | None:
    return text_of(shim.shim_name, data, ctypes.c_size_t(len(data)), identifiers)


def microcredits(shim: ctypes.CDLL, data: bytes) -> int | None:
    out = ctypes.c_uint64()
    found = shim.shim_microcredits(data, ctypes.c_size_t(len(data)), ctypes.byref(out))
    return out.value if found else None


def test_names_keys_and_amounts_of_every_update(
    shim: ctypes.CDLL, events: list[dict[str, str]]
) -> None:
    amounts = 0
    for event in events:
        if event["kind"] != "MappingUpdate":
            continue
        key = bytes.fromhex(event["key_hex"])
        assert name(shim, bytes.fromhex(event["program_id_hex"]), 2) == event["program_id"]
        assert name(shim, bytes.fromhex(event["mapping_name_hex"]), 1) == event["mapping_name"]
        address = text_of(shim.shim_key_address, key, ctypes.c_size_t(len(key)))
        assert address == (event["key"] if event["key"].startswith("aleo1") else None)
        shown = re.search(r"^(?:|\{.*microcredits: )(\d+)u64", event["value"], re.DOTALL)
        found = microcredits(shim, bytes.fromhex(event["value_hex"]))
        assert found == (int(shown[1]) if shown else None), event["value"]
        amounts += found is not None
    assert amounts > 500


def test_addresses_of_every_reward(shim: ctypes.CDLL, events: list[dict[str, str]]) -> None:
    rewards = [event for event in events if event["kind"] == "StakingReward"]
    assert rewards
    for event in rewards:
        buffer = ctypes.create_string_buffer(TEXT)
        shim.shim_bech32m(b"aleo", bytes.fromhex(event["staker_hex"]), buffer)
        assert buffer.value.decode() == event["staker"]


def test_head_of_a_block(shim: ctypes.CDLL) -> None:
    head = bytearray(345)
    head[0] = head[65] = head[258] = 1
    head[269:273] = (1_203_288).to_bytes(4, "little")
    height = ctypes.c_uint64()
    hash_text = ctypes.create_string_buffer(TEXT)

    def read(data: bytes) -> int:
        return int(
            shim.shim_block(data, ctypes.c_size_t(len(data)), ctypes.byref(height), hash_text)
        )

    assert read(bytes(head)) == 1
    assert height.value == 1_203_288
    assert hash_text.value.startswith(b"ab1qqqq")
    assert read(bytes(head[:-1])) == 0
    head[65] = 2
    assert read(bytes(head)) == 0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x01",
        b"\x011",
        b"\x02a-",
        b"\x20" + b"a" * 32,
        b"\x01a\x01",
        b"\x01a\x01bx",
        b"credits.aleo",
    ],
)
def test_what_is_no_name(shim: ctypes.CDLL, data: bytes) -> None:
    assert name(shim, data, 2) is None


def test_longest_name(shim: ctypes.CDLL) -> None:
    longest = b"\x1f" + b"a" * 31
    assert name(shim, longest * 2, 2) == "a" * 31 + "." + "a" * 31


@given(data=st.binary(max_size=120))
def test_any_bytes_are_an_amount_or_none(shim: ctypes.CDLL, data: bytes) -> None:
    found = microcredits(shim, data)
    assert found is None or 0 <= found < 2**64


STRUCT = bytes.fromhex(
    "0001020976616c696461746f722300000000" + "62" * 32 + "0c6d6963726f637265646974730b0000"
    "0c0000e1f50500000000"
)


def test_a_struct_and_every_truncation_of_it(shim: ctypes.CDLL) -> None:
    assert microcredits(shim, STRUCT) == 100_000_000
    assert all(microcredits(shim, STRUCT[:end]) is None for end in range(len(STRUCT)))
    assert microcredits(shim, STRUCT + b"\0") is None
