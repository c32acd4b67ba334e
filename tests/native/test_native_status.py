"""Every status of the core becomes one exception, in one place."""

from __future__ import annotations

import pytest

from slipstream import (
    Block,
    BroadcastError,
    ClosedError,
    FrameError,
    InternalError,
    Meta,
    PluginManager,
    SlipstreamError,
    frames,
)
from slipstream._native import lib, status_error, status_name
from slipstream.testing import RecordingPlugin

STATUSES = {
    name.removeprefix("SLIPSTREAM_"): getattr(lib, name)
    for name in (
        "SLIPSTREAM_OK SLIPSTREAM_END SLIPSTREAM_IGNORED SLIPSTREAM_FAILED SLIPSTREAM_RETRY "
        "SLIPSTREAM_NOT_FOUND SLIPSTREAM_UNSUPPORTED SLIPSTREAM_INVALID_ARGUMENT "
        "SLIPSTREAM_INVALID_CONFIG SLIPSTREAM_MALFORMED SLIPSTREAM_WRONG_STATE "
        "SLIPSTREAM_TOO_LARGE SLIPSTREAM_OUT_OF_RANGE SLIPSTREAM_WRONG_TYPE "
        "SLIPSTREAM_NO_MEMORY SLIPSTREAM_IO SLIPSTREAM_TIMEOUT SLIPSTREAM_DENIED "
        "SLIPSTREAM_FATAL SLIPSTREAM_PANIC"
    ).split()
}
KNOWN: dict[str, type[SlipstreamError]] = {
    "WRONG_STATE": ClosedError,
    "NO_MEMORY": BroadcastError,
    "TOO_LARGE": BroadcastError,
    "MALFORMED": FrameError,
    "UNSUPPORTED": FrameError,
    "INVALID_ARGUMENT": FrameError,
}


def test_all_statuses_are_here() -> None:
    assert sorted(STATUSES.values()) == list(range(-17, 3))


@pytest.mark.parametrize("name", STATUSES)
@pytest.mark.parametrize("what", ["event", "frame", "kind", "load"])
def test_every_status_is_an_exception(name, what) -> None:
    error = status_error(STATUSES[name], what, 96, 2)
    assert type(error) is KNOWN.get(name, InternalError)
    assert isinstance(error, SlipstreamError)
    assert error.message
    assert error.hint
    if isinstance(error, FrameError):
        assert (error.offset, error.index) == (96, 2)
        assert isinstance(error, ValueError)
    if isinstance(error, InternalError):
        assert f"{name} ({STATUSES[name]})" in error.message
        assert what in error.message


@pytest.mark.parametrize("status", [3, 77, -18, -1000, 2**31 - 1, -(2**31)])
def test_an_unknown_status_is_an_internal_error(status) -> None:
    error = status_error(status, "frame")
    assert type(error) is InternalError
    assert error.message == f"the core answered unknown status ({status}) to frame"
    assert error.hint == "please report this"


def test_names() -> None:
    for name, status in STATUSES.items():
        assert status_name(status) == f"{name} ({status})"


def test_each_is_reached_by_a_call() -> None:
    """NO_MEMORY alone needs a machine without memory."""
    frame = frames.encode(Block(b"", 1))
    with PluginManager() as manager:
        manager.install(RecordingPlugin())
        reached = {
            "TOO_LARGE": lambda: manager.block(bytes(lib.SLIPSTREAM_FRAME_MAX), 1),
            "MALFORMED": lambda: manager.broadcast_frames(frame[:-8]),
            "UNSUPPORTED": lambda: manager.broadcast(Block(b"", 1, Meta(flags=1 << 20))),
            "INVALID_ARGUMENT": lambda: manager.broadcast(Block(b"", 1, Meta(stream=1))),
        }
        for name, call in reached.items():
            with pytest.raises(KNOWN[name]) as caught:
                call()
            same = status_error(STATUSES[name], "frame")
            assert caught.value.message == same.message
    with pytest.raises(ClosedError):
        manager.block(b"", 1)
