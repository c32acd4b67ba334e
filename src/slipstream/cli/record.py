"""``slipstream record``: write events to a capture."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import click

from slipstream.errors import CaptureError
from slipstream.server.sources.addresses import CannotBind, parse_address
from slipstream.server.sources.recorder import CaptureSink
from slipstream.server.sources.recorder import record as record_from
from slipstream.text import counted, printable

from ._errors import Ended
from ._output import emit
from ._paths import PATH, TEXT_PATH
from .start import IN_USE

_log = logging.getLogger("slipstream")


def _say(level: int, text: str, fields: dict[str, object]) -> None:
    _log.log(level, text, extra=fields)


@click.command(epilog="Example: slipstream record unix:/run/node.sock events.slip")
@click.argument("source", metavar="SOURCE", type=TEXT_PATH)
@click.argument("file", metavar="FILE", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object instead of a line.")
def record(*, source: str, file: Path, as_json: bool) -> int:
    """Record the events of SOURCE in FILE, a new capture.

    SOURCE is a file of events, or - for standard input. It may also be unix:PATH or tcp:HOST:PORT:
    then producers connect there as they do to a daemon, until Ctrl-C or SIGTERM. They are told that
    an event is settled when it is on the disk.
    """
    is_address = source.startswith(("unix:", "tcp:"))
    address = parse_address(source) if is_address else source
    sink = CaptureSink(file)
    count = None
    try:
        count = asyncio.run(
            record_from(
                address, sink, _say, lambda where: _say(logging.INFO, "recording", {"from": where})
            )
        )
    except CannotBind as error:
        raise Ended(error.message, error.hint, IN_USE) from None
    except OSError as error:
        if sink.problem is None:
            raise
        name = printable(str(file))
        kept = f"{name} keeps what came before" if sink.is_begun else f"{name} is removed"
        raise CaptureError(
            f"cannot write {name}: {error.strerror}",
            f"record into a new file, on a disk with room; {kept}",
        ) from None
    finally:
        sink.close()
        if count is None and not sink.is_begun:
            file.unlink(missing_ok=True)
    if as_json:
        emit(json.dumps({"events": count, "file": str(file)}) + "\n")
    else:
        emit(f"{counted(count, 'event')} in {file}\n")
    return 0
