"""Events as JSON lines: one line to a frame, and one frame to a line.

A line is an object with `seq`, `kind`, `block_height`, the text forms as a node displays
them, and ``*_hex``, the bytes that a plugin receives. Of one field the hex wins, and nobody
compares the two. ``stream``, ``sequence``, ``time_ns`` and ``flags`` say what a frame's header
says; ``frame_hex``, for the rare frame that the fields cannot express, is all of it. Other
fields are remarks.
"""

from __future__ import annotations

from ._fields import KINDS, KNOWN_KINDS
from ._reader import LINE_MAX, LineReader, Unreadable, Warn
from ._writer import line_of, text_of, write_jsonl

__all__ = [
    "KINDS",
    "KNOWN_KINDS",
    "LINE_MAX",
    "LineReader",
    "Unreadable",
    "Warn",
    "line_of",
    "text_of",
    "write_jsonl",
]
