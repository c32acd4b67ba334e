"""Golden frames, and the header's readers on frames that are cut, wrong or wild.

Everything is read three ways at once: `abi_frames` says what has to come out, the program
`guarded_frames` reads with the header's readers, with unreadable pages around the bytes.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import abi_frames
from abi_frames import BLOCK, DRAFTS, FRAME_MAX, MALFORMED, OK, UNSUPPORTED, golden
from abi_tools import COMPILERS, HERE, INCLUDE, WARNINGS, header_with, run, succeed
from support.toolbox import require

GUARDED = (
    "-std=c11",
    "-O1",
    *(flag for flag in WARNINGS if flag != "-Wpadded"),
    "-fsanitize=undefined",
    "-fno-sanitize-recover=all",
)


def build(compiler: str, include: Path, folder: Path) -> Path:
    program = folder / f"guarded_frames-{compiler}"
    succeed((compiler, *GUARDED, "-I", include, HERE / "guarded_frames.c", "-o", program))
    return program


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require("gcc", "-fsanitize=undefined")
    return build("gcc", INCLUDE, tmp_path_factory.mktemp("guarded"))


def records(runs: Sequence[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(run)) + run for run in runs)


def read(program: Path, runs: Sequence[bytes]) -> list[str]:
    lines = succeed((program,), records(runs)).decode().splitlines()
    assert len(lines) == len(runs)
    return lines


def check(program: Path, runs: Sequence[bytes]) -> None:
    for data, line in zip(runs, read(program, runs), strict=True):
        assert line == abi_frames.describe(data), data[:512].hex()


def edited(name: str, *edits: tuple[int, str, int]) -> bytes:
    """A golden frame with some of its words replaced: offset, format, value."""
    frame = bytearray(golden(name))
    for at, form, value in edits:
        struct.pack_into(form, frame, at, value)
    return bytes(frame)


def big_frame(frame_len: int) -> bytes:
    """A BLOCK frame of this length whose block is the payload's last 8 bytes."""
    payload_len = frame_len - 48
    header = abi_frames.HEADER.pack(frame_len, 48, BLOCK, 0, payload_len, 1, 1, 1, 1)
    head = header + struct.pack("<IIII", 16, 0, payload_len - 8, 8)
    return head + bytes(frame_len - len(head) - 8) + b"last one"


def header_alone(kind: int) -> bytes:
    return abi_frames.HEADER.pack(48, 48, kind, 0, 0, 1, 1, 1, 1)


