"""The JSON that on_load gets, out of a packed config (native/plugin/host_config.h)."""

from __future__ import annotations

import struct


def packed_json(packed: bytes) -> bytes:
    """The JSON: it lies behind the head and its 64 bytes for each entry."""
    count, length = struct.unpack_from("=2I", packed)
    return packed[8 + 64 * count :][:length]
