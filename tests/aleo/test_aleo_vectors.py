"""Every vector both ways. Vectors of basis "real" occur in real blocks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypedDict

import pytest

from slipstream import aleo
from slipstream.errors import AleoFormatError


class Vector(TypedDict, total=False):
    text: str
    hex: str
    canonical: str
    kind: str
    why: str


VECTORS: dict[str, list[Vector]] = json.loads(
    Path(__file__).with_name("codec_vectors.json").read_text()
)
CODECS = {
    "program_id": (aleo.program_id_to_bytes, aleo.program_id_to_text),
    "identifier": (aleo.identifier_to_bytes, aleo.identifier_to_text),
    "address": (aleo.address_to_bytes, aleo.address_to_text),
    "plaintext": (aleo.plaintext_to_bytes, aleo.plaintext_to_text),
    "value": (aleo.value_to_bytes, aleo.value_to_text),
}


@pytest.mark.parametrize(
    ("kind", "vector"), [(kind, vector) for kind in CODECS for vector in VECTORS[kind]]
)
def test_both_ways(kind: str, vector: Vector) -> None:
    to_bytes, to_text = CODECS[kind]
    assert to_bytes(vector["text"]).hex() == vector["hex"]
    assert to_text(bytes.fromhex(vector["hex"])) == vector.get("canonical", vector["text"])


@pytest.mark.parametrize("vector", VECTORS["plaintext"])
def test_literals_are_plaintexts_without_their_first_byte(vector: Vector) -> None:
    data = bytes.fromhex(vector["hex"])
    if data[0] != 0:
        with pytest.raises(AleoFormatError):
            aleo.literal_to_bytes(vector["text"])
        return
    assert aleo.literal_to_bytes(vector["text"]) == data[1:]
    assert aleo.literal_to_text(data[1:]) == vector.get("canonical", vector["text"])


@pytest.mark.parametrize("vector", VECTORS["bech32m_ids"])
def test_ids(vector: Vector) -> None:
    prefix, data = aleo.decode_id(vector["text"])
    assert vector["text"].startswith(f"{prefix}1")
    assert data.hex() == vector["hex"]
    assert aleo.encode_id(prefix, data) == vector["text"]


@pytest.mark.parametrize("vector", VECTORS["invalid_text"])
def test_invalid_text(vector: Vector) -> None:
    for parse in (aleo.parse_plaintext, aleo.parse_value):
        with pytest.raises(AleoFormatError, match="line 1, column"):
            parse(vector["text"])


@pytest.mark.parametrize("vector", VECTORS["invalid_bytes"])
def test_invalid_bytes(vector: Vector) -> None:
    data = bytes.fromhex(vector["hex"])
    with pytest.raises(AleoFormatError, match="at byte"):
        aleo.decode_plaintext(data)
    with pytest.raises(AleoFormatError, match="at byte"):
        aleo.decode_value(b"\x00" + data)


def test_vectors_are_all_of_a_known_section() -> None:
    sections = {*CODECS, "bech32m_ids", "invalid_text", "invalid_bytes", "note"}
    assert set(VECTORS) == sections


def test_codecs_need_no_native_core() -> None:
    folder = Path(aleo.__file__).parent
    users = [path.name for path in folder.glob("*.py") if "slipstream.events" in path.read_text()]
    assert users == ["finalize.py"]
