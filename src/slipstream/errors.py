"""What can go wrong, as exceptions.

Every error says what happened and where in its message, and what to do next in
`hint`; ``str(error)`` shows both. Command-line tools print that text without a
traceback.
"""

from __future__ import annotations

from enum import StrEnum


class Refusal(StrEnum):
    """Why a library was refused. The values are stable: scripts may match on them."""

    NOT_FOUND = "not found"
    UNSAFE_PATH = "unsafe path"
    DIGEST_MISMATCH = "digest mismatch"
    NOT_A_LIBRARY = "not a library"
    WRONG_ARCHITECTURE = "wrong architecture"
    NO_CONSTRUCTOR = "no constructor"
    RUST_ABI_PLUGIN = "rust abi plugin"
    WRONG_ABI_MAJOR = "wrong abi major"
    CANNOT_OPEN = "cannot open"
    CONSTRUCTOR_REFUSED = "constructor refused"
    TABLE_UNREADABLE = "table unreadable"
    TABLE_TOO_SMALL = "table too small"
    HOST_TOO_OLD = "host too old"
    FUNCTION_MISSING = "function missing"
    FUNCTION_INVALID = "function invalid"
    NAME_INVALID = "name invalid"
    VERSION_INVALID = "version invalid"
    BROADCAST_MISSING = "broadcast missing"
    FLUSH_MISSING = "flush missing"
    TIMED_OUT = "timed out"
    FILE_CHANGED = "file changed"
    INFO_MISPLACED = "info misplaced"
    INFO_UNREADABLE = "info unreadable"
    INFO_INVALID = "info invalid"
    INFO_DISAGREES = "info disagrees"
    SCHEMA_INVALID = "schema invalid"
    EXTENSION_MISSING = "extension missing"


class SlipstreamError(Exception):
    """The base of all errors that this package raises on purpose.

    Args:
        message: What happened, and where; one sentence without a full stop.
        hint: The next step for the reader; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  next: {self.hint}" if self.hint else self.message


class InternalError(SlipstreamError):
    """The core answered in a way that this version does not know; please report it."""


class ClosedError(SlipstreamError):
    """The object was closed before, or belongs to the parent process of a fork."""


class CallFailed(SlipstreamError):
    """A plugin written in Python has asked something of the application that did not work.

    Attributes:
        status: Why, one of ``SLIPSTREAM_*`` in the header, as a name: "DENIED", "RETRY", "TIMEOUT",
            "MALFORMED", "TOO_LARGE", "UNSUPPORTED", "FAILED" and so on.
    """

    def __init__(self, message: str, hint: str = "", status: str = "FAILED") -> None:
        super().__init__(message, hint)
        self.status = status


class ConfigError(SlipstreamError):
    """A config file or a value in it cannot be used."""


class CannotOpenConfigFile(ConfigError):
    """The config file is missing or may not be opened."""


class CannotReadConfigFile(ConfigError):
    """The config file was opened but cannot be read, is too large or is not UTF-8."""


class InvalidConfigFileFormat(ConfigError):
    """The config file is not the JSON5 that is expected; has line, column and caret."""


class LibPathNotSet(ConfigError):
    """The config has no `libpath`."""


class InvalidPluginPath(ConfigError):
    """`libpath` does not name a file that may be used as a library."""


class PluginLoadError(SlipstreamError):
    """A library was refused before its `on_load` ran, or right after it.

    Args:
        message: What was tried and what was found.
        hint: The next step.
        refusal: The stable reason.
    """

    def __init__(self, message: str, hint: str = "", refusal: Refusal | None = None) -> None:
        super().__init__(message, hint)
        self.args = (message, hint, refusal)
        self.refusal = refusal


class PackageError(SlipstreamError):
    """A package was refused, or could not be had, before anything of it was used."""


class PluginAlreadyLoaded(SlipstreamError):
    """A plugin with this name, or from this library, is loaded already."""


class PluginNotLoaded(SlipstreamError):
    """No plugin of this name is loaded."""


class PluginStartError(SlipstreamError):
    """The plugin's own `on_load` failed; its text is in the message."""


class PluginFailed(SlipstreamError):
    """The plugin is in the state `failed` and cannot do what was asked."""


class ChangeUnderWay(PluginFailed):
    """Another change of the same plugin, or of the set of plugins, has not ended in time."""


class FlushTimeout(SlipstreamError):
    """A flush did not end in time; the message names the plugins and their ordinals."""


class BroadcastError(SlipstreamError):
    """An event was not accepted: it is too large, or memory ran out."""


class FrameError(SlipstreamError, ValueError):
    """Bytes are not a frame, or not one that may be sent.

    Args:
        message: What is wrong.
        hint: The next step.
        offset: Where the frame starts in its buffer, in bytes.
        index: Its number in the buffer or list, from 0.
    """

    def __init__(self, message: str, hint: str = "", offset: int = 0, index: int = 0) -> None:
        super().__init__(message, hint)
        self.args = (message, hint, offset, index)
        self.offset = offset
        self.index = index


class CaptureError(SlipstreamError):
    """A capture or a JSON-lines file of events cannot be read or written."""


class AleoFormatError(SlipstreamError, ValueError):
    """Text or bytes are not a valid Aleo value."""
