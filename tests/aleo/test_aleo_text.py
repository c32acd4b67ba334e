"""The parsers and the display, beyond the vectors."""

from __future__ import annotations

import pytest

from slipstream import aleo
from slipstream.aleo import Literal, LiteralType, Opaque
from slipstream.aleo.curve import BASE_MODULUS, SCALAR_MODULUS
from slipstream.errors import AleoFormatError

ADDRESS = "aleo1vfukg8ky2mhfprw63s0k0hl4vvd8573s6fkn8cv9y0ca6q27eq8qwdnxls"
RECORD = f"{{ owner: {ADDRESS}.public, a: 1u8.private, _nonce: 0group.public }}"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("  5u8 \n", "5u8"),
        ("// one\n5u8 // two", "5u8"),
        ("/* a // b */5u8/**/", "5u8"),
        ("\\\n5u8", "5u8"),
        ("{microcredits:100u64}", "{\n  microcredits: 100u64\n}"),
        ("{ a /* x */ : // y\n 1u8 , b:2u8 }", "{\n  a: 1u8,\n  b: 2u8\n}"),
        ("[ 1u8 ,\r\n\t2u8 ]", "[\n  1u8,\n  2u8\n]"),
        ("0005i8", "5i8"),
        ("-0i8", "0i8"),
        ("1__0_u8", "10u8"),
        ("-0field", "0field"),
        ("-5scalar", f"{SCALAR_MODULUS - 5}scalar"),
        (f"-{BASE_MODULUS + 2}group", f"{BASE_MODULUS - 2}group"),
        ('""', '""'),
        (r'"a\n\t\"\\\/\u{41}\u{1F600}"', '"a\n\t"\\/A\U0001f600"'),
        ('"a\\ \n  b"', '"ab"'),
        ('"// no comment"', '"// no comment"'),
        (" 'aZ_9' ", "'aZ_9'"),
        ("[ 'u8' ]", "[\n  'u8'\n]"),  # what is reserved as a name is none here
        ("{ program_id: 1u8, owner: 2u8 }", "{\n  program_id: 1u8,\n  owner: 2u8\n}"),
        (f"{{ owner: {ADDRESS} }}", f"{{\n  owner: {ADDRESS}\n}}"),
    ],
)
def test_parse(text: str, canonical: str) -> None:
    assert str(aleo.parse_plaintext(text)) == canonical
    assert str(aleo.parse_value(text)) == canonical


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the end is not a value"),
        ("5u8 6u8", "'6u8' is left over at line 1, column 5"),
        ("5 u8", "a number has no type"),
        ("5u7", "'u7' is not a numeric type"),
        ("٣u8", "is not a value"),
        ("-5u8", "has no sign"),
        ("128i8", "out of range: a i8 is -128 to 127"),
        ("0_0field", "leading zero"),
        ("True", "'True' is not a value"),
        ("credits.aleo", "a program id cannot stand for its address"),
        ("''", "'' is not an identifier"),
        ("'a", "is not an identifier"),
        ("'1a'", "'1a' is not an identifier"),
        ("'_a'", "'_a' is not an identifier"),
        ("'a-b'", "is not an identifier"),
        ("' a'", "is not an identifier"),
        ("'é'", "is not an identifier"),
        (f"'{'a' * 32}'", "is not an identifier"),
        (ADDRESS.upper(), "is not a value"),
        (ADDRESS[:-1], "checksum"),
        ("aleo1", "checksum"),
        ("/* open", "a comment has no end"),
        ('"open', "a string has no end"),
        (r'"\q"', "is not an escape"),
        (r'"\u{D800}"', "U+D800 is not a character"),
        (r'"\u{110000}"', "U+110000 is not a character"),
        ('"\x07"', "U+0007"),
        ('"\u202e"', "U+202E"),
        ('"\ud800"', "surrogate"),
        (f'"{"a" * 256}"', "256 bytes of at most 255"),
        ("{ a: 1u8 b: 2u8 }", "expected '}'"),
        ("{\n  a: 1u8,\n  a: 1u8\n}", "'a' twice at line 1, column 1"),
        ("{\n  a: 1u8,\n  b: x\n}", "'x\\n}' is not a value at line 3, column 6"),
        ("[" * 34 + "1u8" + "]" * 34, "nested more than 32 deep"),
        ("[" + "1u8," * 2048 + "1u8]", "more than 2048 items"),
        ("{" + ",".join(f"a{i}: 1u8" for i in range(33)) + "}", "more than 32 items"),
        ("literal(0x)", "expected (0x...)"),
        ("literal(0x1100zz)", "expected (0x...)"),
        ("literal(0x0c0001)", "needs 8 bytes"),
        ("literal(0x09000102)", "left over"),
        ("literal(0x11000131)", "'1' is not an identifier"),
        ("value(0x03)", "is not a value"),
    ],
    ids=lambda part: ascii(part)[:40],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(AleoFormatError) as caught:
        aleo.parse_plaintext(text)
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RECORD.replace("public, a", "constant, a"), "expected"),
        (RECORD.replace("a: 1u8.private", "a: 1u8"), "each literal ends in"),
        (RECORD.replace("a: 1u8.private", "a: [1u8.private, 2u8.public]"), "visibility"),
        (RECORD.replace("a: 1u8.private", "owner: 1u8.private"), "'owner' twice"),
        (RECORD.replace("a: 1u8", "a: 1u8.private, a: 1u8"), "'a' twice"),
        (RECORD.replace("_nonce: 0group.public", "b: 1u8.private"), "_nonce"),
        (RECORD.replace("0group.public", "0group.private"), "expected a group"),
        (RECORD.replace("0group", "0field"), "expected a group"),
        (RECORD.replace(" }", ", _version: 2u8.public }"), "version 2"),
        (RECORD.replace(" }", ", more: 2u8.public }"), "expected '_version'"),
        ("{ program_id: a.aleo, function_name: f, arguments: [1u8,] }", "not a value"),
        ("{ program_id: a.aleo, function_name: f }", "expected ','"),
        ("{ program_id: a.aleo, function_name: u8, arguments: [] }", "literal type"),
        ("value(0x0)", "expected (0x...)"),
        ("value(0x00)", "needs 1 byte "),
    ],
)
def test_refused_values(text: str, message: str) -> None:
    with pytest.raises(AleoFormatError) as caught:
        aleo.parse_value(text)
    assert message in caught.value.message


