"""The streams that a daemon knows, and up to where each is settled, kept over crashes.

The file: 16 bytes of header, then records of 40 bytes, little-endian: u64 stream, u64 settled,
u64 dead, u64 told, u32 CRC-32 of these, u32 0. The last record of a stream counts. A record that is
damaged at the end was never told to anybody: it is cut off. One in the middle is passed over.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from slipstream.errors import ConfigError
from slipstream.files import limit_hint

STREAMS_MAX = 65_536

_HEADER = b"\x93SLIPSET" + (1).to_bytes(4, "little") + bytes(4)
_RECORD = struct.Struct("<QQQQ")
_CHECK = struct.Struct("<II")
_SIZE = _RECORD.size + _CHECK.size
_ROOM = 1 << 20  # bytes; from there on the file is written anew, without what is outdated


@dataclass(slots=True, eq=False)
class StreamState:
    """What is known of one stream. The event path writes `accepted`, asyncio the rest.

    Attributes:
        stream: Its number; 0 for the events of one connection that have none.
        accepted: The last sequence that is on its way to the plugins.
        settled: Up to here everything is settled, and that is on the disk.
        dead: How many were refused for good.
        told: How many were lost, and told.
        owner: Who brings its events at present.
    """

    stream: int
    accepted: int = 0
    settled: int = 0
    dead: int = 0
    told: int = 0
    owner: object = field(default=None, repr=False)


class TooManyStreams(Exception):
    """No more streams are kept."""


class Streams:
    """The streams of a daemon, and their file.

    Attributes:
        damaged: How many records in the middle of the file could not be read: a disk's fault.
    """

    def __init__(self, path: Path | None) -> None:
        """Read the file, and open it for appending; None keeps nothing.

        Raises:
            ConfigError: It cannot be read or written, or is something else.
        """
        self.states: dict[int, StreamState] = {}
        self.damaged = 0
        self._path = path
        self._file = -1
        self._bytes = 0
        if path is None:
            return
        try:
            self._open(path)
        except ConfigError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise ConfigError(
                f"cannot open {path}: {error.strerror}",
                limit_hint(error.errno)
                or "check that this user may write there, and that there is room",
            ) from None

    def _open(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        data = Path(path).read_bytes()
        if len(data) < len(_HEADER):  # it was cut off when it was made
            if not _HEADER.startswith(data):
                raise _no_such_file(path)
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, _HEADER, 0)
            data = _HEADER
        if not data.startswith(_HEADER):
            raise _no_such_file(path)
        end = len(_HEADER)
        bad = 0
        for at in range(len(_HEADER), len(data) - _SIZE + 1, _SIZE):
            check, _ = _CHECK.unpack_from(data, at + _RECORD.size)
            if zlib.crc32(data[at : at + _RECORD.size]) != check:
                bad += 1
                continue
            stream, settled, dead, told = _RECORD.unpack_from(data, at)
            self.states[stream] = StreamState(stream, settled, settled, dead, told)
            self.damaged, end = bad, at + _SIZE
        os.ftruncate(self._file, end)
        os.fsync(self._file)
        self._bytes = end

    def get(self, stream: int) -> StreamState:
        """Return a stream's state; a new one for stream 0, and where there was none.

        Raises:
            TooManyStreams: That would be one too many.
        """
        if stream == 0:
            return StreamState(0)
        state = self.states.get(stream)
        if state is None:
            if len(self.states) >= STREAMS_MAX:
                raise TooManyStreams
            state = self.states[stream] = StreamState(stream)
        return state

    def keep(self, changes: list[tuple[int, int, int, int]]) -> None:
        """Write these down, so that they outlive a crash of the machine.

        Args:
            changes: Stream, settled, dead and told of each.

        Raises:
            OSError: That cannot be done.
        """
        if self._path is None:
            return
        data = b"".join(_record(*change) for change in changes if change[0])
        if not data:
            return
        room = max(_ROOM, 4 * _SIZE * len(self.states))
        if self._bytes + len(data) > room or not os.fstat(self._file).st_nlink:  # it was removed
            self._write_anew(self._path, {change[0]: change for change in changes})
            return
        if os.pwrite(self._file, data, self._bytes) < len(data):
            os.ftruncate(self._file, self._bytes)
            raise OSError(28, "No space left on device")
        os.fdatasync(self._file)
        self._bytes += len(data)

    def _write_anew(self, path: Path, changes: dict[int, tuple[int, int, int, int]]) -> None:
        kept = {s.stream: (s.stream, s.settled, s.dead, s.told) for s in list(self.states.values())}
        kept |= changes
        data = _HEADER + b"".join(_record(*one) for one in kept.values() if one[0] and one[1])
        beside = path.with_name(path.name + ".new")
        file = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            written = 0
            while written < len(data):
                written += os.write(file, data[written:])
            os.fsync(file)
            beside.replace(path)
            sync_folder(path.parent)
        except BaseException:
            os.close(file)
            raise
        os.close(self._file)
        self._file, self._bytes = file, len(data)

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _record(stream: int, settled: int, dead: int, told: int) -> bytes:
    fields = _RECORD.pack(stream, settled, dead, told)
    return fields + _CHECK.pack(zlib.crc32(fields), 0)


def _no_such_file(path: Path) -> ConfigError:
    return ConfigError(
        f"{path} is not the file in which a daemon keeps what is settled",
        "move it away, or choose another data folder",
    )


def sync_folder(folder: Path) -> None:
    """Make what was renamed in a folder outlive a crash of the machine."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
