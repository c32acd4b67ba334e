"""Zip files made by bytes, each part of which may lie."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass


@dataclass(kw_only=True)
class Part:
    """One entry; what is None follows from the rest."""

    name: bytes | str
    data: bytes = b""
    method: int = 0
    flags: int = 2048
    mode: int = 0o100644
    system: int = 3
    external: int | None = None
    crc: int | None = None
    size: int | None = None
    packed: bytes | None = None
    packed_size: int | None = None
    extra: bytes = b""
    local_extra: bytes = b""
    local_name: bytes | None = None
    local_crc: int | None = None
    local_size: int | None = None
    local_flags: int | None = None
    local_magic: bytes = b"PK\3\4"
    magic: bytes = b"PK\1\2"
    disk: int = 0
    at: int | None = None
    before: bytes = b""
    descriptor: bytes = b""
    is_listed: bool = True
    is_there: bool = True

    def bytes_of(self) -> bytes:
        if self.packed is not None:
            return self.packed
        if self.method == 8:
            packer = zlib.compressobj(9, zlib.DEFLATED, -15)
            return packer.compress(self.data) + packer.flush()
        return self.data


@dataclass(kw_only=True)
class End:
    """The end record; what is None follows from the entries."""

    count: int | None = None
    here: int | None = None
    disk: int = 0
    length: int | None = None
    at: int | None = None
    comment: bytes = b""
    comment_len: int | None = None
    before: bytes = b""
    gap: bytes = b""  # between the last entry and the directory
    tail: bytes = b""  # behind the directory's entries, as if one of them
    magic: bytes = b"PK\5\6"


def zip_of(*parts: Part, end: End | None = None) -> bytes:
    end = end or End()
    out, listed = bytearray(), bytearray()
    count = 0
    for part in parts:
        raw = part.name.encode() if isinstance(part.name, str) else part.name
        packed = part.bytes_of()
        crc = zlib.crc32(part.data) if part.crc is None else part.crc
        size = len(part.data) if part.size is None else part.size
        packed_size = len(packed) if part.packed_size is None else part.packed_size
        out += part.before
        at = len(out) if part.at is None else part.at
        if part.is_there:
            own = part.local_name if part.local_name is not None else raw
            out += part.local_magic + struct.pack(
                "<5HIIIHH",
                *(20, part.flags if part.local_flags is None else part.local_flags),
                *(part.method, 0, 33),
                crc if part.local_crc is None else part.local_crc,
                packed_size if part.local_size is None else part.local_size,
                size if part.local_size is None else part.local_size,
                *(len(own), len(part.local_extra)),
            )
            out += own + part.local_extra + packed + part.descriptor
        if part.is_listed:
            external = part.mode << 16 if part.external is None else part.external
            listed += part.magic + struct.pack("<BB", 20, part.system)
            listed += struct.pack(
                "<5HIIIHHHHHII",
                *(20, part.flags, part.method, 0, 33, crc, packed_size, size),
                *(len(raw), len(part.extra), 0, part.disk, 0, external, at),
            )
            listed += raw + part.extra
            count += 1
    out += end.gap
    at = len(out) if end.at is None else end.at
    listed += end.tail
    out += listed + end.before
    out += end.magic + struct.pack(
        "<4H2IH",
        *(end.disk, end.disk, count if end.here is None else end.here),
        count if end.count is None else end.count,
        len(listed) if end.length is None else end.length,
        at,
        len(end.comment) if end.comment_len is None else end.comment_len,
    )
    return bytes(out + end.comment)
