"""Files of events in every form: captures, and JSON lines.

A line is an object with `seq`, `kind`, `block_height`, the text forms as a node displays
them, and ``*_hex``, the bytes that a plugin receives. Of one field the hex wins, and nobody
compares the two. ``stream``, ``sequence``, ``time_ns`` and ``flags`` say what a frame's header
says; ``frame_hex``, for the rare frame that the fields cannot express, is all of it. Other
fields are remarks.
"""

from __future__ import annotations

from slipstream.streams.event_file import STDIN, EventFile, read_events
from slipstream.streams.fields import KINDS, KNOWN_KINDS
from slipstream.streams.reader import LINE_MAX, LineReader, Unreadable, Warn
from slipstream.streams.writer import line_of, text_of, write_jsonl

__all__ = [
    "KINDS",
    "KNOWN_KINDS",
    "LINE_MAX",
    "STDIN",
    "EventFile",
    "LineReader",
    "Unreadable",
    "Warn",
    "line_of",
    "read_events",
    "text_of",
    "write_jsonl",
]
