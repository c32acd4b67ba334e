"""``slipstream show`` and ``slipstream convert``: files of events for people and programs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from slipstream import aleo, frames, streams
from slipstream.capture import HEADER
from slipstream.errors import AleoFormatError, CaptureError, FrameError
from slipstream.events import Event, GapReason, MappingRemoval, MappingUpdate, Mark
from slipstream.streams import EventFile
from slipstream.streams.dead_letters import REDELIVERED, dead_letter_of
from slipstream.text import printable

from ._output import emit, say

LINES_ENDING = ".jsonl"

_STANDARD = Path("-")
_TEXT_SHOWN = 400
_BYTES_SHOWN = 64
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
@click.argument("file", metavar="FILE", type=click.Path())
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
    as_json: bool,
) -> None:
    """Show the events of FILE: JSON lines, a capture (dead letters too), or - for stdin.

    Each event is a line: sequence, height, kind and what it says. Aleo values are shown as
    text, other bytes in hexadecimal.
    """
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
                emit(_shown(event) + "\n")
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
            f"{error.hint}; the {source.count - 1} frames before it are good",
        ) from None


def _is_of(event: Event, program: bytes | None, mapping: bytes) -> bool:
    return (
        isinstance(event, MappingUpdate | MappingRemoval)
        and event.mapping_name == mapping
        and program in (None, event.program_id)
    )


# ---- One event as one line -------------------------------------------------------------------


def _shown(event: Event) -> str:
    kind = frames.kind_name(event.kind)
    height = event.block_height
    parts = [
        click.style(f"{event.meta.sequence:>8}", dim=True),
        f"{'-' if height is None else height:>8}",
        click.style(f"{kind:<14}", fg=_COLOURS.get(kind, "magenta")),
        _said(event),
    ]
    if event.meta.time_ns:
        parts.insert(1, click.style(_time(event.meta.time_ns), dim=True))
    if event.meta.flags & frames.ROUTED:
        parts.append("(routed)")
    return "  ".join(parts)


_COLOURS = {
    "MappingUpdate": "green",
    "MappingRemoval": "yellow",
    "StakingReward": "cyan",
    "Block": "blue",
    "Gap": "red",
    "Mark": "white",
}


def _said(event: Event) -> str:
    if isinstance(event, Mark) and (letter := dead_letter_of(event)) is not None:
        return letter.said + (", redelivered" if event.name == REDELIVERED else "")
    layout = event.layout
    absent = any(getattr(event, span.name) is None for span in layout.spans)
    return (layout.said_without if absent else layout.said).format_map(_Shown(event))


class _Shown:
    """An event's attributes by name, as they are shown."""

    def __init__(self, event: Event) -> None:
        self._event = event

    def __getitem__(self, name: str) -> object:
        value = getattr(self._event, name)
        if isinstance(value, GapReason):
            return ", ".join(str(reason.name).lower().replace("_", " ") for reason in value)
        if not isinstance(value, bytes):
            return value
        return _block(value) if name == "block" else _text(self._event, name)


def _block(block: bytes) -> str:
    try:
        prefix = aleo.BlockPrefix.from_bytes(block)
    except AleoFormatError:
        return f"{len(block):,} bytes: {_hex(block)}"
    return f"{len(block):,} bytes: {aleo.encode_id('ab', prefix.block_hash)}"


def _text(event: Event, name: str) -> str:
    """Show a field as text in one line, else in hexadecimal; never a control character."""
    text = streams.text_of(event, name)
    if text is None:
        return _hex(getattr(event, name))
    text = printable(_BREAK.sub(" ", text))
    return text if len(text) <= _TEXT_SHOWN else f"{text[:_TEXT_SHOWN]}… ({len(text):,} characters)"


def _hex(data: bytes) -> str:
    more = f"… ({len(data):,} bytes)" if len(data) > _BYTES_SHOWN else ""
    return f"0x{data[:_BYTES_SHOWN].hex()}{more}"


def _time(time_ns: int) -> str:
    try:
        moment = _EPOCH + timedelta(microseconds=time_ns // 1000)
    except OverflowError:
        return f"{time_ns} ns"
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


# ---- convert ---------------------------------------------------------------------------------


@click.command(epilog="Example: slipstream convert failed.capture failed.jsonl")
@click.argument("source", metavar="IN", type=click.Path())
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path, allow_dash=True))
def convert(*, source: str, target: Path) -> None:
    """Convert a file of events: to JSON lines if OUT ends in .jsonl, else to a capture.

    IN may be -. OUT must not exist; - writes JSON lines to standard output. If IN is cut off or
    damaged, OUT holds what is good.
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
    say(f"{count:,} events written to {target}")


@contextmanager
def _writer(target: Path, source: EventFile) -> Iterator[Callable[[bytes], object]]:
    """Make a new file; it goes again if it cannot be written, or nothing good is in it."""
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
    except BaseException:
        if source.count == 0:
            target.unlink(missing_ok=True)
        raise


def _unwritable(target: Path, error: OSError) -> CaptureError:
    return CaptureError(
        f"cannot write {printable(str(target))}: {error.strerror}",
        "choose a file that does not exist yet, in a folder with room",
    )
