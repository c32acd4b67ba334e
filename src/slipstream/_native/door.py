"""cffi's ``ffi`` and ``lib``, and what turns values of C into Python's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import slipstream._core

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slipstream._native.cdef import CData, Pointer, char

extension = slipstream._core  # noqa: SLF001 - the package's own
MODULE_FILE: str = extension.__file__
ffi = extension.ffi
lib = extension.lib


def text(pointer: Pointer[char]) -> str:
    """Return a NUL-terminated text of the core as a string, "" for NULL."""
    return "" if pointer == ffi.NULL else ffi.string(pointer).decode("utf-8", "replace")


def hide(secrets: Iterable[str]) -> None:
    """Mask these wherever the core makes a text of a plugin's safe to show, from now on."""
    for secret in secrets:
        data = secret.encode("utf-8", "surrogateescape")
        if lib.ss_secret_hide(data, len(data)) != lib.SLIPSTREAM_OK:
            raise MemoryError


def address(pointer: CData) -> int:
    """Return a C pointer as a number."""
    return int(ffi.cast("uintptr_t", pointer))


_first_process = lib.ss_os_process()


def forked() -> bool:
    """Say whether this process is the child of one in which slipstream was imported already."""
    return lib.ss_os_process() != _first_process
