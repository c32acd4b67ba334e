"""Models of the ring's three protocols: sound as they are, broken without any of their parts."""

from __future__ import annotations

import re
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


# ---- The model and the code ------------------------------------------------------------------------

NATIVE = Path(__file__).resolve().parents[2] / "native"
MODELS = {
    "park producer": park.producer(fences=True),
    "park consumer": park.consumer(fences=False),
    "claim producer": claim.producer(),
    "claim consumer": claim.consumer(),
    "replay consumer": replay.consumer(),
    "replay host": replay.host(),
}
# Where each step stands, in the order that the model takes for granted. Below a function its
# steps, and the code that comes right behind a comment "model: STEPS"; "~": code that comes
# anywhere behind that, without a name; "...": anything.
STANDS = """
ring/ring.c ss_ring_commit
  ~ memcpy(at, &record, sizeof record);
  park producer, store head; claim producer, store head
    atomic_store_explicit(&ring->head->head, ring->at, memory_order_release);
ring/ring.c ss_ring_must_wake
  park producer, fence
    if (ring->fences) atomic_thread_fence(memory_order_seq_cst);
    else atomic_signal_fence(memory_order_seq_cst);
  park producer, load sleeping
    const uint32_t sleep = atomic_load_explicit(&ring->control->sleeping,
    memory_order_acquire);
  ~ sleep == 0 || sleep == ring->woken
  ~ ring->woken = sleep;
ring/ring.c ss_ring_end_sleep
  park producer, add wake; park producer, wake wake
    atomic_fetch_add_explicit(&ring->head->wake, 1, memory_order_release);
    ss_os_wake(&ring->head->wake, ring->shared);
ring/ring.c set_tail
  claim producer, store tail
    atomic_store_explicit(&ring->head->tail, tail, memory_order_release);
ring/ring.c drop_oldest
  claim producer, store sequence
    atomic_store_explicit(&head->lost_sequence, sequence + 1, memory_order_relaxed);
  claim producer, store tail
    set_tail(ring, to, ordinal);
  claim producer, fence
    atomic_thread_fence(memory_order_seq_cst);
  claim producer, load claim; claim producer, load taken
    const bool kept = !ss_hear(&ring->control->claim, ring->head->key, SS_PLACE_CLAIM,
    &claim) || (claim >= from && claim < to) || !hear_taken(ring);
  ~ if (kept) { set_tail(ring, from, from_ordinal);
  ~ atomic_store_explicit(&head->lost_sequence, sequence + 2, memory_order_release);
ring/ring.c hear_growing
  replay host, load acked; told, load value; told, load check
    const uint64_t heard = atomic_load_explicit(&told->value, memory_order_acquire);
    const uint64_t check = atomic_load_explicit(&told->check, memory_order_acquire);
  ~ heard < least || heard > meant || meant > ring->published
ring/cursor.c ss_cursor_start
  replay consumer, load after
    .expected = view->head->resume_after + 1,
ring/cursor.c ss_cursor_take
  park consumer, load head
    cursor->seen = atomic_load_explicit(&view->head->head, memory_order_acquire);
ring/cursor.c ss_cursor_park
  park consumer, load wake
    const uint32_t seen = atomic_load_explicit(&view->head->wake, memory_order_acquire);
  park consumer, store sleeping
    atomic_store_explicit(&view->control->sleeping, cursor->sleep, memory_order_release);
  park consumer, barrier
    if (!barrier(view) && ms > BLIND_MS)
  park consumer, load head; park consumer, wait wake
    if (!ready(context)) wait_for_change(view, seen, ms);
  ~ atomic_store_explicit(&view->control->sleeping, 0, memory_order_relaxed);
ring/cursor.c barrier
  park consumer, barrier
    atomic_thread_fence(memory_order_seq_cst);
    return view->head->fences != 0 || ss_os_barrier();
ring/cursor.c tell_claim
  claim consumer, store claim
    ss_tell(&view->control->claim, ... SS_PLACE_CLAIM, at);
ring/cursor.c claim
  claim consumer, store claim
    tell_claim(cursor, cursor->at);
  claim consumer, fence; claim consumer, load tail
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_load_explicit(&cursor->view->head->tail, memory_order_acquire) <= cursor->at;
ring/cursor.c tell_taken
  claim consumer, store taken
    ss_tell(&view->control->taken, ... SS_PLACE_TAKEN, cursor->expected - 1);
ring/cursor.c take_copy
  claim consumer, load head
    const uint64_t published = atomic_load_explicit(&view->head->head, memory_order_acquire)
  ~ if (!claim(cursor)) { release(cursor);
  ~ memcpy(cursor->copy, view->data
  ~ tell_taken(cursor); release(cursor);
ring/cursor.c read_lost
  claim consumer, load sequence
    const uint32_t sequence = atomic_load_explicit(&head->lost_sequence,
    memory_order_acquire);
  ~ if (sequence % 2 != 0) continue;
  claim consumer, load tail
    *tail = atomic_load_explicit(&head->tail, memory_order_acquire);
  ~ if (atomic_load_explicit(&head->lost_sequence, memory_order_relaxed) == sequence) return;
ring/control.h ss_tell
  told, store check
    atomic_store_explicit(&told->check, ..., memory_order_relaxed);
  told, store value
    atomic_store_explicit(&told->value, value, memory_order_release);
ring/control.h ss_hear
  told, load value; told, load check
    const uint64_t heard = atomic_load_explicit(&told->value, memory_order_acquire);
    const uint64_t check = atomic_load_explicit(&told->check, memory_order_acquire);
consumer/consume.c ss_consume
  replay consumer, load until
    .replay_until = head->replay_until,
consumer/consume.c deliver_usual
  replay consumer, store started
    ss_loop_announce(l, ordinal);
  ~ table->on_broadcast(
  ~ if (__builtin_expect(status != SLIPSTREAM_OK || l->acks.is_slow, 0))
  replay consumer, store acked
    ss_acks_finish_fast(&l->acks, ordinal);
consumer/loop.h ss_loop_announce
  replay consumer, store started
    ss_tell(&l->control->started, l->key, SS_PLACE_STARTED, last);
consumer/loop.h ss_loop_call
  replay consumer, store started
    ss_loop_announce(l, last);
  ~ table->on_broadcast(
consumer/acks.h ss_acks_finish_fast
  replay consumer, store acked
    ss_tell(&acks->control->acked, acks->key, SS_PLACE_ACKED, last);
"""
_FUNCTION = re.compile(
    r"^[A-Za-z_][^;{}#]*?\b(\w+)\([^;{}]*?\)\s*\{\n(.*?)^\}", re.MULTILINE | re.DOTALL
)
_STEPS = re.compile(r"/\* model: (.*?) \*/")
_COMMENT = re.compile(r"/\*(?! model:).*?\*/", re.DOTALL)


