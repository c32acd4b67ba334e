"""What each fuzzer of this folder begins with: real libraries, real frames, and what host and worker
say to each other when all is well.

python tests/fuzz/seeds.py FOLDER      writes them to FOLDER/TARGET
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "abi")]

import abi_frames  # noqa: E402 - from tests/abi
from slipstream import _native  # noqa: E402
from slipstream.config._packed import pack  # noqa: E402
from support.foreign_libraries import (  # noqa: E402
    CODE,
    CONSTANT,
    WRITABLE,
    X86_64,
    Export,
    fat,
    macho,
    pe,
    plugin,
)  # fmt: skip

TARGETS = tuple(sorted(path.stem for path in HERE.glob("*.c") if path.stem != "driver"))
LARGEST = 64 * 1024

INFO = b'SLIPINFO1\n{"name": "seed"}\0'
# native/process/protocol.h
START, CONFIG, LOAD, RUN, UNLOAD, EXIT = range(1, 7)
OPENED, REFUSED, LOADED, FAILED_LOAD, ENDED, UNLOADED, LOG, REFUSAL, METRIC = range(64, 73)


def _exports() -> Iterator[dict[str, Export]]:
    others = {f"other_{n}": Export(CODE, b"\xc3") for n in range(40)}  # more than is read at once
    yield {**others, **plugin(INFO)}
    yield plugin(None)
    yield plugin(INFO, WRITABLE)
    yield plugin(b"SLIPINFO0\n{}\0")
    yield plugin(INFO[:-1])
    yield {"_create_plugin": Export(CODE, b"\xc3")}
    yield {"slipstream_create_plugin_v2": Export(CODE, b"\xc3")}
    yield {"slipstream_create_plugin_v1": Export(CONSTANT, b"data")}


def _elf() -> Iterator[bytes]:
    for path in [*sorted(ROOT.glob("examples/*/*.so")), Path(_native.MODULE_FILE)]:
        if path.stat().st_size <= LARGEST:
            yield path.read_bytes()


def _pe() -> Iterator[bytes]:
    for exports in _exports():
        yield pe(exports)
        yield pe(exports, bits=32)


def _macho() -> Iterator[bytes]:
    for exports in _exports():
        yield macho(exports)
        yield macho(exports, bits=32)
    small = macho(plugin(INFO))
    for wide in (False, True):
        yield fat({X86_64["macho"]: small, 0x0100000C: small}, wide=wide)


def _frames() -> Iterator[bytes]:
    golden = [abi_frames.golden(name) for name in abi_frames.golden_names()]
    yield from golden
    yield b"".join(golden[:3])


def _lines() -> Iterator[bytes]:
    for path in sorted((ROOT / "examples" / "streams").glob("*.jsonl")):
        with path.open("rb") as file:
            yield b"".join(file.readline() for _ in range(3))
    yield (
        b'{"kind": "MappingUpdate", "stream": "7f", "sequence": 1, "time_ns": 5, "flags": 2, '
        b'"block_height": 3, "program_id_hex": "00", "mapping_name_hex": "", "key_hex": "0aF0", '
        b'"value_hex": "00", "encoding": 4, "remark": "\\n\\\\", "other": 7}\n'
    )
    yield b'{"kind":"App","seq":0,"data_hex":"ab"}\n{"kind": "App", "odd": 1}\n'


def _config() -> Iterator[bytes]:
    yield pack({"text": "a text", "number": -1, "list": [7, 8.5, None, True], "a/b": {"c": "d"}})
    yield pack({})
    yield pack({"": "", "deep": {"er": {"still": [[], {}, [[2**64 - 1]]]}}})


def _hatch_host() -> Iterator[bytes]:
    message = struct.pack("<BBBBH", 1, 1, 4, 4, 8) + bytes(4)
    question = struct.pack("<BBBBH", 0, 1, 2, 4, 1)
    yield bytes([0]) + message + bytes([3, 0, 0])
    yield bytes([1]) + question + bytes([3, 0, 0])
    both = bytes([5 + 8, 0]) + message + bytes([0 + 8]) + message + bytes([1]) + question
    yield both + bytes([3, 0, 0, 3 + 8, 0, 0, 4, 3, 0, 0])
    yield bytes([2]) + struct.pack("<HQ", 8, 2**63) + bytes([3, 0, 0])


def _hatch_plugin() -> Iterator[bytes]:
    answer = bytes([0, 0, 0, 0, 8, 0]) + bytes(96)
    ask = bytes([2, 0, 64, 4, 1])
    yield answer + ask + answer + bytes([2, 3, 64, 4, 1]) + bytes([1, 0, 0, 1, 3, 1, 4, 4, 9])
    for length in (_native.lib.SS_QUESTION_MAX, _native.lib.SS_QUESTION_MAX + 1, 2**32 - 1):
        yield struct.pack("<4BIB", 0, 0, 0, 255, length, 0) + bytes(96) + ask
    yield bytes([3, 1, 4, 4, 200]) * 6 + bytes([1, 255]) + bytes(8) + bytes([3, 2, 1, 1, 1])


def _said(kind: int, data: bytes = b"", number: int = 0) -> bytes:
    """A message as worker.c and channel.c take it."""
    return struct.pack("<BHH", kind, len(data), number) + data


def _worker() -> Iterator[bytes]:
    # ss_start: whole words, then those of 32 bits; at the end the terms (native/peers/hatch.h).
    words = struct.pack("=4Q9I4x", 65536, 0, 0, 2**64 - 1, 1, 1, 0, 0, 1, 9, 0, 0, 9)
    fixed = words + struct.pack("=4IQ", 0, 0, 9, 4, 4096)
    start = fixed + b"/plugin.so\0plugin.so\0\0\0"
    config = pack({"text": "a text"})
    whole = _said(START, start) + _said(CONFIG, config) + _said(LOAD, b"/data\0")
    yield whole + _said(RUN) + _said(UNLOAD, number=10) + _said(EXIT)
    yield whole + _said(EXIT)
    yield _said(START, start) + _said(LOAD, b"\0", 1) + _said(EXIT)
    yield _said(START, fixed + b"plugin.so\0plugin.so\0\0\0") + _said(EXIT)
    yield _said(START, fixed + b"/plugin.so\0plugin.so\0\0nobody\0")
    # Out of turn: each has crashed a worker, or made it forget what it held.
    for kind in (CONFIG, LOAD, RUN, UNLOAD):
        yield _said(kind)
        yield _said(START, start) + _said(kind) + _said(kind)
        yield whole + _said(UNLOAD) + _said(kind)
        yield whole + _said(RUN) + _said(kind) + _said(EXIT)
    yield _said(START, start) * 2


def _channel() -> Iterator[bytes]:
    say = bytes([9])
    opened = say + _said(OPENED, struct.pack("=3I", 8, 0, 0) + b"name\0" + b"1.0\0")
    loaded = say + _said(LOADED, b"claim\0other\0", 255)
    runs = opened + bytes([1]) + loaded
    of_current = bytes([9 + 16])
    refusal = of_current + _said(REFUSAL, struct.pack("=iII", -9, 1, 1) + b"no", 1)
    log = of_current + _said(LOG, struct.pack("=qQ", 5, 4) + b"line", 2)
    old = of_current + _said(LOG, struct.pack("=qQ", -(2**63), 4) + b"line", 2)
    metric = of_current + _said(METRIC, struct.pack("=I", 0) + b"name\0label\0", 7)
    unload = bytes([2]) + of_current + _said(ENDED, number=1) + of_current + _said(UNLOADED)
    yield runs + refusal + log + metric + bytes([5]) + unload + bytes([7 + 16, 0])
    yield runs + old  # was once subtracted from the time that it is
    yield opened + say + _said(FAILED_LOAD, b"no\0", 65527) + bytes([5])
    yield say + _said(REFUSED, b"what\0hint\0", 3) + bytes([0]) + opened
    yield runs + bytes([0]) + opened + bytes([1 + 32]) + loaded + bytes([7, 255]) + bytes(255)
    yield runs + bytes([6, 5]) + b"text\n" + bytes([8 + 16, 0, 0]) + struct.pack("<Q", 3)
    yield runs + bytes([7 + 16, 8]) + bytes(8) + bytes([3]) + opened + bytes([5])


def write(folder: Path) -> None:
    """Write the seeds of every target to a folder of its own."""
    made = {
        "elf": _elf, "pe": _pe, "macho": _macho, "frame": _frames, "frames": _frames,
        "lines": _lines, "config": _config, "hatch_host": _hatch_host,
        "hatch_plugin": _hatch_plugin, "worker": _worker, "channel": _channel,
    }  # fmt: skip
    assert set(made) == set(TARGETS), set(made) ^ set(TARGETS)
    for target, make in made.items():
        place = folder / target
        place.mkdir(parents=True, exist_ok=True)
        for number, content in enumerate(make()):
            (place / f"seed-{number:03}").write_bytes(content)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
