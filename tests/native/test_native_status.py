"""Every status of the core becomes one exception, in one place."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import slipstream
from slipstream import (
    Block,
    BroadcastError,
    ClosedError,
    FrameError,
    InternalError,
    Meta,
    PluginLoadError,
    PluginManager,
    SlipstreamError,
    _native,
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
ALWAYS: dict[str, type[SlipstreamError]] = {
    "WRONG_STATE": ClosedError,
    "NO_MEMORY": BroadcastError,
}
SENT: dict[str, type[SlipstreamError]] = {
    **ALWAYS,
    "TOO_LARGE": BroadcastError,
    "MALFORMED": FrameError,
    "UNSUPPORTED": FrameError,
    "INVALID_ARGUMENT": FrameError,
}
KNOWN: dict[str, dict[str, type[SlipstreamError]]] = {
    "event": SENT,
    "frame": SENT,
    "ring": {**ALWAYS, "TOO_LARGE": BroadcastError},
    "load": {**ALWAYS, "TOO_LARGE": PluginLoadError},
    "install": {**ALWAYS, "TOO_LARGE": PluginLoadError},
    "change state": ALWAYS,
}


def test_all_statuses_are_here() -> None:
    assert sorted(STATUSES.values()) == list(range(-17, 3))


@pytest.mark.parametrize("name", STATUSES)
@pytest.mark.parametrize("what", KNOWN)
def test_every_status_is_an_exception(name, what) -> None:
    error = status_error(STATUSES[name], what, 96, 2)
    assert type(error) is KNOWN[what].get(name, InternalError)
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
            with pytest.raises(SENT[name]) as caught:
                call()
            same = status_error(STATUSES[name], "frame")
            assert caught.value.message == same.message
    with pytest.raises(ClosedError):
        manager.block(b"", 1)


def test_more_plugins_than_a_manager_takes() -> None:
    with PluginManager() as manager:
        for number in range(256):
            manager.install(RecordingPlugin(f"p{number}"))
        with pytest.raises(PluginLoadError) as caught:
            manager.install(RecordingPlugin("one-more"))
        assert caught.value.message == "this manager cannot take any more plugins"
        assert len(manager.plugins) == 256


def test_the_door_does_not_know_who_is_above() -> None:
    """The texts of users' words come from the rooms where those words are."""
    words = "plugin manager|PluginManager|ring_bytes|slipstream show|broadcast_frames|slipstream\\."
    for path in Path(_native.__file__).parent.glob("*.py"):
        texts = [
            node.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        assert not [text for text in texts if re.search(words, text)], path.name


def test_without_the_rooms_above_a_status_has_no_words_of_theirs() -> None:
    code = """
import sys, types
package = types.ModuleType("slipstream"); package.__path__ = sys.argv[1:]
sys.modules["slipstream"] = package
from slipstream import _native
log = _native.lib.ss_log_queue_new(1 << 16)
sequencer = _native.lib.ss_sequencer_new(log, 1)
door = _native.Door(_native.address(sequencer))
for call in (lambda: door.broadcast(b"short"), lambda: door.broadcast("no bytes")):
    try:
        call()
    except Exception as error:
        print(type(error).__name__, str(error).splitlines()[0], sep=": ")
print(repr(_native.closed_error()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, *slipstream.__path__],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.stdout.splitlines() == [
        "InternalError: the core answered MALFORMED (-7) to event",
        "TypeError: only bytes can be sent: set_encoder was not called",
        "ClosedError('this is closed', 'make a new one')",
    ], done.stderr
