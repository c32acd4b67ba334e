"""Makes the cffi extension's C source from the headers, which hold the only declarations.

Run by the build: ``python cdef.py OUTPUT.c [--no-process]``; where there is no process mode, its
constants and types are there all the same, but none of its functions. Between ``cdef:begin`` and
``cdef:end`` of each header stand only declarations and ``#define NAME literal``; in the contract's
also ``#if SLIPSTREAM_TARGET_MINOR``, whose parts a host has all of.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import cffi

NATIVE = Path(__file__).resolve().parents[1]
HEADERS = (
    "slipstream.h",
    "platform/platform.h",
    "base/histogram.h",
    "base/log_queue.h",
    "base/secret.h",
    "frame/frame.h",
    "frame/lines.h",
    "frame/dead_letter.h",
    "peers/hatch.h",
    "peers/side.h",
    "peers/caller.h",
    "peers/desk.h",
    "library/refusal.h",
    "library/file.h",
    "library/open.h",
    "plugin/status.h",
    "plugin/host.h",
    "plugin/host_metrics.h",
    "plugin/crash.h",
    "plugin/instance.h",
    "ring/control.h",
    "ring/stats.h",
    "ring/ring.h",
    "ring/queue.h",
    "sequencer/sequencer.h",
    "consumer/thread.h",
    "process/spec.h",
    "process/report.h",
    "process/supervisor.h",
    "check/play.h",
    "python/door.h",
)
# Python's side of a plugin that is written in Python; see slipstream.delivery.inline.
CALLBACKS = """
extern "Python" int32_t ss_python_on_broadcast(void *, const slipstream_delivery *,
                                               const uint8_t *, size_t);
"""


def declarations(header_text: str) -> str:
    """Return the declarations of a header, as C that cffi's parser takes.

    Args:
        header_text: The whole text of a header with a ``cdef:begin`` and a ``cdef:end`` mark.

    Returns:
        The part between the marks, without comments and without the calling-convention macro.
    """
    without_comments = re.sub(
        r"/\*.*?\*/",
        lambda m: m[0] if "cdef:" in m[0] else " ",
        header_text,
        flags=re.DOTALL,
    )
    _, _, rest = without_comments.partition("cdef:begin")
    part, _, _ = rest.partition("cdef:end")
    part = part.partition("*/")[2].rpartition("/*")[0]
    part = re.sub(r"^#(if SLIPSTREAM_TARGET_MINOR >= \d+|endif)$", "", part, flags=re.MULTILINE)
    return part.replace("SLIPSTREAM_CALL", "")


def without_functions(text: str) -> str:
    """Return declarations without those of functions."""
    return re.sub(r"^\w[^;{}#]*\([^;{}]*\);", "", text, flags=re.MULTILINE)


def all_declarations(*, process: bool = True) -> str:
    """Return everything that the extension's ``lib`` has, as C that cffi's parser takes.

    Args:
        process: Whether there is process mode.
    """
    folders = (NATIVE if "/" in header else NATIVE.parent / "include" for header in HEADERS)
    texts = [
        declarations((folder / header).read_text(encoding="utf-8"))
        for folder, header in zip(folders, HEADERS, strict=True)
    ]
    if not process:
        texts = [
            without_functions(text) if header.startswith("process/") else text
            for text, header in zip(texts, HEADERS, strict=True)
        ]
    return "".join([*texts, CALLBACKS])


def main() -> None:
    """Write the extension's source to the path given as the first argument."""
    ffi = cffi.FFI()
    ffi.cdef(all_declarations(process="--no-process" not in sys.argv))
    includes = "".join(f'#include "{header}"\n' for header in HEADERS)
    ffi.set_source("slipstream._core", includes, py_limited_api=True)
    ffi.emit_c_code(sys.argv[1])


if __name__ == "__main__":
    main()
