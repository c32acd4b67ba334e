"""Answers that are not 2xx: which error gets which code, and the one body that all of them have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus

from slipstream.errors import (
    ChangeUnderWay,
    ClosedError,
    ConfigError,
    PackageError,
    PluginAlreadyLoaded,
    PluginLoadError,
    PluginNotLoaded,
    PluginStartError,
    SlipstreamError,
)

NO_MANAGER = "No Slipstream plugin manager is installed"

# Of each error the first that fits counts.
_CODES: tuple[tuple[type[SlipstreamError], int], ...] = (
    (ChangeUnderWay, 409),
    (PluginNotLoaded, 404),
    (PluginAlreadyLoaded, 422),
    (ConfigError, 422),
    (PackageError, 422),
    (PluginLoadError, 422),
    (PluginStartError, 422),
    (ClosedError, 503),
)


# As all versions of Python say it, and clients know it.
_PHRASES = {413: "Payload Too Large", 422: "Unprocessable Entity"}


def phrase_of(code: int) -> str:
    """Return what a code is called."""
    return _PHRASES.get(code) or HTTPStatus(code).phrase


def type_of(code: int) -> str:
    """Return the `error_type` of a code: its phrase, as ``not_found``."""
    return phrase_of(code).lower().replace("-", "_").replace(" ", "_")


class Refused(Exception):
    """An answer that is not 2xx.

    Args:
        code: The status.
        message: What is wrong.
        chain: What it comes from, or what to do next; the nearest first.
        headers: What the answer carries beside its body.
    """

    def __init__(
        self,
        code: int,
        message: str,
        *chain: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.chain: Sequence[str] = chain
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, object]:
        """What is answered."""
        return {
            "message": self.message,
            "error_type": type_of(self.code),
            "chain": list(self.chain),
        }


def refusal_of(error: BaseException) -> Refused:
    """Return the answer that an exception becomes."""
    if isinstance(error, Refused):
        return error
    if not isinstance(error, SlipstreamError):
        return Refused(500, "internal error", "the log of the host says more")
    code = next((code for kind, code in _CODES if isinstance(error, kind)), 500)
    chain: list[str] = []
    cause = error.__cause__
    while cause is not None and len(chain) < 8:
        chain.append(getattr(cause, "message", None) or f"{type(cause).__name__}: {cause}")
        cause = cause.__cause__
    if error.hint:
        chain.append(f"next: {error.hint}")
    headers = {"Retry-After": "1"} if code in {409, 503} else {}
    return Refused(code, error.message, *chain, headers=headers)
