"""What a plugin did when its process fell, in words for its author."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

from slipstream._native import lib
from slipstream.check.symbols import symbolize
from slipstream.errors import SlipstreamError
from slipstream.text import counted

if TYPE_CHECKING:
    from slipstream.check.play import Fault, Play
    from slipstream.check.script import Step

_PAGE = 4096  # so large are the gaps around what a plugin gets: further away it is something else
_PROTECTED = 2  # si_code of a SIGSEGV: something is mapped there, and cannot be touched
_THROWN = re.compile(r"terminate called.*|.*panicked at.*|.*non-unwinding panic.*|fatal runtime.*")


def where(play: Play) -> str:
    """Say which call, or which moment, a play did not come back from."""
    step = _step(play)
    if step is None:
        return "before the first call"
    words = step.says or "between two calls"
    if not play.fault.in_call and play.said_end:
        return "at the end of the process"
    times = play.fault.time
    return f"{words}, time {times + 1}" if times else words


def _step(play: Play) -> Step | None:
    return play.steps[play.fault.step] if play.fault.step < len(play.steps) else None


def blame(play: Play) -> str:
    """Say how a play ended that is not whole.

    Returns:
        The call, then what happened: ``on_broadcast, BLOCK: read 1 byte past the end of ...``.
    """
    return f"{where(play)}: {_what(play)}"


def _what(play: Play) -> str:
    if play.fills_disk:
        return "more than 1 GiB vanished from the disk; it was ended"
    if play.is_orphan:
        return "it ended the process that started it, and with that its own"
    if play.timed_out:
        return "did not return in time"
    if play.exit_code == lib.SS_PLAY_UNHEARD:
        return "it closed descriptors that are not its own"
    if play.signal == 0:
        if play.said_end:
            return f"the process ended with exit code {play.exit_code}"
        return f"it ended the process, with exit code {play.exit_code}"
    thrown = _THROWN.search(play.output)
    if thrown is not None and play.signal == signal.SIGABRT:
        return f"an exception or a panic left a function of it ({thrown[0].strip()})"
    if play.signal == signal.SIGXFSZ:
        return "it wrote a file of more than 256 MiB"
    if play.fault.signal == 0 and play.signal == signal.SIGKILL:
        return "it was killed (SIGKILL), by itself or for lack of memory"
    return _access(play) + _place(play.fault)


def _access(play: Play) -> str:
    """Say what was touched, if it is near what the plugin got."""
    fault, step = play.fault, _step(play)
    name = _signal_name(play.signal)
    if fault.signal == 0 and play.signal == signal.SIGSEGV:
        # Ours are caught, but where a thread blocks them, as a plugin's own have to.
        return f"crashed with {name}, apparently in a thread of its own"
    if play.signal not in {signal.SIGSEGV, signal.SIGBUS} or fault.code not in {1, 2}:
        return f"crashed with {name}"
    if fault.is_call:
        return f"crashed with {name}: called {fault.address:#x}, where no code is"
    did = {True: "wrote", False: "read", None: "touched"}[fault.is_write]
    frame = None if step is None else step.frame
    given = (
        (fault.start, fault.length, "the config" if frame is None else "the frames"),
        (fault.table, fault.table_length, "the host's table" if frame is None else "the delivery"),
    )
    # What is nearest is what it was reading.
    _, start, length, what = min(
        (_distance(fault.address, start, length), start, length, what)
        for start, length, what in given
    )
    if _distance(fault.address, start, length) < _PAGE:
        return f"{did} {_relative(play, start, length, what)}"
    if fault.code == _PROTECTED and any(step.is_taken_away for step in play.steps[: fault.step]):
        return f"{did} what it was given in an earlier call, and is no longer there"
    return f"crashed with {name}: {did} at {fault.address:#x}"


def _distance(address: int, start: int, length: int) -> int:
    """Return how many bytes an address is away from some bytes; far away if there are none."""
    return max(start - address, address - (start + length) + 1, 0) if start else 1 << 64


def _relative(play: Play, start: int, length: int, what: str) -> str:
    """Say where the address is relative to some bytes that are near."""
    at = play.fault.address - start
    if at < 0:
        return f"{counted(-at, 'byte')} before the start of {what}"
    if at >= length:
        return _past(play, at, length, what)
    name = _field(play, at) if what == "the frames" else what
    if play.fault.gone or not play.fault.is_write:
        return f"{name} after the call had returned"
    return f"to {name}, which the plugin may only read"


def _field(play: Play, at: int) -> str:
    """Return the name of what lies at a place in the frames."""
    step = _step(play)
    fields = () if step is None or step.frame is None else step.frame.fields
    for field in fields:
        if field.start <= at < field.start + field.length:
            return f"the {field.length}-byte {field.name}"
    return "the frames"


def _past(play: Play, at: int, length: int, what: str) -> str:
    """Say how far behind the last field it is, where that ends with the frames, or behind all."""
    step = _step(play)
    fields = () if step is None or step.frame is None else step.frame.fields
    of_frame = what == "the frames"
    spans = [f for f in fields if of_frame and f.name not in {"payload", "header"}]
    last = max(spans, key=lambda f: (f.length > 0, f.start + f.length), default=None)
    if last is None or last.start + last.length < length - 7:
        return (
            f"{counted(at - length + 1, 'byte')} past the end of {what} ({counted(length, 'byte')})"
        )
    behind = counted(at - last.start - last.length + 1, "byte")
    return f"{behind} past the end of the {last.length}-byte {last.name}, the last of the frame"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _place(fault: Fault) -> str:
    """Return the innermost functions of the plugin, by its symbols."""
    report = {"backtrace": [{"module": m, "offset": hex(o)} for m, o in fault.backtrace[:8]]}
    try:
        calls = list(symbolize(report))
    except (SlipstreamError, OSError):
        return ""
    named = [c for c in calls if c.functions and "slipstream-check" not in c.module]
    own = [c for c in named if "/libc.so" not in c.module and "/ld-linux" not in c.module]
    for call in own or named:
        return f" (in {call.functions[0]})"
    return ""
