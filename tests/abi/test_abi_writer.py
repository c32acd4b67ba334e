"""The core's writer (native/frame/frame.c) makes the golden bytes, and its check accepts them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from cffi import FFI
from hypothesis import given, settings

from abi_frames import (
    APP_KINDS,
    DRAFTS,
    FRAME_MAX,
    OK,
    SHAPES,
    UNSUPPORTED,
    WRITTEN,
    Draft,
    golden,
    read_header,
    read_payload,
)
from abi_tools import HEADER, INCLUDE, REPO, WARNINGS, declarations, succeed
from support.toolbox import require
from test_abi_frames import HOSTILE, drafts, wild_runs

NATIVE = REPO / "native"
FRAME = NATIVE / "frame" / "frame"
INVALID_ARGUMENT = -5


class Writer(NamedTuple):
    ffi: FFI
    lib: Any


def frame_declarations() -> str:
    """The views out of the contract's header, and all of native/frame/frame.h."""
    views = re.findall(
        r"^typedef struct slipstream_(?:bytes|frame) \{[^}]*\} \w+;",
        HEADER.read_text(),
        re.MULTILINE,
    )
    text = "".join(views) + FRAME.with_suffix(".h").read_text()
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    text = re.sub(r"^static inline .*?^}", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"^#(?!define \w+ \d+$).*$", "", text, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Writer:
    require("gcc", "-fsanitize=undefined")
    library = tmp_path_factory.mktemp("writer") / "frame.so"
    flags = (
        "-std=c11",
        "-D_GNU_SOURCE",
        *WARNINGS,
        "-fsanitize=undefined",
        "-fsanitize-undefined-trap-on-error",
    )
    source = FRAME.with_suffix(".c")
    succeed(
        ("gcc", *flags, "-shared", "-fPIC", "-iquote", NATIVE, "-I", INCLUDE, source, "-o", library)
    )
    ffi = FFI()
    ffi.cdef(declarations(HEADER))
    ffi.cdef(frame_declarations())
    return Writer(ffi, ffi.dlopen(str(library)))


def write(writer: Writer, draft: Draft) -> bytes:
    """The frame that the core makes of a draft; the room around it stays as it was."""
    ffi, lib = writer
    wanted: Any = ffi.new("ss_draft *")
    for name in ("kind", "flags", "stream", "sequence", "time_ns", "height", "word"):
        setattr(wanted, name, getattr(draft, name))
    alive = [ffi.from_buffer(span) for span in draft.spans if span is not None]
    views = iter(alive)
    for number, span in enumerate(draft.spans):
        if span is not None:
            wanted.spans[number] = (ffi.cast("const uint8_t *", next(views)), len(span))
    for number, value in enumerate(draft.numbers):
        wanted.numbers[number] = value
    size = lib.ss_frame_size(wanted)
    room = bytearray(b"\xa5" * (size + 32))
    lib.ss_frame_write(ffi.from_buffer(room, require_writable=True) + 16, size, wanted)
    assert room[:16] == room[-16:] == b"\xa5" * 16
    return bytes(room[16:-16])


def check(writer: Writer, frame: bytes) -> int:
    view = writer.ffi.new("slipstream_frame *")
    return int(writer.lib.ss_frame_check(writer.ffi.from_buffer(frame), len(frame), view))


@pytest.mark.parametrize("name", WRITTEN)
def test_core_writes_the_golden_bytes(writer: Writer, name: str) -> None:
    assert write(writer, WRITTEN[name]) == golden(name)


@settings(max_examples=200, deadline=None, database=None)
@given(drafts())
def test_core_writes_what_the_second_implementation_does(writer: Writer, draft: Draft) -> None:
    plain = replace(draft, grown_header=0, grown_fixed=0)
    assert write(writer, plain) == plain.encode()
    assert check(writer, plain.encode()) == OK
    assert check(writer, draft.encode()) == OK


def test_frames_up_to_the_largest(writer: Writer) -> None:
    room = FRAME_MAX - 48 - 16
    largest = bytes(room)
    frame = write(writer, Draft(3, (largest,)))
    assert len(frame) == FRAME_MAX
    assert check(writer, frame) == OK
    draft: Any = writer.ffi.new("ss_draft *")
    for kind, length in ((3, room + 1), (3, 2**32), (3, 2**64 - 1), (32, room + 9)):
        draft.kind = kind
        draft.spans[0] = (writer.ffi.cast("const uint8_t *", 8), length)
        assert writer.lib.ss_frame_size(draft) == 0, (kind, length)


@pytest.mark.parametrize("name", DRAFTS)
def test_core_checks_golden_frames(writer: Writer, name: str) -> None:
    draft = DRAFTS[name]
    if draft.flags >> 16:
        expected = UNSUPPORTED
    else:
        expected = OK if draft.kind <= 8 or 32 <= draft.kind <= 63 else INVALID_ARGUMENT
    assert check(writer, golden(name)) == expected


def test_core_refuses_what_the_readers_refuse(writer: Writer) -> None:
    for name, frame, status, own in HOSTILE:
        expected = status if own is None or status == UNSUPPORTED else own
        assert check(writer, frame) == expected, name


def test_core_judges_wild_frames_as_the_second_implementation(writer: Writer) -> None:
    for frame in wild_runs(2_000, seed=2):
        status, fields, payload = read_header(frame)
        kind = fields[0] if fields else 0
        if status == OK:
            known = kind in SHAPES or kind in APP_KINDS
            status = read_payload(kind, payload)[0] if known else INVALID_ARGUMENT
        assert check(writer, frame) == status, frame.hex()
