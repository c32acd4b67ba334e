"""What a crash report's addresses are called: functions, files and lines, by ``addr2line``."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from slipstream.errors import SlipstreamError

_TIMEOUT = 60.0  # seconds; a large library's debug information takes a while
_PT_LOAD, _SHT_SYMTAB = 1, 2


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was under way.

    Attributes:
        module: The file that holds its code; "" if that lies in none.
        offset: Where in the file, or the address.
        functions: What it is, ``function at file:line``; several where they were inlined, the
            innermost first. Empty where that is not known.
    """

    module: str
    offset: int
    functions: tuple[str, ...]


def read_report(path: Path) -> dict[str, object]:
    """Read a crash report.

    Raises:
        SlipstreamError: It is none.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(report["backtrace"], list):
            raise TypeError
    except OSError as error:
        raise SlipstreamError(f"cannot read {path}: {error.strerror}", "check the path") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SlipstreamError(
            f"{path} is not a crash report", "crash reports are called crash-NAME-TIME.json"
        ) from None
    return dict(report)


def symbolize(report: Mapping[str, object]) -> Iterator[Call]:
    """Name the calls of a crash report, the innermost first.

    The plugin's private copy is gone by then; the one that was kept beside the report stands in
    for it.

    Args:
        report: As `read_report` gives it.

    Raises:
        SlipstreamError: There is no ``addr2line``.
    """
    tool = shutil.which("addr2line")
    if tool is None:
        raise SlipstreamError("addr2line is missing", "install binutils")
    backtrace = report["backtrace"]
    for frame in backtrace if isinstance(backtrace, list) else []:
        module, offset = str(frame["module"]), int(frame["offset"], 16)
        file = Path(module)
        if module and module == report.get("copy") and report.get("library"):
            file = Path(str(report["library"]))
        yield Call(module, offset, _functions(tool, file, offset) if module else ())


def name_of(file: Path, offset: int) -> str:
    """Return the function of an offset in a file, ``function at file:line``; "" if not known."""
    tool = shutil.which("addr2line")
    functions = () if tool is None else _functions(tool, file, offset)
    return functions[0] if functions else ""


def _functions(tool: str, file: Path, offset: int) -> tuple[str, ...]:
    try:
        address, has_symbols = _address_of(file, offset)
    except (OSError, ValueError, struct.error):
        return ()
    done = subprocess.run(  # noqa: S603 - found on the path, as a shell would
        [tool, "-C", "-f", "-i", "-e", str(file), hex(address)],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_TIMEOUT,
        check=False,
    )
    lines = done.stdout.splitlines()
    pairs = zip(lines[::2], lines[1::2], strict=False)
    # In a stripped file addr2line names the exported function that comes before, far as it may be.
    return tuple(
        name if place.startswith("??") else f"{name} at {place}"
        for name, place in pairs
        if name != "??" and (has_symbols or not place.startswith("??"))
    )


def _address_of(file: Path, offset: int) -> tuple[int, bool]:
    """Return the address that an offset in an ELF file has, and whether it has all its symbols."""
    with file.open("rb") as opened:
        head = opened.read(64)
        if head[:4] != b"\x7fELF" or head[4] != 2:
            raise ValueError(file)
        order = "<" if head[5] == 1 else ">"
        start, sections = struct.unpack_from(order + "QQ", head, 32)
        size, count, section_size, section_count = struct.unpack_from(order + "HHHH", head, 54)
        opened.seek(start)
        headers = opened.read(size * count)
        opened.seek(sections)
        table = opened.read(section_size * section_count)
    kinds = {
        struct.unpack_from(order + "I", table, index * section_size + 4)[0]
        for index in range(section_count)
    }
    for index in range(count):
        kind, _, at, virtual, _, length = struct.unpack_from(
            order + "IIQQQQ", headers, index * size
        )
        if kind == _PT_LOAD and at <= offset < at + length:
            return int(offset - at + virtual), _SHT_SYMTAB in kinds
    raise ValueError(offset)