def known_steps() -> set[str]:
    """What the models do to words that both sides see; a told word counts as one."""
    found = set()
    for side, program in MODELS.items():
        for step in program:
            if not isinstance(step, tuple) or step[0] in {"let", "jump", "ghost", "check"}:
                continue
            word = "" if len(step) == 1 else step[2] if step[0] == "load" else step[1]
            if callable(word):  # the events themselves
                continue
            if word.endswith(" check"):
                found |= {f"told, {step[0]} check", f"told, {step[0]} value"}
            else:
                found.add(f"{side}, {step[0]} {word}".rstrip())
    return found


def named_steps() -> dict[tuple[str, str], str]:
    """The functions that have steps of a model, in one line, without other comments."""
    found = {}
    for path in sorted(NATIVE.rglob("*.[ch]")):
        text = _COMMENT.sub(" ", path.read_text())
        for name, body in _FUNCTION.findall(text):
            if _STEPS.search(body):
                found[str(path.relative_to(NATIVE)), name] = " ".join(body.split())
        assert len(_STEPS.findall(text)) == sum(
            len(_STEPS.findall(body)) for _, body in _FUNCTION.findall(text)
        ), f"{path}: a step outside of any function"
    return found


def places() -> dict[tuple[str, str], list[tuple[str, str]]]:
    """STANDS by file and function: steps ("" for none), and a pattern of the code."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for line in STANDS.strip().splitlines():
        if not line.startswith("  "):
            file, function = line.split()
            chain = found[file, function] = []
        elif line.startswith("    "):
            chain[-1] = (chain[-1][0], f"{chain[-1][1]} {line.strip()}".strip())
        elif line.startswith("  ~ "):
            chain.append(("", line.removeprefix("  ~ ")))
        else:
            chain.append((line.strip(), ""))
    return {
        place: [(steps, re.escape(code).replace(r"\.\.\.", ".*")) for steps, code in chain]
        for place, chain in found.items()
    }


PLACES = places()


def test_each_step_of_the_models_stands_in_the_code() -> None:
    named = {step for chain in PLACES.values() for steps, _ in chain for step in steps.split("; ")}
    assert named - {""} == known_steps()
    assert named_steps().keys() == PLACES.keys()


@pytest.mark.parametrize("place", PLACES, ids=" ".join)
def test_each_step_stands_where_it_says(place: tuple[str, str]) -> None:
    code, at = named_steps()[place], 0
    assert _STEPS.findall(code) == [steps for steps, _ in PLACES[place] if steps]
    for steps, pattern in PLACES[place]:
        before = rf"/\* model: {re.escape(steps)} \*/ " if steps else ""
        found = re.compile(before + pattern).search(code, at)
        assert found is not None, f"{steps or pattern}: not there, or not behind what comes first"
        at = found.end()


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
