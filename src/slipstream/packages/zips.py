"""Zip files, read strictly: what two readers could understand in two ways is refused.

The layout is that of PKWARE's APPNOTE.TXT, 6.3. Of it a package uses little: stored or deflated
files that lie side by side without a gap, a directory of them, and its end record, which is the end
of the file. There is no encryption, no second disk, no zip64 and no comment.
"""

from __future__ import annotations

import re
import stat
import struct
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from slipstream.errors import PackageError
from slipstream.packages.sealed import MEBIBYTE, MOST_BYTES
from slipstream.text import counted, printable

MOST_FILES = 1000
MOST_RATIO = 100
_SMALL = 64 * 1024  # so much may come out of little; a text of blanks is no bomb
_NAME_BYTES, _STEP_BYTES, _STEPS = 1024, 200, 32

_END = struct.Struct("<4s4H2IH")
_CENTRAL = struct.Struct("<4s2BHHH2HIIIHHHHHII")
_LOCAL = struct.Struct("<4s3H2HIIIHH")
_END_MAGIC, _CENTRAL_MAGIC, _LOCAL_MAGIC = b"PK\5\6", b"PK\1\2", b"PK\3\4"
_DESCRIPTOR_MAGIC, _LOCATOR_MAGIC = b"PK\7\x08", b"PK\6\7"
_ENCRYPTED, _BEHIND, _PATCHED, _STRONG, _MASKED, _UTF8 = 1, 8, 32, 64, 8192, 2048
_STORED, _DEFLATED = 0, 8
_ZIP64, _OTHER_NAME = 0x0001, 0x7075
_UNIX = 3
_FULL_16, _FULL_32 = 0xFFFF, 0xFFFFFFFF
_PIECE = 256 * 1024
_FORBIDDEN = (
    (re.compile("\0"), "has a NUL in it"),
    (
        re.compile("[\x01-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]"),
        "has an invisible character",
    ),
    (re.compile(r"\\"), "has a backslash in it"),
    (re.compile("^/"), "is absolute"),
    (re.compile(":"), "has a colon: a drive or a stream"),
)
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")