READERS = len(abi_frames.READERS)
U32_MAX = 2**32 - 1
BONDED = "mapping_update_bonded"  # frame_len 232, payload_len 180, fixed_len 40
REMOVED = "mapping_removal_key"
# (what it is, frame, status of read_frame, status of the kind's own reader)
HOSTILE: list[tuple[str, bytes, int, int | None]] = [
    ("nothing", b"", MALFORMED, None),
    ("a header less a byte", golden(BONDED)[:47], MALFORMED, None),
    ("frame_len 0", edited(BONDED, (0, "<I", 0)), MALFORMED, None),
    ("frame_len below a header", edited(BONDED, (0, "<I", 40)), MALFORMED, None),
    ("frame_len beyond the end", edited(BONDED, (0, "<I", 240)), MALFORMED, None),
    ("frame_len far beyond", edited(BONDED, (0, "<I", U32_MAX - 7)), MALFORMED, None),
    ("frame_len no multiple of 8", edited(BONDED, (0, "<I", 228)), MALFORMED, None),
    ("frame_len cuts the payload", edited(BONDED, (0, "<I", 224)), MALFORMED, None),
    ("frame_len larger than allowed", big_frame(FRAME_MAX + 8), MALFORMED, None),
    ("header_len 0", edited(BONDED, (4, "<H", 0)), MALFORMED, None),
    ("header_len 40", edited(BONDED, (4, "<H", 40)), MALFORMED, None),
    ("header_len no multiple of 8", edited(BONDED, (4, "<H", 52)), MALFORMED, None),
    ("header_len beyond the frame", edited(BONDED, (4, "<H", 240)), MALFORMED, None),
    ("header_len pushes the payload out", edited(BONDED, (4, "<H", 56)), MALFORMED, None),
    ("payload_len one too many", edited(BONDED, (12, "<I", 185)), MALFORMED, None),
    ("payload_len wraps", edited(BONDED, (12, "<I", U32_MAX)), MALFORMED, None),
    ("critical flag", edited(BONDED, (8, "<I", 1 << 31)), UNSUPPORTED, OK),
    ("unknown harmless flag", edited(BONDED, (8, "<I", 1 << 15)), OK, OK),
    ("no payload at all", edited(BONDED, (12, "<I", 0)), OK, MALFORMED),
    ("payload less than fixed part", edited(BONDED, (12, "<I", 39)), OK, MALFORMED),
    ("gap less a byte", edited("gap", (12, "<I", 79)), OK, MALFORMED),
    ("fixed_len 0", edited(BONDED, (48, "<I", 0)), OK, MALFORMED),
    ("fixed_len shrunk", edited(BONDED, (48, "<I", 32)), OK, MALFORMED),
    ("fixed_len no multiple of 8", edited("grown_gap", (48, "<I", 84)), OK, MALFORMED),
    ("application's fixed_len 12", edited("app_32", (48, "<I", 12)), OK, MALFORMED),
    ("fixed_len beyond the payload", edited("gap", (48, "<I", 88)), OK, MALFORMED),
    ("fixed_len far beyond", edited("app_32", (48, "<I", U32_MAX - 7)), OK, MALFORMED),
    ("fixed_len swallows the spans", edited(BONDED, (48, "<I", 48)), OK, MALFORMED),
    ("application's fixed_len 0", edited("app_32", (48, "<I", 0)), OK, MALFORMED),
    ("application without fixed part", edited("app_32", (12, "<I", 7)), OK, MALFORMED),
    ("span inside the fixed part", edited(BONDED, (80, "<I", 32)), OK, MALFORMED),
    ("span at 0 with a length", edited(BONDED, (80, "<I", 0)), OK, MALFORMED),
    ("span ends a byte late", edited(BONDED, (84, "<I", 77)), OK, MALFORMED),
    ("span starts behind the end", edited(BONDED, (80, "<I", 181), (84, "<I", 0)), OK, MALFORMED),
    ("span empty at the very end", edited(BONDED, (80, "<I", 180), (84, "<I", 0)), OK, OK),
    ("span length wraps", edited(BONDED, (84, "<I", U32_MAX)), OK, MALFORMED),
    ("span wraps to the start", edited(BONDED, (80, "<I", U32_MAX - 7)), OK, MALFORMED),
    ("span end wraps to a good one", edited(BONDED, (84, "<I", 2**32 - 100)), OK, MALFORMED),
    ("spans may overlap", edited(BONDED, (80, "<I", 40)), OK, OK),
    ("required span absent", edited(BONDED, (80, "<Q", 0)), OK, MALFORMED),
    ("optional span absent", edited(REMOVED, (72, "<Q", 0)), OK, OK),
    ("optional span inside the fixed part", edited(REMOVED, (72, "<I", 24)), OK, MALFORMED),
    ("padding is not looked at", golden(BONDED)[:-4] + b"\xff" * 4, OK, OK),
    ("any encoding is one", edited(BONDED, (52, "<I", U32_MAX)), OK, OK),
    ("reserved word is not looked at", edited("mark", (52, "<I", U32_MAX)), OK, OK),
    ("reserved span is not looked at", edited("peer_seen", (80, "<Q", 2**64 - 1)), OK, OK),
    ("peer seen less a byte", edited("peer_seen_bare", (12, "<I", 39)), OK, MALFORMED),
    ("a forgotten peer is absent", edited("peer_forgotten", (56, "<Q", 0)), OK, MALFORMED),
    ("a mark without a name", edited("mark", (56, "<Q", 0)), OK, MALFORMED),
    ("the largest frame", big_frame(FRAME_MAX), OK, OK),
]
HOSTILE += [
    (f"header alone, kind {kind}", header_alone(kind), OK, MALFORMED)
    for kind in (*abi_frames.SHAPES, 32, 63)
]
SMALL_RUNS = [frame for _, frame, *_ in HOSTILE if len(frame) < FRAME_MAX]
CUT_RUNS = [golden(name)[:length] for name in DRAFTS for length in range(len(golden(name)) + 1)]
WHOLE_RUNS = [
    b"".join(golden(name) for name in DRAFTS),
    golden("gap") + golden("flag_critical") + golden("block_small"),
    golden("gap") + golden(BONDED)[:-8],
    golden("gap") + b"\0",
]


def test_every_draft_is_stored() -> None:
    assert abi_frames.golden_names() == sorted(DRAFTS)


@pytest.mark.parametrize("name", DRAFTS)
def test_golden_bytes_are_what_the_layout_says(name: str) -> None:
    assert golden(name) == DRAFTS[name].encode()


