"""``slipstream show`` and ``slipstream convert``: files of events for people and programs."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from slipstream import aleo, frames, streams
from slipstream.capture import HEADER
from slipstream.errors import AleoFormatError, CaptureError, FrameError
from slipstream.events import Event, GapReason, MappingRemoval, MappingUpdate, Mark
from slipstream.streams import EventFile
from slipstream.streams.dead_letters import REDELIVERED, dead_letter_of
from slipstream.text import counted, printable

from ._output import emit, say
from ._paths import PATH, TEXT_PATH
from ._tables import cells, cut, cut_end, screen_width

LINES_ENDING = ".jsonl"

_STANDARD = Path("-")
_TEXT_SHOWN = 400
_BYTES_SHOWN = 64
_ROOMY = 120  # columns of a terminal from which on numbers are aligned and times whole
_LEAST = 9  # characters that are left of what is cut in the middle
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BREAK = re.compile(r"\s*\n\s*")


def _kind(_context: click.Context, _parameter: click.Parameter, names: tuple[str, ...]) -> set[int]:
    known = {name.lower(): kind for name, kind in streams.KINDS.items()}
    for name in names:
        if name.lower() not in known:
            raise click.BadParameter(f"{name!r} is unknown; known: {streams.KNOWN_KINDS}")
    return {known[name.lower()] for name in names}


def _mapping(
    _context: click.Context, _parameter: click.Parameter, name: str | None
) -> tuple[bytes | None, bytes] | None:
    if name is None:
        return None
    program, _, mapping = name.rpartition("/")
    try:
        return (
            aleo.program_id_to_bytes(program) if program else None,
            aleo.identifier_to_bytes(mapping),
        )
    except AleoFormatError as error:
        raise click.BadParameter(
            f"{error.message}; write account or credits.aleo/account"
        ) from None


@click.command(
    epilog="Example: slipstream show events.jsonl --mapping credits.aleo/account --limit 5"
)
@click.argument("file", metavar="FILE", type=TEXT_PATH)
@click.option(
    "--kind",
    "kinds",
    metavar="KIND",
    multiple=True,
    callback=_kind,
    help="Only this kind of event, such as Block; may be given several times.",
)
@click.option(
    "--mapping",
    metavar="[PROGRAM/]NAME",
    callback=_mapping,
    help="Only changes of this mapping, such as account or credits.aleo/account.",
)
@click.option("--limit", metavar="N", type=click.IntRange(min=0), help="At most N events.")
@click.option(
    "--from",
    "first",
    metavar="SEQUENCE",
    type=click.IntRange(min=0),
    default=0,
    help="Only events of this sequence and above. Sequences count from 1; seq in JSON lines is "
    "one less.",
)
@click.option("--full", is_flag=True, help="Cut nothing, however long it is.")
@click.option(
    "--json", "as_json", is_flag=True, help="Write JSON lines, which every command reads."
)
def show(  # noqa: PLR0913 - the options of the command
    *,
    file: str,
    kinds: set[int],
    mapping: tuple[bytes | None, bytes] | None,
    limit: int | None,
    first: int,
    full: bool,
    as_json: bool,
) -> None:
    """Show the events of FILE: JSON lines, a capture (dead letters too), or - for stdin.

    Each event is a line: sequence, height, kind and what it says. Aleo values are shown as
    text, other bytes in hexadecimal. On a terminal, long values are cut in the middle so that
    the line fits. Elsewhere only what is very long is cut: after 64 bytes or 400 characters.
    """
    width = screen_width() if sys.stdout.isatty() and not full else None
    look = _Look(full=full, width=width)
    with EventFile(file, on_warning=say) as source:
        shown = 0
        stream = -1
        for frame in () if limit == 0 else source:
            if (kinds and int.from_bytes(frame[6:8], "little") not in kinds) or (
                int.from_bytes(frame[24:32], "little") < first
            ):
                continue
            event = _decode(source, frame)
            if mapping is not None and not _is_of(event, *mapping):
                continue
            if as_json:
                emit(streams.line_of(frame).decode())
            else:
                if event.meta.stream not in (0, stream):  # marks and gaps stand in none
                    stream = event.meta.stream
                    emit(click.style(f"stream {stream:016x}", dim=True) + "\n")
                emit(look.line(event) + "\n")
            shown += 1
            if shown == limit:
                return


def _decode(source: EventFile, frame: bytes) -> Event:
    try:
        return frames.decode(frame)[0]
    except FrameError as error:
        raise CaptureError(
            f"{source.name}: frame {source.count - 1}, at byte {source.position - len(frame)}: "
            f"{error.message.partition(': ')[2]}",
            f"{error.hint}; the "
            f"{counted(source.count - 1, 'frame before it is', 'frames before it are')} good",
        ) from None


def _is_of(event: Event, program: bytes | None, mapping: bytes) -> bool:
    return (
        isinstance(event, MappingUpdate | MappingRemoval)
        and event.mapping_name == mapping
        and program in (None, event.program_id)
    )


# ---- One event as one line -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Look:
    """How events are shown.

    Attributes:
        full: Nothing is cut.
        width: The columns that a line may have; None: as many as it wants.
    """

    full: bool = False
    width: int | None = None

    def line(self, event: Event) -> str:
        """Return an event as one line."""
        kind = frames.kind_name(event.kind)
        narrow = self.width is not None and self.width < _ROOMY
        wide, gap = (5, " ") if narrow else (8, "  ")
        height = "-" if event.block_height is None else event.block_height
        # Each with its colour.
        parts = [(f"{event.meta.sequence:>{wide}}", "")]
        if event.meta.time_ns:
            parts.append((_time(event.meta.time_ns, clock=narrow), ""))
        parts.append((f"{height:>{wide}}", "-"))
        parts.append((f"{kind:<14}", _COLOURS.get(kind, "magenta")))
        end = f"{gap}(routed)" if event.meta.flags & frames.ROUTED else ""
        left = None
        if self.width is not None:
            left = self.width - sum(len(text) + len(gap) for text, _ in parts) - len(end)
        return gap.join([*(_coloured(*part) for part in parts), self._said(event, left) + end])

    def _said(self, event: Event, width: int | None) -> str:
        if isinstance(event, Mark) and (letter := dead_letter_of(event)) is not None:
            said = letter.said + (", redelivered" if event.name == REDELIVERED else "")
            return said if width is None else cut_end(said, max(1, width))
        layout = event.layout
        absent = any(getattr(event, span.name) is None for span in layout.spans)
        template = layout.said_without if absent else layout.said
        values = _Values(event, full=self.full)
        said = template.format_map(values)
        if width is None or cells(said) <= width:
            return said
        low, high = _LEAST, max(_LEAST, width)
        while low < high:
            values.limit = (low + high + 1) // 2
            fits = cells(template.format_map(values)) <= width
            low, high = (values.limit, high) if fits else (low, values.limit - 1)
        values.limit = low
        return cut_end(template.format_map(values), max(1, width))


def _coloured(text: str, colour: str) -> str:
    if colour == "-":
        return text
    return click.style(text, fg=colour) if colour else click.style(text, dim=True)


_COLOURS = {
    "MappingUpdate": "green",
    "MappingRemoval": "yellow",
    "StakingReward": "cyan",
    "Block": "blue",
    "Gap": "red",
    "Mark": "white",
}


class _Values:
    """An event's attributes by name, as they are shown.

    Attributes:
        limit: How wide one that is bytes may be; longer ones lose their middle. None: as it is.
    """

    def __init__(self, event: Event, *, full: bool) -> None:
        self.limit: int | None = None
        self._event = event
        self._full = full
        self._read: dict[str, tuple[str, str, str]] = {}

    def __getitem__(self, name: str) -> object:
        value = getattr(self._event, name)
        if isinstance(value, GapReason):
            return ", ".join(str(reason.name).lower().replace("_", " ") for reason in value)
        if not isinstance(value, bytes):
            return value
        if name not in self._read:
            self._read[name] = _read(self._event, name, full=self._full)
        before, text, after = self._read[name]
        return before + (text if self.limit is None else cut(text, self.limit)) + after


def _read(event: Event, name: str, *, full: bool) -> tuple[str, str, str]:
    """Return a field as text in one line, else in hexadecimal; and what stands around it."""
    value = getattr(event, name)
    if name == "block":
        size = f"{counted(len(value), 'byte')}: "
        try:
            prefix = aleo.BlockPrefix.from_bytes(value)
        except AleoFormatError:
            text, after = _hex(value, full=full)
            return size, text, after
        return size, aleo.encode_id("ab", prefix.block_hash), ""
    said = streams.text_of(event, name)
    if said is None:
        return ("", *_hex(value, full=full))
    text = printable(_BREAK.sub(" ", said))  # never a control character
    if full or len(text) <= _TEXT_SHOWN:
        return "", text, ""
    return "", text[:_TEXT_SHOWN], f"… ({len(text):,} characters)"


def _hex(data: bytes, *, full: bool) -> tuple[str, str]:
    if full or len(data) <= _BYTES_SHOWN:
        return f"0x{data.hex()}", ""
    return f"0x{data[:_BYTES_SHOWN].hex()}", f"… ({len(data):,} bytes)"


def _time(time_ns: int, *, clock: bool) -> str:
    try:
        moment = _EPOCH + timedelta(microseconds=time_ns // 1000)
    except OverflowError:
        return f"{time_ns} ns"
    return f"{moment:%H:%M:%S}" if clock else f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


# ---- convert ---------------------------------------------------------------------------------


@click.command(epilog="Example: slipstream convert failed.capture failed.jsonl")
@click.argument("source", metavar="IN", type=TEXT_PATH)
@click.argument("target", metavar="OUT", type=PATH)
def convert(*, source: str, target: Path) -> None:
    """Convert a file of events: to JSON lines if OUT ends in .jsonl, else to a capture.

    IN may be -. OUT must not exist; - writes JSON lines to standard output. If IN is cut off or
    damaged, OUT holds what is good. If Ctrl-C or a full disk ends the command, OUT is removed.
    """
    if target == _STANDARD:
        with EventFile(source, on_warning=say) as file:
            for frame in file:
                _decode(file, frame)
                emit(streams.line_of(frame).decode())
        return
    with EventFile(source, on_warning=say) as file, _writer(target, file) as write:
        for frame in file:
            _decode(file, frame)
            write(frame)
        count = file.count
    say(f"{counted(count, 'event')} written to {target}")


@contextmanager
def _writer(target: Path, source: EventFile) -> Iterator[Callable[[bytes], object]]:
    """Make a new file; it goes again if it is not written to its end, or holds nothing good."""
    try:
        made = target.open("xb")
    except OSError as error:
        raise _unwritable(target, error) from None
    try:
        with made:
            if target.suffix != LINES_ENDING:
                made.write(HEADER)
                yield made.write
            else:
                yield lambda frame: made.write(streams.line_of(frame))
    except OSError as error:
        target.unlink(missing_ok=True)
        raise _unwritable(target, error) from None
    except CaptureError:  # what was good until there stays
        if source.count == 0:
            target.unlink(missing_ok=True)
        raise
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _unwritable(target: Path, error: OSError) -> CaptureError:
    return CaptureError(
        f"cannot write {printable(str(target))}: {error.strerror}",
        "choose a file that does not exist yet, in a folder with room",
    )
