"""What a plugin leaves behind: events that it refused for good, and those that it never got.

Both are captures. Dead letters are written by the core, which each plugin gives an open file;
what an unload leaves is written here.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream._native import ffi, lib
from slipstream._native.handle import Handle
from slipstream._platform import make_private_folder
from slipstream.capture import CaptureWriter, DamagedCapture, open_for_append
from slipstream.errors import CaptureError
from slipstream.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slipstream._native.cdef import ss_letters
    from slipstream.config import PluginConfig
    from slipstream.logs import LogPump

FILE = "dead-letters.slip"
MAX_BYTES = 1 << 30

_COUNT_AT = lib.SLIPSTREAM_FRAME_HEADER_LEN + 24  # in a GAP


class Letters(Handle["ss_letters"]):
    """Where events go that a plugin refuses for good.

    Attributes:
        path: The file; None: nowhere.
    """

    path: Path | None = None

    def __init__(self, pump: LogPump) -> None:
        """Keep nothing yet."""
        pointer = lib.ss_letters_new(pump.pointer)
        if pointer == ffi.NULL:
            raise MemoryError
        super().__init__(pointer, lib.ss_letters_free, pump)
        self._pump = pump

    def serve(self, log_id: int, name: str, version: str, digest: str) -> None:
        """Say whose letters they are from now on.

        Args:
            log_id: The number that log lines about them carry.
            name: The plugin's name.
            version: Its version.
            digest: SHA-256 of its library, in hexadecimal.
        """
        texts = [text.encode() for text in (name, version, digest)]
        if lib.ss_letters_set_plugin(self.pointer, log_id, *texts) != lib.SLIPSTREAM_OK:
            raise MemoryError

    def write_to(self, config: PluginConfig | None, folder: Path | None) -> None:
        """Write to another file from now on, unless it is the one of before.

        Args:
            config: May name a file, or say that there is to be none; else it is in the folder.
            folder: The plugin's own folder, if it has one.

        Raises:
            CaptureError: The file that the config names cannot be used; it is as before.
        """
        named = None if config is None else config.dead_letter
        path = folder / FILE if named is None and folder is not None else None
        if isinstance(named, Path):
            path = named
        if path is not None and path == self.path:
            return
        descriptor = -1
        if path is not None:
            descriptor = open_for_append(path) if named else self._open_own(path)
        # Nobody wants them, or the log has said by now why there is no file.
        is_told = descriptor < 0 and (named is False or path is not None)
        lib.ss_letters_open(self.pointer, descriptor, 0 if is_told else MAX_BYTES)
        self.path = path if descriptor >= 0 else None

    def _open_own(self, path: Path) -> int:
        """Open the file in a plugin's own folder; -1 if that cannot be, which the log then says."""
        try:
            try:
                return open_for_append(path)
            except DamagedCapture as error:
                aside = path.with_name(f"{path.stem}.damaged-{time.time_ns()}{path.suffix}")
                path.rename(aside)
                self._pump.say(
                    logging.WARNING,
                    "dead letters: a damaged file was put aside",
                    {"file": str(aside), "problem": error.message},
                )
                return open_for_append(path)
        except (CaptureError, OSError) as error:
            self._pump.say(
                logging.WARNING,
                "dead letters are counted and not kept",
                {"file": str(path), "problem": str(error)},
            )
            return -1


def tell_of_waiting(folder: Path | None, name: str, pump: LogPump) -> None:
    """Say in the log that files wait for somebody: nobody removes what was never delivered."""
    if folder is None:
        return
    sizes = [
        path.stat().st_size
        for pattern in ("undelivered-*.slip", f"{Path(FILE).stem}.damaged-*.slip")
        for path in folder.glob(pattern)
    ]
    if sizes:
        pump.say(
            logging.WARNING,
            "there are files of undelivered events: redeliver or remove them",
            {"plugin": name, "folder": str(folder), "files": len(sizes), "bytes": sum(sizes)},
        )


def save_undelivered(frames: Iterable[bytes], folder: Path | None, name: str) -> str:
    """Write what an unload leaves to a capture: events, and GAPs for what was lost before.

    Args:
        frames: What is left.
        folder: Where; None: nowhere.
        name: The plugin's name.

    Returns:
        What there is to tell of it; "" if nothing was left.
    """
    kept = lost = 0
    capture: CaptureWriter | None = None
    problem = "" if folder is not None else "and the host has no data folder to keep them in"
    where = f"undelivered-{name}-{time.time_ns()}.slip"
    for frame in frames:
        if frame[6:8] == bytes((lib.SLIPSTREAM_KIND_GAP, 0)):
            lost += int.from_bytes(frame[_COUNT_AT : _COUNT_AT + 8], "little")
        else:
            kept += 1
        if folder is None or problem:
            continue
        try:
            if capture is None:
                make_private_folder(folder)
                capture = CaptureWriter(folder / where)
            capture.write(frame)
        except (OSError, CaptureError) as error:
            problem = f"and could not be written to {folder / where}: {error}"
    if capture is not None:
        try:
            capture.close()
        except OSError as error:
            problem = problem or f"and could not be written to {folder}: {error}"
            with suppress(OSError):
                capture.close()
    if kept == lost == 0:
        return ""
    told = counted(kept + lost, "event was", "events were") + " not acknowledged"
    if problem:
        return f"{told}, {problem}: 0 kept, {lost} lost before"
    return f"{told}, written to {folder}/{where}: {kept} kept, {lost} lost before"
