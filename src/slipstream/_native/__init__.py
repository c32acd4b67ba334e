"""The one door to the native core: nothing else imports cffi's ``ffi`` and ``lib``.

Also the one place where a status of the core becomes an exception.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from slipstream import _core
from slipstream.errors import (
    BroadcastError,
    ClosedError,
    FrameError,
    InternalError,
)

MODULE_FILE: str = _core.__file__
ffi: Any = _core.ffi
lib: Any = _core.lib

# Filled by slipstream.frames: how an event of each class becomes a frame. Gets the event
# and the set of kinds that are subscribed to; None if nobody wants it.
encoders: dict[type, Callable[[Any, int], bytes | None]] = {}


class _Parked(threading.local):
    """What a callback left behind on this thread, for the call of the core that caused it."""

    error: BaseException | None = None


_parked = _Parked()


def text(pointer: Any) -> str:
    """Return a NUL-terminated text of the core as a string, "" for NULL."""
    return "" if pointer == ffi.NULL else ffi.string(pointer).decode("utf-8", "replace")


def status_name(status: int) -> str:
    """Return a status by name and number, such as ``FAILED (-1)``."""
    return f"{text(lib.ss_status_name(status))} ({status})"


def address(pointer: Any) -> int:
    """Return a C pointer as a number."""
    return int(ffi.cast("uintptr_t", pointer))


def forked() -> bool:
    """Say whether this process is the child of a fork: then nothing here may be used."""
    return bool(lib.ss_os_forked())


def closed_error() -> ClosedError:
    """Return the error for a call on a closed manager, or in a forked child."""
    if forked():
        return ClosedError(
            "this plugin manager belongs to the parent process",
            "create a new PluginManager in the child, or start the child by spawn",
        )
    return ClosedError("the plugin manager is closed", "create a new PluginManager")


def park(error: BaseException) -> None:
    """Keep an exception of a callback until the core has returned to Python; the first wins."""
    if _parked.error is None:
        _parked.error = error
    _core.park()


def raise_parked() -> None:
    """Raise what a callback left behind, after a call of the core that is not the door's."""
    if _parked.error is not None:
        error, _parked.error = _parked.error, None
        raise error


def status_error(status: int, what: str, offset: int = 0, index: int = 0) -> Exception:
    """Return the exception for a status of the core.

    Args:
        status: The status; not OK.
        what: What was tried: "event", "frame" or "kind", or the name of an operation; "ring":
            the event was sent, but not to everybody.
        offset: For "frame": where it starts, in bytes.
        index: For "frame" and "event": its number.

    Returns:
        The exception; `InternalError` for a status that makes no sense here.
    """
    if status == lib.SLIPSTREAM_WRONG_STATE:
        return closed_error()
    if status == lib.SLIPSTREAM_NO_MEMORY:
        return BroadcastError("out of memory", "send smaller pieces")
    if status == lib.SLIPSTREAM_TOO_LARGE and what == "ring":
        return BroadcastError(
            "an event is larger than the ring of a plugin that wants it; that plugin is told by a "
            "GAP, the others have it",
            "raise `ring_bytes` in that plugin's config, or split the event",
        )
    if status == lib.SLIPSTREAM_TOO_LARGE:
        return BroadcastError(
            f"the event needs a frame of more than {lib.SLIPSTREAM_FRAME_MAX} bytes",
            "split it, or send a reference to it",
        )
    where = f"frame {index}, at byte {offset}"
    if status == lib.SLIPSTREAM_MALFORMED:
        if what == "event":
            return FrameError(
                f"event {index} is bytes, but not exactly one frame",
                "pass the bytes of one frame, or use broadcast_frames for a run of them",
                offset,
                index,
            )
        return FrameError(
            f"{where}: truncated, or a length in it contradicts another",
            "check the source of these bytes: slipstream show FILE names the first bad frame",
            offset,
            index,
        )
    if status == lib.SLIPSTREAM_UNSUPPORTED:
        return FrameError(
            f"{where}: has a critical flag that this version does not know",
            "it was written by a newer slipstream; update this one",
            offset,
            index,
        )
    if status == lib.SLIPSTREAM_INVALID_ARGUMENT:
        return FrameError(
            f"{where}: its kind may not be sent, or it has a stream without a sequence",
            "send kinds 0 to 4 or 32 to 63, with both stream and sequence or with neither",
            offset,
            index,
        )
    return InternalError(f"the core answered {status_name(status)} to {what}", "please report this")


def check(status: int, what: str) -> None:
    """Raise the exception for `status` unless it is OK."""
    if status != lib.SLIPSTREAM_OK:
        raise status_error(status, what)


def _fail(status: int, what: str, offset: int, index: int) -> None:
    """Raise for the door."""
    if what == "parked":
        raise_parked()
        return  # it was raised before, by another call of the core
    raise status_error(status, what, offset, index)


def _encode(event: object, kinds: int) -> bytes | None:
    """Make a frame for the door, from an event that is not bytes."""
    encoder = encoders.get(type(event))
    if encoder is not None:
        return encoder(event, kinds)
    if isinstance(event, bytes | bytearray | memoryview):
        return bytes(event)
    message = f"{type(event).__name__} is not an event"
    raise TypeError(f"{message}; use the dataclasses of slipstream.events or a frame's bytes")


lib.ss_door_attach(
    ffi.cast("void *", id(_core)), ffi.cast("void *", id(_fail)), ffi.cast("void *", id(_encode))
)
Door = _core.Door
encode_frame = _core.encode_frame
decode_frame = _core.decode_frame

# on_broadcast of a plugin that is written in Python: gets attempt, ordinal and the frame.
PythonCallback = Callable[[int, int, memoryview], int]


def _park_stray(_kind: object, error: BaseException, _traceback: object) -> None:
    """Keep what cffi would print and drop: a signal may be handled before the callback's try."""
    park(error)


@ffi.def_extern(  # type: ignore[untyped-decorator]
    name="ss_python_on_broadcast", error=lib.SLIPSTREAM_FAILED, onerror=_park_stray
)
def _python_on_broadcast(context: Any, delivery: Any, frames: Any, length: int) -> int:
    callback: PythonCallback = ffi.from_handle(context)
    # Released at the end: the bytes are the core's, whoever keeps a traceback.
    with memoryview(ffi.buffer(frames, length)) as buffer:
        return callback(delivery.attempt, delivery.first_ordinal, buffer)


__all__ = [
    "Door",
    "PythonCallback",
    "address",
    "check",
    "closed_error",
    "decode_frame",
    "encode_frame",
    "encoders",
    "ffi",
    "forked",
    "lib",
    "park",
    "raise_parked",
    "status_error",
    "status_name",
    "text",
]
