"""A store of program mappings whose finalized changes become events.

Rules of snarkVM (synthesizer/src/vm/finalize.rs, ledger/store/src/program/finalize.rs):
only a real run emits, a dry run makes the same writes and emits nothing; each gate is
tested before anything is made; a replaced mapping gives one update per entry, also for
entries that stay the same, and nothing for keys that vanish; removing what is not there
does nothing. Unlike there, events go out after the commit: an aborted batch sends none.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from slipstream.aleo.mappings import LayeredMappings, MappingId
from slipstream.errors import SlipstreamError
from slipstream.events import (
    Block,
    Encoding,
    Event,
    EventKind,
    MappingRemoval,
    MappingUpdate,
    StakingReward,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_ADDRESS_SIZE = 32
_SNARKVM = int(Encoding.SNARKVM_4)
_U32_LIMIT = 1 << 32
_U64_LIMIT = 1 << 64

_IN_BATCH = "write inside `with store.atomic(FinalizeMode.REAL_RUN, height):`"
_AS_BYTES = "slipstream.aleo has *_to_bytes functions for the text form"


class FinalizeError(SlipstreamError):
    """The store was used out of order, or with something that it cannot hold."""


class FinalizeMode(Enum):
    """What a batch is for."""

    REAL_RUN = "real run"
    """The block is being added: writes stay, events go out at the commit."""
    DRY_RUN = "dry run"
    """Speculation: writes are seen inside the batch only, no event is made."""


class EventSink(Protocol):
    """Where events go; `slipstream.PluginManager` is one."""

    def has_subscribers(self, kind: EventKind, /) -> bool:
        """Return whether anybody wants events of this kind."""

    def broadcast_many(self, events: list[Event], /) -> object:
        """Deliver the events in this order."""


@dataclass(frozen=True, slots=True)
class _Batch:
    mode: FinalizeMode
    height: int
    # One list for the batch and one for each open checkpoint, as the mappings have layers.
    events: list[list[Event]]


class FinalizeStore:
    """Mappings in memory, changed in atomic batches, one batch per block.

    Keys, values and names are bytes as a node serialises them. The store reads and
    writes from one thread, as a node adds blocks from one.

    Args:
        sink: Gets the events of committed real runs.
        mappings: What the store holds at first, by (program id, mapping name); no event
            is made for it.

    Example:
        >>> with store.atomic(FinalizeMode.REAL_RUN, height=7):
        ...     store.update_key_value(program_id, mapping_name, key, value)
    """

    def __init__(
        self,
        sink: EventSink,
        mappings: Mapping[tuple[bytes, bytes], Mapping[bytes, bytes]] | None = None,
    ) -> None:
        self._sink = sink
        self._mappings = LayeredMappings(mappings or {})
        self._batch: _Batch | None = None

    # Reading ------------------------------------------------------------------------------

    def get_value(self, program_id: bytes, mapping_name: bytes, key: bytes) -> bytes | None:
        """Return the key's value, pending writes included; None if there is none."""
        return self._mappings.get((program_id, mapping_name), key)

    def contains_key(self, program_id: bytes, mapping_name: bytes, key: bytes) -> bool:
        """Return whether the key has a value, pending writes included."""
        return self.get_value(program_id, mapping_name, key) is not None

    def contains_mapping(self, program_id: bytes, mapping_name: bytes) -> bool:
        """Return whether the mapping was ever written and not removed since."""
        return self._mappings.exists((program_id, mapping_name))

    def get_mapping(self, program_id: bytes, mapping_name: bytes) -> dict[bytes, bytes]:
        """Return a copy of all entries, pending writes included, oldest key first."""
        return self._mappings.entries((program_id, mapping_name))

    # Batches ------------------------------------------------------------------------------

    def start_atomic(self, mode: FinalizeMode, height: int) -> None:
        """Open a batch; prefer `atomic`, which also closes it.

        Args:
            mode: Whether the writes stay and events go out.
            height: The block that is being finalized, u32; events carry it.

        Raises:
            FinalizeError: A batch is open already, or the height is out of range,
                or the mode is not a `FinalizeMode`.
        """
        if self._batch is not None:
            raise FinalizeError(
                f"a batch at height {self._batch.height} is open already",
                "finish or abort it first; inside of one use store.checkpoint()",
            )
        if not isinstance(mode, FinalizeMode):
            raise FinalizeError(
                f"the mode is a {type(mode).__name__}", "use FinalizeMode.REAL_RUN or DRY_RUN"
            )
        self._batch = _Batch(mode, _uint("height", height, _U32_LIMIT), [[]])
        self._mappings.push()

    def finish_atomic(self) -> None:
        """Commit a real run and send its events in the order they arose; drop a dry run.

        Raises:
            FinalizeError: No batch is open, or a checkpoint in it is.
            Exception: Whatever the sink raises. The writes are committed and the batch
                is closed by then; which events arrived is for the sink to say.
        """
        batch = self._open_batch()
        if len(batch.events) > 1:
            raise FinalizeError(
                "a checkpoint is open in the batch", "end the batch after its checkpoints"
            )
        if batch.mode is FinalizeMode.DRY_RUN:
            self.abort_atomic()
            return
        self._batch = None
        self._mappings.merge()
        if batch.events[0]:
            self._sink.broadcast_many(batch.events[0])

    def abort_atomic(self) -> None:
        """Drop the batch with all its writes and events, also those of open checkpoints.

        Raises:
            FinalizeError: No batch is open.
        """
        batch = self._open_batch()
        self._batch = None
        for _ in batch.events:
            self._mappings.drop()

    @contextmanager
    def atomic(self, mode: FinalizeMode, height: int) -> Iterator[None]:
        """Run the block as one batch: finished at its end, aborted if it raises.

        Args:
            mode: Whether the writes stay and events go out.
            height: The block that is being finalized, u32; events carry it.

        Raises:
            FinalizeError: As `start_atomic` and `finish_atomic`.
        """
        self.start_atomic(mode, height)
        batch = self._open_batch()
        try:
            yield
            self._refuse_ended(batch)
        except BaseException:
            if self._batch is batch:
                self.abort_atomic()
            raise
        self.finish_atomic()

    @contextmanager
    def checkpoint(self) -> Iterator[None]:
        """Undo the writes and events of the block if it raises, and only those.

        For a transaction that is rejected while its batch goes on. May be nested.

        Raises:
            FinalizeError: No batch is open.
        """
        batch = self._open_batch()
        batch.events.append([])
        self._mappings.push()
        try:
            yield
            self._refuse_ended(batch)
        except BaseException:
            if self._batch is batch:
                batch.events.pop()
                self._mappings.drop()
            raise
        self._mappings.merge()
        events = batch.events.pop()
        batch.events[-1] += events

    # Writing ------------------------------------------------------------------------------

    def update_key_value(
        self, program_id: bytes, mapping_name: bytes, key: bytes, value: bytes
    ) -> None:
        """Set a key, new or not; one `MappingUpdate`.

        Args:
            program_id: The program's bytes.
            mapping_name: The mapping's identifier bytes.
            key: Plaintext bytes.
            value: Value bytes.

        Raises:
            FinalizeError: No batch is open, or an argument is not bytes.
        """
        batch, where = self._open_mapping(program_id, mapping_name)
        self._mappings.put(where, _bytes("key", key), _bytes("value", value))
        if self._emits(batch, EventKind.MAPPING_UPDATE):
            batch.events[-1].append(
                MappingUpdate(*where, key, value, batch.height, encoding=_SNARKVM)
            )

    def insert_key_value(
        self, program_id: bytes, mapping_name: bytes, key: bytes, value: bytes
    ) -> None:
        """Set a key that must be new; one `MappingUpdate`. Else as `update_key_value`."""
        if self.contains_key(program_id, mapping_name, key):
            raise FinalizeError(f"the key {key.hex()} has a value already", "use update_key_value")
        self.update_key_value(program_id, mapping_name, key, value)

    def remove_key_value(self, program_id: bytes, mapping_name: bytes, key: bytes) -> None:
        """Remove a key; one `MappingRemoval`, or nothing if it has no value.

        Raises:
            FinalizeError: No batch is open, or an argument is not bytes.
        """
        batch, where = self._open_mapping(program_id, mapping_name)
        if self._mappings.get(where, _bytes("key", key)) is None:
            return
        self._mappings.put(where, key, None)
        if self._emits(batch, EventKind.MAPPING_REMOVAL):
            batch.events[-1].append(MappingRemoval(*where, key, batch.height, encoding=_SNARKVM))

    def replace_mapping(
        self, program_id: bytes, mapping_name: bytes, entries: Iterable[tuple[bytes, bytes]]
    ) -> None:
        """Make the mapping hold these entries and no other.

        One `MappingUpdate` per entry in the given order, unchanged ones included; nothing
        for keys that vanish.

        Args:
            program_id: The program's bytes.
            mapping_name: The mapping's identifier bytes.
            entries: Keys and values.

        Raises:
            FinalizeError: No batch is open, or something is not bytes.
        """
        batch, where = self._open_mapping(program_id, mapping_name)
        # All of them before the first write: `entries` may read this very mapping.
        pairs = [(_bytes("key", key), _bytes("value", value)) for key, value in entries]
        self._mappings.replace(where, pairs)
        if self._emits(batch, EventKind.MAPPING_UPDATE):
            batch.events[-1] += [
                MappingUpdate(*where, key, value, batch.height, encoding=_SNARKVM)
                for key, value in pairs
            ]

    def remove_mapping(self, program_id: bytes, mapping_name: bytes) -> None:
        """Remove a mapping; one `MappingRemoval` without a key, or nothing if it is not there.

        Raises:
            FinalizeError: No batch is open, or an argument is not bytes.
        """
        batch, where = self._open_mapping(program_id, mapping_name)
        if not self._mappings.exists(where):
            return
        self._mappings.remove(where)
        if self._emits(batch, EventKind.MAPPING_REMOVAL):
            batch.events[-1].append(MappingRemoval(*where, None, batch.height, encoding=_SNARKVM))

    def staking_rewards(self, rewards: Iterable[tuple[bytes, bytes, int, int]]) -> None:
        """Tell of a block's staking rewards; one `StakingReward` each, in this order.

        Args:
            rewards: Staker and validator (32 bytes each), reward and new stake
                (microcredits, u64); see `rewards_between`. Not read at all if nobody
                subscribed.

        Raises:
            FinalizeError: No batch is open, or a reward is malformed.
        """
        batch = self._open_batch()
        if self._emits(batch, EventKind.STAKING_REWARD):
            batch.events[-1] += [
                StakingReward(
                    _address("staker", staker),
                    _address("validator", validator),
                    _uint("reward", reward, _U64_LIMIT),
                    _uint("new stake", stake, _U64_LIMIT),
                    batch.height,
                    encoding=_SNARKVM,
                )
                for staker, validator, reward, stake in rewards
            ]

    def block(self, block: bytes, height: int) -> None:
        """Tell of a block that was added; one `Block`.

        After the batch, as a node does, it goes out at once; inside of one it waits for
        the commit like any event, and vanishes with an abort or a dry run.

        Args:
            block: The serialised block, or its first 345 bytes.
            height: The block's height, u32.

        Raises:
            FinalizeError: The height is out of range or not the batch's.
            Exception: Whatever the sink raises, outside of a batch.
        """
        _bytes("block", block)
        _uint("height", height, _U32_LIMIT)
        batch = self._batch
        if batch is None:
            if self._sink.has_subscribers(EventKind.BLOCK):
                self._sink.broadcast_many([Block(block, height, encoding=_SNARKVM)])
            return
        if height != batch.height:
            raise FinalizeError(
                f"block {height} does not belong in a batch at height {batch.height}",
                "call block() after the batch, or with its height",
            )
        if self._emits(batch, EventKind.BLOCK):
            batch.events[-1].append(Block(block, height, encoding=_SNARKVM))

    # Inner --------------------------------------------------------------------------------

    def _open_batch(self) -> _Batch:
        if self._batch is None:
            raise FinalizeError("no batch is open", _IN_BATCH)
        return self._batch

    def _refuse_ended(self, batch: _Batch) -> None:
        if self._batch is not batch:
            raise FinalizeError(
                "the batch was ended inside a `with` block of its own",
                "leave finish_atomic and abort_atomic to the `with`",
            )

    def _open_mapping(self, program_id: bytes, mapping_name: bytes) -> tuple[_Batch, MappingId]:
        where = (_bytes("program id", program_id), _bytes("mapping name", mapping_name))
        return self._open_batch(), where

    def _emits(self, batch: _Batch, kind: EventKind) -> bool:
        return batch.mode is FinalizeMode.REAL_RUN and self._sink.has_subscribers(kind)


