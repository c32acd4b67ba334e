"""Packages of plugins: what is in one, who made it, where it comes from, and which one is used.

`settings` reads which plugins an operator wants, `providers` brings each to its library: `store`
and `central` find an archive, `sealed` reads it once, `zips` and `archive` refuse what is hostile,
`lock` and `trust` say whether it is the one that was meant. Nothing of a package runs here.
"""

from __future__ import annotations

import importlib
from typing import Any

from slipstream.errors import SlipstreamError

_LIBRARIES = {"cryptography", "httpx", "httpcore", "pysequoia"}


def need(module: str) -> Any:
    """Import a module that needs the libraries of the extra `packages`.

    Args:
        module: Its full name, or that of the library itself.

    Raises:
        SlipstreamError: One of them is missing.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _LIBRARIES:
            raise
        raise SlipstreamError(
            f"this needs the library {error.name}, which is not installed",
            "pip install 'slipstream[packages]'",
        ) from None
