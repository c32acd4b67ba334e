"""Round trips of random values, and nothing but AleoFormatError for hostile input."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slipstream import aleo
from slipstream.aleo import Array, Literal, LiteralType, Struct
from slipstream.aleo.curve import BASE_MODULUS, SCALAR_MODULUS
from slipstream.errors import AleoFormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

VECTORS = json.loads(Path(__file__).with_name("codec_vectors.json").read_text())
SEEDS = [bytes.fromhex(vector["hex"]) for vector in VECTORS["value"]]
TEXTS = [vector["text"] for vector in VECTORS["value"]]

words = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,30}", fullmatch=True)
names = words.filter(lambda name: name not in {kind.type_name for kind in LiteralType})
programs = st.from_regex(r"[a-z][a-z0-9_]{0,30}", fullmatch=True).filter(
    lambda name: name not in {kind.type_name for kind in LiteralType}
)
coordinates = st.integers(0, BASE_MODULUS - 1)
scalars = st.integers(0, SCALAR_MODULUS - 1)


def packed(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(32, "little") for number in numbers)


# Strings are shown raw; these are the ones that parse back.
strings = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cf"], exclude_characters='"\\'),
    max_size=63,
)
literals = st.one_of(
    st.builds(Literal, st.just(LiteralType.ADDRESS), st.builds(packed, coordinates)),
    st.builds(Literal, st.just(LiteralType.BOOLEAN), st.booleans()),
    st.builds(Literal, st.sampled_from([LiteralType.FIELD, LiteralType.GROUP]), coordinates),
    st.builds(Literal, st.just(LiteralType.SCALAR), scalars),
    st.builds(Literal, st.just(LiteralType.STRING), strings),
    st.builds(Literal, st.just(LiteralType.IDENTIFIER), words),
    st.builds(
        Literal,
        st.just(LiteralType.SIGNATURE),
        st.builds(packed, scalars, scalars, coordinates, coordinates),
    ),
    *(
        st.builds(
            Literal,
            st.just(LiteralType[f"{letter}{bits}"]),
            st.integers(low << bits - 1, (1 << bits) + (low << bits - 1) - 1),
        )
        for bits in (8, 16, 32, 64, 128)
        for letter, low in (("I", -1), ("U", 0))
    ),
    st.builds(
        lambda variant, data: aleo.Opaque("literal", variant.to_bytes(2, "little") + data),
        st.integers(18, 65535),
        st.binary(min_size=1, max_size=20),
    ),
)
plaintexts = st.recursive(
    literals,
    lambda inner: st.one_of(
        st.builds(
            lambda members: Struct(tuple(members.items())),
            st.dictionaries(names, inner, min_size=1, max_size=4),
        ),
        st.builds(lambda items: Array(tuple(items)), st.lists(inner, min_size=1, max_size=4)),
    ),
    max_leaves=8,
)
fields = st.builds(Literal, st.just(LiteralType.FIELD), coordinates)
in_fields = st.one_of(
    fields,
    names.map(
        lambda name: Literal(LiteralType.FIELD, int.from_bytes(name.encode("ascii"), "little"))
    ),
)
dynamic_futures = st.builds(
    aleo.DynamicFuture,
    in_fields,
    st.just(Literal(LiteralType.FIELD, int.from_bytes(b"aleo", "little"))) | in_fields,
    in_fields,
    fields,
)
dynamic_records = st.builds(
    aleo.DynamicRecord,
    st.builds(Literal, st.just(LiteralType.ADDRESS), st.builds(packed, coordinates)),
    fields,
    st.builds(Literal, st.just(LiteralType.GROUP), coordinates),
    st.integers(0, 255),
)
futures = st.recursive(
    st.builds(
        aleo.Future,
        programs.map(lambda name: f"{name}.aleo"),
        names,
        st.lists(plaintexts | dynamic_futures, max_size=3).map(tuple),
    ),
    lambda inner: st.builds(
        aleo.Future, st.just("a.aleo"), names, st.lists(inner | plaintexts, max_size=3).map(tuple)
    ),
    max_leaves=4,
)
records = st.builds(
    aleo.Record,
    st.builds(Literal, st.just(LiteralType.ADDRESS), st.builds(packed, coordinates)),
    st.booleans(),
    st.lists(
        st.builds(
            aleo.Entry,
            names.filter(lambda name: name != "owner"),
            st.sampled_from(["constant", "public", "private"]),
            plaintexts,
        ),
        max_size=3,
        unique_by=lambda entry: entry.name,
    ).map(tuple),
    st.builds(Literal, st.just(LiteralType.GROUP), coordinates),
    st.integers(0, 1),
)


@given(plaintexts)
def test_plaintexts_round_trip(plaintext: aleo.Plaintext) -> None:
    data = aleo.encode_plaintext(plaintext)
    assert aleo.decode_plaintext(data) == plaintext
    assert aleo.parse_plaintext(str(plaintext)) == plaintext


@given(plaintexts | futures | records | dynamic_futures | dynamic_records)
def test_values_round_trip(value: aleo.Value) -> None:
    data = aleo.encode_value(value)
    assert aleo.decode_value(data) == value
    assert aleo.parse_value(str(value)) == value


# A small block: its head, a beacon's signature, and no ratification, solution or transaction.
HEAD = b"".join(
    [b"\1" + bytes(64), b"\1" + bytes(192), b"\1" + bytes(86)]  # three versions among zeros
)
BLOCK = HEAD + bytes(1 + 128) + b"\1" + bytes(4) + b"\1" + bytes(1 + 4) + b"\1" + bytes(4)
READERS: dict[str, Callable[[bytes], bytes]] = {
    "value": lambda raw: aleo.encode_value(aleo.decode_value(raw)),
    "plaintext": lambda raw: aleo.encode_plaintext(aleo.decode_plaintext(raw)),
    "literal": lambda raw: aleo.encode_literal(aleo.decode_literal(raw)),
    "identifier": lambda raw: aleo.identifier_to_bytes(aleo.identifier_to_text(raw)),
    "program id": lambda raw: aleo.program_id_to_bytes(aleo.program_id_to_text(raw)),
    "address": lambda raw: aleo.address_to_bytes(aleo.address_to_text(raw)),
    "block": lambda raw: aleo.BlockPrefix.from_bytes(raw).to_bytes() + raw[len(HEAD) :],
    "block's count": lambda raw: raw if aleo.transaction_count(raw) < 1 << 32 else b"",
}


def through_bytes(value: aleo.Value) -> aleo.Value:
    assert aleo.decode_value(aleo.encode_value(value)) == value
    return value


PARSERS: dict[str, Callable[[str], str]] = {
    "value": lambda text: str(through_bytes(aleo.parse_value(text))),
    "plaintext": lambda text: str(aleo.parse_plaintext(text)),
    "literal": lambda text: str(aleo.parse_literal(text)),
    "identifier": lambda text: aleo.identifier_to_text(aleo.identifier_to_bytes(text)),
    "program id": lambda text: aleo.program_id_to_text(aleo.program_id_to_bytes(text)),
    "id": lambda text: aleo.encode_id(*aleo.decode_id(text)),
}
Outcomes: TypeAlias = Counter[tuple[str, bool]]


def refused_or_kept(raw: bytes, outcomes: Outcomes) -> None:
    """Give the bytes to all readers: what one takes must be the same when it is written."""
    for name, both in READERS.items():
        try:
            kept = both(raw)
        except AleoFormatError as error:
            if "at byte" not in error.message and name != "address":
                raise
            outcomes[name, False] += 1
        else:
            assert kept == raw
            outcomes[name, True] += 1


def refused_or_parsed(text: str, outcomes: Outcomes) -> None:
    """Give the text to all parsers: what one shows must be the same when it is read again."""
    for name, both in PARSERS.items():
        try:
            shown = both(text)
            again = "" if '"' in shown else both(shown)  # a string is shown raw
        except AleoFormatError as error:
            if "at line" not in error.message and name in ("value", "plaintext", "literal"):
                raise
            outcomes[name, False] += 1
        else:
            assert again in ("", shown)
            outcomes[name, True] += 1


def check_outcomes(outcomes: Outcomes, names: Collection[str]) -> None:
    """Fail if anybody refused everything, or nothing."""
    assert set(outcomes) == {(name, taken) for name in names for taken in (False, True)}


def test_changed_bytes_are_refused_or_kept() -> None:
    outcomes: Outcomes = Counter()

    @given(st.sampled_from(SEEDS), st.data())
    def check(seed: bytes, data: st.DataObject) -> None:
        raw = bytearray(seed)
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, len(raw)))
            cut = data.draw(st.integers(0, 2))
            raw[place : place + cut] = data.draw(st.binary(max_size=3))
        refused_or_kept(bytes(raw), outcomes)

    check()
    for seed in SEEDS:
        refused_or_kept(seed, outcomes)
    assert outcomes["value", True] >= len(SEEDS)
    assert outcomes["value", False]


@pytest.mark.parametrize("raw", [bytes(8), b"\xff" * 8, bytes(range(8))])
def test_any_bytes_of_a_number_are_kept(raw: bytes) -> None:
    value = aleo.decode_value(b"\x00\x00\x0c\x00" + raw)
    assert value == Literal(LiteralType.U64, int.from_bytes(raw, "little"))


def test_random_bytes_are_refused_or_kept() -> None:
    outcomes: Outcomes = Counter()

    @given(st.binary(max_size=200))
    @example(b"")
    @example(b"\x00\x02\xff\xff\xff\xff")
    @example(b"\x00\x02\x00\x08\x00\x00")
    @example(b"\x00\x01\xff")
    @example(b"\x00\x00\x10\x00\x02\x00\xff\xff")
    @example(b"\x00\x09\x00\x01")  # a plaintext
    @example(b"\x09\x00\x01")  # a literal
    @example(b"\x01a")  # an identifier
    @example(b"\x01a\x04aleo")  # a program id
    @example(bytes(32))  # an address
    @example(BLOCK)
    def check(raw: bytes) -> None:
        refused_or_kept(raw, outcomes)
        refused_or_kept(b"\x00" + raw, outcomes)

    check()
    check_outcomes(outcomes, READERS)


def test_changed_text_is_refused_or_parsed() -> None:
    outcomes: Outcomes = Counter()

    @given(st.sampled_from(TEXTS), st.data())
    def check(text: str, data: st.DataObject) -> None:
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, len(text)))
            cut = data.draw(st.integers(0, 3))
            text = text[:place] + data.draw(st.text(max_size=3)) + text[place + cut :]
        refused_or_parsed(text, outcomes)

    check()
    for text in TEXTS:
        refused_or_parsed(f" /**/ {text}//", outcomes)
    assert outcomes["value", True] >= len(TEXTS)
    assert outcomes["value", False]


def test_random_text_is_refused_or_parsed() -> None:
    outcomes: Outcomes = Counter()

    @given(st.text(st.sampled_from("{}[](),:.\"'\\/*-_ \n0123456789abcdefilmnopqrstuwxy\ud800é")))
    @example("5u8")
    @example("'a'")
    @example("a")
    @example("a.aleo")
    @example("solution1qqqqqqqqqqqqq8mas5f")
    def check(text: str) -> None:
        refused_or_parsed(text, outcomes)

    check()
    check_outcomes(outcomes, PARSERS)


MILLION = 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        "1" * 10 * MILLION + "u8",
        "1" * 10 * MILLION + "field",
        "-" + "1" * 10 * MILLION,
        "0" * 10 * MILLION + "u256",
        "_" * 10 * MILLION,
        "1" + "_" * 10 * MILLION,
        "[" * 100_000,
        "{a:" * 100_000,
        "{ program_id: a.aleo, function_name: f, arguments: [" * 20_000,
        "{ _program_id: a.aleo, _function_name: f, _checksum: " * 20_000,
        "{ _program_name: " + "1" * 10 * MILLION,
        "{ owner: aleo1" + "q" * 10 * MILLION + ", _root: ",
        "{ owner: aleo1.public, " * 20_000,
        " " * 10 * MILLION,
        "/*" * 5 * MILLION,
        "//\n" * 100_000,
        "/**/" * 100_000,
        '"' + "a" * 10 * MILLION,
        '"' + "\\n" * 300_000,
        "aleo1" + "q" * 10 * MILLION,
        "'" + "a" * 10 * MILLION,
        "'" + "a" * 10 * MILLION + "'",
        "[" + "1u8," * MILLION,
        "literal(0x" + "ab" * MILLION,
        "a" * 10 * MILLION,
        "a" * 10 * MILLION + ".aleo",
    ],
    ids=lambda text: text[:12].strip(),
)
def test_large_text_is_refused_soon(text: str) -> None:
    begin = time.thread_time()
    for parse in (aleo.parse_plaintext, aleo.parse_value):
        with pytest.raises(AleoFormatError) as caught:
            parse(text)
        assert len(caught.value.message) < 300
    # Only tells linear from quadratic: each of these takes well under a second, of this thread's
    # own time.
    assert time.thread_time() - begin < 20


def test_deep_bytes_are_refused() -> None:
    data = bytes.fromhex("00090001")
    for _ in range(2000):
        data = b"\x02\x01\x00\x00\x00" + len(data).to_bytes(2, "little") + data
    with pytest.raises(AleoFormatError, match="nested"):
        aleo.decode_plaintext(data)
    future = bytes.fromhex("0161 04616c656f 0166 00")
    for _ in range(40):
        future = future[:9] + b"\x01" + (len(future) + 1).to_bytes(2, "little") + b"\x01" + future
    value = aleo.decode_value(b"\x02" + future)
    assert isinstance(value, aleo.Opaque)
    assert "nested" in value.reason


def test_depth_limit_is_exact() -> None:
    data = bytes.fromhex("00090001")
    for _ in range(32):
        data = b"\x02\x01\x00\x00\x00" + len(data).to_bytes(2, "little") + data
    assert aleo.encode_plaintext(aleo.decode_plaintext(data)) == data
    with pytest.raises(AleoFormatError, match="nested more than 32 deep at byte 231"):
        aleo.decode_plaintext(b"\x02\x01\x00\x00\x00" + len(data).to_bytes(2, "little") + data)


@pytest.mark.parametrize(
    "data",
    [
        "00090001ff",
        "0201000000 0500 00090001ff",
        "0101 0161 0500 00090001ff",
        "0201000000 0b00 0101 0161 0400 00090001 00",
    ],
)
def test_bytes_left_over_in_an_inner_value_are_refused(data: str) -> None:
    # A node ignores them; encoding again would lose them.
    with pytest.raises(AleoFormatError, match="left over"):
        aleo.decode_plaintext(bytes.fromhex(data))


@pytest.mark.parametrize(
    "data",
    [
        "02 0161 04616c656f 0166 00 ff",
        "02 0161 04616c656f 0166 01 0600 00 00090001 ff",
        "02 0161 04616c656f 0166 01 0c00 01 0161 04616c656f 0166 00 ffff",
        "01 00" + "00" * 32 + "00" + "00" * 32 + "ff",
        "01 00" + "00" * 32 + "01 0161 0600 00 00090001 ff" + "00" * 32,
    ],
)
def test_bytes_left_over_in_a_future_or_record_make_it_opaque(data: str) -> None:
    value = aleo.decode_value(bytes.fromhex(data))
    assert isinstance(value, aleo.Opaque)
    assert "left over" in value.reason


def test_giant_arrays_are_refused_by_their_count() -> None:
    with pytest.raises(AleoFormatError, match="4294967295 elements of at most 2048 at byte 0"):
        aleo.decode_plaintext(b"\x02\xff\xff\xff\xff")
