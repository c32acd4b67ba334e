"""Aleo values as text and as bytes, and a store whose changes become events.

Text is what a node displays and what explorers show; bytes are what a node serialises and
what plugins get. Pairs of functions go both ways: ``*_to_bytes(text)``, ``*_to_text(data)``.
In between lie objects: `parse_*` and `decode_*` make them, ``str()`` and `encode_*` write
them. Everything refuses bad input with `slipstream.errors.AleoFormatError` and no other
exception.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slipstream.aleo.bech32m import decode_id, encode_id
from slipstream.aleo.blocks import BlockPrefix, transaction_count
from slipstream.aleo.codec import (
    address_to_bytes,
    address_to_text,
    decode_literal,
    decode_plaintext,
    decode_value,
    identifier_to_bytes,
    identifier_to_text,
    literal_to_bytes,
    literal_to_text,
    parse_literal,
    parse_plaintext,
    parse_value,
    plaintext_to_bytes,
    plaintext_to_text,
    program_id_to_bytes,
    program_id_to_text,
    value_to_bytes,
    value_to_text,
)
from slipstream.aleo.dynamic import DynamicFuture, DynamicRecord
from slipstream.aleo.futures import Argument, Future
from slipstream.aleo.literals import Literal, LiteralType, Opaque, encode_literal
from slipstream.aleo.plaintext import Array, Plaintext, Struct, encode_plaintext
from slipstream.aleo.records import Entry, Record
from slipstream.aleo.values import Value, encode_value

if TYPE_CHECKING:
    from slipstream.aleo.finalize import EventSink, FinalizeError, FinalizeMode, FinalizeStore

__all__ = [
    "Argument",
    "Array",
    "BlockPrefix",
    "DynamicFuture",
    "DynamicRecord",
    "Entry",
    "EventSink",
    "FinalizeError",
    "FinalizeMode",
    "FinalizeStore",
    "Future",
    "Literal",
    "LiteralType",
    "Opaque",
    "Plaintext",
    "Record",
    "Struct",
    "Value",
    "address_to_bytes",
    "address_to_text",
    "decode_id",
    "decode_literal",
    "decode_plaintext",
    "decode_value",
    "encode_id",
    "encode_literal",
    "encode_plaintext",
    "encode_value",
    "identifier_to_bytes",
    "identifier_to_text",
    "literal_to_bytes",
    "literal_to_text",
    "parse_literal",
    "parse_plaintext",
    "parse_value",
    "plaintext_to_bytes",
    "plaintext_to_text",
    "program_id_to_bytes",
    "program_id_to_text",
    "transaction_count",
    "value_to_bytes",
    "value_to_text",
]


def __getattr__(name: str) -> object:
    # The store needs the native core for its events; the codecs must not.
    if name in ("EventSink", "FinalizeError", "FinalizeMode", "FinalizeStore"):
        from slipstream.aleo import finalize  # noqa: PLC0415

        return getattr(finalize, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
