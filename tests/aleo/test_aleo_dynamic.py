"""Records and futures of calls that are bound late: value variants 3 and 4, argument variant 2."""

from __future__ import annotations

import pytest

from slipstream import aleo
from slipstream.aleo import DynamicFuture, DynamicRecord, Literal, LiteralType, Opaque
from slipstream.aleo.curve import BASE_MODULUS
from slipstream.errors import AleoFormatError

ADDRESS = "aleo1vfukg8ky2mhfprw63s0k0hl4vvd8573s6fkn8cv9y0ca6q27eq8qwdnxls"
OWNER = aleo.address_to_bytes(ADDRESS)
RECORD = f"{{\n  owner: {ADDRESS},\n  _root: 7field,\n  _nonce: 2group,\n  _version: 1u8\n}}"
NAMES = "{ _program_id: credits.aleo, _function_name: f, _checksum: 9field }"
FIELDS = (
    "{ _program_name: 0field, _program_network: 1868917857field, _function_name: 102field, "
    "_checksum: 9field }"
)


def word(number: int) -> bytes:
    return number.to_bytes(32, "little")


def name(text: str) -> bytes:
    return text.encode().ljust(32, b"\0")


RECORD_BYTES = b"\x03\x01" + OWNER + word(7) + word(2) + b"\x01"
NAMES_BYTES = b"\x04\x01" + name("credits") + name("aleo") + name("f") + word(9)
FIELDS_BYTES = b"\x04\x01" + word(0) + name("aleo") + name("f") + word(9)


@pytest.mark.parametrize(
    ("text", "data", "kind"),
    [
        (RECORD, RECORD_BYTES, DynamicRecord),
        (NAMES, NAMES_BYTES, DynamicFuture),
        (FIELDS, FIELDS_BYTES, DynamicFuture),
    ],
)
def test_both_ways(text: str, data: bytes, kind: type) -> None:
    assert aleo.value_to_bytes(text).hex() == data.hex()
    assert aleo.value_to_text(data) == text
    assert aleo.value_to_bytes(f"value(0x{data.hex()})") == data
    assert isinstance(aleo.decode_value(data, strict=True), kind)
    with pytest.raises(AleoFormatError):
        aleo.parse_plaintext(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (f"{{owner:{ADDRESS},_root:7field,_nonce:2group,_version:1u8}}", RECORD),
        (f"{{ owner: {ADDRESS} /* x */ , // y\n _root : 7field, _nonce: 2group }}", None),
        ("{_program_id:credits.aleo,_function_name:f,_checksum:9field}", NAMES),
        ("{ /**/ _program_id : credits.aleo , _function_name : f , _checksum : 9field }", NAMES),
        (FIELDS.replace(" 0field", f" {int.from_bytes(b'credits', 'little')}field"), NAMES),
        (FIELDS.replace("1868917857", f"{1868917857 - BASE_MODULUS}"), FIELDS),
    ],
)
def test_parse(text: str, canonical: str | None) -> None:
    assert str(aleo.parse_value(text)) == (canonical or RECORD.replace(": 1u8", ": 0u8"))


