# The extension module: cffi's ffi and lib, and the fast-call door (native/python/door.c).
from collections.abc import Iterable
from typing import Any, Self, TypeAlias

ffi: Any
lib: Any

_Bytes: TypeAlias = bytes | bytearray | memoryview

class Door:
    def __new__(cls, address: int, /) -> Self: ...
    def mapping_update(
        self,
        program_id: _Bytes,
        mapping_name: _Bytes,
        key: _Bytes,
        value: _Bytes,
        height: int | None,
        /,
    ) -> None: ...
    def mapping_removal(
        self,
        program_id: _Bytes,
        mapping_name: _Bytes,
        key: _Bytes | None,
        height: int | None,
        /,
    ) -> None: ...
    def staking_reward(
        self, staker: _Bytes, validator: _Bytes, reward: int, new_stake: int, height: int | None, /
    ) -> None: ...
    def block(self, block: _Bytes, height: int | None, /) -> None: ...
    def payload(
        self, source: _Bytes | None, name: _Bytes, body: _Bytes, height: int | None, /
    ) -> None: ...
    def route(
        self, source: _Bytes | None, name: _Bytes, body: _Bytes, height: int | None, /
    ) -> bool: ...
    def broadcast(self, event: object, /) -> None: ...
    def broadcast_many(self, events: Iterable[object], /) -> int: ...
    def broadcast_frames(self, frames: _Bytes, /) -> int: ...
    def has_subscribers(self, kind: int, /) -> bool: ...

def encode_frame(
    kind: int,
    flags: int,
    stream: int,
    sequence: int,
    time_ns: int,
    height: int | None,
    reasons: int,
    spans: tuple[bytes | None, ...],
    numbers: tuple[int, ...],
    /,
) -> bytes: ...
def decode_frame(
    buffer: _Bytes, offset: int, /
) -> tuple[
    int,
    int,
    int,
    int,
    int,
    int,
    int | None,
    int,
    tuple[bytes | None, ...],
    tuple[int, ...],
]: ...
def park() -> None: ...
