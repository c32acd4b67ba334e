"""A second, independent implementation of the frame layout, and the frames built with it.

Written from the table in the header's text alone; it shares no code with the readers in the
header nor with the core's writer, which the tests hold against it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path

import abi_tools

GOLDEN = abi_tools.HERE / "golden"
OK, END = 0, 1
UNSUPPORTED, MALFORMED, WRONG_TYPE = -4, -7, -11
FRAME_MAX = 67_108_864
HEADER = struct.Struct("<IHHIIQQqQ")
NO_HEIGHT = 2**64 - 1
U64_MAX = 2**64 - 1

# Kind: its spans, which of them may be absent, how many u64 follow, how many reserved ones.
SHAPES: dict[int, tuple[int, frozenset[int], int, int]] = {
    0: (4, frozenset(), 0, 0),
    1: (3, frozenset({2}), 0, 0),
    2: (2, frozenset(), 2, 0),
    3: (1, frozenset(), 0, 0),
    4: (3, frozenset({0}), 0, 0),
    5: (0, frozenset(), 9, 0),
    6: (3, frozenset({1, 2}), 0, 1),
    7: (1, frozenset(), 0, 0),
    8: (2, frozenset(), 0, 0),
}
UPDATE, REMOVAL, REWARD, BLOCK, PAYLOAD, GAP, PEER_SEEN, PEER_FORGOTTEN, MARK = SHAPES
WITH_WORD = range(UPDATE, PEER_FORGOTTEN)  # the word behind fixed_len says something
APP_KINDS = range(32, 64)
READERS = (*SHAPES, APP_KINDS)


@dataclass(frozen=True)
class Draft:
    """All that a frame says.

    Attributes:
        kind: The kind; 0 to 8, or 32 to 63.
        spans: The values in the layout's order, None for an absent one. An application's
            own kind has one, which stands behind the fixed part.
        numbers: The 64-bit numbers of the payload, in the layout's order.
        word: The word at 4 of the payload.
        grown_header: Bytes by which the header is longer than in 1.0.
        grown_fixed: Bytes by which the payload's fixed part is longer than in 1.0.
    """

    kind: int
    spans: tuple[bytes | None, ...] = ()
    numbers: tuple[int, ...] = ()
    word: int = 0
    flags: int = 0
    stream: int = 0x5157_A11E_0000_0001
    sequence: int = 1
    time_ns: int = 1_725_462_000_000_000_000
    height: int = 0
    grown_header: int = 0
    grown_fixed: int = 0

    def encode(self) -> bytes:
        """The frame."""
        if self.kind in APP_KINDS:
            (body,) = self.spans
            fixed = struct.pack("<II", 8 + self.grown_fixed, 0) + b"\xee" * self.grown_fixed
            payload = fixed + (body or b"")
        else:
            payload = self._payload()
        header_len = 48 + self.grown_header
        whole = header_len + len(payload)
        padding = -whole % 8
        header = HEADER.pack(
            whole + padding,
            header_len,
            self.kind,
            self.flags,
            len(payload),
            self.stream,
            self.sequence,
            self.time_ns,
            self.height,
        )
        return header + b"\xdd" * self.grown_header + payload + bytes(padding)

    def _payload(self) -> bytes:
        reserved = bytes(8 * SHAPES.get(self.kind, (0, 0, 0, 0))[3])
        behind = struct.pack(f"<{len(self.numbers)}Q", *self.numbers) + reserved
        fixed_len = 8 + 8 * len(self.spans) + len(behind) + self.grown_fixed
        table, heap = b"", b""
        for span in self.spans:
            if span is None:
                table += struct.pack("<II", 0, 0)
            else:
                heap += bytes(-len(heap) % 8)
                table += struct.pack("<II", fixed_len + len(heap), len(span))
                heap += span
        start = struct.pack("<II", fixed_len, self.word)
        return start + table + behind + b"\xee" * self.grown_fixed + heap


def _bonded() -> Draft:
    address = bytes.fromhex("6279641ec456ee908dda8c1f67dff5631a7a7a30d26d33e18523f1dd015ec80e")
    literal = b"\x00\x00\x00" + address
    amount = b"\x00\x0c\x00" + struct.pack("<Q", 100_000_000)
    value = (
        b"\x00\x01\x02"
        + (b"\x09validator" + struct.pack("<H", len(literal)) + literal)
        + (b"\x0cmicrocredits" + struct.pack("<H", len(amount)) + amount)
    )
    return Draft(UPDATE, (b"\x07credits\x04aleo", b"\x06bonded", literal, value))


def _largest(draft: Draft) -> Draft:
    return replace(
        draft,
        flags=0xFFFF,
        stream=U64_MAX,
        sequence=U64_MAX,
        time_ns=2**63 - 1,
        height=U64_MAX - 1,
    )


_BONDED = _bonded()
_KEYS = _BONDED.spans[:3]
_STAKERS = (
    bytes.fromhex("012a0e240f8bb01bbe896a69d93cb916bccc6f7f188097885d8d140774158a08"),
    bytes.fromhex("6279641ec456ee908dda8c1f67dff5631a7a7a30d26d33e18523f1dd015ec80e"),
)
_MESSAGE = (b"indexer", b"demo.ping", b'{"n": 1}')

# What a 1.0 writer makes; the first is the update of credits.aleo/bonded in Aleo's genesis.
WRITTEN: dict[str, Draft] = {
    "mapping_update_bonded": _BONDED,
    "mapping_update_empty_spans": Draft(UPDATE, (b"", b"", b"", b"")),
    "mapping_update_one_byte_spans": Draft(UPDATE, (b"a", b"b", b"c", b"d"), sequence=2),
    "mapping_update_largest_header": _largest(_BONDED),
    "mapping_update_not_yet_given": replace(
        _BONDED, stream=0, sequence=0, time_ns=0, height=NO_HEIGHT
    ),
    "mapping_update_before_1970": replace(_BONDED, time_ns=-(2**63)),
    "mapping_removal_key": Draft(REMOVAL, _KEYS, height=7),
    "mapping_removal_empty_key": Draft(REMOVAL, (*_KEYS[:2], b""), height=7),
    "mapping_removal_whole_mapping": Draft(REMOVAL, (*_KEYS[:2], None), height=7),
    "staking_reward": Draft(REWARD, _STAKERS, (3_101, 140_625_003_101), height=1),
    "staking_reward_largest": Draft(REWARD, _STAKERS, (U64_MAX, U64_MAX)),
    "staking_reward_empty_spans": Draft(REWARD, (b"", b""), (0, 0)),
    "block_small": Draft(BLOCK, (bytes(range(1, 38)),), height=1_203_288),
    "block_empty": Draft(BLOCK, (b"",)),
    "payload_with_source": Draft(PAYLOAD, _MESSAGE, height=NO_HEIGHT),
    "payload_without_source": Draft(PAYLOAD, (None, *_MESSAGE[1:]), height=NO_HEIGHT),
    "payload_empty_source_and_body": Draft(PAYLOAD, (b"", b"demo.ping", b"")),
    "payload_routed": Draft(PAYLOAD, _MESSAGE, flags=2, height=NO_HEIGHT),
    "payload_recorded": Draft(PAYLOAD, _MESSAGE, flags=1),
    "gap": Draft(
        GAP,
        numbers=(41, 99, 59, 0b1001, 1_000, 1_003, 0x5157_A11E_0000_0001, 507, 571),
        word=1 | 4,
        stream=0,
        sequence=0,
    ),
    "gap_of_several_streams": Draft(
        GAP, numbers=(1, 2, 2, 8, 7, NO_HEIGHT, 0, 0, 0), word=128, stream=0, sequence=0
    ),
    "gap_largest": _largest(Draft(GAP, numbers=(U64_MAX,) * 9, word=2**32 - 1)),
    "update_encoded": replace(_BONDED, word=1),
    "removal_encoded": Draft(REMOVAL, (*_KEYS[:2], None), word=1),
    "staking_reward_encoded": Draft(REWARD, _STAKERS, (1, 2), word=1),
    "block_encoded": Draft(BLOCK, (b"block",), word=2**32 - 1),
    "payload_encoded": Draft(PAYLOAD, (None, b"org.example.a", b""), word=0x8000_0001),
    "peer_seen": Draft(PEER_SEEN, (b"peer-1", bytes(range(32)), b"Ada"), word=1),
    "peer_seen_bare": Draft(PEER_SEEN, (b"p", None, None), word=2, height=NO_HEIGHT),
    "peer_forgotten": Draft(PEER_FORGOTTEN, (b"peer-1",)),
    "mark": Draft(
        MARK, (b"slipstream.dead-letter", b'{"ordinal": 7}'), stream=0, sequence=0, height=NO_HEIGHT
    ),
    "mark_empty_body": Draft(MARK, (b"org.example.note", b"")),
    "flags_of_1_0": replace(_BONDED, flags=1 | 2 | 4 | 8),
    "app_32": Draft(32, (b"an application's own",), height=NO_HEIGHT),
    "app_63_empty": Draft(63, (b"",)),
    "flag_critical": replace(_BONDED, flags=1 << 16),
}

# What a later writer may make, and a 1.0 reader has to understand.
LATER: dict[str, Draft] = {
    "grown_mapping_update": replace(_BONDED, grown_header=8, grown_fixed=8),
    "grown_mapping_removal": Draft(REMOVAL, (*_KEYS[:2], None), grown_header=16),
    "grown_gap": Draft(GAP, numbers=(*range(1, 10), 10), word=8),
    "grown_peer_seen": Draft(PEER_SEEN, (b"p", None, b""), word=1, grown_fixed=8),
    "grown_app": Draft(40, (b"own",), grown_header=8, grown_fixed=16),
    "kind_9_reserved": Draft(9, (b"later",)),
    "kind_31_reserved": Draft(31, (b"later",)),
    "kind_64_beyond": Draft(64, (b"never",)),
    "kind_65535_beyond": Draft(65535),
    "flags_all": replace(_BONDED, flags=2**32 - 1),
}
DRAFTS = WRITTEN | LATER


def golden(name: str) -> bytes:
    """The stored bytes of a frame."""
    return bytes.fromhex((GOLDEN / f"{name}.hex").read_text())


def golden_names() -> list[str]:
    """Every stored frame."""
    return sorted(path.stem for path in GOLDEN.glob("*.hex"))


def as_hex(frame: bytes) -> str:
    """A frame in the form in which it is stored: 16 bytes a line."""
    return "".join(frame[at : at + 16].hex() + "\n" for at in range(0, len(frame), 16))


def read_header(data: bytes) -> tuple[int, tuple[int, ...], bytes]:
    """Read one frame: status, fields as guarded_frames prints them, payload."""
    if len(data) < HEADER.size:
        return MALFORMED, (), b""
    whole, header_len, kind, flags, payload_len, *rest = HEADER.unpack_from(data)
    if whole % 8 or whole > min(len(data), FRAME_MAX):
        return MALFORMED, (), b""
    if header_len % 8 or not HEADER.size <= header_len <= whole:
        return MALFORMED, (), b""
    if header_len + payload_len > whole:
        return MALFORMED, (), b""
    status = UNSUPPORTED if flags >> 16 else OK
    payload = data[header_len : header_len + payload_len]
    return status, (kind, flags, *rest, whole, payload_len), payload


def read_payload(kind: int, payload: bytes) -> tuple[int, list[str]]:
    """Read one payload: status, and its values as guarded_frames prints them."""
    app = kind in APP_KINDS
    spans, optional, numbers, more = (0, frozenset[int](), 0, 0) if app else SHAPES[kind]
    known = 8 + 8 * (spans + numbers + more)
    if len(payload) < known:
        return MALFORMED, []
    fixed, word = struct.unpack_from("<II", payload)
    if fixed % 8 or not known <= fixed <= len(payload):
        return MALFORMED, []
    values = []
    for number in range(spans):
        offset, length = struct.unpack_from("<II", payload, 8 + 8 * number)
        if (offset, length) == (0, 0):
            if number not in optional:
                return MALFORMED, []
            values.append("absent")
        elif offset < fixed or offset + length > len(payload):
            return MALFORMED, []
        else:
            values.append("=" + payload[offset : offset + length].hex())
    if kind in WITH_WORD:
        values.append(str(word))
    values += map(str, struct.unpack_from(f"<{numbers}Q", payload, 8 + 8 * spans))
    if app:
        values.append("=" + payload[fixed:].hex())
    return OK, values


def describe(run: bytes) -> str:
    """The line that guarded_frames has to print for a run."""
    parts = [str(read_header(run)[0])]
    at = 0
    while at < len(run):
        status, fields, payload = read_header(run[at:])
        if status == MALFORMED:
            return " ; ".join((*parts, f"{MALFORMED} at {at}"))
        kind, whole = fields[0], fields[-2]
        statuses, values = [], list[str]()
        for reader in READERS:
            mine = kind in reader if isinstance(reader, range) else kind == reader
            answer, found = read_payload(kind, payload) if mine else (WRONG_TYPE, [])
            statuses.append(answer)
            values += found
        words = (status, *fields, ":", *statuses, *values)
        parts.append(" ".join(map(str, words)))
        at += whole
    return " ; ".join((*parts, f"{END} at {at}"))


def write_golden(folder: Path) -> None:
    """Write every frame in binary, as seeds for a fuzzer."""
    for name in golden_names():
        (folder / f"{name}.frame").write_bytes(golden(name))
