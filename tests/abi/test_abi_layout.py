"""Where every field of every table lies: written down once more, by hand, for all of major 1."""

from __future__ import annotations

import pytest

from abi_tools import COMPILERS, HEADER, INCLUDE, front_end, run
from support.toolbox import require

# Fields in their order: w is a word of 32 bits, q one of 64 bits, p a pointer.
TABLES = {
    "slipstream_delivery": "w struct_size w attempt w count w flags q first_ordinal",
    "slipstream_host": (
        "w struct_size w abi_minor p ctx p name p version p log_enabled p log p set_error p ack "
        "p is_stopping p get_extension"
    ),
    "slipstream_plugin": (
        "w struct_size w abi_minor w min_host_minor w flags p instance p name p version p destroy "
        "p on_load p on_unload p subscribed_events p on_broadcast p flush p get_extension"
    ),
    "slipstream_config_v1": (
        "w struct_size w reserved p type_at p key_at p get_bool p get_i64 p get_u64 p get_f64 "
        "p get_text p get_json p config_dir p data_dir"
    ),
    "slipstream_metrics_v1": "w struct_size w reserved p counter_add p gauge_set",
    "slipstream_settle_v1": "w struct_size w reserved p reject",
    "slipstream_payload_v1": "w struct_size w reserved p name_at",
    "slipstream_send_v1": "w struct_size w reserved p send",
    "slipstream_peers_v1": "w struct_size w reserved p lookup p peer_at",
    "slipstream_identity_v1": "w struct_size w reserved p public_key p sign p open",
}


def asserts(tables: dict[str, str]) -> str:
    """A C program that compiles only where every field lies where it belongs."""
    lines = ["#include <slipstream.h>"]
    for table, text in tables.items():
        at, pointers = 0, 0
        for size, field in zip(text.split()[::2], text.split()[1::2], strict=True):
            place = f"{at} + {pointers} * sizeof(void *)"
            lines.append(f"SLIPSTREAM_STATIC_ASSERT(offsetof({table}, {field}) == {place});")
            at, pointers = at + {"w": 4, "q": 8, "p": 0}[size], pointers + (size == "p")
        lines.append(
            f"SLIPSTREAM_STATIC_ASSERT(sizeof({table}) == {at} + {pointers} * sizeof(void *));"
        )
    return "\n".join(lines) + "\n"


def compile_status(compiler: str, standard: str, bits: str, source: str) -> int:
    flags = ("-fsyntax-only", "-ffreestanding", bits, "-I", INCLUDE, "-")
    return run((*front_end(compiler, standard), *flags), source.encode()).returncode


@pytest.mark.parametrize("bits", ["-m64", "-m32"])
@pytest.mark.parametrize("standard", ["c11", "c++11"])
@pytest.mark.parametrize("compiler", COMPILERS)
def test_every_field_lies_where_it_belongs(compiler: str, standard: str, bits: str) -> None:
    require(compiler, "-fsyntax-only", "-ffreestanding", bits)
    assert compile_status(compiler, standard, bits, asserts(TABLES)) == 0
    moved = TABLES | {"slipstream_host": TABLES["slipstream_host"].replace("p log p", "p ack p")}
    assert compile_status(compiler, standard, bits, asserts(moved)) != 0


def test_every_table_is_here() -> None:
    text = HEADER.read_text()
    assert {name for name in TABLES if f"}} {name};" in text} == set(TABLES)
    declared = text.partition("cdef:begin */")[2].partition("/* cdef:end")[0]
    assert declared.count("typedef struct ") == len(TABLES)