FUTURE = "{ program_id: a.aleo, function_name: f, arguments: [", "] }"


@pytest.mark.parametrize(
    ("around", "innermost", "wrap", "head", "variant"),
    [
        (("[", "]"), "1u8", lambda inner: aleo.Array((inner,)), "0201000000", "00"),
        (("{ a: ", " }"), "1u8", lambda inner: aleo.Struct((("a", inner),)), "01010161", "00"),
        (
            FUTURE,
            FUTURE[0] + FUTURE[1],
            lambda inner: aleo.Future("a.aleo", "f", (inner,)),
            "016104616c656f016601",
            "02",
        ),
    ],
    ids=["array", "struct", "future"],
)
def test_nesting_limit(around, innermost, wrap, head, variant) -> None:
    """So deep, and no deeper: as text, as a value and as bytes."""
    text = around[0] * 32 + innermost + around[1] * 32
    value = aleo.parse_value(text)
    data = aleo.encode_value(value)
    assert aleo.decode_value(data) == value
    with pytest.raises(AleoFormatError, match="nested"):
        aleo.parse_value(f"{around[0]}{text}{around[1]}")
    with pytest.raises(AleoFormatError, match="nested"):
        aleo.encode_value(wrap(value))
    inner = data[1:] if variant == "00" else b"\x01" + data[1:]
    deeper = bytes.fromhex(variant + head) + len(inner).to_bytes(2, "little") + inner
    with pytest.raises(AleoFormatError, match="nested"):
        aleo.decode_value(deeper, strict=True)


def test_nested_future_is_shown_as_a_node_does() -> None:
    inner = "{ program_id: b.aleo, function_name: g, arguments: [] }"
    text = f"{{ program_id: a.aleo, function_name: f, arguments: [[1u8], {inner}, {inner}] }}"
    # An array in it starts at the left edge; blanks follow a future that comes last.
    shown = (
        "{\n  program_id: a.aleo,\n  function_name: f,\n  arguments: [\n    [\n  1u8\n],\n"
        "    {\n      program_id: b.aleo,\n      function_name: g,\n      arguments: []\n    },\n"
        "    {\n      program_id: b.aleo,\n      function_name: g,\n      arguments: []\n    }\n"
        "  \n  ]\n}"
    )
    data = aleo.value_to_bytes(text)
    assert aleo.value_to_text(data) == shown
    assert aleo.value_to_bytes(shown) == data


def test_record_entries_keep_their_visibility() -> None:
    text = (
        f"{{\n  owner: {ADDRESS}.public,\n  a: {{\n    b: [\n      1u8.constant\n    ],\n"
        "    c: true.constant\n  },\n  d: 2u8.public,\n  _nonce: 0group.public,\n"
        "  _version: 1u8.public\n}"
    )
    data = aleo.value_to_bytes(text)
    assert data[:2] == b"\x01\x02"
    assert aleo.value_to_text(data) == text
    record = aleo.parse_value(text)
    assert isinstance(record, aleo.Record)
    assert [(e.name, e.visibility) for e in record.entries] == [("a", "constant"), ("d", "public")]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("001200666f6f", "literal(0x1200666f6f)"),
        ("0201000000 0500 00 1300 ffff", None),
    ],
)
def test_unknown_literals_stay_opaque(data: str, text: str | None) -> None:
    raw = bytes.fromhex(data)
    shown = aleo.plaintext_to_text(raw)
    assert text is None or shown == text
    assert "literal(0x" in shown
    assert aleo.plaintext_to_bytes(shown) == raw