def test_worked_example_byte_by_byte() -> None:
    """The update of credits.aleo/bonded in Aleo's genesis block, written out by hand."""
    address = "6279641ec456ee908dda8c1f67dff5631a7a7a30d26d33e18523f1dd015ec80e"
    by_hand = (
        # frame_len 232, header_len 48, kind 0, flags, payload_len 180
        "e8000000 3000 0000 00000000 b4000000"
        # stream, sequence 1, time 1725462000 s, height 0
        "010000001ea15751 0100000000000000 00606f0f8c12f217 0000000000000000"
        # fixed_len 40; program_id, mapping_name, key, value at 40, 56, 64, 104
        "28000000 00000000 28000000 0d000000 38000000 07000000"
        "40000000 23000000 68000000 4c000000"
        # credits.aleo, bonded, each padded to 8
        "07 63726564697473 04 616c656f 000000 06 626f6e646564 00"
        f"00 0000 {address} 0000000000"
        f"00 01 02 09 76616c696461746f72 2300 00 0000 {address}"
        "0c 6d6963726f63726564697473 0b00 00 0c00 00e1f50500000000 00000000"
    )
    assert golden(BONDED) == bytes.fromhex(by_hand)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_readers_give_the_fields_of_golden_frames(compiler: str, tmp_path: Path) -> None:
    require(compiler, "-fsanitize=undefined")
    program = build(compiler, INCLUDE, tmp_path)
    for (name, draft), line in zip(
        DRAFTS.items(), read(program, [golden(name) for name in DRAFTS]), strict=True
    ):
        assert line == abi_frames.describe(golden(name)), name
        _, frame, end = line.split(" ; ")
        fields, _, read_back = frame.partition(" : ")
        expected = (draft.kind, draft.flags, draft.stream, draft.sequence, draft.time_ns)
        assert fields.split()[1:7] == [*map(str, expected), str(draft.height)], name
        assert end == f"1 at {len(golden(name))}", name
        spans = ["absent" if span is None else "=" + span.hex() for span in draft.spans]
        if draft.kind in {*abi_frames.SHAPES, *abi_frames.APP_KINDS}:
            known = draft.numbers[:9]
            word = [str(draft.word)] if draft.kind in abi_frames.WITH_WORD else []
            assert read_back.split()[READERS:] == [*spans, *word, *map(str, known)], name
        else:
            assert read_back.split() == ["-11"] * READERS, name


def test_every_truncation_is_malformed(program: Path) -> None:
    """Cut at every length: never OK, never a byte read outside, whatever the alignment."""
    for data, line in zip(CUT_RUNS, read(program, CUT_RUNS), strict=True):
        whole = len(data) == struct.unpack_from("<I", data)[0] if len(data) >= 48 else False
        if whole:
            continue
        at_end = "1 at 0" if not data else f"{MALFORMED} at 0"
        assert line == f"{MALFORMED} ; {at_end}"


def test_runs_of_frames(program: Path) -> None:
    check(program, WHOLE_RUNS)
    assert abi_frames.describe(WHOLE_RUNS[0]).count(" ; ") == len(DRAFTS) + 1


def test_hostile_frames(program: Path) -> None:
    lines = read(program, [frame for _, frame, *_ in HOSTILE])
    for (name, frame, status, own), line in zip(HOSTILE, lines, strict=True):
        assert line == abi_frames.describe(frame), name
        first, *frames, _ = line.split(" ; ")
        assert int(first) == status, name
        if own is None:
            assert frames == [], name
        else:
            answers = frames[0].partition(" : ")[2].split()[:READERS]
            assert [a for a in answers if a != "-11"] == [str(own)], name


words = st.integers(0, 2**64 - 1)
texts = st.binary(max_size=40)


@st.composite
def drafts(draw: st.DrawFn) -> abi_frames.Draft:
    kind = draw(st.sampled_from([*abi_frames.SHAPES, 32, 47, 63]))
    spans, optional, numbers, _ = abi_frames.SHAPES.get(kind, (1, frozenset(), 0, 0))
    return abi_frames.Draft(
        kind,
        tuple(draw(st.none() | texts if n in optional else texts) for n in range(spans)),
        tuple(draw(words) for _ in range(numbers)),
        word=draw(st.integers(0, 2**32 - 1)) if kind in abi_frames.WITH_WORD else 0,
        flags=draw(st.integers(0, 2**16 - 1)),
        stream=draw(words),
        sequence=draw(words),
        time_ns=draw(st.integers(-(2**63), 2**63 - 1)),
        height=draw(words),
        grown_header=8 * draw(st.integers(0, 3)),
        grown_fixed=8 * draw(st.integers(0, 3)),
    )


@settings(max_examples=25, deadline=None, database=None)
@given(st.lists(st.lists(drafts(), max_size=4), min_size=1, max_size=20))
def test_readers_agree_with_the_second_implementation(
    program: Path, runs: list[list[abi_frames.Draft]]
) -> None:
    check(program, [b"".join(draft.encode() for draft in run) for run in runs])


