"""Plays a script of calls with a plugin, in a process that may fall, by ``slipstream-check``.

What a step is, and what may come of it, stands in ``native/check/play.h``. Nothing of a plugin runs
in this process, and what it writes anywhere counts for nothing: what has happened is what
``slipstream-check`` says on a pipe of its own, with a number that nobody else was told.
"""

from __future__ import annotations

import mmap
import os
import secrets
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream import _native
from slipstream._native import ffi, lib
from slipstream._platform import memory_left
from slipstream.check.script import FOLDER, Script, Step

if TYPE_CHECKING:
    from slipstream._native.cdef import ss_fault, ss_play_trace

PROGRAM = Path(_native.MODULE_FILE).resolve().with_name("slipstream-check")

_MARGIN = 10.0  # seconds that the program may need beyond the deadline that it keeps itself
_MEMORY = 4 << 30  # bytes that a plugin may have: one that eats all shall not eat ours
_LITTLE_MEMORY = 256 << 20  # so many it gets, even where there are hardly more
_POLL = 0.1
_NOT_SET_UP = 98  # what slipstream-check exits with where the machine does not let it begin
_NO_ROOM = "this machine has no memory or no process left for it"
_DISK = 1 << 30  # bytes that may vanish from the disk while a plugin runs
_ROOM = 1 << 30  # bytes that stay free on the disk, whoever writes
_OUTPUT = 8192  # bytes of what it printed that are kept
_PIECE = 1 << 16
_NO_CACHE = "glibc.malloc.tcache_count=0"
_WRITES = 1 << 1  # in the error code of a page fault of x86
_ERROR_CODE = 19  # the register that has it


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a step.

    Attributes:
        step: The step's index.
        what: ``SS_PLAYED_*``; the others are as that says.
        status: A status, a level, a number of a refusal.
        a: A number.
        b: A number.
        text: A text, as bytes.
    """

    step: int
    what: int
    status: int
    a: int
    b: int
    text: bytes

    @property
    def words(self) -> str:
        """The text, for people."""
        return self.text.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Fault:
    """What the process was doing when it fell.

    Attributes:
        step: The index of the step.
        in_call: A function of the plugin was running.
        calls: So many calls of it had begun.
        time: Which time, of a step that is done several times.
        start: Where the bytes lie that the plugin got last.
        length: How many they are.
        table: Where the table lies that is watched; 0: none.
        table_length: Its size.
        gone: The bytes were taken away after the call.
        signal: 0 if none was caught.
        code: ``si_code``.
        address: What was touched.
        is_call: It was called, and no code is there.
        is_write: It was written to; None where that is not known.
        backtrace: The calls under way: file and offset, the innermost first.
        input: What MUTATE has given last.
    """

    step: int
    in_call: bool
    calls: int
    time: int
    start: int
    length: int
    table: int
    table_length: int
    gone: bool
    signal: int
    code: int
    address: int
    is_call: bool
    is_write: bool | None
    backtrace: tuple[tuple[str, int], ...]
    input: bytes


@dataclass(frozen=True, slots=True)
class Play:
    """All that came of a script.

    Attributes:
        steps: The script.
        played: What came of its steps.
        said_end: The end of the script was reached.
        exit_code: Of the process; None if a signal ended it, or it is not known.
        signal: What ended it; 0 if none did.
        late: What took too long (``SS_PLAY_*_LATE``): one call, or all of them; 0: nothing.
        left: Processes that it has left behind.
        is_orphan: Even the process that watches over it was ended.
        fills_disk: It was ended because it fills the disk.
        fault: What it was doing.
        output: What it has printed.
    """

    steps: tuple[Step, ...]
    played: tuple[Played, ...]
    said_end: bool
    exit_code: int | None
    signal: int
    late: int
    left: int
    is_orphan: bool
    fills_disk: bool
    fault: Fault
    output: str

    @property
    def is_whole(self) -> bool:
        """It was played to its end, and the process then ended well."""
        return self.said_end and self.exit_code == 0 and not self.late

    @property
    def timed_out(self) -> bool:
        """A call of the plugin did not return in time."""
        return self.late == lib.SS_PLAY_CALL_LATE and self.fault.in_call

    def of(self, what: int, step: int | None = None) -> Iterator[Played]:
        """Yield what is of one sort, of all steps or of one."""
        return (p for p in self.played if p.what == what and step in {None, p.step})

    def one(self, what: int, step: int) -> Played | None:
        """Return the first of one sort that came of a step."""
        return next(self.of(what, step), None)


class CannotPlayError(Exception):
    """This machine, or this installation, cannot run the checks."""


def play(
    script: Script, call: float, whole: float, *, memory: int | None = None,
    wrap: tuple[str, ...] = (),
) -> Play:  # fmt: skip
    """Play a script.

    Args:
        script: The script; `FOLDER` in a step's data is the folder that the plugin is given.
        call: Seconds that one call may take.
        whole: Seconds that all may take.
        memory: Bytes that the plugin may have; 0: as many as there are; None: half of those that
            are left, but not without end.
        wrap: A program that is to run ``slipstream-check``, with its arguments.

    Raises:
        CannotPlayError: The program is not there, could not be started, or could not go on.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="slipstream-check-", ignore_cleanup_errors=True)
        )
        given = _memory() if memory is None else memory
        played = _Player(script, (call, whole), given, Path(folder), stack).play(wrap)
    if why := _not_played(played):
        raise CannotPlayError(why)
    return played