@pytest.mark.parametrize(
    "data", ["03aabb", "04", "05aabb", "ff00", "01", "0109", "0200", "02076372656469"]
)
def test_unknown_values_stay_opaque(data: str) -> None:
    value = aleo.decode_value(bytes.fromhex(data))
    assert isinstance(value, Opaque)
    assert value.reason
    assert str(value) == f"value(0x{data})"
    assert aleo.value_to_bytes(str(value)).hex() == data


def test_unknown_arguments_stay_opaque() -> None:
    data = aleo.value_to_bytes(
        "{ program_id: a.aleo, function_name: f, arguments: [argument(0x03aabb), 1u8] }"
    )
    assert data.endswith(bytes.fromhex("02 0300 03aabb 0500 00 00 0900 01"))
    shown = aleo.value_to_text(data)
    assert "    argument(0x03aabb),\n" in shown
    assert aleo.value_to_bytes(shown) == data


def test_strict_refuses_unreadable_records() -> None:
    with pytest.raises(AleoFormatError, match="at byte"):
        aleo.decode_value(b"\x01\x00", strict=True)


def test_opaque_cannot_stand_for_another_kind() -> None:
    with pytest.raises(AleoFormatError, match="argument"):
        aleo.encode_plaintext(Opaque("argument", b"\x03"))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (LiteralType.U8, 256),
        (LiteralType.U8, -1),
        (LiteralType.U8, True),
        (LiteralType.U8, "1"),
        (LiteralType.BOOLEAN, 1),
        (LiteralType.I8, -129),
        (LiteralType.FIELD, BASE_MODULUS),
        (LiteralType.SCALAR, SCALAR_MODULUS),
        (LiteralType.ADDRESS, b"\x00" * 31),
        (LiteralType.ADDRESS, b"\xff" * 32),
        (LiteralType.SIGNATURE, b"\x00" * 31 + b"\xff" + b"\x00" * 96),
        (LiteralType.STRING, "é" * 128),
        (LiteralType.IDENTIFIER, "a b"),
        (LiteralType.IDENTIFIER, b"a"),
    ],
)
def test_literals_check_their_value(kind: LiteralType, value: int | str | bytes) -> None:
    with pytest.raises(AleoFormatError):
        Literal(kind, value)


def test_a_giant_number_is_refused_like_any_other() -> None:
    # Python does not turn it into text, not even for a message.
    with pytest.raises(AleoFormatError, match="out of range"):
        Literal(LiteralType.U8, 10**5000)


def test_inner_length_limit() -> None:
    wide = "[" + ",".join(["0field"] * 2000) + "]"
    assert len(aleo.plaintext_to_bytes(wide)) == 5 + 2000 * 37
    with pytest.raises(AleoFormatError, match="at most 65535"):
        aleo.plaintext_to_bytes(f"[{wide}]")


@pytest.mark.parametrize(
    "name", ["", "a" * 32, "1a", "_a", "a-b", "é", "u8", "string", "identifier", "a\n"]
)
def test_not_identifiers(name: str) -> None:
    with pytest.raises(AleoFormatError):
        aleo.identifier_to_bytes(name)
    data = name.encode()
    with pytest.raises(AleoFormatError, match="at byte"):
        aleo.identifier_to_text(bytes([len(data)]) + data)


@pytest.mark.parametrize(
    "text", ["a", "a.leo", "a.aleo.aleo", "A.aleo", ".aleo", "u8.aleo", "a. aleo"]
)
def test_not_program_ids(text: str) -> None:
    with pytest.raises(AleoFormatError):
        aleo.program_id_to_bytes(text)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("0102 0161 0400 00090001 0161 0400 00090002", "the member 'a' twice"),
        (
            "0121"
            + "".join(
                f"0261{letter:02x} 0400 00090001" for letter in b"abcdefghijklmnopqrstuvwxyz0123456"
            ),
            "33 members of at most 32",
        ),
    ],
)
def test_members_of_bytes_are_as_strict_as_those_of_text(data: str, message: str) -> None:
    # snarkVM keeps the last of a name, and takes 33.
    with pytest.raises(AleoFormatError, match=message):
        aleo.decode_plaintext(bytes.fromhex(data))


@pytest.mark.parametrize(("data", "text"), [("0100", "{}"), ("0200000000", "[]")])
def test_what_is_empty_is_shown_whole(data: str, text: str) -> None:
    # snarkVM leaves the closing bracket out.
    assert aleo.plaintext_to_text(bytes.fromhex(data)) == text
    assert aleo.encode_plaintext(aleo.decode_plaintext(bytes.fromhex(data))).hex() == data


def test_the_nonce_may_have_no_comma_behind_it() -> None:
    with pytest.raises(AleoFormatError, match="expected '_version'"):
        aleo.parse_value(RECORD.replace(" }", ", }"))
