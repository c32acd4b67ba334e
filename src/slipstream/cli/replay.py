"""``slipstream replay``: send a file of events to a daemon."""

from __future__ import annotations

import json
import logging
import time

import click

from slipstream.errors import CaptureError, ConfigError
from slipstream.server.sources.addresses import parse_address
from slipstream.server.sources.pace import Speed, parse_speed
from slipstream.server.sources.producer import FileProducer, NotSettled
from slipstream.text import counted

from ._errors import FAILED, Ended
from ._output import emit
from ._paths import TEXT_PATH
from ._signals import StopSignals

_log = logging.getLogger("slipstream")


@click.command(epilog="Example: slipstream replay events.slip --to unix:/run/node.sock --speed 2")
@click.argument("file", metavar="FILE", type=TEXT_PATH)
@click.option(
    "--to",
    metavar="ADDRESS",
    required=True,
    help="Where the daemon listens: unix:PATH or tcp:HOST:PORT.",
)
@click.option(
    "--speed",
    metavar="N",
    default="",
    help="2: twice as fast as the times in the events; 5000/s: 5,000 events a second.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object instead of a line.")
def replay(*, file: str, to: str, speed: str, as_json: bool) -> int:
    """Send the events of FILE to a daemon, and wait until they are settled.

    What the daemon has already is not sent again. If the connection breaks, it is made again.
    """
    try:
        address = parse_address(to)
        how_fast = parse_speed(speed) if speed else Speed()
    except ConfigError as error:
        raise click.UsageError(f"{error.message}; {error.hint}") from None
    if file == "-":
        raise CaptureError("standard input cannot be sent twice", "name a file")
    producer = FileProducer(file, address, how_fast, _log.warning)
    began = time.monotonic()
    at_stop = StopSignals("closing the connection", "run this again, which goes on where it was")
    with at_stop as signals, signals.interruptible():
        try:
            producer.run()
        except NotSettled as error:
            raise Ended(error.message, error.hint, FAILED) from None
    answers = producer.answers.values()
    said = {
        "events": producer.sent,
        "seconds": round(time.monotonic() - began, 3),
        "dead": sum(answer.dead for answer in answers),
        "told": sum(answer.told for answer in answers),
        "streams": {f"{a.stream:016x}": a.settled for a in answers},
    }
    if as_json:
        emit(json.dumps(said) + "\n")
    else:
        lost = f"; dead {said['dead']}, told {said['told']}" if said["dead"] or said["told"] else ""
        emit(f"{counted(producer.sent, 'event')} sent and settled in {said['seconds']} s{lost}\n")
    return 0
