"""How fast recorded events are sent: when each run's time has come."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipstream import Block, Meta, frames
from slipstream.errors import ConfigError
from slipstream.server.sources.addresses import parse_address
from slipstream.server.sources.pace import Pace, Speed, parse_speed
from slipstream.server.sources.producer import FileProducer
from slipstream.streams import EventFile
from support.daemon import HEADER, reward

SECOND = 1_000_000_000


def waits(speed: Speed, *runs: tuple[int, int]) -> list[float]:
    """How long each run is held, by its first event's time and how many events it has."""
    held: list[float] = []
    pace = Pace(speed, held.append)
    found = []
    for time_ns, count in runs:
        held.clear()
        pace.hold(frames.encode(Block(b"x", 1, Meta(time_ns=time_ns))), count)
        found.append(sum(held))
    return found


def test_so_many_a_second() -> None:
    first, second, third = waits(Speed(rate=10), (0, 1000), (0, 500), (0, 1))
    assert first == 0
    assert 99 < second <= 100
    assert 149 < third <= 150


def test_a_file_is_sent_as_so_many_as_it_has(tmp_path: Path, monkeypatch) -> None:
    """Of each run the events that are in it: never those before it again."""
    path = tmp_path / "events.slip"
    path.write_bytes(HEADER + b"".join(reward(1, number) for number in range(1, 101)))
    held: list[tuple[int, int]] = []
    monkeypatch.setattr(Pace, "hold", lambda _, run, count: held.append((len(run), count)))
    speed = Speed(rate=5)
    producer = FileProducer(str(path), parse_address("unix:/nowhere"), speed, print)
    with EventFile(str(path), on_warning=print) as file:
        assert sum(1 for _ in producer._runs(file)) == len(held) > 2
    assert sum(count for _, count in held) == 100
    assert len({size / count for size, count in held}) == 1


def test_as_fast_as_they_were_recorded() -> None:
    runs = [(5 * SECOND, 1), (105 * SECOND, 1), (4 * SECOND, 1), (0, 1), (205 * SECOND, 9)]
    first, second, earlier, unknown, last = waits(Speed(times=2), *runs)
    assert (first, earlier, unknown) == (0, 0, 0)
    assert 49 < second <= 50
    assert 99 < last <= 100


def test_the_first_time_that_is_known_counts() -> None:
    unknown, first, second = waits(Speed(times=1), (0, 1), (7 * SECOND, 1), (67 * SECOND, 1))
    assert (unknown, first) == (0, 0)
    assert 59 < second <= 60


def test_as_fast_as_they_are_taken() -> None:
    assert waits(Speed(), (SECOND, 1000), (99 * SECOND, 1000)) == [0, 0]


@pytest.mark.parametrize(
    ("speed", "run_bytes"),
    [
        (Speed(), 65536),
        (Speed(times=1), 4096),
        (Speed(rate=1), 4096),
        (Speed(rate=10_000), 10_000),
        (Speed(rate=1e9), 65536),
    ],
)
def test_runs_are_short_where_time_matters(speed: Speed, run_bytes: int) -> None:
    assert speed.run_bytes == run_bytes


def test_what_is_a_speed() -> None:
    assert parse_speed("2") == Speed(times=2)
    assert parse_speed("0.5") == Speed(times=0.5)
    assert parse_speed("5000/s") == Speed(rate=5000)


@pytest.mark.parametrize("text", ["", "0", "-1", "x", "5/m", "5/", "/s", "nan", "inf", "1e12"])
def test_what_is_not(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_speed(text)
    assert raised.value.message == f"{text!r} is not a speed"
    assert "5000/s" in raised.value.hint