@pytest.mark.parametrize(
    "change",
    [
        (name("credits"), name("Credits")),
        (name("credits"), name("u8")),
        (name("credits"), name("a\0b")),  # a node shows the name a, and loses the b
        (name("credits"), b"a" * 31 + b"\x01"),
        (name("aleo"), name("leo")),
        (name("aleo"), name("aleo.aleo")),
        (name("f"), name("1f")),
        (name("f"), name("\xe9")),
    ],
)
def test_what_is_no_name_is_shown_as_a_field(change: tuple[bytes, bytes]) -> None:
    data = NAMES_BYTES.replace(*change)
    shown = aleo.value_to_text(data)
    assert shown.startswith("{ _program_name: ")
    assert aleo.value_to_bytes(shown) == data


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (RECORD_BYTES[:1] + b"\x00" + RECORD_BYTES[2:], "form 0 of a dynamic record is unknown"),
        (NAMES_BYTES[:1] + b"\x02" + NAMES_BYTES[2:], "form 2 of a dynamic future is unknown"),
        (RECORD_BYTES[:-1], "needs 1 byte "),
        (NAMES_BYTES[:-1], "needs 32 bytes"),
        (RECORD_BYTES + b"\0", "left over"),
        (NAMES_BYTES + b"\0", "left over"),
        (RECORD_BYTES.replace(word(7), word(BASE_MODULUS)), "out of range"),
        (RECORD_BYTES.replace(OWNER, b"\xff" * 32), "not below the modulus"),
        (NAMES_BYTES.replace(word(9), b"\xff" * 32), "out of range"),
    ],
)
def test_bytes_that_are_neither_stay_opaque(data: bytes, reason: str) -> None:
    value = aleo.decode_value(data)
    assert isinstance(value, Opaque)
    assert reason in value.reason
    assert aleo.encode_value(value) == data
    with pytest.raises(AleoFormatError, match="at byte"):
        aleo.decode_value(data, strict=True)


def test_strict_wants_points_of_the_subgroup() -> None:
    data = RECORD_BYTES.replace(word(2), word(3))
    assert isinstance(aleo.decode_value(data), DynamicRecord)
    with pytest.raises(AleoFormatError, match="subgroup"):
        aleo.decode_value(data, strict=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RECORD.replace("7field", "7group"), "expected a field at line 3, column 10"),
        (RECORD.replace("7field", "7field.public"), "expected ','"),
        (RECORD.replace("2group", "2field"), "expected a group"),
        (RECORD.replace("1u8", "256u8"), "out of range"),
        (RECORD.replace("_version", "version"), "expected '_version'"),
        (RECORD.replace(ADDRESS, ADDRESS[:-1]), "checksum"),
        (RECORD.replace("_nonce", "a"), "expected '_nonce'"),
        (NAMES.replace("credits", "Credits"), "not lower case"),
        (NAMES.replace("credits.aleo", "u8.aleo"), "literal type"),
        (NAMES.replace(" f,", " 1f,"), "is not an identifier"),
        (NAMES.replace("9field", "9u8"), "expected a field"),
        (NAMES.replace(" }", ", }"), "expected '}'"),
        (FIELDS.replace("_program_network", "_network"), "expected '_program_network'"),
        (FIELDS.replace(" 0field", " credits"), "is not a value"),
        (FIELDS + "}", "left over"),
        ("{ _program_: 1field }", "expected '_program_name'"),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(AleoFormatError) as caught:
        aleo.parse_value(text)
    assert message in caught.value.message


def test_as_an_argument() -> None:
    text = f"{{ program_id: a.aleo, function_name: f, arguments: [{NAMES}, 1u8, {NAMES}] }}"
    data = aleo.value_to_bytes(text)
    argument = b"\x02" + NAMES_BYTES[1:]
    framed = len(argument).to_bytes(2, "little") + argument
    assert data.endswith(b"\x03" + framed + bytes.fromhex("0500 00 00 0900 01") + framed)
    # Unlike a future it stands on one line, and no line of blanks follows the last.
    shown = aleo.value_to_text(data)
    assert shown == (
        "{\n  program_id: a.aleo,\n  function_name: f,\n  arguments: [\n"
        f"    {NAMES},\n    1u8,\n    {NAMES}\n  ]\n}}"
    )
    assert aleo.value_to_bytes(shown) == data


@pytest.mark.parametrize("version", [-1, 256])
def test_a_version_is_one_byte(version: int) -> None:
    literal = aleo.parse_literal("1field")
    assert isinstance(literal, Literal)
    owner = Literal(LiteralType.ADDRESS, OWNER)
    with pytest.raises(AleoFormatError, match="out of range"):
        DynamicRecord(owner, literal, Literal(LiteralType.GROUP, 0), version)
    with pytest.raises(AleoFormatError, match="the nonce is not a group"):
        DynamicRecord(owner, literal, literal)
    with pytest.raises(AleoFormatError, match="the checksum is not a field"):
        DynamicFuture(literal, literal, literal, owner)
