"""``on_broadcast`` of plugins that are written in Python, as the core calls it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from slipstream._native.door import extension, ffi, lib

if TYPE_CHECKING:
    from slipstream._native.cdef import CData, Pointer, slipstream_delivery, uint8_t

# Gets attempt, ordinal and the frame; returns a status.
PythonCallback = Callable[[int, int, memoryview], int]


def _park_stray(_kind: object, error: BaseException, _traceback: object) -> None:
    """Keep what cffi would print and drop: a signal may be handled before the callback's try."""
    extension.park(error)


@ffi.def_extern("ss_python_on_broadcast", lib.SLIPSTREAM_FAILED, _park_stray)
def _python_on_broadcast(
    context: CData, delivery: slipstream_delivery, frames: Pointer[uint8_t], length: int
) -> int:
    callback: PythonCallback = ffi.from_handle(context)
    # Released at the end: the bytes are the core's, whoever keeps a traceback.
    with memoryview(ffi.buffer(frames, length)) as buffer:
        return callback(delivery.attempt, delivery.first_ordinal, buffer)
