"""``slipstream show`` and ``slipstream convert``."""

from __future__ import annotations

import json
import os
import pty
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from slipstream import aleo, frames
from slipstream.capture import HEADER, CaptureWriter
from slipstream.cli import cli
from slipstream.events import (
    AppEvent,
    Block,
    Event,
    Gap,
    GapReason,
    MappingRemoval,
    MappingUpdate,
    Meta,
    Payload,
    StakingReward,
)
from slipstream.streams import read_events
from support.daemon import until

COMMAND = str(Path(sys.executable).with_name("slipstream"))
STREAMS = Path(__file__).resolve().parents[2] / "examples" / "streams"
GENESIS = STREAMS / "mainnet_genesis.jsonl"
DERIVED = STREAMS / "mainnet_derived_blocks_1_to_5.jsonl"
PROGRAM = aleo.program_id_to_bytes("credits.aleo")
ACCOUNT = aleo.identifier_to_bytes("account")
STAKER = aleo.address_to_bytes("aleo1qy4qufq03wcph05fdf5aj09ez67vcmmlrzqf0zza352qwaq43gyqt3wdf6")
META = Meta(stream=0xABC, sequence=7)


def show(*arguments: object) -> list[str]:
    done = CliRunner().invoke(cli, ["show", *map(str, arguments)], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.stdout.splitlines()


def shown(tmp_path: Path, *events: Event) -> list[str]:
    """The events' lines, without that of the stream."""
    path = tmp_path / "shown"
    path.unlink(missing_ok=True)
    with CaptureWriter(path) as writer:
        for event in events:
            writer.write(frames.encode(event))
    lines = show(path)
    assert lines[0] == f"stream {events[0].meta.stream:016x}"
    return lines[1:]


def test_genesis_for_people() -> None:
    lines = show(GENESIS)
    assert len(lines) == 398
    assert re.fullmatch("stream [0-9a-f]{16}", lines[0])
    assert lines[1].split() == [
        "1", "0", "MappingUpdate",
        "credits.aleo/committee[aleo1vfukg8ky2mhfprw63s0k0hl4vvd8573s6fkn8cv9y0ca6q27eq8qwdnxls]",
        "=", "{", "is_open:", "true,", "commission:", "10u8", "}",
    ]  # fmt: skip
    assert lines[-1].endswith(
        "Block           345 bytes: ab19dklwl9vp63zu3hwg57wyhvmqf92fx5g8x0t6dr72py8r87pxupqfne5t9"
    )


def test_each_kind(tmp_path: Path) -> None:
    address = aleo.address_to_text(STAKER)
    lines = shown(
        tmp_path,
        MappingUpdate(PROGRAM, ACCOUNT, b"\xff", b"\x00\x00", 3, META),
        MappingRemoval(PROGRAM, ACCOUNT, aleo.plaintext_to_bytes("1u8"), None, META),
        MappingRemoval(PROGRAM, ACCOUNT, None, 5, META),
        StakingReward(STAKER, b"short", 1234, 5678, 5, META),
        Block(b"no block", 5, META),
        Payload("grüße".encode(), b"\xff\xfe", b"me", 5, META),
        Payload(b"n", b"b", None, 5, Meta(stream=0xABC, sequence=8, flags=frames.ROUTED)),
        AppEvent(40, b"\x00" * 100, 5, META),
        Gap(GapReason.PAUSED | GapReason.TOO_LARGE, 4, 9, 1234, 1, 4, 5, META),
    )
    said = [line.split(None, 2)[2] for line in lines]
    assert said == [
        "MappingUpdate   credits.aleo/account[0xff] = 0x0000",
        "MappingRemoval  credits.aleo/account[1u8]",
        "MappingRemoval  credits.aleo/account: the whole mapping",
        f"StakingReward   {address} got 1,234, has 5,678, validator 0x73686f7274",
        "Block           8 bytes: 0x6e6f20626c6f636b",
        "Payload         grüße from me: 0xfffe",
        "Payload         n: b  (routed)",
        f"App(40)         0x{'00' * 64}… (100 bytes)",
        "Gap             1,234 lost, ordinals 4 to 9: too large, paused",
    ]
    assert [line.split()[:2] for line in lines[:3]] == [["7", "3"], ["7", "-"], ["7", "5"]]


def test_full_cuts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "long"
    with CaptureWriter(path) as writer:
        writer.write(frames.encode(AppEvent(40, b"\xff" * 1000, 5, META)))
        writer.write(frames.encode(Payload(b"n", b"b" * 1000, None, 5, META)))
    assert [len(line) < 500 for line in show(path)[1:]] == [True, True]
    first, second = show(path, "--full")[1:]
    assert first.endswith("ff" * 1000)
    assert second.endswith("b" * 1000)


def test_the_time_of_an_event(tmp_path: Path) -> None:
    meta = Meta(stream=1, sequence=1, time_ns=1_700_000_000_123_456_789)
    (line,) = shown(tmp_path, Block(b"", 1, meta))
    assert "2023-11-14T22:13:20.123456Z" in line
    for extreme in (2**63 - 1, -(2**63)):
        meta = Meta(stream=1, sequence=1, time_ns=extreme)
        assert len(shown(tmp_path, Block(b"", 1, meta))) == 1


@pytest.mark.parametrize("evil", ["\x1b[2J", "\x9b31m", "\r\n", "\u202e", "\x07", "\x7f", "\x00"])
def test_control_characters_are_escaped(tmp_path: Path, evil: str) -> None:
    # A node's parser takes no such string, but its bytes may come from anywhere.
    raw = f"a{evil}b".encode()
    text = aleo.value_to_bytes('"a"')[:-3] + len(raw).to_bytes(2, "little") + raw
    assert evil in aleo.value_to_text(text)
    lines = shown(
        tmp_path,
        MappingUpdate(PROGRAM, ACCOUNT, text[1:], text, 1, META),
        Payload(evil.encode(), evil.encode(), evil.encode(), 1, META),
    )
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
    path = tmp_path / "shown"
    for line in show(path, "--json"):
        assert line.isascii()
        assert "\x1b" not in line


def test_filters() -> None:
    def count(*arguments: object) -> int:
        return sum(1 for line in show(DERIVED, *arguments) if not line.startswith("stream"))

    assert count() == 1250
    assert count("--kind", "stakingreward") == 545
    assert count("--kind", "MappingUpdate", "--kind", "Block") == 705
    assert count("--mapping", "committee") == 80
    assert count("--mapping", "credits.aleo/committee") == 80
    assert count("--mapping", "other.aleo/committee") == 0
    assert count("--mapping", "committee", "--limit", 7) == 7
    assert count("--limit", 0) == 0
    assert count("--from", 1241) == 10
    (line,) = show(DERIVED, "--from", 1250, "--limit", 3)[1:]
    assert line.split()[0] == "1250"


@pytest.mark.parametrize(
    "arguments",
    [("--kind", "Blok"), ("--mapping", "1x"), ("--mapping", "credits/account"), ("--limit", "-1")],
)
def test_bad_filters_are_usage_errors(command, arguments: tuple[str, ...]) -> None:
    done = command("show", GENESIS, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: Invalid value for '--")


def test_json_lines_are_events_again(tmp_path: Path) -> None:
    again = tmp_path / "again.jsonl"
    again.write_text("\n".join(show(GENESIS, "--json")))
    assert list(read_events(again, on_warning=print)) == list(
        read_events(GENESIS, on_warning=print)
    )


def test_a_cut_off_capture_shows_what_is_good(command, tmp_path: Path) -> None:
    frame = frames.encode(Block(b"x", 1, META))
    (tmp_path / "cut").write_bytes(HEADER + frame * 3 + frame[:-1])
    done = command("show", tmp_path / "cut")
    assert done.returncode == 4
    assert done.stdout.count("Block") == 3
    assert "cut off inside of frame 3" in done.stderr
    assert done.stderr.startswith("error: ")
    assert command("show", tmp_path / "cut", "--limit", 3).returncode == 0


def test_a_damaged_frame_is_named(command, tmp_path: Path) -> None:
    frame = frames.encode(Block(b"x", 1, META))
    bad = bytearray(frame)
    bad[48] = 7  # no fixed part is that short
    (tmp_path / "bad").write_bytes(HEADER + frame + bytes(bad))
    for arguments in (["show"], ["show", "--json"]):
        done = command(*arguments, tmp_path / "bad")
        assert done.returncode == 4
        assert len(done.stdout.splitlines()) == 3 - len(arguments)
        at = len(HEADER) + len(frame)
        assert f"frame 1, at byte {at}: truncated, or a length" in done.stderr


def test_a_broken_pipe_is_silent() -> None:
    for arguments in ((), ("--json",)):
        with subprocess.Popen(
            [COMMAND, "show", DERIVED, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == b""
            assert process.wait(240) == 0


def test_colour_on_a_terminal_only(command) -> None:
    assert "\x1b" not in command("show", GENESIS, "--limit", 1).stdout
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(COMMAND, [COMMAND, "show", str(GENESIS), "--limit", "1"])
    text = b""
    try:
        while chunk := os.read(terminal, 65536):
            text += chunk
    except OSError:
        pass
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert b"\x1b[32mMappingUpdate" in text


def test_standard_input(command) -> None:
    done = command("show", "-", "--limit", 1, stdin=GENESIS.read_bytes())
    assert "credits.aleo/committee" in done.stdout


# ---- convert ---------------------------------------------------------------------------------


def test_convert_both_ways(command, tmp_path: Path) -> None:
    capture, lines, again = (tmp_path / name for name in ("a.capture", "a.jsonl", "b.capture"))
    assert command("convert", GENESIS, capture).returncode == 0
    assert capture.read_bytes()[:16] == HEADER
    assert command("convert", capture, lines).returncode == 0
    done = command("convert", lines, again)
    assert done.returncode == 0
    assert "397 events written" in done.stderr
    assert again.read_bytes() == capture.read_bytes()
    assert len(lines.read_bytes().splitlines()) == 397


def test_convert_keeps_gaps_and_flags(command, tmp_path: Path) -> None:
    stored = [
        Gap(GapReason.PAUSED, 1, 2, 2, 1, meta=META),
        Block(b"x", 1, META),
        Block(b"y", 1, Meta(flags=0x8003)),
    ]
    with CaptureWriter(tmp_path / "in") as writer:
        for event in stored:
            writer.write(frames.encode(event))
    assert command("convert", tmp_path / "in", tmp_path / "o.jsonl").returncode == 0
    assert command("convert", tmp_path / "o.jsonl", tmp_path / "out").returncode == 0
    assert (tmp_path / "out").read_bytes() == (tmp_path / "in").read_bytes()
    first = json.loads((tmp_path / "o.jsonl").read_text().splitlines()[0])
    assert (first["kind"], first["reason"], first["count"]) == ("Gap", ["paused"], 2)


def test_convert_repairs_a_cut_off_capture(command, tmp_path: Path) -> None:
    frame = frames.encode(Block(b"x", 1, META))
    (tmp_path / "cut").write_bytes(HEADER + frame + frame[:9])
    done = command("convert", tmp_path / "cut", tmp_path / "good")
    assert done.returncode == 4
    assert (tmp_path / "good").read_bytes() == HEADER + frame


@pytest.mark.parametrize("name", ["out.capture", "out.jsonl"])
def test_convert_does_not_overwrite(command, tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    target.write_text("precious")
    done = command("convert", GENESIS, target)
    assert done.returncode == 4
    assert str(target) in done.stderr
    assert target.read_text() == "precious"
    missing = command("convert", GENESIS, tmp_path / "no" / name)
    assert missing.returncode == 4
    assert "No such file" in missing.stderr


def test_convert_to_a_full_disk(command) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    done = command("show", GENESIS, "--json")
    assert done.returncode == 0
    with full.open("w") as device:
        done = subprocess.run(
            [COMMAND, "show", GENESIS, "--json"], stdout=device, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert b"No space left on device" in done.stderr
    assert b"next: make room on that disk" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["out.capture", "out.jsonl"])
def test_convert_leaves_nothing_where_there_is_no_room(command, tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    arguments = [COMMAND, "convert", str(GENESIS), str(target)]
    done = subprocess.run(  # a limit on files is the disk that is full
        arguments,
        stderr=subprocess.PIPE,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert done.returncode == 4
    assert f"cannot write {target}: File too large".encode() in done.stderr
    assert not target.exists()
    assert command("convert", GENESIS, target).returncode == 0


def test_convert_that_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    with subprocess.Popen(
        [COMMAND, "convert", "-", str(target)], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdin.write(GENESIS.read_bytes())
        process.stdin.flush()
        until(lambda: target.exists() and target.stat().st_size, "the first events")
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert (process.returncode, b"stopped by SIGINT" in said) == (130, True), said
    assert not target.exists()


def test_convert_of_what_is_no_event_leaves_nothing(command, tmp_path: Path) -> None:
    target = tmp_path / "out.capture"
    assert command("convert", "-", target, stdin=b"no events").returncode == 4
    assert not target.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "LOOP"],
        ["inspect", "LOOP"],
        ["convert", "LOOP", "OUT"],
        ["run", "--slipstream-config", "LOOP", GENESIS],
        ["redeliver", "--slipstream-config", "LOOP", "LOOP"],
        ["show", "/proc/self/mem"],  # of which nothing can be read
        ["inspect", "/proc/self/mem"],
        ["run", "--slipstream-config", "/proc/self/mem", GENESIS],
    ],
    ids=str,
)
def test_files_that_cannot_be_read_are_named(command, tmp_path: Path, arguments) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(tmp_path / "other")
    (tmp_path / "other").symlink_to(loop)
    names = {"LOOP": loop, "OUT": tmp_path / "out"}
    done = command(*(names.get(str(argument), argument) for argument in arguments))
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode in {1, 3, 4}
    assert str(loop if "LOOP" in arguments else "/proc/self/mem") in said
    told = ("Too many levels", "Input/output error", "does not exist", "not a regular file")
    assert any(problem in said for problem in told)
    assert "internal error" not in said
    assert not (tmp_path / "out").exists()
