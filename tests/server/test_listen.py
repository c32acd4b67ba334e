"""Producers and the daemon, byte for byte as docs/producers.md says."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from slipstream import Gap, GapReason, frames
from slipstream.events import Mark
from slipstream.server.sources.addresses import Address
from slipstream.server.sources.kept import Streams
from slipstream.server.sources.listen import Listener
from slipstream.server.sources.path import EventPath
from slipstream.server.sources.recorder import CaptureSink
from slipstream.server.sources.wire import HEADER, stream_mark
from support.daemon import (
    SECONDS,
    Daemon,
    begin,
    config,
    connect,
    next_answer,
    reward,
    settled,
    until,
)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, examples: Path) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("listen")
    tally = config(folder, examples / "tally" / "tally.so")
    listen = ("--listen", f"unix:{folder}/p.sock", "--listen", "tcp:127.0.0.1:0")
    with Daemon(folder, "--slipstream-config", tally, *listen) as made:
        yield made.ready()
        assert made.end() == 0


@pytest.fixture
def place(daemon: Daemon) -> Path:
    return daemon.folder / "p.sock"


def closed(connection: socket.socket) -> bytes:
    """Read to the end."""
    data = b""
    while True:
        try:
            some = connection.recv(1 << 16)
        except ConnectionResetError:
            return data
        if not some:
            return data
        data += some


_numbers = iter(range(1000, 10_000))


@pytest.fixture
def stream() -> int:
    return next(_numbers)


def test_the_bytes_of_an_answer(place: Path, stream: int) -> None:
    with connect(place) as made:
        made.sendall(HEADER)
        body = json.dumps({"stream": f"{stream:x}", "more": [1]}).encode()
        made.sendall(frames.encode(Mark(b"slipstream.stream", body)))
        first = made.recv(48, socket.MSG_WAITALL)
        assert struct.unpack("<IIQQQQQ", first) == (48, 0, stream, 0, 0, 0, 0)
        made.sendall(reward(stream, 5))  # a hole before it
        assert settled(made, 5).accepted == 5


def test_what_is_at_or_below_accepted_is_dropped(daemon: Daemon, place: Path, stream: int) -> None:
    made, _ = begin(place, stream)
    with made:
        made.sendall(b"".join(reward(stream, n) for n in (1, 2, 2, 1, 3, 3, 2, 4)))
        assert settled(made, 4).accepted == 4
    again, answer = begin(place, stream, "again")
    with again:
        assert (answer.accepted, answer.settled) == (4, 4)
        again.sendall(b"".join(reward(stream, n) for n in range(1, 7)))
        settled(again, 6)
        again.shutdown(socket.SHUT_WR)
        closed(again)
    end = daemon.wait_for("a producer has ended")
    assert end["producer"].startswith("p.sock#")
    until(lambda: any(line.get("repeated") == 4 for line in daemon.lines()), "the count")


def test_it_goes_on_answering_after_the_producers_end(place: Path, stream: int) -> None:
    made, _ = begin(place, stream)
    with made:
        made.sendall(b"".join(reward(stream, n) for n in range(1, 1001)))
        made.shutdown(socket.SHUT_WR)
        last = closed(made)[-48:]
        assert struct.unpack("<IIQQQQQ", last)[2:5] == (stream, 1000, 1000)


def test_several_streams_on_one_connection(place: Path, stream: int) -> None:
    other = next(_numbers)
    made, _ = begin(place, stream)
    with made:
        note = frames.encode(Mark(b"org.example.note", b"{}"))
        made.sendall(reward(stream, 1) + stream_mark(other) + note + reward(other, 1))
        made.sendall(stream_mark(stream) + reward(stream, 2))
        made.shutdown(socket.SHUT_WR)
        data = closed(made)
    answers = [struct.unpack_from("<IIQQQQQ", data, at) for at in range(0, len(data), 48)]
    last = {answer[2]: answer[3:5] for answer in answers}
    assert last == {stream: (2, 2), other: (1, 1)}


def test_events_without_numbers_are_counted(daemon: Daemon, place: Path) -> None:
    for _ in range(2):
        made, answer = begin(place, 0)
        with made:
            assert (answer.accepted, answer.settled) == (0, 0)
            made.sendall(reward(0, 0) * 3)
            assert settled(made, 3).accepted == 3
    assert daemon.wait_for("cannot resume after a break")


def test_bytes_may_come_one_by_one_and_frames_may_be_large(place: Path, stream: int) -> None:
    with connect(place) as made:
        for byte in HEADER + stream_mark(stream) + reward(stream, 1):
            made.sendall(bytes([byte]))
        made.sendall(reward(stream, 2, 3 << 20) + reward(stream, 3))
        assert settled(made, 3).accepted == 3


def test_tcp(daemon: Daemon, stream: int) -> None:
    line = daemon.wait_for("listening for producers", 2)
    _, host, port = line["address"].split(":")
    with socket.create_connection((host, int(port)), SECONDS) as made:
        made.sendall(HEADER + stream_mark(stream) + reward(stream, 1))
        assert settled(made, 1).stream == stream


def test_the_newer_connection_takes_the_stream(daemon: Daemon, place: Path, stream: int) -> None:
    old, _ = begin(place, stream, "old")
    with old:
        old.sendall(reward(stream, 1))
        settled(old, 1)
        new, answer = begin(place, stream, "new")
        with new:
            assert answer.accepted == 1
            closed(old)
            new.sendall(reward(stream, 2))
            settled(new, 2)
    assert daemon.wait_for("a producer was closed")


GAP = frames.encode(Gap(GapReason.PAUSED, 1, 2, 2, 1, None, None))
AFTER = len(HEADER) + len(stream_mark(77, "test"))
HOSTILE = [
    ("no header", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0, "does not begin as a capture"),
    ("another version", HEADER[:8] + b"\2" + HEADER[9:], 0, "does not begin as a capture"),
    ("no mark", HEADER + reward(77, 1), 16, "no MARK"),
    (
        "a mark that is no JSON",
        HEADER + frames.encode(Mark(b"slipstream.stream", b"[")),
        16,
        "body",
    ),
    (
        "a mark of no hexadecimal digits",
        HEADER + frames.encode(Mark(b"slipstream.stream", b'{"stream": " 0x_a"}')),
        16,
        "body",
    ),
    ("a deep mark", HEADER + frames.encode(Mark(b"slipstream.stream", b"[" * 20000)), 16, "body"),
    (
        "a mark without a stream",
        HEADER + frames.encode(Mark(b"slipstream.stream", b"{}")),
        16,
        "body",
    ),
    ("a huge mark", HEADER + (1 << 25).to_bytes(4, "little") + bytes(44), 16, "no MARK"),
    ("length 0", None, bytes(48), "claims a length"),
    ("length 4 GiB", None, b"\xf8\xff\xff\xff" + bytes(44), "claims a length"),
    ("an odd length", None, b"\x31" + bytes(60), "claims a length"),
    ("another stream", None, reward(78, 1), "not named"),
    ("no sequence", None, reward(77, 1)[:24] + bytes(8) + reward(77, 1)[32:], "sequence 0"),
    ("a gap", None, GAP[:16] + (77).to_bytes(8, "little") + b"\1" + GAP[25:], "may not be sent"),
    ("a lie inside", None, reward(77, 1)[:48] + b"\xff" * 8 + reward(77, 1)[56:], "truncated"),
    ("cut off", None, reward(77, 1)[:80], "inside of a frame"),
]


@pytest.mark.parametrize(("name", "start", "bad", "says"), HOSTILE, ids=[h[0] for h in HOSTILE])
def test_a_bad_frame_closes_its_producer_alone(
    name: str,
    start: bytes | None,
    bad: bytes | int,
    says: str,
    daemon: Daemon,
    place: Path,
    stream: int,
) -> None:
    good, _ = begin(place, stream)
    before = len([line for line in daemon.lines() if line["event"] == "a producer was closed"])
    with good, connect(place) as made:
        if start is None:
            made.sendall(HEADER + stream_mark(77, "test") + bad)
            byte = AFTER
        else:
            made.sendall(start)
            byte = bad
        if name == "cut off":
            made.shutdown(socket.SHUT_WR)
        closed(made)
        line = daemon.wait_for("a producer was closed", before + 1)
        assert says in line["reason"]
        assert line["byte"] == byte
        good.sendall(reward(stream, 1))
        assert settled(good, 1).accepted == 1


def test_what_came_before_a_bad_frame_is_delivered(place: Path, stream: int) -> None:
    made, _ = begin(place, stream)
    with made:
        bad = reward(stream, 3)[:48] + b"\xff" * 8 + reward(stream, 3)[56:]
        made.sendall(reward(stream, 1) + reward(stream, 2) + bad + reward(stream, 4))
        closed(made)
    again, answer = begin(place, stream)
    again.close()
    assert answer.accepted == 2


def test_slow_and_deaf_producers_harm_nobody(place: Path, stream: int) -> None:
    deaf, _ = begin(place, next(_numbers))
    deaf_stream = next(_numbers) - 1
    slow = connect(place)
    slow.sendall(HEADER + stream_mark(next(_numbers))[:30])
    half = connect(place)
    half.sendall(HEADER + stream_mark(next(_numbers)) + reward(1, 1)[:20])
    idle = [connect(place) for _ in range(80)]  # more than may connect
    good, _ = begin_patiently(place, stream, idle)
    try:
        some = b"".join(reward(deaf_stream, n) for n in range(1, 200))
        deaf.sendall(some)  # and never reads
        for n in range(1, 51):
            good.sendall(reward(stream, n))
            settled(good, n) if n % 25 == 0 else None
    finally:
        for one in (deaf, slow, half, good, *idle):
            one.close()


def test_producers_that_keep_it_waiting_are_closed_and_slow_ones_are_not(tmp_path: Path) -> None:
    """The deadlines of docs/producers.md, made short."""
    said: list[dict[str, object]] = []

    def say(_level: int, _text: str, fields: dict[str, object]) -> None:
        said.append(fields)

    async def producer(*parts: bytes, more=None) -> None:
        reader, writer = await asyncio.open_unix_connection(tmp_path / "p.sock")
        for part in parts:
            writer.write(part)
            await asyncio.sleep(0.1)
        async with asyncio.timeout(SECONDS):
            if more is None:
                await reader.read()  # until it is closed
            for number in range(1, 1000) if more is not None else ():
                frame = reward(3, number)
                for half in (frame[:40], frame[40:]):
                    writer.write(half)
                    await asyncio.sleep(0.05)
                if more.is_set():
                    break
        writer.close()

    async def meet() -> int:
        sink = CaptureSink(tmp_path / "events.slip")
        path = EventPath(sink, Streams(None), lambda: None, lambda error: pytest.fail(repr(error)))
        listener = Listener(path, say, mark_within=1.0, frame_within=2.0)
        path.start()
        await listener.add(Address(path=str(tmp_path / "p.sock")).bind(), "p.sock")
        over = asyncio.Event()
        slow = asyncio.create_task(producer(HEADER, stream_mark(3), more=over))
        bad = stream_mark(2) + reward(2, 1)
        await asyncio.gather(producer(HEADER[:9], HEADER[9:]), producer(HEADER, bad[:-1]))
        await asyncio.sleep(1.0)  # so that the slow one is longer there than a frame may take
        over.set()
        await slow
        listener.stop()
        path.stop()
        path.join(SECONDS)
        listener.close()
        sink.close()
        return path.figures.events

    events = asyncio.run(meet())
    reasons = [str(fields["reason"]) for fields in said if "seconds" in fields]
    assert reasons == [
        "no MARK slipstream.stream came in time",
        "a frame was begun and not ended in time",
    ]
    assert events > 2, "the slow one was there until the end"


def begin_patiently(place: Path, stream: int, idle: list[socket.socket]):
    """Those that are too many are closed at once; make room for one."""
    for one in idle[:10]:
        one.close()

    def trial():
        made = connect(place)
        try:
            made.sendall(HEADER + stream_mark(stream))
            return made, next_answer(made)
        except (OSError, AssertionError):
            made.close()
            return None

    return until(trial, "room for one more")


def test_the_ledger_is_the_same_after_record_and_replay(tmp_path: Path, examples: Path) -> None:
    events = examples / "streams" / "mainnet_derived_blocks_1_to_5.jsonl"
    captured = tmp_path / "recorded.slip"

    def replay(file: Path, place: Path) -> dict:
        command = [sys.executable, "-m", "slipstream.cli", "replay", str(file), "--json"]
        done = subprocess.run(
            [*command, "--to", f"unix:{place}"],
            check=False,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def ledger_after(file: Path, name: str, *more: object) -> str:
        folder = tmp_path / name
        folder.mkdir()
        database = folder / "ledger.db"
        ledger = config(
            folder, examples / "ledger" / "ledger.so", database=str(database), commit_every=100
        )
        options = ("--slipstream-config", ledger, "--listen", f"unix:{folder}/p.sock", *more)
        with Daemon(folder, *options) as made:
            made.ready()
            assert replay(file, folder / "p.sock")["events"] == 1250
            assert replay(file, folder / "p.sock")["events"] == 0  # it has them all
            assert made.end() == 0
        import sqlite3

        with closing(sqlite3.connect(database)) as opened:
            return "\n".join(line for line in opened.iterdump() if "progress" not in line)

    first = ledger_after(events, "first", "--record", captured)
    assert ledger_after(captured, "second") == first
    again = tmp_path / "again.slip"
    with Daemon(tmp_path, f"unix:{tmp_path}/r.sock", again, "--json", command="record") as recorder:
        recorder.wait_for("recording")
        replay(captured, tmp_path / "r.sock")
        assert recorder.end() == 0
        assert json.loads(recorder.out) == {"events": 1250, "file": str(again)}
    assert again.read_bytes() == captured.read_bytes()


WAITS = """
#include <slipstream.h>
#include <stdlib.h>
#include <unistd.h>
static int32_t take(void *i, const slipstream_delivery *d, const uint8_t *f, size_t len) {
    (void)i, (void)d, (void)f, (void)len;
    while (access(getenv("GO_ON"), F_OK) != 0)
        usleep(1000);
    return SLIPSTREAM_OK;
}
static uint64_t kinds(void *i) { (void)i; return ~(uint64_t)0; }
static void destroy(void *i) { (void)i; }
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    static const slipstream_plugin table = {
        .struct_size = sizeof table, .abi_minor = SLIPSTREAM_ABI_MINOR, .name = "waits",
        .version = "1", .destroy = destroy, .subscribed_events = kinds, .on_broadcast = take};
    (void)host;
    return &table;
}
"""


def test_no_more_is_read_than_is_taken(
    tmp_path: Path, compile_plugin, monkeypatch, stream: int
) -> None:
    """A daemon that is behind keeps some megabytes of a producer, and no more."""
    go_on, place = tmp_path / "go-on", tmp_path / "p.sock"
    monkeypatch.setenv("GO_ON", str(go_on))
    waits = config(tmp_path, compile_plugin(WAITS, name="waits"), mode="inline")
    total = 64
    data = memoryview(b"".join(reward(stream, n, 1 << 20) for n in range(1, total + 1)))
    sent = 0
    with Daemon(tmp_path, "--slipstream-config", waits, "--listen", f"unix:{place}") as daemon:
        daemon.ready()
        producer, _ = begin(place, stream)
        try:
            producer.settimeout(2)
            with pytest.raises(TimeoutError):
                while sent < len(data):
                    sent += producer.send(data[sent : sent + (1 << 16)])
            assert sent < len(data) // 4
            go_on.touch()
            producer.settimeout(SECONDS)
            producer.sendall(data[sent:])
            settled(producer, total)
        finally:
            go_on.touch()
            producer.close()