def rewards_between(
    current: Mapping[bytes, tuple[bytes, int]], following: Mapping[bytes, tuple[bytes, int]]
) -> Iterator[tuple[bytes, bytes, int, int]]:
    """Yield staker, validator, reward and new stake of every current staker, in their order.

    A staker that does not follow keeps stake and validator and has the reward 0, as has one
    whose stake went down. Source: snarkVM synthesizer/src/vm/helpers/rewards.rs.

    Args:
        current: Validator and stake (microcredits) by staker, before the rewards.
        following: The same after them.
    """
    for staker, (validator, stake) in current.items():
        new_validator, new_stake = following.get(staker, (validator, stake))
        yield staker, new_validator, max(new_stake - stake, 0), new_stake


def _bytes(what: str, value: object) -> bytes:
    if not isinstance(value, bytes):
        raise FinalizeError(f"the {what} is {type(value).__name__}, not bytes", _AS_BYTES)
    return value


def _address(what: str, value: object) -> bytes:
    data = _bytes(what, value)
    if len(data) != _ADDRESS_SIZE:
        raise FinalizeError(f"the {what} has {len(data)} bytes, not 32", "use address_to_bytes")
    return data


def _uint(what: str, value: object, limit: int) -> int:
    if not isinstance(value, int) or not 0 <= value < limit:
        raise FinalizeError(f"the {what} is not an integer from 0 to {limit - 1}")
    return value