_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder of an archive.

    Attributes:
        name: Its path, with ``/``; a folder's without the last one.
        is_folder: Whether it is a folder.
        size: Of its content, in bytes.
        crc: CRC-32 of its content.
        method: How it is compressed.
        start: Where its data begins.
        packed: How many bytes that is.
    """

    name: str
    is_folder: bool
    size: int
    crc: int
    method: int
    start: int
    packed: int


class Zip:
    """The directory of an archive, checked whole; contents are checked when they are read.

    Attributes:
        entries: Its files and folders by their names, in the order in which they lie.
    """

    def __init__(self, data: memoryview, name: str) -> None:
        """Read the directory.

        Args:
            data: The archive; nobody changes it meanwhile.
            name: The archive, as errors shall name it.

        Raises:
            PackageError: It is no zip file, or one of those that are refused.
        """
        self._data, self._name = data, name
        self.entries: dict[str, Entry] = {}
        at, end, count = self._find_directory()
        self._read_directory(at, end, count)
        self._refuse_likeness()

    def refuse(
        self, problem: str, hint: str = "build it again with slipstream package build"
    ) -> PackageError:
        """Make the error for the archive, to be raised."""
        return PackageError(f"{self._name} is refused: {problem}", hint)

    # ---- The end, and the directory ---------------------------------------------------------

    def _find_directory(self) -> tuple[int, int, int]:
        data, end = self._data, len(self._data) - _END.size
        if end < 0 or bytes(data[end : end + 4]) != _END_MAGIC:
            raise self._no_end()
        _, disk, first_disk, here, count, length, at, comment = _END.unpack_from(data, end)
        if comment:
            follow = counted(comment, "byte follows", "bytes follow")
            raise self.refuse(f"its end record says that {follow}, and none do")
        if end >= 20 and bytes(data[end - 20 : end - 16]) == _LOCATOR_MAGIC:
            raise self.refuse("it has a zip64 end record; a package is never so large")
        if disk or first_disk:
            raise self.refuse("it is one of several disks")
        if _FULL_16 in {here, count} or _FULL_32 in {length, at}:
            raise self.refuse("its end record has zip64's marks, and there is no zip64 record")
        self._check_end(count, here, at + length, end)
        return at, end, count

    def _check_end(self, count: int, here: int, over: int, end: int) -> None:
        if here != count:
            raise self.refuse(
                f"its end record says {counted(count, 'entry', 'entries')}, and {here} on this disk"
            )
        if count == 0:
            raise self.refuse("there is nothing in it")
        if count > MOST_FILES:
            raise self.refuse(f"it has {count} entries; a package has at most {MOST_FILES}")
        if over > end:
            raise self.refuse("its directory is said to reach over its end record")
        if over < end:
            raise self.refuse(
                f"{_stand(end - over)} before it, or between its directory and its end record"
            )

    def _no_end(self) -> PackageError:
        tail = bytes(self._data[-(_END.size + _FULL_16) :])
        found = tail.rfind(_END_MAGIC)
        if found >= 0 and len(tail) - found >= _END.size:
            behind = len(tail) - found - _END.size
            (comment,) = struct.unpack_from("<H", tail, found + _END.size - 2)
            if comment == behind:
                return self.refuse("it has a comment, in which anything could hide")
            return self.refuse(f"{counted(behind, 'byte is', 'bytes are')} appended after its end")
        if len(self._data) >= 4 and bytes(self._data[:4]) == _LOCAL_MAGIC:
            return self.refuse("it is cut off: its end record is missing", "fetch it again")
        return self.refuse("it is not a zip file", "name a package")

    def _read_directory(self, at: int, end: int, count: int) -> None:
        directory, total = at, 0
        found: list[tuple[int, Entry, int]] = []
        for number in range(count):
            at, local, entry, flags = self._read_central(at, end, number)
            if entry.name in self.entries:
                raise self._twice(entry.name)
            self.entries[entry.name] = entry
            found.append((local, entry, flags))
            total += entry.size
        if at != end:
            raise self.refuse(
                f"its directory has {counted(end - at, 'byte')} more than its entries"
            )
        if total > MOST_BYTES:
            raise self.refuse(
                f"what is in it is {total // MEBIBYTE} MiB, more than {MOST_BYTES // MEBIBYTE}"
            )
        if total > _SMALL and total > MOST_RATIO * len(self._data):
            raise self.refuse(f"all of it grows to more than {MOST_RATIO} times its size")
        self._check_layout(found, directory)

    def _check_layout(self, found: list[tuple[int, Entry, int]], directory: int) -> None:
        """See that the entries lie side by side, and fill all up to the directory."""
        covered = 0
        for local, entry, flags in sorted(found, key=lambda one: one[0]):
            if local + _LOCAL.size > directory:
                raise self.refuse(f"{_shown(entry.name)} is said to lie outside of the archive")
            if local < covered:
                raise self.refuse(f"{_shown(entry.name)} overlaps another entry")
            if local > covered:
                where = "before its first entry" if covered == 0 else f"before {_shown(entry.name)}"
                raise self.refuse(f"{_stand(local - covered)} {where} and in no entry")
            whole, covered = self._check_local(local, entry, flags, directory)
            self.entries[entry.name] = whole
        if covered != directory:
            raise self.refuse(f"{_stand(directory - covered)} before its directory unused")

    def _read_central(self, at: int, end: int, number: int) -> tuple[int, int, Entry, int]:
        if at + _CENTRAL.size > end or bytes(self._data[at : at + 4]) != _CENTRAL_MAGIC:
            raise self.refuse(f"entry {number + 1} of its directory is cut off or damaged")
        fields = _CENTRAL.unpack_from(self._data, at)
        system, flags, method = fields[2], fields[4], fields[5]
        crc, packed, size, name_len, extra_len, comment_len = fields[8:14]
        disk, external, local = fields[14], fields[16], fields[17]
        start = at + _CENTRAL.size
        after = start + name_len + extra_len + comment_len
        if after > end:
            raise self.refuse(f"entry {number + 1} of its directory reaches over its end")
        name, is_folder = self._read_name(bytes(self._data[start : start + name_len]), flags)
        extra = bytes(self._data[start + name_len : start + name_len + extra_len])
        self._check_extra(name, extra)
        if _FULL_32 in {packed, size, local} or disk == _FULL_16:
            raise self.refuse(f"{_shown(name)} has zip64's marks instead of its sizes")
        if disk:
            raise self.refuse(f"{_shown(name)} lies on another disk")
        self._check_flags(name, flags, method)
        self._check_kind(name, is_folder, system, external)
        self._check_sizes(name, is_folder, method, packed, size)
        return after, local, Entry(name, is_folder, size, crc, method, 0, packed), flags

    def _check_flags(self, name: str, flags: int, method: int) -> None:
        if flags & (_ENCRYPTED | _STRONG | _MASKED):
            raise self.refuse(f"{_shown(name)} is encrypted")
        if flags & _PATCHED:
            raise self.refuse(f"{_shown(name)} is a patch of another file")
        if method not in {_STORED, _DEFLATED}:
            raise self.refuse(f"{_shown(name)} is compressed by method {method}, not by deflate")

    def _check_kind(self, name: str, is_folder: bool, system: int, external: int) -> None:  # noqa: FBT001
        mode = external >> 16 if system == _UNIX else 0
        kind = stat.S_IFMT(mode)
        if kind in _KINDS:
            raise self.refuse(f"{_shown(name)} is {_KINDS[kind]}")
        if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
            raise self.refuse(f"{_shown(name)} is of an unknown kind ({kind:#o})")
        if mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX):
            raise self.refuse(f"{_shown(name)} has setuid, setgid or sticky set")
        said = kind == stat.S_IFDIR or (kind == 0 and bool(external & 0x10))
        if said and not is_folder:
            raise self.refuse(f"{_shown(name)} is a folder by its mode, and a file by its name")
        if kind == stat.S_IFREG and is_folder:
            raise self.refuse(f"{_shown(name)} is a file by its mode, and a folder by its name")

    def _check_sizes(self, name: str, is_folder: bool, method: int, packed: int, size: int) -> None:  # noqa: FBT001
        if is_folder and (packed or size):
            raise self.refuse(f"the folder {_shown(name)} has content")
        if method == _STORED and packed != size:
            raise self.refuse(f"{_shown(name)} is stored as it is, and has two sizes")
        if size > _SMALL and size > MOST_RATIO * packed:
            raise self.refuse(
                f"{_shown(name)} grows from {packed} to {size} bytes, more than {MOST_RATIO} times"
            )

    def _check_extra(self, name: str, extra: bytes) -> None:
        at = 0
        while at < len(extra):
            if at + 4 > len(extra):
                raise self.refuse(f"{_shown(name)} has a damaged extra field")
            kind, length = struct.unpack_from("<2H", extra, at)
            at += 4 + length
            if at > len(extra):
                raise self.refuse(f"an extra field of {_shown(name)} reaches over its end")
            if kind == _ZIP64:
                raise self.refuse(f"{_shown(name)} has sizes in zip64, too")
            if kind == _OTHER_NAME:
                raise self.refuse(f"{_shown(name)} has another name in an extra field")

    def _check_local(self, at: int, entry: Entry, flags: int, directory: int) -> tuple[Entry, int]:
        """Hold an entry against its own header; return it whole, and where it ends."""
        name = _shown(entry.name)
        magic, _needed, own_flags, method, _time, _date, crc, packed, size, name_len, extra_len = (
            _LOCAL.unpack_from(self._data, at)
        )
        if magic != _LOCAL_MAGIC:
            raise self.refuse(f"there is no entry where {name} should begin")
        start = at + _LOCAL.size + name_len + extra_len
        end = start + entry.packed
        if end > directory:
            raise self.refuse(f"{name} reaches into the directory")
        raw = bytes(self._data[at + _LOCAL.size : at + _LOCAL.size + name_len])
        if self._read_name(raw, own_flags)[0] != entry.name:
            own = _shown(raw.decode("utf-8", "replace"))
            raise self.refuse(f"{name} has another name at its own place: {own}")
        self._check_extra(entry.name, bytes(self._data[start - extra_len : start]))
        if (own_flags, method) != (flags, entry.method):
            raise self.refuse(f"{name} has other flags at its own place")
        behind = bool(flags & _BEHIND)
        said = (crc, packed, size)
        meant = (entry.crc, entry.packed, entry.size)
        if said != meant and not (behind and said == (0, 0, 0)):
            raise self.refuse(f"{name} has another size or checksum at its own place")
        if behind:
            end = self._skip_descriptor(end, meant, name, directory)
        whole = Entry(
            entry.name, entry.is_folder, entry.size, entry.crc, entry.method, start, entry.packed
        )
        return whole, end

    def _skip_descriptor(
        self, at: int, meant: tuple[int, int, int], name: str, directory: int
    ) -> int:
        at += 4 if bytes(self._data[at : at + 4]) == _DESCRIPTOR_MAGIC else 0
        if at + 12 > directory or struct.unpack_from("<3I", self._data, at) != meant:
            raise self.refuse(f"{name} has another size or checksum after its data")
        return at + 12

    # ---- Names ------------------------------------------------------------------------------

    def _read_name(self, raw: bytes, flags: int) -> tuple[str, bool]:
        try:
            name = raw.decode("utf-8" if flags & _UTF8 else "ascii")
        except UnicodeDecodeError:
            name = _shown(raw.decode("utf-8", "backslashreplace"))
            raise self.refuse(f"the name {name} is in no known encoding") from None
        shown = _shown(name)
        if not name:
            raise self.refuse("an entry has no name")
        for mark, problem in _FORBIDDEN:
            if mark.search(name):
                raise self.refuse(f"the name {shown} {problem}")
        if len(raw) > _NAME_BYTES:
            raise self.refuse(f"a name has {len(raw)} bytes, more than {_NAME_BYTES}")
        steps = name.removesuffix("/").split("/")
        if len(steps) > _STEPS:
            raise self.refuse(f"a name goes {len(steps)} folders deep, more than {_STEPS}")
        for step in steps:
            self._check_step(step, shown)
        return "/".join(steps), name.endswith("/")

    def _check_step(self, step: str, shown: str) -> None:
        if step == "..":
            raise self.refuse(f"the name {shown} leads out of the archive with ..")
        if step in {"", "."}:
            raise self.refuse(f"the name {shown} has an empty step")
        if len(step.encode()) > _STEP_BYTES:
            raise self.refuse(f"a step of a name has more than {_STEP_BYTES} bytes")
        if step[-1] in " .":
            raise self.refuse(f"the name {shown} ends with a space or a dot, which some disks drop")
        if _DEVICES.fullmatch(step):
            raise self.refuse(f"the name {shown} is that of a device on some systems")

    def _twice(self, name: str) -> PackageError:
        if name == "plugin-meta.json":
            return self.refuse("plugin-meta.json is in it twice")
        return self.refuse(f"{_shown(name)} is in it twice")

    def _refuse_likeness(self) -> None:
        """Refuse names that are one on a disk that is blind for case or for Unicode's forms."""
        seen: dict[str, str] = {}
        for name in self.entries:
            like = _folded(name)
            if like in seen:
                raise self.refuse(
                    f"{_shown(seen[like])} and {_shown(name)} are one name on some disks"
                )
            seen[like] = name
        for name in self.entries:
            above = name
            while "/" in above:
                above = above.rpartition("/")[0]
                real = seen.setdefault(_folded(above), above)
                if real in self.entries and not self.entries[real].is_folder:
                    raise self.refuse(f"{_shown(real)} is a file, and {_shown(name)} lies in it")
                if real != above:
                    raise self.refuse(
                        f"the folders {_shown(real)} and {_shown(above)} are one on some disks"
                    )

    # ---- Contents ---------------------------------------------------------------------------

    def pieces(self, entry: Entry) -> Iterator[bytes]:
        """Yield an entry's content; never more than its size.

        Raises:
            PackageError: It is not what the directory says.
        """
        name, crc, left = _shown(entry.name), 0, entry.size
        for piece in self._unpacked(entry, name):
            left -= len(piece)
            if left < 0:
                raise self.refuse(f"{name} unpacks to more bytes than it says")
            crc = zlib.crc32(piece, crc)
            yield piece
        if left:
            raise self.refuse(f"{name} unpacks to {counted(left, 'byte')} fewer than it says")
        if crc != entry.crc:
            raise self.refuse(f"{name} has another checksum than it says: it is damaged")

    def _unpacked(self, entry: Entry, name: str) -> Iterator[bytes]:
        data = self._data[entry.start : entry.start + entry.packed]
        if entry.method == _STORED:
            for at in range(0, len(data), _PIECE):
                yield bytes(data[at : at + _PIECE])
            return
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)

        def unpacked(packed: bytes) -> bytes:
            try:
                return unpacker.decompress(packed, _PIECE)
            except zlib.error:
                raise self.refuse(f"the compressed data of {name} is damaged") from None

        for at in range(0, len(data), _PIECE):
            rest = bytes(data[at : at + _PIECE])
            while rest:
                piece = unpacked(rest)
                rest = unpacker.unconsumed_tail
                yield piece
                if unpacker.eof and (unpacker.unused_data or at + _PIECE < len(data)):
                    raise self.refuse(f"there are bytes after the compressed data of {name}")
        while not unpacker.eof and (piece := unpacked(unpacker.unconsumed_tail)):
            yield piece
        if not unpacker.eof:
            raise self.refuse(f"the compressed data of {name} is cut off")

    def content(self, entry: Entry, most: int) -> bytes:
        """Return a small entry's content.

        Raises:
            PackageError: It is larger, or not what the directory says.
        """
        if entry.size > most:
            raise self.refuse(f"{_shown(entry.name)} is larger than {most // 1024} KiB")
        return b"".join(self.pieces(entry))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", name).casefold())


def _stand(count: int) -> str:
    return counted(count, "byte stands", "bytes stand")


def _shown(name: str) -> str:
    shown = printable(name)
    return shown if len(shown) <= 80 else f"{shown[:79]}…"
