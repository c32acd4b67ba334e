"""What is read quickly is what is read to the letter, for good lines and for bad ones."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from slipstream import frames
from slipstream._native import lib
from slipstream.capture import HEADER
from slipstream.errors import CaptureError
from slipstream.events import Block, MappingUpdate, Meta
from slipstream.streams import EventFile, event_file

if TYPE_CHECKING:
    from slipstream._native.cdef import ss_lines

STREAMS = Path(__file__).resolve().parents[2] / "examples" / "streams"
VALUES = (
    "0", "1", "007", "-1", "1.0", "1e3", "255", "65536", str(2**32), str(2**64 - 2), str(2**64 - 1),
    str(10**18), str(10**17), "null", "true", "{}", '[1, "]"]', '""', '"00"', '"0 0"', '"00 11"',
    '"0"', '"zz"', '"FF"', '"\\u0030\\u0030"', '"a\\nb"', '"\\ud800"', '"é"', '"Block"',
    '"00000000000000ff"', '"ffffffffffffffffff"', '"\t"', '"\x7f"', '"\\x"', '"\\',
)  # fmt: skip
KEYS = (
    "seq", "stream", "sequence", "time_ns", "flags", "block_height", "block_file", "kind", "key",
    "key_hex", "value_hex", "block_hex", "reward", "encoding", "via", "body", "name_hex", "x",
    "frame_hex", "data_hex", "s\\u0065q", "cause",
)  # fmt: skip


def test_what_has_no_room_among_names_is_refused() -> None:
    with closing_lines() as lines:
        for add in (
            lambda name: lib.ss_lines_add_member(lines, name, 0),
            lambda name: lib.ss_lines_add_kind(lines, name, 3, bytes(8), 0),
        ):
            assert not add(b"a" * 40)
            assert [add(b"a" * 39) for _ in range(65)].count(True) == 64


@contextmanager
def closing_lines() -> Iterator[ss_lines]:
    lines = lib.ss_lines_new()
    try:
        yield lines
    finally:
        lib.ss_lines_free(lines)


def outcome(read: Callable[[EventFile], Iterator[bytes]], path: Path) -> tuple[object, ...]:
    """All frames, warnings, the error if there is one, and what the file counts."""
    warnings: list[str] = []
    found = b""
    error = ""
    with EventFile(path, on_warning=warnings.append) as file:
        try:
            for run in read(file):
                found += run
        except CaptureError as problem:
            error = str(problem)
        return found, warnings, error, file.count, file.position


def whole(file: EventFile) -> Iterator[bytes]:
    return file.playable()


def in_runs(file: EventFile) -> Iterator[bytes]:
    return file.runs(1000)


def changed(line: str, chance: random.Random) -> str:
    """The line with something else in it that a line may have, or had better not."""
    how = chance.randrange(9)
    if how == 0:
        place = chance.randrange(len(line))
        return (
            line[:place] + chance.choice('{}[]",: \\\r0a\xff') + line[place + chance.randrange(2) :]
        )
    if how == 1:
        return chance.choice(
            ("", " ", "{}", "{ }", line[: len(line) // 2], line + " ", " " + line, line + "x")
        )
    if how == 2:
        return line.replace(", ", chance.choice((",", " ,  ", ",\t"))).replace(": ", ":")
    if how == 3:
        return json.dumps(
            {name: v for name, v in json.loads(line).items() if chance.random() < 0.9}
        )
    key = chance.choice(KEYS)
    more = f', "{key}": {chance.choice(VALUES)}'
    return line[:-1] + more * chance.choice((1, 1, 1, 2)) + "}"


@pytest.mark.parametrize("room", [64, 5000, 1 << 20])
def test_random_lines(tmp_path: Path, monkeypatch, room) -> None:
    monkeypatch.setattr(event_file, "_BUFFER", room)
    good = [
        line
        for name in ("mainnet_genesis", "mainnet_derived_blocks_1_to_5")
        for line in (STREAMS / f"{name}.jsonl").read_text().splitlines()[1:40]
        if "block_file" not in line
    ]
    path = tmp_path / "lines.jsonl"
    chance = random.Random(room)
    refused = 0
    for _ in range(400):
        lines = chance.choices(good, k=4)
        lines[chance.randrange(1, 4)] = changed(chance.choice(good), chance)
        end = chance.choice(("\n", "\n", "\r\n", ""))
        path.write_bytes(("\n".join(lines) + end).encode("utf-8", "surrogateescape"))
        expected = outcome(whole, path)
        assert outcome(in_runs, path) == expected, path.read_bytes()
        refused += expected[2] != ""
    assert 100 < refused < 300


@pytest.mark.parametrize("name", ["mainnet_genesis", "mainnet_derived_blocks_1_to_5"])
def test_whole_files(name) -> None:
    path = STREAMS / f"{name}.jsonl"
    assert outcome(in_runs, path) == outcome(whole, path)


def test_nearly_all_lines_are_read_quickly(monkeypatch) -> None:
    slowly: list[bytes] = []
    line = EventFile._line
    monkeypatch.setattr(EventFile, "_line", lambda *args: slowly.append(args[2]) or line(*args))
    assert outcome(in_runs, STREAMS / "mainnet_genesis.jsonl")[3] > 200
    assert len(slowly) == 1, "the first, which names the stream"


@pytest.mark.parametrize("wrong", ["/", ":", "@", "G", "`", "g", " ", "_1", "-", "", "1" * 17])
def test_a_stream_of_other_than_hexadecimal_digits(tmp_path: Path, wrong) -> None:
    path = tmp_path / "lines.jsonl"
    line = '{"kind": "Block", "stream": "%s", "sequence": 1, "block_hex": "00"}\n'
    for good in ("1", "09afAF", "f" * 16):
        path.write_text(line % good)
        found, _, error, *_ = outcome(in_runs, path)
        assert (found, error) == (outcome(whole, path)[0], "")
        assert next(iter(frames.decode_many(found))).meta.stream == int(good, 16)
        path.write_text(line % (good + wrong if len(wrong) in (1, 2) else wrong))
        assert outcome(in_runs, path)[2] == outcome(whole, path)[2] != ""


def test_a_line_that_is_longer_than_any_buffer(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(event_file, "_BUFFER", 64)
    path = tmp_path / "lines.jsonl"
    block = os.urandom(100_000)
    small = '{"kind": "Block", "stream": 7, "sequence": %d, "block_hex": "%s"}\n'
    path.write_text(
        "".join(small % (n + 1, data.hex()) for n, data in enumerate((b"", block, b"x")))
    )
    with EventFile(path, on_warning=print) as file:
        run = b"".join(file.runs(1))
    assert [event.block for event in frames.decode_many(run)] == [b"", block, b"x"]


def test_what_comes_through_a_pipe_does_not_wait() -> None:
    reading, writing = os.pipe()
    line = b'{"kind": "Block", "stream": "7", "sequence": %d, "block_hex": "00"}\n'
    with (
        open(writing, "wb", buffering=0) as pipe,
        EventFile(f"/dev/fd/{reading}", on_warning=print) as file,
    ):
        os.close(reading)
        runs = file.runs(1 << 20)
        pipe.write(line % 1 + line % 2 + (line % 3)[:20])
        assert [event.meta.sequence for event in frames.decode_many(next(runs))] == [1, 2]
        pipe.write((line % 3)[20:])
        assert [event.meta.sequence for event in frames.decode_many(next(runs))] == [3]


def test_captures_come_in_runs(tmp_path: Path) -> None:
    path = tmp_path / "events.slip"
    update = MappingUpdate(b"p", b"m", b"k", b"v", 1, Meta(stream=7, sequence=1))
    path.write_bytes(HEADER + frames.encode(update) * 30 + frames.encode(Block(b"b"))[:-1])
    found, _, error, count, _ = outcome(in_runs, path)
    assert (len(list(frames.split(found))), count) == (30, 30)
    assert "cut off" in error
    with EventFile(path, on_warning=print) as file:
        assert len(next(file.runs(1000))) in range(1000, 1200)