def wild_runs(count: int, seed: int) -> list[bytes]:
    """Golden frames with one to three words, bytes or bits changed near the layout's edges."""
    source = random.Random(seed)
    frames = [golden(name) for name in DRAFTS]
    runs = []
    for _ in range(count):
        frame = bytearray(source.choice(frames))
        for _ in range(source.randint(1, 3)):
            at = 4 * source.randrange(min(len(frame), 104) // 4)
            match source.randrange(4):
                case 0:
                    frame[at + source.randrange(4)] ^= 1 << source.randrange(8)
                case 1:
                    near = len(frame) - 48 + source.randint(-9, 9)
                    struct.pack_into("<I", frame, at, max(near, 0))
                case 2:
                    edge = source.choice([0, 1, 7, 8, 16, 32, 40, 48, 56, 2**31, 2**32 - 8])
                    struct.pack_into("<I", frame, at, edge)
                case _:
                    struct.pack_into("<I", frame, at, source.getrandbits(source.randint(1, 32)))
        runs.append(bytes(frame))
    return runs


def test_wild_frames_read_as_the_second_implementation_says(program: Path) -> None:
    runs = wild_runs(6_000, seed=1)
    check(program, runs)
    statuses = [abi_frames.describe(run).split(" ; ")[0] for run in runs]
    assert {"0", "-4", "-7"} == set(statuses)
    assert min(statuses.count("0"), statuses.count("-7")) > len(runs) // 10


MUTANTS = {
    "the shortest header": (
        "if (len < SLIPSTREAM_FRAME_HEADER_LEN)\n        return",
        "if (len == 0)\n        return",
    ),
    "frame_len against the end": ("if (frame_len > len || ", "if ("),
    "frame_len against the most": ("|| frame_len > SLIPSTREAM_FRAME_MAX ", ""),
    "frame_len in eights": (" || frame_len % 8 != 0", ""),
    "header_len against the least": ("header_len < SLIPSTREAM_FRAME_HEADER_LEN || ", ""),
    "header_len in eights": (" || header_len % 8 != 0", ""),
    "header_len against the frame": (" || header_len > frame_len", ""),
    "payload_len": ("if (payload_len > frame_len - header_len)", "if (0)"),
    "payload_len, wrapping": (
        "if (payload_len > frame_len - header_len)",
        "if (payload_len + header_len > frame_len)",
    ),
    "critical flags": ("(out->flags & SLIPSTREAM_FRAME_CRITICAL) != 0 ?", "0 ?"),
    "kind of the frame": ("if (frame->kind != kind)", "if (0)"),
    "payload against fixed part": ("if (frame->payload.len < known)", "if (0)"),
    "fixed_len against the least": ("if (*fixed_len < known || ", "if ("),
    "fixed_len in eights": (" || *fixed_len % 8 != 0", ""),
    "fixed_len against the payload": (" || *fixed_len > frame->payload.len", ""),
    "span inside the fixed part": ("if (offset < fixed_len || ", "if ("),
    "span start": ("|| offset > frame->payload.len ", ""),
    "span end": (" || len > frame->payload.len - offset", ""),
    "span end, wrapping": (
        "len > frame->payload.len - offset",
        "offset + len > (uint32_t)frame->payload.len",
    ),
    "required spans": ("return required ? SLIPSTREAM_MALFORMED : SLIPSTREAM_OK", "return 0"),
    "any alignment": (
        "return slipstream_load_u16(p) | slip",
        "return *(const uint32_t *)p | 0U * slip",
    ),
    "nothing before the frame": (
        "frame_len = slipstream_load_u32(data);",
        "frame_len = slipstream_load_u32(data) + 0U * *(const volatile uint8_t *)(data - 1);",
    ),
    "step over a frame": ("*offset += out->whole.len;", "*offset += out->whole.len - 8;"),
    "end of a run": ("if (*offset >= len)", "if (*offset > len)"),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_reader_without_this_check_is_caught(mutant: str, tmp_path: Path, program: Path) -> None:
    """Take one check out of a copy of the header: some frame has to tell the difference."""
    require("gcc", "-fsanitize=alignment")
    include = header_with(tmp_path, MUTANTS[mutant])
    program = tmp_path / "mutant"
    flags = ("-std=c11", "-fsanitize=alignment", "-fno-sanitize-recover=all", "-I", include)
    succeed(("gcc", *flags, HERE / "guarded_frames.c", "-o", program))
    runs = SMALL_RUNS + CUT_RUNS + WHOLE_RUNS
    if "most" in mutant:
        runs = [big_frame(FRAME_MAX + 8)]
    done = run((program,), records(runs))
    lines = done.stdout.decode().splitlines()
    assert done.returncode != 0 or lines != [abi_frames.describe(data) for data in runs]
