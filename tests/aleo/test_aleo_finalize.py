"""The store: what it holds, and which events go out when."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from slipstream import aleo
from slipstream.aleo import FinalizeError, FinalizeMode, FinalizeStore
from slipstream.aleo.finalize import rewards_between
from slipstream.errors import SlipstreamError
from slipstream.events import (
    Block,
    Event,
    EventKind,
    MappingRemoval,
    MappingUpdate,
    StakingReward,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STREAMS = Path(__file__).parents[2] / "examples/streams"
REAL, DRY = FinalizeMode.REAL_RUN, FinalizeMode.DRY_RUN
CREDITS = aleo.program_id_to_bytes("credits.aleo")
ACCOUNT = aleo.identifier_to_bytes("account")
BONDED = aleo.identifier_to_bytes("bonded")
WHERE = (CREDITS, ACCOUNT)
A, B, C = (aleo.plaintext_to_bytes(f"{number}field") for number in (1, 2, 3))
ONE, TWO, THREE = (aleo.value_to_bytes(f"{number}u64") for number in (1, 2, 3))
ADDRESS = bytes(32)


class Recorder:
    """A sink that keeps what it gets."""

    def __init__(self, *kinds: EventKind) -> None:
        self.kinds = set(kinds or EventKind)
        self.events: list[Event] = []
        self.calls = 0

    def has_subscribers(self, kind: EventKind) -> bool:
        return kind in self.kinds

    def broadcast_many(self, events: list[Event]) -> None:
        self.calls += 1
        self.events += events


class BrokenSink(Recorder):
    def broadcast_many(self, events: list[Event]) -> None:
        super().broadcast_many(events)
        raise OSError("no way out")


def update(key: bytes, value: bytes, height: int = 7) -> MappingUpdate:
    return MappingUpdate(CREDITS, ACCOUNT, key, value, height, encoding=1)


def test_a_real_run_commits_and_sends_in_order() -> None:
    sink = Recorder()
    store = FinalizeStore(sink)
    with store.atomic(REAL, 7):
        store.update_key_value(*WHERE, A, ONE)
        store.update_key_value(*WHERE, B, TWO)
        store.update_key_value(*WHERE, A, THREE)
        store.remove_key_value(*WHERE, B)
        store.staking_rewards([(ADDRESS, b"\x01" * 32, 5, 105)])
        store.block(b"block", 7)
        assert store.get_value(*WHERE, A) == THREE
        assert sink.events == []
    assert sink.calls == 1
    assert sink.events == [
        update(A, ONE),
        update(B, TWO),
        update(A, THREE),
        MappingRemoval(CREDITS, ACCOUNT, B, 7, encoding=1),
        StakingReward(ADDRESS, b"\x01" * 32, 5, 105, 7, encoding=1),
        Block(b"block", 7, encoding=1),
    ]
    assert store.get_mapping(*WHERE) == {A: THREE}
    assert store.contains_key(*WHERE, A)
    assert not store.contains_key(*WHERE, B)
    assert store.get_value(*WHERE, B) is None


def test_a_dry_run_is_seen_inside_only() -> None:
    sink = Recorder()
    store = FinalizeStore(sink, {WHERE: {A: ONE}})
    with store.atomic(DRY, 7):
        store.update_key_value(*WHERE, A, TWO)
        store.replace_mapping(CREDITS, BONDED, [(B, ONE)])
        store.remove_key_value(*WHERE, A)
        store.update_key_value(*WHERE, C, ONE)
        store.staking_rewards(unread())
        store.block(b"block", 7)
        assert store.get_mapping(*WHERE) == {C: ONE}
        assert store.contains_mapping(CREDITS, BONDED)
    assert store.get_mapping(*WHERE) == {A: ONE}
    assert not store.contains_mapping(CREDITS, BONDED)
    assert sink.calls == 0


def test_an_aborted_batch_leaves_nothing() -> None:
    sink = Recorder()
    store = FinalizeStore(sink, {WHERE: {A: ONE}})
    with pytest.raises(ZeroDivisionError), store.atomic(REAL, 7):
        store.update_key_value(*WHERE, A, TWO)
        store.remove_mapping(*WHERE)
        raise ZeroDivisionError
    store.start_atomic(REAL, 8)
    store.update_key_value(*WHERE, B, TWO)
    store.abort_atomic()
    assert store.get_mapping(*WHERE) == {A: ONE}
    assert sink.calls == 0
    with store.atomic(REAL, 9):
        store.update_key_value(*WHERE, C, ONE)
    assert sink.events == [update(C, ONE, 9)]


def test_replace_mapping_repeats_what_stays_and_is_silent_on_what_goes() -> None:
    sink = Recorder()
    store = FinalizeStore(sink, {WHERE: {A: ONE, B: TWO}})
    with store.atomic(REAL, 7):
        store.replace_mapping(*WHERE, ((key, ONE) for key in (C, A)))
        assert store.get_value(*WHERE, B) is None
    assert sink.events == [update(C, ONE), update(A, ONE)]
    assert store.get_mapping(*WHERE) == {C: ONE, A: ONE}
    with store.atomic(REAL, 8):
        # From what it holds itself, as rewards do.
        store.replace_mapping(*WHERE, store.get_mapping(*WHERE).items())
    assert len(sink.events) == 4


def test_removing_what_is_not_there_does_nothing() -> None:
    sink = Recorder()
    store = FinalizeStore(sink)
    with store.atomic(REAL, 7):
        store.remove_key_value(*WHERE, A)
        store.remove_mapping(*WHERE)
        assert not store.contains_mapping(*WHERE)
        store.update_key_value(*WHERE, A, ONE)
        store.remove_mapping(*WHERE)
        store.remove_mapping(*WHERE)
        store.remove_key_value(*WHERE, A)
    assert sink.events == [update(A, ONE), MappingRemoval(CREDITS, ACCOUNT, None, 7, encoding=1)]
    assert not store.contains_mapping(*WHERE)


def test_a_removed_mapping_can_come_back() -> None:
    store = FinalizeStore(Recorder(), {WHERE: {A: ONE, B: TWO}})
    with store.atomic(REAL, 7):
        store.remove_mapping(*WHERE)
        assert store.get_mapping(*WHERE) == {}
        store.update_key_value(*WHERE, C, ONE)
        assert store.get_mapping(*WHERE) == {C: ONE}
    assert store.get_mapping(*WHERE) == {C: ONE}


def test_a_removed_mapping_can_come_back_in_a_checkpoint() -> None:
    store = FinalizeStore(Recorder(), {WHERE: {A: ONE}})
    with store.atomic(REAL, 7):
        store.remove_mapping(*WHERE)
        with store.checkpoint():
            store.update_key_value(*WHERE, B, ONE)
        assert store.contains_mapping(*WHERE)
    assert store.get_mapping(*WHERE) == {B: ONE}


def test_insert_wants_a_new_key() -> None:
    sink = Recorder()
    store = FinalizeStore(sink)
    with store.atomic(REAL, 7):
        store.insert_key_value(*WHERE, A, ONE)
        with pytest.raises(FinalizeError, match="has a value already"):
            store.insert_key_value(*WHERE, A, TWO)
        store.remove_key_value(*WHERE, A)
        store.insert_key_value(*WHERE, A, TWO)
    assert sink.events[0] == update(A, ONE)
    assert sink.events[2] == update(A, TWO)


def test_a_checkpoint_undoes_its_own_writes_only() -> None:
    sink = Recorder()
    store = FinalizeStore(sink, {WHERE: {A: ONE}})
    with store.atomic(REAL, 7):
        store.update_key_value(*WHERE, B, ONE)
        with store.checkpoint():
            store.update_key_value(*WHERE, A, TWO)
            with pytest.raises(KeyError), store.checkpoint():
                store.remove_mapping(*WHERE)
                store.update_key_value(*WHERE, C, THREE)
                assert store.get_mapping(*WHERE) == {C: THREE}
                raise KeyError
            assert store.get_mapping(*WHERE) == {A: TWO, B: ONE}
            with store.checkpoint():
                store.remove_key_value(*WHERE, B)
        store.update_key_value(*WHERE, C, ONE)
    assert sink.events == [
        update(B, ONE),
        update(A, TWO),
        MappingRemoval(CREDITS, ACCOUNT, B, 7, encoding=1),
        update(C, ONE),
    ]
    assert store.get_mapping(*WHERE) == {A: TWO, C: ONE}


def unread() -> Iterator[tuple[bytes, bytes, int, int]]:
    raise AssertionError("must not be read")
    yield


def test_nothing_is_made_for_kinds_without_subscribers() -> None:
    sink = Recorder(EventKind.MAPPING_REMOVAL)
    store = FinalizeStore(sink)
    with store.atomic(REAL, 7):
        store.update_key_value(*WHERE, A, ONE)
        store.replace_mapping(CREDITS, BONDED, [(A, ONE)])
        store.staking_rewards(unread())
        store.block(b"block", 7)
        store.remove_key_value(*WHERE, A)
    store.block(b"block", 7)
    assert sink.events == [MappingRemoval(CREDITS, ACCOUNT, A, 7, encoding=1)]
    with store.atomic(REAL, 8):
        store.update_key_value(*WHERE, A, ONE)
    assert sink.calls == 1
    assert store.get_value(*WHERE, A) == ONE


def test_a_block_after_its_batch_goes_out_at_once() -> None:
    sink = Recorder()
    store = FinalizeStore(sink)
    with store.atomic(REAL, 7):
        store.update_key_value(*WHERE, A, ONE)
        with pytest.raises(FinalizeError, match=r"block 8 .* height 7"):
            store.block(b"block", 8)
    store.block(b"block", 7)
    assert sink.events == [update(A, ONE), Block(b"block", 7, encoding=1)]


def test_a_failing_sink_does_not_undo_the_commit() -> None:
    sink = BrokenSink()
    store = FinalizeStore(sink)
    with pytest.raises(OSError, match="no way out"), store.atomic(REAL, 7):
        store.update_key_value(*WHERE, A, ONE)
    assert store.get_value(*WHERE, A) == ONE
    assert sink.events == [update(A, ONE)]
    with store.atomic(DRY, 8):
        store.update_key_value(*WHERE, A, TWO)
    assert store.get_value(*WHERE, A) == ONE


def test_misuse() -> None:
    store = FinalizeStore(Recorder())
    calls: list[Callable[[], object]] = [
        store.finish_atomic,
        store.abort_atomic,
        lambda: store.update_key_value(*WHERE, A, ONE),
        lambda: store.remove_key_value(*WHERE, A),
        lambda: store.replace_mapping(*WHERE, []),
        lambda: store.remove_mapping(*WHERE),
        lambda: store.staking_rewards([]),
        lambda: store.checkpoint().__enter__(),
    ]
    for call in calls:
        with pytest.raises(FinalizeError, match="no batch is open") as caught:
            call()
        assert isinstance(caught.value, SlipstreamError)
        assert "store.atomic" in caught.value.hint
    store.start_atomic(REAL, 7)
    with pytest.raises(FinalizeError, match="height 7 is open already"):
        store.start_atomic(REAL, 8)
    with pytest.raises(FinalizeError, match="open already"), store.atomic(DRY, 8):
        raise AssertionError("must not be entered")
    with store.checkpoint(), pytest.raises(FinalizeError, match="a checkpoint is open"):
        store.finish_atomic()
    store.finish_atomic()
    with pytest.raises(FinalizeError, match="`with`"), store.atomic(REAL, 8):
        store.finish_atomic()
    with pytest.raises(FinalizeError, match="`with`"), store.atomic(REAL, 8), store.checkpoint():
        store.abort_atomic()
    with pytest.raises(FinalizeError, match="`with`"), store.atomic(REAL, 8):
        store.update_key_value(*WHERE, A, ONE)
        with store.checkpoint():
            store.update_key_value(*WHERE, B, ONE)
            store.abort_atomic()
    assert not store.contains_mapping(*WHERE)
    with store.atomic(REAL, 9):
        pass


@pytest.mark.parametrize("height", [-1, 1 << 32, "7", None, 7.0])
def test_heights_are_checked(height: int) -> None:
    store = FinalizeStore(Recorder())
    with pytest.raises(FinalizeError, match="height"):
        store.start_atomic(REAL, height)
    with pytest.raises(FinalizeError, match="height"):
        store.block(b"", height)
    with store.atomic(REAL, 7):
        pass


def test_a_mode_is_a_mode() -> None:
    with pytest.raises(FinalizeError, match="the mode is a str"):
        FinalizeStore(Recorder()).start_atomic("REAL_RUN", 7)  # type: ignore[arg-type]


def test_only_bytes_are_taken() -> None:
    sink = Recorder()
    store = FinalizeStore(sink)
    with store.atomic(REAL, 7):
        calls: list[Callable[[], object]] = [
            lambda: store.update_key_value("credits.aleo", ACCOUNT, A, ONE),  # type: ignore[arg-type]
            lambda: store.update_key_value(CREDITS, "account", A, ONE),  # type: ignore[arg-type]
            lambda: store.update_key_value(*WHERE, "1field", ONE),  # type: ignore[arg-type]
            lambda: store.update_key_value(*WHERE, A, bytearray(ONE)),  # type: ignore[arg-type]
            lambda: store.remove_key_value(*WHERE, "1field"),  # type: ignore[arg-type]
            lambda: store.replace_mapping(*WHERE, [(A, ONE), (B, None)]),  # type: ignore[list-item]
            lambda: store.block("block", 7),  # type: ignore[arg-type]
            lambda: store.staking_rewards([("aleo1", ADDRESS, 0, 0)]),  # type: ignore[list-item]
        ]
        for call in calls:
            with pytest.raises(FinalizeError, match="not bytes") as caught:
                call()
            assert "to_bytes" in caught.value.hint
        for reward in (
            (ADDRESS[1:], ADDRESS, 0, 0),
            (ADDRESS, ADDRESS, -1, 0),
            (ADDRESS, ADDRESS, 0, 1 << 64),
        ):
            with pytest.raises(FinalizeError):
                store.staking_rewards([reward])
        assert not store.contains_mapping(*WHERE)
    assert sink.calls == 0


def test_initial_mappings_are_copied() -> None:
    entries = {A: ONE}
    store = FinalizeStore(Recorder(), {WHERE: entries})
    entries[A] = TWO
    store.get_mapping(*WHERE)[A] = TWO
    assert store.get_value(*WHERE, A) == ONE


def test_rewards_between() -> None:
    x, y, z = (bytes([number]) * 32 for number in (1, 2, 3))
    current = {x: (y, 100), y: (y, 200), z: (y, 300)}
    following = {z: (x, 250), x: (y, 107)}
    assert list(rewards_between(current, following)) == [
        (x, y, 7, 107),
        (y, y, 0, 200),
        (z, x, 0, 250),
    ]


def events_of(name: str) -> list[tuple[int, Event]]:
    found: list[tuple[int, Event]] = []
    for text in (STREAMS / name).read_text().splitlines():
        line = json.loads(text)
        raw = {key: bytes.fromhex(line[key]) for key in line if key.endswith("_hex")}
        height = line["block_height"]
        event: Event
        if line["kind"] == "MappingUpdate":
            names = ("program_id_hex", "mapping_name_hex", "key_hex", "value_hex")
            program_id, mapping_name, key, value = (raw[name] for name in names)
            event = MappingUpdate(program_id, mapping_name, key, value, height, encoding=1)
        elif line["kind"] == "StakingReward":
            staker, validator = raw["staker_hex"], raw["validator_hex"]
            event = StakingReward(
                staker, validator, line["reward"], line["new_stake"], height, encoding=1
            )
        else:
            event = Block(raw["block_hex"], height, encoding=1)
        found.append((height, event))
    return found


def microcredits(value: bytes) -> tuple[bytes, int]:
    """Return validator and stake in a value of `bonded`."""
    bond = aleo.decode_value(value)
    assert isinstance(bond, aleo.Struct)
    members = dict(bond.members)
    validator, stake = members["validator"], members["microcredits"]
    assert isinstance(validator, aleo.Literal)
    assert isinstance(stake, aleo.Literal)
    assert isinstance(validator.value, bytes)
    return validator.value, int(stake.value)


def test_real_blocks_pass_through_the_store() -> None:
    """Genesis, then the store's own state and the next bonds give the recorded events."""
    sink = Recorder()
    store = FinalizeStore(sink)
    genesis = [event for _, event in events_of("mainnet_genesis.jsonl")]
    with store.atomic(REAL, 0):
        for event in genesis:
            if isinstance(event, MappingUpdate):
                store.update_key_value(event.program_id, event.mapping_name, event.key, event.value)
    head = genesis[-1]
    assert isinstance(head, Block)
    store.block(head.block, 0)
    assert sink.events == genesis

    derived = events_of("mainnet_derived_blocks_1_to_5.jsonl")
    sink.events.clear()
    for height in range(1, 6):
        updates = [e for at, e in derived if at == height and isinstance(e, MappingUpdate)]
        with store.atomic(DRY, height):
            store.remove_mapping(CREDITS, BONDED)
        with store.atomic(REAL, height):
            bonds = store.get_mapping(CREDITS, BONDED)
            current = {key[3:]: microcredits(value) for key, value in bonds.items()}
            after = [e for e in updates if e.mapping_name == BONDED]
            following = {e.key[3:]: microcredits(e.value) for e in after}
            by_staker = {reward[0]: reward for reward in rewards_between(current, following)}
            # The store keeps the order of genesis; a node's is that of the keys' bytes.
            order = [e.key[3:] for e in after]
            store.staking_rewards(by_staker[staker] for staker in order)
            names = dict.fromkeys(e.mapping_name for e in updates)
            for name in names:
                pairs = [(e.key, e.value) for e in updates if e.mapping_name == name]
                store.replace_mapping(CREDITS, name, pairs)
    assert sink.events == [event for _, event in derived]
