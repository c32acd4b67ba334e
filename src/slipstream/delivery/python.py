"""Inline delivery to a plugin that is written in Python."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from slipstream import _native, frames
from slipstream._native import ffi, lib
from slipstream.config import Mode, is_plugin_name
from slipstream.delivery.description import Identity
from slipstream.delivery.inline import Slot
from slipstream.delivery.letters import Letters
from slipstream.errors import PluginLoadError, Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from slipstream._native.cdef import CData
    from slipstream.delivery.context import Asking
    from slipstream.delivery.host import Host
    from slipstream.delivery.services import OwnLoop
    from slipstream.events import Event, EventKind


_CALLBACK_TIMEOUT = 30.0  # seconds for a coroutine of the plugin


@runtime_checkable
class PythonPlugin(Protocol):
    """A plugin written in Python, for `PluginManager.install`.

    It may also have `version` (a string), `on_load(context)` or `on_load()`, `on_unload()` and
    `payload_names()`; the context is a `slipstream.PluginContext`. `on_load`, `on_broadcast` and
    `on_unload` may be coroutine functions: they run on an event loop of the plugin's own, and each
    event is waited for, so that order is kept. Such a coroutine must not send events itself.
    """

    @property
    def name(self) -> str:
        """1 to 63 of a-z, 0-9, '.', '_' and '-', starting with a letter or digit."""

    def subscribed_events(self) -> Iterable[EventKind | int]:
        """Return the kinds that it wants; asked once, after `on_load`."""

    def on_broadcast(self, event: Event) -> Awaitable[None] | None:
        """Take one event. An exception counts as a failed event and is logged."""


def checked_name(plugin: object) -> str:
    """Return the name of an object that is a plugin.

    Args:
        plugin: What was given to be installed.

    Raises:
        PluginLoadError: It lacks something, or has an impossible name.
    """
    if isinstance(plugin, type):
        raise PluginLoadError(
            f"{plugin.__name__} is a class: give an instance",
            f"install {plugin.__name__}(...) instead",
        )
    if not isinstance(plugin, PythonPlugin):
        raise PluginLoadError(
            f"{type(plugin).__name__} is not a plugin: it needs `name`, "
            "`subscribed_events()` and `on_broadcast(event)`",
            "see slipstream.delivery.python.PythonPlugin",
        )
    name = plugin.name
    if not is_plugin_name(name):
        raise PluginLoadError(
            f"{type(plugin).__name__}.name is {name!r}",
            "a name is 1 to 63 of a-z, 0-9, '.', '_' and '-', and starts with a letter or a digit",
            Refusal.NAME_INVALID,
        )
    return name


class InlinePython(Slot):
    """A plugin written in Python, called on the broadcasting thread."""

    def __init__(
        self,
        host: Host,
        plugin: PythonPlugin,
        name: str,
        grants: Iterable[str] = (),
        call_timeout: float = 2.0,
    ) -> None:
        """Call the plugin's `on_load` if it has one, and attach it.

        Args:
            host: What it shares with others.
            plugin: The object.
            name: Its name in this host.
            grants: What it may ask of the application.
            call_timeout: The longest wait for an answer of it, in seconds.

        Raises:
            PluginLoadError: What it subscribes to or claims makes no sense.
            Exception: What its own functions raise.
        """
        super().__init__(host, name)
        self._plugin = plugin
        self._loop: OwnLoop | None = None
        self._asking: Asking | None = None
        try:
            self._load(grants, call_timeout)
        except BaseException:
            self._let_go()
            if self._desk is not None:
                self._desk.end(0.0)
            raise
        self._handle: CData = ffi.new_handle(self._on_broadcast)  # C holds it: keep it here
        self._log_id = host.pump.open_log(name)
        self._letters = Letters(host.pump)
        try:
            self._letters.write_to(None, host.make_folder(name))
            self._letters.serve(self._log_id, name, str(getattr(plugin, "version", "0")), "")
            kinds = _kinds_of(plugin, name)
            self._attach(kinds, _claims_of(plugin, name))
        except BaseException:
            self.close(0.0)
            raise
        self.identity = Identity(
            name=name,
            version=str(getattr(plugin, "version", "0")),
            mode=Mode.INLINE,
            path=None,
            digest="",
            config_file=None,
            flags=lib.SLIPSTREAM_FLAG_PROMPT,
            kinds=kinds,
        )

    def _load(self, grants: Iterable[str], call_timeout: float) -> None:
        from slipstream.delivery.context import Asking, Context  # noqa: PLC0415 - as host.serve

        if self._desk is not None:
            self._asking = Asking(self._desk, grants, call_timeout, self._host.pump)
        on_load = getattr(self._plugin, "on_load", None)
        self._context = Context(self._asking, self._host.make_folder(self.name))
        if on_load is not None:
            self._finish(on_load(self._context) if _takes_one(on_load) else on_load(), None)

    def _finish(self, result: object, timeout: float | None = _CALLBACK_TIMEOUT) -> None:
        """Wait for the end of a coroutine, on the plugin's own loop."""
        if not inspect.isawaitable(result):
            return
        from slipstream.delivery.services import OwnLoop, finish  # noqa: PLC0415 - asyncio

        if self._loop is None:
            self._loop = OwnLoop(f"plugin-{self.name}")
        finish(result, self._loop.loop, timeout)

    def _let_go(self) -> None:
        if self._asking is not None:
            self._asking.close()
        if self._loop is not None:
            self._loop.close()

    def _attach(self, kinds: int, claims: list[bytes]) -> None:
        sequencer = self._host.sequencer
        attach, function = lib.ss_sequencer_attach_function, lib.ss_python_on_broadcast
        self._slot = sequencer.attach(
            self, "install", attach, kinds, self._handle, self._log_id, function
        )
        sequencer.set_letters(self._slot, self._letters.pointer)
        for claim in claims:
            sequencer.claim(self._slot, claim)

    def _on_broadcast(self, _attempt: int, ordinal: int, frame: memoryview) -> int:
        try:
            result = self._plugin.on_broadcast(frames.decode(frame)[0])
            if result is not None:
                self._finish(result)
        except Exception as error:
            self._tell("on_broadcast raised", error, {"ordinal": ordinal})
            return lib.SLIPSTREAM_FAILED
        except BaseException as error:  # KeyboardInterrupt: for whoever broadcasts
            _native.park(error)
            return lib.SLIPSTREAM_FAILED
        return lib.SLIPSTREAM_OK

    def _tell(self, what: str, error: Exception, fields: dict[str, object]) -> None:
        fields = {"plugin": self.name, **fields}
        self._host.pump.say(logging.ERROR, what, fields, log_id=self._log_id, error=error)

    def _call_on_unload(self) -> str:
        on_unload = getattr(self._plugin, "on_unload", None)
        if on_unload is None:
            return ""
        try:
            self._finish(on_unload())
        except Exception as error:
            self._tell("on_unload raised", error, {})
            return f"on_unload raised {error!r}"
        return ""

    def _end(self, timeout: float) -> list[str]:  # noqa: ARG002 - Python code cannot be cut short
        self._handle = ffi.NULL  # it refers to this object, as this one does to it
        self._context.is_stopping = True
        problem = self._call_on_unload()
        self._let_go()
        self._letters.close()
        self._host.pump.close_log(self._log_id)
        return [problem, self._left]


def _takes_one(function: object) -> bool:
    """Whether a plugin's `on_load` wants the context."""
    try:
        wanted = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return any(one.kind is not one.KEYWORD_ONLY for one in wanted)


def _kinds_of(plugin: PythonPlugin, name: str) -> int:
    kinds = 0
    wanted: Iterable[object] = plugin.subscribed_events()
    for kind in wanted:
        if not (isinstance(kind, int) and 0 <= kind < 64):
            raise PluginLoadError(
                f"{name} subscribes to {kind!r}, which is not a kind of event",
                "use EventKind, or 32 to 63 for an application's own",
            )
        kinds |= 1 << kind
    return kinds


def _claims_of(plugin: PythonPlugin, name: str) -> list[bytes]:
    claims: list[bytes] = []
    names: Iterable[object] = getattr(plugin, "payload_names", list)()
    for claim in names:
        encoded = claim.encode() if isinstance(claim, str) else claim
        if not (isinstance(encoded, bytes) and 0 < len(encoded) < 256) or b"\0" in encoded:
            raise PluginLoadError(
                f"{name} claims the payload name {claim!r}",
                "a payload name is text or bytes, 1 to 255 bytes without NUL",
            )
        claims.append(encoded)
    return claims
