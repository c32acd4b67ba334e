"""``slipstream record``: write events to a capture."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import click

from slipstream.errors import SlipstreamError
from slipstream.server.sources.addresses import CannotBind, parse_address
from slipstream.server.sources.recorder import CaptureSink
from slipstream.server.sources.recorder import record as record_from
from slipstream.text import counted

from ._errors import Ended
from ._output import emit
from .start import IN_USE

_log = logging.getLogger("slipstream")


def _say(level: int, text: str, fields: dict[str, object]) -> None:
    _log.log(level, text, extra=fields)


@click.command(epilog="Example: slipstream record unix:/run/node.sock events.slip")
@click.argument("source", metavar="SOURCE", type=click.Path())
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
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
    try:
        count = asyncio.run(
            record_from(
                address, sink, _say, lambda where: _say(logging.INFO, "recording", {"from": where})
            )
        )
    except CannotBind as error:
        file.unlink()
        raise Ended(error.message, error.hint, IN_USE) from None
    except SlipstreamError:
        raise
    finally:
        sink.close()
    if as_json:
        emit(json.dumps({"events": count, "file": str(file)}) + "\n")
    else:
        emit(f"{counted(count, 'event')} in {file}\n")
    return 0
