"""Statuses of the core as exceptions: the one place where one becomes the other.

What a status means to a user is known by who asked for something, so the rooms above say it by
`explain`. A status of which nobody has said anything is an internal error, never OK.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from slipstream._native.door import extension, ffi, forked, lib, text
from slipstream.errors import ClosedError, InternalError

# Makes an exception; gets where the frame starts that is meant, in bytes, and its number.
MakeError = Callable[[int, int], Exception]

# For those who do not say of which operation they speak.
ANY = ""

_meanings: dict[tuple[str, int], MakeError] = {
    (ANY, lib.SLIPSTREAM_WRONG_STATE): lambda _offset, _index: (
        ClosedError("this belongs to the parent process", "make a new one in the child")
        if forked()
        else ClosedError("this is closed", "make a new one")
    )
}


def status_name(status: int) -> str:
    """Return a status by name and number, such as ``FAILED (-1)``."""
    return f"{text(lib.ss_status_name(status))} ({status})"


def explain(what: str, meanings: Mapping[int, MakeError]) -> None:
    """Say which exceptions the statuses of an operation are.

    Args:
        what: The operation, as `status_error` gets it; `ANY` for those that do not say it
            themselves.
        meanings: What makes the exception, by status.
    """
    _meanings.update({(what, status): make for status, make in meanings.items()})


def status_error(status: int, what: str, offset: int = 0, index: int = 0) -> Exception:
    """Return the exception for a status of the core.

    Args:
        status: The status; not OK.
        what: What was tried, as `explain` got it. The door's own words: "event" and "frame", for
            what is sent as one or the other; "kind"; "ring": sent, but not to everybody.
        offset: For "frame": where it starts, in bytes.
        index: For "frame" and "event": its number.

    Returns:
        The exception; `InternalError` for a status that makes no sense here.
    """
    make = _meanings.get((what, status)) or _meanings.get((ANY, status))
    if make is not None:
        return make(offset, index)
    return InternalError(f"the core answered {status_name(status)} to {what}", "please report this")


def check(status: int, what: str) -> None:
    """Raise the exception for `status` unless it is OK."""
    if status != lib.SLIPSTREAM_OK:
        raise status_error(status, what)


def closed_error() -> Exception:
    """Return the error for a call on what is closed, or belongs to a forked child's parent."""
    return status_error(lib.SLIPSTREAM_WRONG_STATE, "a call")


# The door raises by it, too. Afterwards the extension has its types and functions.
lib.ss_door_attach(ffi.cast("void *", id(extension)), ffi.cast("void *", id(status_error)))
