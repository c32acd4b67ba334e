"""Files of events: JSON lines and captures, to frames and back."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipstream import aleo, frames, streams
from slipstream.capture import HEADER, CaptureWriter
from slipstream.errors import CaptureError
from slipstream.events import (
    NO_META,
    AppEvent,
    Block,
    Event,
    EventKind,
    Gap,
    GapReason,
    MappingRemoval,
    MappingUpdate,
    Meta,
    Payload,
    StakingReward,
)
from slipstream.streams import EventFile, read_events, write_jsonl
from support.systems import only_posix

STREAMS = Path(__file__).resolve().parents[2] / "examples" / "streams"
GENESIS = STREAMS / "mainnet_genesis.jsonl"
PROGRAM = aleo.program_id_to_bytes("credits.aleo")
ACCOUNT = aleo.identifier_to_bytes("account")
ADDRESS = "aleo1qy4qufq03wcph05fdf5aj09ez67vcmmlrzqf0zza352qwaq43gyqt3wdf6"
UPDATE = {
    "kind": "MappingUpdate",
    "block_height": 7,
    "program_id": "credits.aleo",
    "mapping_name": "account",
    "key": ADDRESS,
    "value": "5u64",
}
RECORDED = Meta(stream=1, sequence=1, flags=frames.RECORDED)


class Reading:
    """What came out of a file: events, warnings and the error at its end."""

    def __init__(self, path: Path | str, *, playable: bool = True) -> None:
        self.warnings: list[str] = []
        self.frames: list[bytes] = []
        self.error: CaptureError | None = None
        try:
            if playable:
                self.frames.extend(read_events(path, on_warning=self.warnings.append))
            else:
                with EventFile(path, on_warning=self.warnings.append) as file:
                    self.frames.extend(file)
        except CaptureError as error:
            self.error = error

    @property
    def events(self) -> list[Event]:
        return [frames.decode(frame)[0] for frame in self.frames]

    @property
    def places(self) -> list[tuple[int, int]]:
        return [(event.meta.stream, event.meta.sequence) for event in self.events]


def reading(tmp_path: Path, *lines: object, playable: bool = True) -> Reading:
    """Read lines: bytes as they stand, everything else as JSON."""
    path = tmp_path / "events.jsonl"
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines]
    path.write_bytes(b"".join(raw))
    return Reading(path, playable=playable)


def name_of(line: bytes) -> int:
    return int.from_bytes(hashlib.sha256(line.strip()).digest()[:8], "little")


def capture_of(path: Path, events: list[Event]) -> Path:
    with CaptureWriter(path) as writer:
        for event in events:
            writer.write(frames.encode(event))
    return path


# ---- JSON lines to frames -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["mainnet_genesis", "mainnet_derived_blocks_1_to_5"])
def test_shipped_streams_give_the_bytes_of_their_hex(name: str) -> None:
    path = STREAMS / f"{name}.jsonl"
    lines = path.read_bytes().splitlines()
    got = Reading(path)
    assert got.error is None
    assert got.warnings == []
    assert got.places == [(name_of(lines[0]), n + 1) for n in range(len(lines))]
    for line, event in zip(map(json.loads, lines), got.events, strict=True):
        assert event.meta.flags == frames.RECORDED
        assert event.block_height == line["block_height"]
        assert frames.kind_name(event.kind) == line["kind"]
        for field, digits in line.items():
            if field.endswith("_hex"):
                assert getattr(event, field.removesuffix("_hex")) == bytes.fromhex(digits)


def test_text_forms_give_the_same_bytes_as_hex(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in GENESIS.read_bytes().splitlines()[:-1]]
    without = [{k: v for k, v in line.items() if not k.endswith("_hex")} for line in lines]
    got = reading(tmp_path, *without)
    assert got.error is None
    expected = Reading(GENESIS).events[:-1]
    assert [(e.key, e.value) for e in got.events] == [(e.key, e.value) for e in expected]
    assert got.places[0][0] != frames.decode(Reading(GENESIS).frames[0])[0].meta.stream


def test_hex_wins_over_text(tmp_path: Path) -> None:
    got = reading(tmp_path, UPDATE | {"key_hex": "0102", "value_hex": ""})
    assert (got.events[0].key, got.events[0].value) == (b"\x01\x02", b"")


def test_every_kind(tmp_path: Path) -> None:
    staker = aleo.address_to_bytes(ADDRESS)
    got = reading(
        tmp_path,
        {"kind": "MappingRemoval", "program_id": "credits.aleo", "mapping_name": "account"},
        {"kind": "MappingRemoval", "program_id_hex": PROGRAM.hex(), "mapping_name": "account",
         "key": None},
        {"kind": "MappingRemoval", "program_id": "credits.aleo", "mapping_name": "account",
         "key_hex": ""},
        {"kind": "StakingReward", "staker": ADDRESS, "validator_hex": "ff", "reward": 2**64 - 1,
         "new_stake": 0, "note": {"a": ["remark"]}},
        {"kind": "Block", "block_hex": "0a0b", "block_height": 2**64 - 2},
        {"kind": "Payload", "name": "grüße", "body_hex": "00ff", "source": "me"},
        {"kind": "Payload", "name_hex": "ff", "body": ""},
        {"kind": "App(32)", "data_hex": "01"},
        {"kind": "App(63)", "data_hex": "", "time_ns": -5, "flags": 3},
    )  # fmt: skip
    assert got.error is None

    def bare(event: Event) -> Event:
        return dataclasses.replace(event, meta=NO_META)

    assert [bare(event) for event in got.events] == [
        MappingRemoval(PROGRAM, ACCOUNT, None),
        MappingRemoval(PROGRAM, ACCOUNT, None),
        MappingRemoval(PROGRAM, ACCOUNT, b""),
        StakingReward(staker, b"\xff", 2**64 - 1, 0),
        Block(b"\x0a\x0b", 2**64 - 2),
        Payload("grüße".encode(), b"\x00\xff", b"me"),
        Payload(b"\xff", b""),
        AppEvent(32, b"\x01"),
        AppEvent(63, b""),
    ]
    assert got.events[-1].meta.time_ns == -5
    assert got.events[-1].meta.flags == 3
    assert [sequence for _, sequence in got.places] == list(range(1, 10))


def test_a_grown_file_keeps_its_stream(tmp_path: Path) -> None:
    lines = [UPDATE | {"seq": n} for n in range(3)]
    short, long = reading(tmp_path, *lines[:2]), reading(tmp_path, *lines)
    assert long.places[:2] == short.places
    assert long.frames[:2] == short.frames


def test_line_ends_do_not_change_the_stream(tmp_path: Path) -> None:
    line = json.dumps(UPDATE | {"seq": 0}).encode()
    plain = reading(tmp_path, line + b"\n")
    for other in (b"\xef\xbb\xbf" + line + b"\r\n", b"\n \t\r\n" + line, line):
        got = reading(tmp_path, other)
        assert got.error is None
        assert got.frames == plain.frames


def test_concatenated_files_are_several_streams(tmp_path: Path) -> None:
    first, second = UPDATE | {"seq": 0}, UPDATE | {"seq": 0, "block_height": 8}
    third = UPDATE | {"seq": 5, "block_height": 9}  # it does not increase either
    got = reading(tmp_path, first, UPDATE | {"seq": 1}, second, UPDATE | {"seq": 5}, third)
    one, two, three = (name_of(json.dumps(line).encode()) for line in (first, second, third))
    assert got.places == [(one, 1), (one, 2), (two, 1), (two, 6), (three, 6)]


def test_stream_sequence_and_time_of_a_line_win(tmp_path: Path) -> None:
    got = reading(
        tmp_path,
        UPDATE | {"stream": "00ff", "sequence": 9, "seq": 3, "time_ns": 17},
        UPDATE | {"stream": 255},
        UPDATE | {"stream": "abc", "seq": 4},
        UPDATE | {"stream": "def"},
        UPDATE | {"stream": 0},
        UPDATE,
    )
    own = name_of(json.dumps(UPDATE).encode())
    assert got.places == [(255, 9), (255, 10), (0xABC, 5), (0xDEF, 1), (0, 0), (own, 1)]
    assert got.events[0].meta.time_ns == 17


def test_a_gap_is_left_out_with_one_warning(tmp_path: Path) -> None:
    gap = {"kind": "Gap", "count": 3}
    got = reading(tmp_path, UPDATE, gap, gap, UPDATE)
    assert len(got.frames) == 2
    assert len(got.warnings) == 1
    assert "Gap" in got.warnings[0]


# ---- Block files ----------------------------------------------------------------------------


@pytest.mark.parametrize("folder", [".", ".."])
def test_block_file_beside_the_file_or_above_it(tmp_path: Path, folder: str) -> None:
    inner = tmp_path / "inner"
    (inner / folder / "blocks").mkdir(parents=True)
    (inner / folder / "blocks" / "b").write_bytes(b"block")
    if folder == ".":  # then the one above is not looked at
        (tmp_path / "blocks").mkdir()
        (tmp_path / "blocks" / "b").write_bytes(b"other")
    got = reading(inner, {"kind": "Block", "block_file": "blocks/b"})
    assert got.events[0].block == b"block"
    assert got.warnings == []


def test_a_missing_block_file_is_an_empty_block_and_one_warning(tmp_path: Path) -> None:
    line = {"kind": "Block", "block_file": "no\u001b[31m/where"}
    got = reading(tmp_path, line, line)
    assert [event.block for event in got.events] == [b"", b""]
    assert len(got.warnings) == 1
    assert "does not exist" in got.warnings[0]
    assert "\x1b" not in got.warnings[0]


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", ""])
def test_a_block_file_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    got = reading(tmp_path, {"kind": "Block", "block_file": name})
    assert got.error is not None
    assert "block_file" in got.error.message


@only_posix
def test_a_fifo_as_block_file_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    got = reading(tmp_path, {"kind": "Block", "block_file": "fifo"})
    assert got.events[0].block == b""
    assert "FIFO" in got.warnings[0]


# ---- What is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{]\n", "not one JSON object"),
        (b"[1]\n", "Expected `object`"),
        (b'{"kind": "MappingUpdate"} x\n', "trailing"),
        (b'{"seq": 0}\n', "kind"),
        (b'{"kind": "Block", "block_hex": "\xff"}\n', "not UTF-8"),
        (b'{"kind": "Block", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "nested"),
        ({"kind": "Frobnicate"}, "'Frobnicate' is unknown"),
        ({"kind": "App(31)", "data_hex": ""}, "unknown"),
        ({"kind": "Block"}, "block_hex or block_file"),
        ({"kind": "Block", "block_hex": "0"}, "block_hex is not hexadecimal"),
        (UPDATE | {"value_hex": "zz"}, "value_hex is not hexadecimal"),
        ({"kind": "MappingUpdate"}, "program_id and program_id_hex are missing"),
        (UPDATE | {"program_id": "credits"}, "program_id: 'credits' is not a program id"),
        (UPDATE | {"value": "5u65"}, "value: "),
        (UPDATE | {"seq": -1}, "$.seq"),
        (UPDATE | {"seq": "1"}, "$.seq"),
        (UPDATE | {"block_height": 2**64}, "64 bits"),
        (UPDATE | {"block_height": 10**40}, "64 bits"),
        (UPDATE | {"time_ns": 2**63}, "64 bits"),
        (UPDATE | {"stream": "xyz"}, "stream is not a number"),
        (UPDATE | {"stream": 2**64}, "stream is not a number"),
        (UPDATE | {"stream": 0, "sequence": 4}, "stream 0 and sequence 4"),
        (UPDATE | {"stream": 4, "sequence": 0}, "stream 4 and sequence 0"),
        (UPDATE | {"flags": 1 << 16}, "$.flags"),
        (UPDATE | {"frame_hex": "00"}, "frame_hex"),
        ({"kind": "StakingReward", "staker_hex": "", "validator_hex": ""}, "reward or new_stake"),
        ({"kind": "Payload", "body": ""}, "name and name_hex are missing"),
        ({"kind": "App(40)"}, "data_hex is missing"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: object, said: str) -> None:
    got = reading(tmp_path, UPDATE, b"\n", line, UPDATE)
    assert len(got.frames) == 1
    assert got.error is not None
    assert f"{tmp_path / 'events.jsonl'}, line 3: " in got.error.message
    assert said in got.error.message
    assert "the 1 event before it is good" in got.error.hint


def test_a_line_that_was_cut_off(tmp_path: Path) -> None:
    lines = GENESIS.read_bytes().splitlines(keepends=True)
    got = reading(tmp_path, lines[0], lines[1][:-20])
    assert got.frames == Reading(GENESIS).frames[:1]
    assert got.error is not None
    assert "line 2: cut off inside of the line" in got.error.message


def test_a_line_without_an_end_is_good_if_it_is_whole(tmp_path: Path) -> None:
    got = reading(tmp_path, GENESIS.read_bytes().rstrip(b"\n"))
    assert got.error is None
    assert len(got.frames) == 397


def test_a_line_of_ten_megabytes(tmp_path: Path) -> None:
    body = b"\xa5" * (5 << 20)
    got = reading(tmp_path, {"kind": "Payload", "name": "large", "body_hex": body.hex()}, UPDATE)
    assert got.error is None
    assert got.events[0].body == body
    assert len(got.frames) == 2


def test_a_line_that_never_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams.event_file, "LINE_MAX", 1000)
    got = reading(tmp_path, UPDATE, b'{"kind": "' + b"x" * 5000)
    assert len(got.frames) == 1
    assert got.error is not None
    assert "line 2: longer than 1000 bytes" in got.error.message


@pytest.mark.parametrize(
    ("content", "said", "hint"),
    [
        (b"", "is empty", ""),
        (b"\n\n  \n", "holds no event", ""),
        (HEADER, "holds no event", ""),
        (b"\x00\x01\x02junk", "neither a capture nor JSON lines", "one JSON object"),
        (b"\x1f\x8b\x08rest", "neither", "gzip -dc"),
        (b"\x7fELF\x02", "neither", "doctor"),
        (b"name,value\n", "neither", "one JSON object"),
        (b"\x93SLIPCAP", "is not a capture", ""),
        (b"\x93SLIPCAP\x09\0\0\0\0\0\0\0", "version 9", "update"),
    ],
)
def test_a_file_without_events(tmp_path: Path, content: bytes, said: str, hint: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    got = Reading(path)
    assert got.frames == []
    assert got.error is not None
    assert str(path) in got.error.message
    assert said in got.error.message
    assert hint in got.error.hint


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path, "nul\0"):
        error = Reading(path).error
        assert error is not None
        assert "cannot open" in error.message
        assert error.hint


# ---- Captures -------------------------------------------------------------------------------

bytes_ = st.binary(max_size=40)
heights = st.none() | st.integers(0, 2**64 - 2)
metas = st.builds(
    lambda place, time_ns, flags: Meta(
        stream=place[0], sequence=place[1], time_ns=time_ns, flags=flags
    ),
    st.just((0, 0)) | st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 0xFFFF),
)
u64 = st.integers(0, 2**64 - 1)
events = st.one_of(
    st.builds(MappingUpdate, bytes_, bytes_, bytes_, bytes_, heights, metas),
    st.builds(MappingRemoval, bytes_, bytes_, st.none() | bytes_, heights, metas),
    st.builds(StakingReward, bytes_, bytes_, u64, u64, heights, metas),
    st.builds(Block, bytes_, heights, metas),
    st.builds(Payload, bytes_, bytes_, st.none() | bytes_, heights, metas),
    st.builds(AppEvent, st.integers(32, 63), bytes_, heights, metas),
    st.builds(Gap, st.sampled_from(GapReason), u64, u64, u64, u64, heights, heights, metas),
)


@given(st.lists(events, min_size=1, max_size=5))
@settings(max_examples=300, deadline=None)
def test_frames_to_lines_and_back_are_identical(
    tmp_path_factory: pytest.TempPathFactory, given_events: list[Event]
) -> None:
    folder = tmp_path_factory.mktemp("round")
    stored = [frames.encode(event) for event in given_events]
    lines = list(write_jsonl(stored))
    assert all(line.isascii() and line.count(b"\n") == 1 for line in lines)
    got = reading(folder, *lines, playable=False)
    assert got.error is None
    assert got.frames == stored
    # From any line on: none leans on the one before it.
    assert reading(folder, *lines[-1:], playable=False).frames == stored[-1:]


def test_frames_of_a_newer_writer_survive(tmp_path: Path) -> None:
    plain = frames.encode(Block(b"block", 1, RECORDED))
    # A header that has grown by eight bytes.
    grown = bytearray(plain[:48] + bytes(8) + plain[48:])
    grown[0:4] = len(grown).to_bytes(4, "little")
    grown[4:6] = (56).to_bytes(2, "little")
    (line,) = write_jsonl([bytes(grown)])
    assert "frame_hex" in json.loads(line)
    assert reading(tmp_path, line).frames == [bytes(grown)]


def test_shipped_streams_survive_both_ways(tmp_path: Path) -> None:
    paths = sorted(STREAMS.glob("*.jsonl"))
    assert len(paths) >= 2
    for path in paths:
        stored = Reading(path).frames
        lines = list(write_jsonl(stored))
        assert reading(tmp_path, *lines).frames == stored
        for line, original in zip(lines, path.read_bytes().splitlines(), strict=True):
            written = json.loads(line)
            known = json.loads(original)
            del written["stream"]
            assert written == {k: known.get(k) for k in written}


def test_text_only_where_the_bytes_are_valid() -> None:
    event = MappingUpdate(PROGRAM, b"\x02no", b"junk", b"", 1, RECORDED)
    (line,) = write_jsonl([frames.encode(event)])
    written = json.loads(line)
    assert written["program_id"] == "credits.aleo"
    assert written["mapping_name"] == "no"
    assert "key" not in written
    assert "value" not in written


def test_a_capture_is_played_as_recorded_and_without_gaps(tmp_path: Path) -> None:
    meta = Meta(stream=5, sequence=1)
    gap = Gap(GapReason.PAUSED, 1, 2, 2, 1, meta=meta)
    path = capture_of(
        tmp_path / "c", [Block(b"1", meta=meta), gap, gap, Block(b"2", meta=RECORDED)]
    )
    got = Reading(path)
    assert [event.block for event in got.events] == [b"1", b"2"]
    assert [event.meta.flags for event in got.events] == [frames.RECORDED] * 2
    assert got.places == [(5, 1), (1, 1)]
    assert len(got.warnings) == 1
    assert len(Reading(path, playable=False).frames) == 4


def test_a_capture_cut_anywhere_gives_the_whole_frames_before_the_cut(tmp_path: Path) -> None:
    stored = [Block(bytes([n]) * n, n, RECORDED) for n in range(3)]
    path = capture_of(tmp_path / "c", stored)
    whole = path.read_bytes()
    ends = [len(HEADER)]
    for frame in Reading(path).frames:
        ends.append(ends[-1] + len(frame))
    for cut in range(len(HEADER), len(whole)):
        path.write_bytes(whole[:cut])
        got = Reading(path)
        good = sum(end <= cut for end in ends) - 1
        assert [event.block for event in got.events] == [e.block for e in stored[:good]]
        if cut in ends:
            assert (got.error is None) == (good > 0)
        else:
            assert got.error is not None
            assert f"cut off inside of frame {good}, at byte {ends[good]}" in got.error.message


@given(
    st.binary(max_size=200), st.sampled_from([b"", HEADER, b"{", b"\n", GENESIS.read_bytes()[:900]])
)
@settings(max_examples=400, deadline=None)
def test_junk_is_refused_with_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, start: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "junk"
    path.write_bytes(start + junk)
    got = Reading(path)
    if got.error is None:  # nothing of it was passed over
        lines = [line for line in (start + junk).splitlines() if line.strip()]
        whole = HEADER + b"".join(got.frames)
        assert len(got.frames) == len(lines) or start + junk == whole
    else:
        assert got.error.message.startswith((str(path), f"cannot open {path}"))
        assert got.error.hint


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_lines_never_raise_anything_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    lines = GENESIS.read_bytes().splitlines()
    line = bytearray(data.draw(st.sampled_from([lines[0], lines[-1]])))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(line) - 1))
        line[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    folder = tmp_path_factory.getbasetemp()
    got = reading(folder, bytes(line) + b"\n")
    if got.error is None:  # then it says something, and says it whole
        assert got.frames or not line.strip()
        assert reading(folder, *write_jsonl(got.frames)).frames == got.frames
    else:
        assert got.error.hint


# ---- Pipes ----------------------------------------------------------------------------------

READ_STDIN = (
    "import sys; from slipstream.streams import EventFile\n"
    "with EventFile('-', on_warning=print) as file:\n"
    "    print(file.size, sum(1 for _ in file.playable()))\n"
)


def test_standard_input_takes_both_forms(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with CaptureWriter(path) as writer:
        writer.write(b"".join(Reading(GENESIS).frames))
    for content in (GENESIS.read_bytes(), path.read_bytes()):
        done = subprocess.run(
            [sys.executable, "-c", READ_STDIN], input=content, capture_output=True, check=True
        )
        assert done.stdout == b"None 397\n"


@only_posix
def test_a_slow_pipe_gives_each_event_as_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    asked = threading.Semaphore(0)
    lines = GENESIS.read_bytes().splitlines(keepends=True)

    def write() -> None:
        with open(path, "wb", buffering=0) as fifo:
            for line in lines[:3]:
                fifo.write(line[:1])
                fifo.write(line[1:])
                assert asked.acquire(timeout=240)

    writer = threading.Thread(target=write)
    writer.start()
    with EventFile(path, on_warning=print) as file:
        assert file.size is None
        count = 0
        for count, _ in enumerate(file.playable(), 1):  # noqa: B007
            asked.release()  # the next line is written only when this one has arrived
    writer.join()
    assert count == 3


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "big.jsonl"
    with path.open("wb") as file:
        for _ in range(60):
            file.write((STREAMS / "mainnet_derived_blocks_1_to_5.jsonl").read_bytes())
    assert path.stat().st_size > 30_000_000
    script = (
        "import resource, sys; from slipstream.streams import read_events\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "n = sum(1 for _ in read_events(sys.argv[1], on_warning=print))\n"
        "print(n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, check=True, text=True
    )
    count, grown = map(int, done.stdout.split())
    assert count == 75_000
    assert grown < 8 * 1024  # KiB


def test_kinds_by_name() -> None:
    assert streams.KINDS["MappingUpdate"] == EventKind.MAPPING_UPDATE
    assert len(streams.KINDS) == len(EventKind) + 32
    assert streams.KNOWN_KINDS.startswith("MappingUpdate, ")
    assert streams.KNOWN_KINDS.endswith(", App(32) to App(63)")