def _not_played(played: Play) -> str:
    """Return why a play was broken off for which the plugin is not to blame; "" if it was not."""
    if played.is_whole:
        return ""
    gave_up = played.exit_code == lib.SS_PLAY_UNHEARD and not played.said_end
    last = played.played[-1] if played.played else None
    if gave_up and last is not None and last.what == lib.SS_PLAYED_UNPLAYED:
        return last.words
    if played.exit_code == _NOT_SET_UP and not played.fault.calls:
        return _NO_ROOM
    if played.late and not played.timed_out:
        return "it took too long in all, although no call of the plugin did"
    return ""


def _memory() -> int:
    left = memory_left()
    return _MEMORY if left is None else max(_LITTLE_MEMORY, min(_MEMORY, left[0] // 2))


class _Player:
    def __init__(
        self, script: Script, seconds: tuple[float, float], memory: int, folder: Path,
        stack: ExitStack,
    ) -> None:  # fmt: skip
        self._steps = tuple(script.steps)
        self._seconds = seconds
        self._memory = memory
        self._folder = folder
        self._stack = stack
        self._nonce = secrets.randbits(63)

    def play(self, wrap: tuple[str, ...]) -> Play:
        folders = [f"config-{slot}" for slot in range(1, lib.SS_PLAY_SLOTS)]
        for name in ("config", "tmp", *folders):
            (self._folder / name).mkdir()
        trace = self._shared("trace", bytes(ffi.sizeof("ss_play_trace")))
        script = self._shared("script", self._packed())
        played, write_played = os.pipe()
        ended, write_ended = os.pipe()
        for descriptor in (played, ended):
            self._stack.callback(os.close, descriptor)
        try:
            process = self._start(wrap, (script, write_played, trace, write_ended))
        finally:
            os.close(write_played)
            os.close(write_ended)
        fills_disk = False
        try:
            data, fills_disk = self._listen(process, played)
        finally:
            process.kill()
            process.wait()
        if process.returncode == _NOT_SET_UP:
            raise CannotPlayError(_NO_ROOM)
        how = _read_all(ended)
        return self._made(data, how, self._fault(trace), fills_disk=fills_disk)

    def _packed(self) -> bytes:
        place = os.fsencode(self._folder / "config")
        steps = (replace(step, data=step.data.replace(FOLDER, place)) for step in self._steps)
        return b"".join(step.packed() for step in steps) or bytes(8)

    def _shared(self, name: str, data: bytes) -> int:
        descriptor = os.memfd_create(f"slipstream-check-{name}")
        self._stack.callback(os.close, descriptor)
        os.truncate(descriptor, len(data))
        with mmap.mmap(descriptor, len(data)) as mapped:
            mapped[:] = data
        return descriptor

    def _start(
        self, wrap: tuple[str, ...], descriptors: tuple[int, ...]
    ) -> subprocess.Popen[bytes]:
        milliseconds = (int(seconds * 1000) for seconds in self._seconds)
        numbers = (*milliseconds, self._nonce, self._memory, *descriptors)
        with (self._folder / "out").open("wb") as out:
            try:
                return subprocess.Popen(  # noqa: S603 - our own program
                    [*wrap, PROGRAM, *map(str, numbers)],
                    stdin=subprocess.DEVNULL, stdout=out, stderr=out, pass_fds=descriptors,
                    cwd=self._folder / "config", start_new_session=True,
                    env=self._environment(),
                )  # fmt: skip
            except OSError as error:
                message = f"{PROGRAM} could not be started: {error.strerror}"
                raise CannotPlayError(message) from error

    def _environment(self) -> dict[str, str]:
        environment = {**os.environ, "TMPDIR": str(self._folder / "tmp")}
        if any(step.what == lib.SS_PLAY_HEAP for step in self._steps):
            # Else each thread keeps some of what was freed, which counts as in use: the heap then
            # seems to grow, slower and slower, for hundreds of lives.
            given = os.environ.get("GLIBC_TUNABLES")
            environment["GLIBC_TUNABLES"] = ":".join(filter(None, (given, _NO_CACHE)))
        return environment

    def _listen(self, process: subprocess.Popen[bytes], played: int) -> tuple[bytes, bool]:
        """Take what is said until nobody says anything any more, or the disk gets full."""
        data = bytearray()
        end = time.monotonic() + self._seconds[1] + _MARGIN
        free = shutil.disk_usage(self._folder).free
        while time.monotonic() < end:
            # Whether it is over is asked first: what it said last is in the pipe by then. What it
            # has started may hold the pipe open.
            is_over = process.poll() is not None
            if select.select([played], [], [], 0 if is_over else _POLL)[0]:
                piece = os.read(played, _PIECE)
                if not piece:
                    break
                data += piece
            elif is_over:
                break
            left = shutil.disk_usage(self._folder).free
            if free - left > _DISK:
                if _written(process.pid) >= _DISK // 2:
                    return bytes(data), True
                if left < _ROOM:
                    raise CannotPlayError("something else fills the disk")
                free = left  # others write, too, and there is room for it
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, end - time.monotonic()))
        return bytes(data), False

    def _records(self, data: bytes) -> Iterator[Played]:
        """Yield what carries our number, in its order; nothing behind what does not."""
        size, at = ffi.sizeof("ss_played"), 0
        while at + size <= len(data):
            head = ffi.from_buffer("ss_played *", data[at : at + size])
            if head.nonce != self._nonce or at + size + head.len > len(data):
                return
            text = data[at + size : at + size + head.len]
            yield Played(head.step, head.what, head.status, head.a, head.b, text)
            at += size + head.len

    def _fault(self, trace: int) -> Fault:
        size = ffi.sizeof("ss_play_trace")
        with mmap.mmap(trace, size) as mapped:
            copy = bytearray(mapped)
        raw: ss_play_trace = ffi.from_buffer("ss_play_trace *", copy)
        fault = raw.fault
        code = int(fault.values[_ERROR_CODE])
        return Fault(
            step=raw.step, in_call=raw.in_call > 0, calls=raw.calls, time=raw.time,
            start=raw.start, length=raw.len, table=raw.table, table_length=raw.table_len,
            gone=bool(raw.gone),
            signal=fault.signal, code=fault.code, address=fault.address,
            is_call=fault.pc == fault.address,
            is_write=bool(code & _WRITES) if fault.registers > _ERROR_CODE else None,
            backtrace=tuple(_backtrace(fault)),
            input=bytes(ffi.buffer(raw.input))[: raw.input_len],
        )  # fmt: skip

    def _made(self, data: bytes, how: bytes, fault: Fault, *, fills_disk: bool) -> Play:
        records = tuple(self._records(data))
        said_end = any(p.what == lib.SS_PLAYED_END for p in records)
        is_orphan = len(how) != ffi.sizeof("ss_play_ended")
        ended = None if is_orphan else ffi.from_buffer("ss_play_ended *", how)
        status = 0 if ended is None else ended.status
        ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        with (self._folder / "out").open("rb") as out:
            output = out.read(_OUTPUT).decode("utf-8", "replace")
        return Play(
            steps=self._steps, played=records, said_end=said_end,
            exit_code=None if ended is None or ended_by else os.WEXITSTATUS(status),
            signal=ended_by, late=0 if ended is None else ended.timed_out,
            left=0 if ended is None else ended.left, is_orphan=is_orphan and not fills_disk,
            fills_disk=fills_disk, fault=fault, output=output,
        )  # fmt: skip


def _written(process: int) -> int:
    """Return how many bytes a process and those that it has started have written."""
    try:
        said = Path(f"/proc/{process}/io").read_text(encoding="ascii")
        started = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
    except OSError:  # it has ended, and who started it has its numbers
        return 0
    counts = dict(line.split(": ") for line in said.splitlines())
    own = max(int(counts["wchar"]), int(counts["write_bytes"]))
    return own + sum(_written(int(child)) for child in started.split())


def _read_all(descriptor: int) -> bytes:
    """Read what there is; the pipe may be held open by somebody who says nothing."""
    os.set_blocking(descriptor, False)
    data = b""
    try:
        while piece := os.read(descriptor, _PIECE):
            data += piece
    except BlockingIOError:
        pass
    return data


def _backtrace(fault: ss_fault) -> Iterator[tuple[str, int]]:
    for index in range(min(fault.frames, lib.SS_FAULT_FRAMES)):
        number = fault.frame_module[index]
        module = _native.text(fault.modules[number - 1]) if number else ""
        yield module, fault.frame_offset[index] if number else fault.frame_pc[index]
