"""Services of an asyncio application, and what plugins written in Python ask of them."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from slipstream import (
    CallFailed,
    ConfigError,
    EventKind,
    Payload,
    PeerForgotten,
    PluginContext,
    PluginManager,
    Services,
)
from support.calling import ALL, Calling, Directory, Key, Sender, until
from support.logs import capture_logs

MODES = ["inline", "thread", "process"]


def all_services(**others: Any) -> Services:
    return Services(**{"peers": Directory(), "control": Sender(), "identity": Key(), **others})


@pytest.mark.parametrize("loop", ["the running one", "a named one", "none"])
def test_coroutines_run_on_the_applications_loop(compile_plugin, tmp_path: Path, loop: str) -> None:
    ran_on: list[str] = []

    class Async(Directory):
        async def name(self, peer: bytes) -> str:  # type: ignore[override]
            await asyncio.sleep(0.001)
            ran_on.append(threading.current_thread().name)
            return "from a coroutine"

    def work(manager: PluginManager) -> None:
        caller = Calling(compile_plugin, tmp_path, manager, "inline")
        assert caller.do("lookup bob 2 100").data == b"from a coroutine"
        manager.close()

    async def application() -> None:
        named = asyncio.get_running_loop() if loop == "a named one" else None
        services = all_services(peers=Async(), loop=named)
        if named:
            manager = await asyncio.to_thread(PluginManager, services=services)
        else:
            manager = PluginManager(services=services)
        await asyncio.to_thread(work, manager)

    if loop == "none":
        work(PluginManager(services=all_services(peers=Async())))
        assert ran_on == ["slipstream-services"]
    else:
        asyncio.run(application())
        assert ran_on == ["MainThread"]


def test_a_prompt_plugin_asks_while_its_broadcaster_waits(compile_plugin, tmp_path: Path) -> None:
    flags = ("-DFLAGS=SLIPSTREAM_FLAG_PROMPT",)
    with PluginManager(services=all_services()) as manager:
        caller = Calling(compile_plugin, tmp_path, manager, "inline", flags=flags)
        assert caller.do("lookup bob 2 100").data == b"Bob"  # the door has let go of Python's lock


def test_a_loop_that_waits_for_itself_is_late_and_no_more(compile_plugin, tmp_path: Path) -> None:
    async def application() -> None:
        with PluginManager(services=all_services()) as manager:
            caller = Calling(compile_plugin, tmp_path, manager, "inline", call_timeout=0.2)
            caller.tell("open box:x 9")  # it needs the loop, and here the loop broadcasts
            assert caller.lines()[0].status == -14
            await asyncio.to_thread(caller.tell, "open box:x 9")
            assert caller.lines()[1].status == 0

    asyncio.run(application())


class Plugin:
    """Asks for everything, of an event."""

    name = "snake"
    context: PluginContext

    def __init__(self) -> None:
        self.found: list[Any] = []

    def subscribed_events(self) -> list[EventKind]:
        return [EventKind.PEER_FORGOTTEN]

    def payload_names(self) -> list[str]:
        return ["chat"]

    def on_load(self, context: PluginContext) -> None:
        self.context = context

    def on_broadcast(self, event: Any) -> None:
        if isinstance(event, PeerForgotten):
            self.found.append(event.peer)
            return
        context = self.context
        calls = {
            "direct": lambda: context.send.direct(b"bob", "note", b"body"),
            "routed": lambda: context.send.routed(b"carol", b"note", b""),
            "key": lambda: context.peers.public_key(b"bob"),
            "name": lambda: context.peers.name(b"bob"),
            "long": lambda: len(context.peers.name(b"long") or b""),
            "nobody": lambda: context.peers.name(b"nobody"),
            "second": lambda: context.peers.peer_at(1),
            "third": lambda: context.peers.peer_at(2),
            "public_key": context.identity.public_key,
            "sign": lambda: context.identity.sign(b"words"),
            "open": lambda: context.identity.open(b"box:secret"),
            "sealed": lambda: context.identity.open(b"for another"),
        }
        try:
            self.found.append(calls[event.body.decode()]())
        except CallFailed as error:
            self.found.append(error.status)


ASKED = {
    "direct": 1,
    "routed": 2,
    "key": b"K" * 32,
    "name": b"Bob",
    "long": 5000,
    "nobody": None,
    "second": b"carol",
    "third": None,
    "public_key": b"P" * 32,
    "sign": Key().sign(b"words"),
    "open": b"secret",
    "sealed": "MALFORMED",
}


def ask_all(manager: PluginManager, plugin: Plugin) -> dict[str, Any]:
    for what in ASKED:
        assert manager.route(Payload(b"chat", what.encode()))
    manager.peer_forgotten(b"bob")
    assert plugin.found.pop() == b"bob"
    return dict(zip(ASKED, plugin.found, strict=True))


def test_a_python_plugin_asks_the_same(tmp_path: Path) -> None:
    sender, plugin = Sender(), Plugin()
    with PluginManager(services=all_services(control=sender), data_dir=tmp_path) as manager:
        loaded = manager.install(plugin, grants=ALL)
        assert ask_all(manager, plugin) == ASKED
        assert plugin.context.data_dir == tmp_path / "snake"
        assert not plugin.context.is_stopping
        until(lambda: loaded.calls is not None and loaded.calls.sent == 2)  # after the sender
        assert len(sender.sent) == 2
    assert plugin.context.is_stopping


def test_a_python_plugin_without_grants_or_services() -> None:
    plugin = Plugin()
    with capture_logs() as logs, PluginManager(services=all_services()) as manager:
        loaded = manager.install(plugin)
        assert set(ask_all(manager, plugin).values()) == {"DENIED"}
        assert loaded.calls is not None
        assert loaded.calls.denied == len(ASKED)
        with pytest.raises(ConfigError, match="not a grant"):
            manager.install(Plugin(), grants=["everything"])
    assert sum("was denied" in line["event"] for line in logs) == 4
    plugin = Plugin()
    with PluginManager() as manager:
        manager.install(plugin, grants=ALL)
        assert set(ask_all(manager, plugin).values()) == {"UNSUPPORTED"}


def test_a_python_plugin_may_be_async() -> None:
    class Async(Plugin):
        began = ended = 0

        async def on_load(self, context: PluginContext) -> None:  # type: ignore[override]
            await asyncio.sleep(0.001)
            super().on_load(context)
            self.thread = threading.current_thread().name

        async def on_broadcast(self, event: Any) -> None:  # type: ignore[override]
            assert self.began == self.ended
            self.began += 1
            await asyncio.sleep(0.001)
            super().on_broadcast(event)
            self.ended += 1

        async def on_unload(self) -> None:
            await asyncio.sleep(0.001)
            self.found.append("unloaded")

    plugin = Async()
    with PluginManager(services=all_services()) as manager:
        manager.install(plugin, grants=ALL)
        assert ask_all(manager, plugin) == ASKED
    assert plugin.thread == "plugin-snake"
    assert plugin.found[-1] == "unloaded"


@pytest.mark.parametrize("what", ["lookup", "send"])
@pytest.mark.parametrize("mode", MODES)
def test_a_flood_of_calls_is_answered_and_holds_up_nobody(
    compile_plugin, tmp_path: Path, examples: Path, mode: str, what: str
) -> None:
    """Each call of eight threads has an answer, OK or RETRY; `make floods` has a million."""
    calls = 2000
    with PluginManager(services=all_services()) as manager:
        tally = manager.load_plugin({"libpath": str(examples / "tally" / "tally.so")})
        caller = Calling(compile_plugin, tmp_path, manager, mode)
        caller.tell(f"aside flood {what} 8 {calls}")
        sent = 0
        while sent == 0 or (not caller.lines() and sent < 1_000_000):  # it may be over at once
            manager.mapping_update(b"p", b"m", b"k", b"v", 1)
            sent += 1
        until(caller.lines)
        answers = caller.answers()
        manager.flush(60)
        assert tally.counters.acknowledged == sent > 0
    assert answers.keys() == {0, -2}  # OK, and RETRY
    assert sum(answers.values()) == 8 * calls
