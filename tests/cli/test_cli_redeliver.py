"""``slipstream redeliver``: dead letters are offered again, once, and never lost on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slipstream import Block, Mark, Meta, frames
from slipstream.capture import CaptureWriter
from slipstream.streams import EventFile
from slipstream.streams.dead_letters import DEAD_LETTER, REDELIVERED, dead_letter_of

STREAM = 0xFEED
EVENTS = 9


@pytest.fixture(params=["inline", "thread", "process"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "events.slip"
    with CaptureWriter(path) as capture:
        for number in range(1, EVENTS + 1):
            meta = Meta(stream=STREAM, sequence=number, time_ns=number)
            capture.write(frames.encode(Block(b"block %d" % number, number, meta)))
    return path


@pytest.fixture
def picky(build: Callable[..., Path], tmp_path: Path, mode: str) -> tuple[Path, Path]:
    """A plugin's config; while the other file exists, it refuses each third event."""
    refuse = tmp_path / "refuse"
    refuse.touch()
    code = (
        f'if (access("{refuse}", F_OK) == 0 && n % 3 == 0) '
        'return slipstream_fail(host, SLIPSTREAM_FAILED, "no \\"thirds\\"")'
    )
    return build("picky", {"mode": mode}, ON_EVENT=code), refuse


def letters(path: Path) -> list[tuple[bytes, int]]:
    """Of each dead letter: its mark's name, and the sequence of its event."""
    found: list[Any] = []
    with EventFile(path, on_warning=pytest.fail) as file:
        for frame in file:
            event = frames.decode(frame)[0]
            found.append(event.name if isinstance(event, Mark) else event.meta.sequence)
    return list(zip(found[::2], found[1::2], strict=True))


Command = Callable[..., Any]


def test_refused_events_are_offered_again(
    command: Command, events: Path, picky: tuple[Path, Path], tmp_path: Path
) -> None:
    config, refuse = picky
    data = ("--slipstream-config", config, "--data-dir", tmp_path / "data", "--json")
    done = command("run", *data, events)
    assert json.loads(done.stdout)["plugins"][0]["dead"] == 3
    file = tmp_path / "data" / "picky" / "dead-letters.slip"
    assert letters(file) == [(DEAD_LETTER, sequence) for sequence in (3, 6, 9)]

    shown = command("show", file).stdout
    assert shown.count('FAILED (-1): no "thirds"') == 3
    assert "dead letter of picky 0.1, ordinal 6, attempt 1" in shown
    assert shown.count("stream 0") == 1

    # Its first refusal is the third that is offered: a new dead letter, behind those of before.
    again = command("redeliver", *data, file)
    assert json.loads(again.stdout)["redelivered"] == 3
    assert again.returncode != 0, "it is not silent about what is refused again"
    assert letters(file) == [(REDELIVERED, 3), (REDELIVERED, 6), (REDELIVERED, 9), (DEAD_LETTER, 9)]

    refuse.unlink()
    last = command("redeliver", *data, file)
    assert last.returncode == 0, last.stderr
    report = json.loads(last.stdout)
    assert (report["events"], report["redelivered"]) == (1, 1)
    assert report["left"] == {"redelivered before": 3}
    assert report["plugins"][0]["delivered"] == 1
    assert letters(file) == [(REDELIVERED, sequence) for sequence in (3, 6, 9, 9)]
    assert json.loads(command("redeliver", *data, file).stdout)["redelivered"] == 0
    assert command("show", file).stdout.count("redelivered") == 4


def test_nothing_is_marked_where_it_would_be_lost(
    command: Command, events: Path, picky: tuple[Path, Path], tmp_path: Path
) -> None:
    config, refuse = picky
    data = ("--slipstream-config", config, "--data-dir", tmp_path / "data", "--json")
    command("run", *data, events)
    file = tmp_path / "data" / "picky" / "dead-letters.slip"
    before = file.read_bytes()
    config.write_text(json.dumps(json.loads(config.read_text()) | {"dead_letter": False}))
    done = command("redeliver", *data, file)
    assert json.loads(done.stdout)["redelivered"] == 0, "the third is refused, and kept nowhere"
    assert file.read_bytes() == before
    config.write_text(json.dumps(json.loads(config.read_text()) | {"name": "other"}))
    refuse.unlink()
    done = command("redeliver", *data, file)
    assert json.loads(done.stdout)["left"] == {"of plugin picky": 3}
    assert file.read_bytes() == before


@pytest.mark.parametrize("mode", ["inline"])
def test_what_it_cannot_read(
    command: Command, events: Path, picky: tuple[Path, Path], tmp_path: Path
) -> None:
    config, _ = picky
    with_config = ("--slipstream-config", config, "--json")
    done = command("redeliver", *with_config, events)
    assert json.loads(done.stdout)["left"] == {"no dead letter": EVENTS}
    done = command("redeliver", *with_config, tmp_path / "none.slip")
    assert done.returncode != 0
    assert "cannot open" in json.loads(done.stdout)["error"]["message"]
    done = command("redeliver", *with_config, "-", stdin=events.read_bytes())
    assert "is not a regular file" in json.loads(done.stdout)["error"]["message"]
    wrong = tmp_path / "wrong.slip"
    with CaptureWriter(wrong) as capture:
        for body in (b"", b"[]", b"{", b'{"plugin": 7}', b'{"plugin": "picky", "status": "x"}'):
            capture.write(frames.encode(Mark(DEAD_LETTER, body)))
            capture.write(frames.encode(Block(b"b", 1)))
    done = command("redeliver", *with_config, wrong)
    assert json.loads(done.stdout)["left"] == {"no dead letter": 5}
    assert dead_letter_of(Mark(b"org.example.note", b"{}")) is None


@pytest.mark.parametrize("mode", ["inline"], indirect=True)
def test_what_cannot_be_marked_is_not_offered(
    command: Command, events: Path, picky: tuple[Path, Path], tmp_path: Path
) -> None:
    """Neither letters nor other events as JSON lines, nor those on standard input."""
    config, refuse = picky
    data = ("--slipstream-config", config, "--data-dir", tmp_path / "data", "--json")
    command("run", *data, events)
    refuse.unlink()
    kept = tmp_path / "data" / "picky" / "dead-letters.slip"
    for file in (kept, events):
        lines = tmp_path / f"{file.stem}.jsonl"
        lines.write_text(command("show", "--json", file).stdout)
        done = command("redeliver", *data, lines)
        answer = json.loads(done.stdout)
        assert (done.returncode, answer["redelivered"], answer["plugins"]) == (4, 0, [])
        assert f"{lines.name} holds JSON lines, not a capture: what is redelivered" in done.stderr
        assert "NAME/dead-letters.slip" in done.stderr
    done = command("redeliver", *data, "-", stdin=kept.read_bytes())
    assert done.returncode == 4
    assert "standard input is not a regular file" in done.stderr
    assert json.loads(command("redeliver", *data, kept).stdout)["redelivered"] == 3
