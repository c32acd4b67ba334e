"""Compiling a plugin inside of a test."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import slipstream
from slipstream._platform import LIBRARY_SUFFIX
from slipstream.errors import SlipstreamError

_COMPILERS = {"c": ("CC", "cc", "-std=gnu11"), "cpp": ("CXX", "c++", "-std=gnu++17")}
_BUILD_TIMEOUT = 120.0


class PluginBuildError(SlipstreamError):
    """The compiler refused a plugin; the message holds what it printed."""


def build_plugin(
    source: str | Path,
    *flags: str,
    folder: Path,
    name: str = "plugin",
    lang: str = "c",
    compiler: str | None = None,
) -> Path:
    """Compile a plugin.

    Warnings are errors; hidden visibility, position-independent code and the folder of
    ``slipstream.h`` are set.

    Args:
        source: The text of the source, or the path of a source file.
        flags: Further arguments of the compiler, after the source: ``-lsqlite3``, ``-O2``.
        folder: Where the library is put, and the source if it is a text.
        name: The library becomes ``{name}.so``, or ``.dll`` or ``.dylib``.
        lang: "c" or "cpp".
        compiler: The command; None takes ``CC`` or ``CXX`` from the environment, else ``cc``
            or ``c++``.

    Returns:
        The library's path.

    Raises:
        PluginBuildError: There is no such compiler, or it refused the source.
    """
    variable, usual, standard = _COMPILERS[lang]
    command = shlex.split(compiler or os.environ.get(variable, usual))
    if isinstance(source, Path):
        file = source
    else:
        file = folder / f"{name}.{lang}"
        file.write_text(source, encoding="utf-8")
    library = folder / f"{name}{LIBRARY_SUFFIX}"
    arguments = [
        *command,
        *(standard, "-g", "-O1", "-Wall", "-Wextra", "-Werror"),
        *("-shared", "-fPIC", "-fvisibility=hidden", "-pthread"),
        *("-I", slipstream.get_include(), "-o", str(library), str(file)),
        *flags,
    ]
    try:
        done = subprocess.run(  # noqa: S603 - a compiler, with arguments of the test's author
            arguments, capture_output=True, text=True, timeout=_BUILD_TIMEOUT, check=False
        )
    except FileNotFoundError:
        raise PluginBuildError(
            f"there is no compiler {command[0]}", f"install one, or set {variable}"
        ) from None
    if done.returncode != 0:
        raise PluginBuildError(
            f"{shlex.join(arguments)} failed:\n{done.stderr.strip()}",
            "correct the source, or the flags",
        )
    return library
