"""Text instead of bytes is refused in every way to send, whether somebody subscribes or not."""

from __future__ import annotations

import asyncio

import pytest

from slipstream import PluginManager, events
from slipstream.testing import RecordingPlugin

TEXT = "text"
EVENTS = [
    events.MappingUpdate(TEXT, b"m", b"k", b"v", 1),
    events.MappingUpdate(b"p", b"m", b"k", TEXT, 1),
    events.MappingRemoval(b"p", TEXT, None, 1),
    events.MappingRemoval(b"p", b"m", TEXT, 1),
    events.StakingReward(b"s", TEXT, 1, 2, 3),
    events.Block(TEXT, 1),
    events.Payload(TEXT, b"body"),
    events.Payload(b"name", TEXT),
    events.Payload(b"name", b"body", source=TEXT),
    events.PeerSeen(TEXT),
    events.PeerForgotten(TEXT),
    events.AppEvent(40, TEXT),
]
WAYS = {
    "broadcast": lambda manager, event: manager.broadcast(event),
    "broadcast_many": lambda manager, event: manager.broadcast_many([event]),
    "broadcast_async": lambda manager, event: asyncio.run(manager.broadcast_async(event)),
}
QUICK = {
    "mapping_update": lambda manager: manager.mapping_update(b"p", b"m", b"k", TEXT, 1),
    "mapping_removal": lambda manager: manager.mapping_removal(b"p", TEXT, None, 1),
    "mapping_removal key": lambda manager: manager.mapping_removal(b"p", b"m", TEXT, 1),
    "staking_reward": lambda manager: manager.staking_reward(TEXT, b"v", 1, 2, 3),
    "block": lambda manager: manager.block(TEXT, 1),
    "broadcast_frames": lambda manager: manager.broadcast_frames(TEXT),
    "route": lambda manager: manager.route(events.Payload(b"name", TEXT)),
    "peer_seen": lambda manager: manager.peer_seen(TEXT),
    "peer_forgotten": lambda manager: manager.peer_forgotten(TEXT),
}
KINDS = {"nobody": [], "a plugin": [*events.EventKind, 40], "a plugin for another": [50]}


@pytest.fixture(params=KINDS)
def manager(request):
    with PluginManager() as made:
        recorder = RecordingPlugin(kinds=KINDS[request.param])
        if KINDS[request.param]:
            made.install(recorder)
        yield made
        assert recorder.events == []


@pytest.mark.parametrize("way", WAYS)
def test_an_event_with_text_is_refused(manager: PluginManager, way: str) -> None:
    for event in EVENTS:
        with pytest.raises(TypeError, match="a bytes-like object is required, not 'str'"):
            WAYS[way](manager, event)


def test_text_is_refused_by_the_quick_calls(manager: PluginManager) -> None:
    for name, send in QUICK.items():
        with pytest.raises(TypeError, match="a bytes-like object is required, not 'str'"):
            send(manager)
            pytest.fail(name)


@pytest.mark.parametrize("way", WAYS)
def test_text_is_no_event(manager: PluginManager, way: str) -> None:
    with pytest.raises(TypeError, match="str is not an event; use the dataclasses"):
        WAYS[way](manager, TEXT)


def test_other_buffers_and_other_mistakes() -> None:
    with PluginManager() as manager:
        manager.block(bytearray(b"b"), 1)
        manager.broadcast(events.Block(memoryview(b"b"), 1))
        assert manager.broadcast_many([events.Block(bytearray(b"b"), 1)] * 3) == 3
        for wrong in ("7", -1, 2**64):
            with pytest.raises((TypeError, OverflowError)):
                manager.block(bytearray(b"b"), wrong)
        with pytest.raises(TypeError, match="an integer is required"):
            manager.staking_reward(b"s", b"v", "1", 2, 3)


def test_one_path_is_no_list_of_paths() -> None:
    with pytest.raises(TypeError, match=r"given as a list of paths: \['tally.json5'\]"):
        PluginManager.from_config_files("tally.json5")
