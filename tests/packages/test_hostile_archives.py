"""Archives that were made to do harm: each is refused with a text of its own, and leaves nothing."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from pathlib import Path

import pytest

from slipstream.errors import PackageError
from slipstream.packages.archive import Archive
from slipstream.packages.sealed import Sealed
from slipstream.packages.zips import Zip
from support.zips import End, Part, zip_of

META = {"name": "hello", "version": "1.0.0", "entrypoint": "hello.so"}


def meta(**more: object) -> Part:
    return Part(name="plugin-meta.json", data=json.dumps({**META, **more}).encode())


def listed(files: dict[str, bytes], **more: object) -> Part:
    return meta(files={name: hashlib.sha256(data).hexdigest() for name, data in files.items()})


ZEROS = bytes(8 * 1024 * 1024)
SO = Part(name="hello.so", data=b"not yet looked at")
GOOD = (meta(), SO)
WHOLE = zip_of(*GOOD)
OVER = Part(name="a", data=b"one", is_there=False, at=0)
ZIP64 = struct.pack("<HHQ", 1, 8, 1)


def with_name(name: str | bytes, **more: object) -> bytes:
    return zip_of(*GOOD, Part(name=name, **{"data": b"x", **more}))  # type: ignore[arg-type]


def bomb() -> bytes:
    """42 kB that would become 4 GB: one piece of data that many entries claim."""
    packed = Part(name="0", data=bytes(4 * 1024 * 1024), method=8)
    raw = packed.bytes_of()
    more = [
        Part(name=str(n), method=8, packed=raw, size=4 * 1024 * 1024, crc=0, is_there=False, at=0)
        for n in range(1, 900)
    ]
    return zip_of(packed, *more)


CASES: dict[str, tuple[bytes, str]] = {
    # Names that lead elsewhere, or that two disks or two readers take for different things.
    "dots": (with_name("../evil"), "leads out of the archive with .."),
    "dots inside": (with_name("a/../../evil"), "leads out of the archive with .."),
    "absolute": (with_name("/etc/evil"), "is absolute"),
    "backslash": (with_name("..\\evil"), "has a backslash"),
    "drive": (with_name("C:evil"), "has a colon"),
    "NUL": (with_name(b"evil\0.txt"), "has a NUL"),
    "control character": (with_name(b"evil\x1b[2J"), "an invisible character"),
    "right to left": (with_name("evil\u202etxt.so"), "an invisible character"),
    "empty name": (with_name(""), "an entry has no name"),
    "empty step": (with_name("a//b"), "has an empty step"),
    "dot step": (with_name("a/./b"), "has an empty step"),
    "blank at the end": (with_name("evil.txt "), "ends with a space or a dot"),
    "device name": (with_name("sub/NUL.txt"), "a device on some systems"),
    "no encoding": (with_name(b"\xff\xfe"), "is in no known encoding"),
    "not said to be UTF-8": (with_name("é", flags=0), "is in no known encoding"),
    "too long": (with_name("x/" * 20 + "y" * 1000), "a name has 1040 bytes, more than 1024"),
    "long step": (with_name("y" * 201), "a step of a name has more than 200 bytes"),
    "too deep": (with_name("x/" * 40 + "y"), "goes 41 folders deep"),
    "equal without case": (with_name("HELLO.so"), "hello.so and HELLO.so are one name"),
    "equal without form": (
        zip_of(*GOOD, Part(name="caf\u00e9"), Part(name="cafe\u0301")),
        "are one name on some disks",
    ),
    "folders without case": (
        zip_of(*GOOD, Part(name="A/x"), Part(name="a/y")),
        "the folders A and a are one",
    ),
    "file as folder": (
        zip_of(*GOOD, Part(name="a"), Part(name="a/b")),
        "a is a file, and a/b lies in it",
    ),
    "two metas": (zip_of(meta(), meta(), SO), "plugin-meta.json is in it twice"),
    "twice": (zip_of(*GOOD, SO), "hello.so is in it twice"),
    # What is no plain file.
    "symbolic link": (with_name("evil", mode=0o120777), "evil is a symbolic link"),
    "character device": (with_name("evil", mode=0o020666), "evil is a device"),
    "FIFO": (with_name("evil", mode=0o010666), "evil is a FIFO"),
    "socket": (with_name("evil", mode=0o140666), "evil is a socket"),
    "unknown kind": (with_name("evil", mode=0o170666), "of an unknown kind"),
    "setuid": (with_name("evil", mode=0o104755), "setuid, setgid or sticky"),
    "folder as file": (with_name("evil", mode=0o040755), "a folder by its mode, and a file"),
    "file as a folder": (
        zip_of(*GOOD, Part(name="evil/", mode=0o100644)),
        "a file by its mode, and a folder",
    ),
    "folder with content": (with_name("evil/", mode=0o040755), "the folder evil has content"),
    # Too much.
    "10,000 files": (
        zip_of(meta(), SO, *(Part(name=f"f{n}") for n in range(9998))),
        "it has 10000 entries",
    ),
    "great": (
        zip_of(Part(name="big", data=ZEROS, method=8)),
        "to 8388608 bytes, more than 100 times",
    ),
    "overlapping bomb": (bomb(), "more than 100 times"),
    "4 GB said": (
        with_name("evil", method=8, size=0xFFFFFFF0, packed=b"\3\0"),
        "grows from 2 to 4294967280",
    ),
    "more than it says": (
        with_name(
            "evil",
            method=8,
            packed=Part(name="", data=b"x" * 9000, method=8).bytes_of(),
            size=1,
            crc=0,
        ),
        "unpacks to more bytes than it says",
    ),
    "less than it says": (
        with_name("evil", method=8, packed=b"\3\0", size=7, crc=0),
        "7 bytes fewer than it says",
    ),
    # Directory and data do not go together.
    "wrong CRC": (with_name("evil", crc=1), "has another checksum than it says"),
    "overlapping": (zip_of(*GOOD, OVER), "a overlaps another entry"),
    "prepended": (b"#!/bin/sh\n" + WHOLE, "10 bytes stand before it"),
    "prepended and mended": (
        zip_of(Part(name="plugin-meta.json", data=meta().data, before=b"#!/bin/sh\n"), SO),
        "10 bytes stand before its first entry",
    ),
    "between": (
        zip_of(meta(), Part(name="hello.so", before=b"hidden")),
        "6 bytes stand before hello.so",
    ),
    "before the directory": (zip_of(*GOOD, end=End(gap=b"hidden")), "before its directory unused"),
    "unlisted": (
        zip_of(*GOOD, Part(name="evil", is_listed=False)),
        "34 bytes stand before its directory",
    ),
    "appended": (WHOLE + b"#!/bin/sh\n", "10 bytes are appended after its end"),
    "second archive": (WHOLE + WHOLE, "stand before it, or between its directory and its end"),
    "comment": (zip_of(*GOOD, end=End(comment=b"hi")), "it has a comment"),
    "comment that is none": (
        zip_of(*GOOD, end=End(comment_len=5)),
        "says that 5 bytes follow, and none do",
    ),
    "cut off": (WHOLE[:-30], "it is cut off"),
    "no zip": (b"\x7fELF" + bytes(100), "it is not a zip file"),
    "nothing": (b"", "it is not a zip file"),
    "nothing in it": (zip_of(), "there is nothing in it"),
    "other name": (with_name("good", local_name=b"evil"), "good has another name at its own place"),
    "other size": (with_name("evil", local_size=9), "another size or checksum at its own place"),
    "other flags": (with_name("evil", local_flags=2048 | 2), "other flags at its own place"),
    "no local entry": (
        with_name("evil", local_magic=b"PK\5\5"),
        "no entry where evil should begin",
    ),
    "outside": (with_name("evil", at=10**6, is_there=False), "evil is said to lie outside"),
    "into the directory": (
        with_name("evil", packed_size=10**4, size=10**4, method=0, local_size=10**4),
        "evil reaches into the directory",
    ),
    "wrong descriptor": (
        with_name("evil", flags=2048 | 8, local_crc=0, local_size=0, descriptor=bytes(12)),
        "another size or checksum after its data",
    ),
    "two sizes": (with_name("evil", size=2), "is stored as it is, and has two sizes"),
    "damaged deflate": (
        with_name("evil", method=8, packed=b"\xff" * 9, size=9),
        "compressed data of evil is damaged",
    ),
    "behind deflate": (
        with_name("evil", method=8, packed=b"\3\0hidden", size=0, crc=0),
        "there are bytes after the compressed data",
    ),
    "cut deflate": (
        with_name("evil", method=8, packed=b"\0\3\0\xfc\xffab", size=2, crc=0),
        "the compressed data of evil is cut off",
    ),
    # Lies in records.
    "zip64 locator": (
        zip_of(*GOOD, end=End(before=b"PK\6\7" + bytes(16))),
        "it has a zip64 end record",
    ),
    "zip64 marks": (zip_of(*GOOD, end=End(at=0xFFFFFFFF)), "its end record has zip64's marks"),
    "zip64 sizes": (with_name("evil", extra=ZIP64), "evil has sizes in zip64, too"),
    "zip64 local sizes": (with_name("evil", local_extra=ZIP64), "evil has sizes in zip64, too"),
    "zip64 entry": (with_name("evil", size=0xFFFFFFFF), "evil has zip64's marks instead"),
    "other name in an extra field": (
        with_name("evil", extra=struct.pack("<HH", 0x7075, 1) + b"x"),
        "another name in an extra",
    ),
    "extra field": (with_name("evil", extra=b"\1\2\3"), "evil has a damaged extra field"),
    "long extra field": (
        with_name("evil", extra=struct.pack("<HH", 9, 99)),
        "an extra field of evil reaches over",
    ),
    "count": (zip_of(*GOOD, end=End(count=1)), "says 1 entry, and 2 on this disk"),
    "more entries": (
        zip_of(*GOOD, end=End(count=3, here=3)),
        "entry 3 of its directory is cut off",
    ),
    "fewer entries": (zip_of(*GOOD, end=End(count=1, here=1)), "54 bytes more than its entries"),
    "long directory": (zip_of(*GOOD, end=End(length=10**6)), "reach over its end record"),
    "disks": (zip_of(*GOOD, end=End(disk=1)), "it is one of several disks"),
    "other disk": (with_name("evil", disk=1), "evil lies on another disk"),
    "encrypted": (with_name("evil", flags=2048 | 1), "evil is encrypted"),
    "patch": (with_name("evil", flags=2048 | 32), "evil is a patch"),
    "method": (with_name("evil", method=12), "compressed by method 12, not by deflate"),
    # What it says of itself.
    "no meta": (zip_of(SO), "it has no plugin-meta.json at its top"),
    "meta below": (zip_of(Part(name="a/plugin-meta.json"), SO), "no plugin-meta.json at its top"),
    "meta is a folder": (
        zip_of(Part(name="plugin-meta.json/", mode=0o040755), SO),
        "no plugin-meta.json at its top",
    ),
    "meta is no JSON": (
        zip_of(Part(name="plugin-meta.json", data=b"{"), SO),
        "plugin-meta.json is refused",
    ),
    "meta is not UTF-8": (zip_of(Part(name="plugin-meta.json", data=b"\xff"), SO), "is not UTF-8"),
    "meta too large": (
        zip_of(Part(name="plugin-meta.json", data=b" " * 300_000), SO),
        "is larger than 256 KiB",
    ),
    "meta says a key twice": (
        zip_of(Part(name="plugin-meta.json", data=b'{"name":"a","name":"b"}'), SO),
        "set twice",
    ),
    "no entrypoint": (zip_of(meta(entrypoint=None), SO), "entrypoint is missing"),
    "entrypoint outside": (
        zip_of(meta(entrypoint="../x.so"), SO),
        "not a file at the top",
    ),
    "entrypoint not there": (zip_of(meta(entrypoint="x.so"), SO), "entrypoint x.so is not in it"),
    "name outside": (zip_of(meta(name="../x"), SO), "is not a valid name for a package"),
    "version outside": (zip_of(meta(version="1/../2"), SO), "is not a valid version for a package"),
    "other architecture": (
        zip_of(meta(os="linux", arch="vax"), SO),
        "it is for linux on vax, and not for this machine",
    ),
    "other ABI": (zip_of(meta(abi=2), SO), "it is for major 2 of the ABI"),
    "not listed": (
        zip_of(listed({"hello.so": SO.data}), SO, Part(name="evil")),
        "evil is not listed",
    ),
    "listed and missing": (
        zip_of(listed({"hello.so": SO.data, "b": b""}), SO),
        "b is listed in its plugin-meta.json",
    ),
    "other digest": (
        zip_of(listed({"hello.so": b"other"}), SO),
        "is not what its plugin-meta.json",
    ),
    "no library": (zip_of(*GOOD), "its library is refused"),
}


def test_there_are_fifty_and_more() -> None:
    assert len(CASES) >= 50
    assert len({text for _, text in CASES.values()}) >= 50


@pytest.mark.parametrize("case", CASES)
def test_hostile_archives_are_refused(case: str, tmp_path: Path) -> None:
    content, text = CASES[case]
    path = tmp_path / "hello-1.0.0.zip"
    path.write_bytes(content)
    with pytest.raises(PackageError) as caught:
        Archive.read(path).unpack(tmp_path / "into")
    assert text in caught.value.message
    assert caught.value.hint
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_one_that_is_another_than_was_asked_for(tmp_path: Path, library) -> None:
    from slipstream.packages.names import PackageName

    so = Part(name="hello.so", data=library().read_bytes())
    archive = Archive(Sealed("it", [zip_of(meta(), so)]))
    archive.require(PackageName("hello", "1.0.0"))
    for name, version in (("hello", "1.0.1"), ("hallo", "1.0.0")):
        with pytest.raises(PackageError, match=f"and {name}-{version} was asked for"):
            archive.require(PackageName(name, version))


def test_there_is_a_limit() -> None:
    with pytest.raises(PackageError, match="it is larger than 0 MiB"):
        Sealed("it", [b"x"], most=0)


def test_what_is_sealed_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"checked")
    sealed = Sealed.read(path)
    path.write_bytes(b"swapped")
    assert sealed.path.read_bytes() == b"checked"
    for mode in ("r+b", "ab", "wb"):
        with pytest.raises(PermissionError), sealed.path.open(mode) as file:
            file.write(b"x")
            file.flush()
    with pytest.raises(PermissionError):
        os.truncate(sealed.path, 1)
    assert bytes(sealed.view) == b"checked"
    assert sealed.digest == hashlib.sha256(b"checked").hexdigest()


@pytest.mark.parametrize("seed", range(4))
def test_damaged_archives_are_refused_or_whole(seed: int) -> None:
    """Whatever is changed of an archive: it is refused as such, or its contents are as they were."""
    import random

    draw = random.Random(seed)
    parts = [meta(), SO, Part(name="a/b.txt", data=b"some text " * 50, method=8)]
    good = zip_of(*parts)
    contents = {part.name: part.data for part in parts}
    refused = 0
    for _ in range(1500):
        data = bytearray(good)
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(len(data))
            change = draw.randrange(4)
            if change == 0:
                data[at] = draw.randrange(256)
            elif change == 1:
                data[at : at + draw.randint(1, 4)] = b""
            elif change == 2:
                data[at:at] = draw.randbytes(draw.randint(1, 4))
            else:
                data[at : at + 4] = struct.pack("<I", draw.choice([0, 1, 2**16, 2**31, 2**32 - 1]))
        try:
            found = Zip(memoryview(bytes(data)), "it")
            read = {
                name: b"".join(found.pieces(entry))
                for name, entry in found.entries.items()
                if not entry.is_folder
            }
        except PackageError:
            refused += 1
        else:
            assert all(contents.get(name, content) == content for name, content in read.items())
    assert refused > 1200
