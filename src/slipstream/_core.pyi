# The extension module: cffi's ffi and lib, and the fast-call door (native/door.c).
from collections.abc import Iterable
from typing import Any

ffi: Any
lib: Any

class Door:
    def __new__(cls, address: int, /) -> Door: ...
    def mapping_update(
        self,
        program_id: bytes,
        mapping_name: bytes,
        key: bytes,
        value: bytes,
        height: int | None,
        /,
    ) -> None: ...
    def mapping_removal(
        self,
        program_id: bytes,
        mapping_name: bytes,
        key: bytes | None,
        height: int | None,
        /,
    ) -> None: ...
    def staking_reward(
        self, staker: bytes, validator: bytes, reward: int, new_stake: int, height: int | None, /
    ) -> None: ...
    def block(self, block: bytes, height: int | None, /) -> None: ...
    def payload(
        self, source: bytes | None, name: bytes, body: bytes, height: int | None, /
    ) -> None: ...
    def route(
        self, source: bytes | None, name: bytes, body: bytes, height: int | None, /
    ) -> bool: ...
    def broadcast(self, event: object, /) -> None: ...
    def broadcast_many(self, events: Iterable[object], /) -> int: ...
    def broadcast_frames(self, frames: bytes | bytearray | memoryview, /) -> int: ...
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
    buffer: bytes | bytearray | memoryview, offset: int, /
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
