"""Libraries that only some need: the extras of the package."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from slipstream.errors import SlipstreamError


def missing(library: str, extra: str) -> SlipstreamError:
    """Return the error that says which library is missing, and how to get it.

    Args:
        library: What cannot be imported.
        extra: The extra that it is part of.
    """
    return SlipstreamError(
        f"this needs the library {library}, which is not installed",
        f"pip install 'slipstream[{extra}]'",
    )


def need(module: str, extra: str) -> Any:
    """Import a module that needs the libraries of an extra.

    Args:
        module: Its full name, or that of the library itself.
        extra: The extra.

    Raises:
        SlipstreamError: One of them is missing.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library in {"", "slipstream"}:
            raise
        raise missing(library, extra) from None


def require(extra: str, *libraries: str) -> None:
    """See whether libraries are there, without importing them.

    Raises:
        SlipstreamError: One of them is missing.
    """
    for library in libraries:
        if importlib.util.find_spec(library) is None:
            raise missing(library, extra)
