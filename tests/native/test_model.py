"""Models of the ring's three protocols: sound as they are, broken without any of their parts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent / "model"))

import claim
import park
import replay
from tso import Machine, ModelError, fence, load, store

pytestmark = pytest.mark.no_asan

BROKEN: list[tuple[Callable[[], int], str]] = [
    (lambda: park.model("consumer barrier"), "sleeps for ever on wake"),
    (lambda: park.model("look again"), "sleeps for ever on wake"),
    (lambda: park.model(late=True), "sleeps for ever on wake"),
    (lambda: park.model("consumer barrier", fences=True), "sleeps for ever on wake"),
    (lambda: park.model("producer fence", fences=True), "sleeps for ever on wake"),
    (lambda: claim.model("producer fence"), "a torn copy|a wrong end"),
    (lambda: claim.model("consumer fence"), "a torn copy|a wrong end"),
    (lambda: claim.model("claim"), "a torn copy|a wrong end"),
    (lambda: claim.model("taken"), "a wrong end"),
    (lambda: claim.model("odd", "even"), "given up that was not dropped"),
    (lambda: replay.model("acked early"), "not taken"),
    (lambda: replay.model("started late"), "is not marked"),
    (lambda: replay.model("check late"), "taken for damaged"),
    (lambda: replay.model("forgetful"), "is not marked"),
]


@pytest.mark.parametrize(
    "model",
    [park.model, lambda: park.model(fences=True), claim.model, replay.model],
    ids=["park", "park with fences", "claim", "replay"],
)
def test_sound(model: Callable[[], int]) -> None:
    assert model() > 1000


@pytest.mark.parametrize(("model", "text"), BROKEN)
def test_every_part_is_needed(model: Callable[[], int], text: str) -> None:
    with pytest.raises(ModelError, match=text):
        model()


def test_the_checker_reorders_as_a_processor_does() -> None:
    """Store, then load: both threads may miss each other's store, unless they fence."""

    def threads(*between: tuple[str]) -> Machine:
        one = [store("x", 1), *between, load("r", "y"), store("first", lambda r: r["r"])]
        two = [store("y", 1), *between, load("r", "x"), store("second", lambda r: r["r"])]
        return Machine({"x": 0, "y": 0, "first": 9, "second": 9}, list(one), list(two))

    def seen(memory: dict[str, int]) -> bool:
        return memory["first"] + memory["second"] > 0

    assert threads(("fence",)).explore(seen) > 10
    assert fence() == ("fence",)
    with pytest.raises(ModelError, match="a wrong end"):
        threads().explore(seen)


def test_the_checker_keeps_the_order_of_stores() -> None:
    writer = [store("data", 1), store("flag", 1)]
    reader = [load("flag", "flag"), load("data", "data"), store("seen", seen_late)]
    machine = Machine({"data": 0, "flag": 0, "seen": 0}, list(writer), list(reader))
    assert machine.explore(lambda memory: memory["seen"] == 0) > 10


def seen_late(registers: dict[str, int]) -> int:
    """The flag without the data: what must not be."""
    return int(registers["flag"] == 1 and registers["data"] == 0)
