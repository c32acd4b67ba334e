"""All plugins of one application: `PluginManager`."""

from __future__ import annotations

import functools
import logging
import threading
import time
import weakref
from abc import ABCMeta
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Self, TypeVar

from slipstream import _native
from slipstream._native import Door
from slipstream.config import GRANTS, Limits, Mode, PluginConfig, load_config, load_configs
from slipstream.delivery.host import Host
from slipstream.delivery.launcher import LibraryPlugin, launch
from slipstream.delivery.python import InlinePython, PythonPlugin, checked_name
from slipstream.delivery.sequencer import Sequencer
from slipstream.errors import (
    ChangeUnderWay,
    ClosedError,
    ConfigError,
    PluginFailed,
    PluginNotLoaded,
)
from slipstream.events import Event, Payload, PeerForgotten, PeerSeen
from slipstream.library import check_library_path
from slipstream.loaded import HEADS, Loaded, Plugin
from slipstream.logs import LEVELS, LogPump, Seldom
from slipstream.peers import Services, Via
from slipstream.tables import html_table

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")
Bytes = bytes | bytearray | memoryview
_NAME_SHOWN = 128  # bytes of an unclaimed payload's name
ConfigSource = str | Path | PluginConfig | Mapping[str, object]


def _closed(_offset: int, _index: int) -> ClosedError:
    if _native.forked():
        return ClosedError(
            "this plugin manager belongs to the parent process, or is closed",
            "create a new PluginManager in this process, or start it by spawn",
        )
    return ClosedError("the plugin manager is closed", "create a new PluginManager")


_native.explain(_native.ANY, {_native.lib.SLIPSTREAM_WRONG_STATE: _closed})


# The native calls of a manager; every object has its own, bound to its sequencer.
_NATIVE = (
    "has_subscribers",
    "broadcast",
    "broadcast_many",
    "broadcast_frames",
    "mapping_update",
    "mapping_removal",
    "staking_reward",
    "block",
)


@functools.cache
def _shown(name: str) -> Callable[..., object]:
    """Return a native call as a function, since mock checks the signatures of these alone."""

    @functools.wraps(getattr(Door, name))
    def call(self: PluginManager, *arguments: object) -> object:
        result: object = vars(self)[name](*arguments)
        return result

    return call


class _ShowsNative(ABCMeta):
    """Lets the class have the native calls, for `help`, `inspect` and `create_autospec`.

    They are not found by way of its objects: whatever stands in a class slows down each look-up
    of what an object has under the same name. ABCMeta, so that it goes with other bases.
    """

    def __getattr__(cls, name: str) -> Callable[..., object]:
        if name in _NATIVE:
            return _shown(name)
        message = f"type object {cls.__name__!r} has no attribute {name!r}"
        raise AttributeError(message)

    def __dir__(cls) -> list[str]:
        return [*super().__dir__(), *_NATIVE]


class PluginManager(metaclass=_ShowsNative):
    """Hosts plugins and streams events to them. A context manager.

    All methods may be called from any thread. Loading, unloading and reloading take their
    turn, and so do changes of one plugin, such as a pause; they are refused from inside of a
    plugin's callback. Questions wait for nobody. A broadcast from inside of a callback is
    delivered when the outer one has ended.

    The calls that send events are native functions, set when the manager is made. The
    quickest, in this order: `broadcast_frames`, `broadcast_many` of ready frames,
    `broadcast` of a ready frame, `mapping_update` and its likes, `broadcast` of an event.
    """

    has_subscribers: Callable[[int], bool]
    broadcast: Callable[[Event | bytes], None]
    broadcast_many: Callable[[Iterable[Event | bytes]], int]
    broadcast_frames: Callable[[Bytes], int]
    mapping_update: Callable[[Bytes, Bytes, Bytes, Bytes, int | None], None]
    mapping_removal: Callable[[Bytes, Bytes, Bytes | None, int | None], None]
    staking_reward: Callable[[Bytes, Bytes, int, int, int | None], None]
    block: Callable[[Bytes, int | None], None]

    def __init__(  # noqa: PLR0913 - all but the first by name
        self,
        default_mode: Mode | str = Mode.INLINE,
        *,
        data_dir: str | Path | None = None,
        insecure_paths: bool = False,
        log_level: str = "info",
        wait_timeout: float = 30.0,
        services: Services | None = None,
    ) -> None:
        """Make a manager without plugins.

        Args:
            default_mode: The mode of plugins whose config names none.
            data_dir: Where each plugin gets a folder of its own, kept over restarts; None
                gives them none.
            insecure_paths: Load libraries that others could replace, too.
            log_level: Lowest level of plugins' log lines: trace, debug, info, warning, error.
            wait_timeout: The longest wait for broadcasts, loads and unloads of other
                threads, in seconds.
            services: What the application offers its plugins: peers, messages, its identity.
        """
        self._default_mode = _as_mode(default_mode)
        self._insecure_paths = insecure_paths
        self._wait_timeout = wait_timeout
        self._pump = LogPump(log_level)
        self._sequencer = Sequencer(self._pump, wait_timeout)
        folder = None if data_dir is None else Path(data_dir).absolute()
        self._host = Host(self._pump, self._sequencer, folder, LEVELS[log_level])
        if services is not None:
            self._host.serve(services)
        self._unclaimed = 0
        self._seldom = Seldom()
        self._control = threading.Lock()
        self._controller = 0  # the thread that has it
        self._loaded = Loaded(self._pump)
        self._closed = False
        for name in _NATIVE:
            setattr(self, name, getattr(self._sequencer.door, name))
        self._finalizer = weakref.finalize(self, _close, self._loaded, self._host, wait_timeout)

    @classmethod
    def from_config_files(  # noqa: PLR0913 - as of the constructor
        cls,
        paths: Iterable[str | Path],
        default_mode: Mode | str = Mode.INLINE,
        *,
        data_dir: str | Path | None = None,
        insecure_paths: bool = False,
        log_level: str = "info",
        wait_timeout: float = 30.0,
        services: Services | None = None,
    ) -> Self:
        """Make a manager and load a plugin from each config file, in order.

        Those with `enabled: false` are left out. If one cannot be loaded, those before it
        are unloaded in reverse order.

        Args:
            paths: Config files.
            default_mode: As of the constructor, and so are the others.
            data_dir: As of the constructor.
            insecure_paths: As of the constructor.
            log_level: As of the constructor.
            wait_timeout: As of the constructor.
            services: As of the constructor.

        Returns:
            The manager.

        Raises:
            SlipstreamError: What `load_plugin` raises for the first that failed.
        """
        manager = cls(
            default_mode,
            data_dir=data_dir,
            insecure_paths=insecure_paths,
            log_level=log_level,
            wait_timeout=wait_timeout,
            services=services,
        )
        try:
            for config in load_configs(paths):
                if config.enabled:
                    manager.load_plugin(config)
                else:
                    left_out = "plugin left out: enabled is false"
                    manager._pump.say(logging.INFO, left_out, {"config": str(config.source)})
        except BaseException:
            manager.close()
            raise
        return manager

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await _in_thread(self.close)

    def __repr__(self) -> str:
        if self._closed:
            return "<PluginManager closed>"
        plugins = ", ".join(f"{name} {plugin.state}" for name, plugin in self.plugins.items())
        return f"<PluginManager {plugins or 'without plugins'}>"

    def _repr_html_(self) -> str:
        return html_table(HEADS, [plugin.row() for plugin in self.plugins.values()])

    # ---- Loading and unloading ----------------------------------------------------

    def _refuse_inside(self, what: str) -> None:
        self._host.require_own()  # in a child the locks may be held for good
        if self._sequencer.inside_callback():
            raise PluginFailed(
                f"cannot {what} from inside of a plugin's callback",
                "do it from another thread, or after the broadcast",
            )
        if self._controller == threading.get_ident():
            raise PluginFailed(
                f"cannot {what} from inside of another load or unload",
                "do it from another thread, or afterwards",
            )

    def _patience(self, wait: float | None) -> float:
        return self._wait_timeout if wait is None else wait

    @contextmanager
    def _controlling(self, what: str, wait: float | None = None) -> Iterator[None]:
        """Take the turn for a change of the set of plugins."""
        self._refuse_inside(what)
        patience = self._patience(wait)
        if not self._control.acquire(timeout=patience):
            raise ChangeUnderWay(
                f"cannot {what}: another load or unload takes longer than {patience:g} seconds"
                if patience
                else f"cannot {what}: another load or unload is under way",
                "look at the states of the plugins: one is loading or unloading",
            )
        self._controller = threading.get_ident()
        try:
            if self._closed:
                raise _native.closed_error()
            yield
        finally:
            self._controller = 0
            self._control.release()
            self._pump.drain()

    @contextmanager
    def _steering(self, name: str, what: str, wait: float | None) -> Iterator[Plugin]:
        """Take the turn for a change of one plugin; the others are not held up."""
        self._refuse_inside(what)
        plugin = self._loaded.find(name)
        try:
            with plugin.turn(what, self._patience(wait)):
                if self._closed:
                    raise _native.closed_error()
                if self._loaded.find(name) is not plugin:  # another has come in its place
                    raise ChangeUnderWay(f"cannot {what}: {name} has been replaced", "try again")
                yield plugin
        finally:
            self._pump.drain()

    def load_plugin(self, config: ConfigSource, *, wait: float | None = None) -> Plugin:
        """Load a plugin.

        Args:
            config: A config file's path, a `PluginConfig`, or a mapping with the same keys.
            wait: The longest wait for another load or unload, in seconds; None: the manager's
                `wait_timeout`.

        Returns:
            The plugin, running.

        Raises:
            ConfigError: The config cannot be used.
            ChangeUnderWay: Another load or unload takes longer.
            PluginAlreadyLoaded: Its library or its name is loaded already.
            PluginLoadError: The library was refused; `refusal` says why.
            PluginStartError: The plugin's own `on_load` failed.
        """
        settings = _as_config(config)
        with self._controlling("load a plugin", wait):
            return self._load(settings)

    def _load(self, config: PluginConfig) -> Plugin:
        mode = self._mode_of(config)
        path = check_library_path(config.libpath, insecure=self._insecure_paths)
        loaded = self._loaded
        loaded.refuse_same_library(path)
        if config.name is not None:
            loaded.refuse_same_name(config.name)
        plugin = loaded.add(launch(self._host, config, path, mode, loaded.refuse_same_name))
        self._pump.say(
            logging.INFO,
            "plugin loaded",
            {"plugin": plugin.name, "version": plugin.version, "mode": str(mode)},
        )
        return plugin

    def _mode_of(self, config: PluginConfig) -> Mode:
        if not config.enabled:
            raise ConfigError(
                f"the plugin of {config.libpath} is left out: enabled is false in its config",
                "set enabled: true",
            )
        mode = config.mode or self._default_mode
        limited = config.user is not None or config.limits != Limits()
        if mode is not Mode.PROCESS and limited:
            raise ConfigError(
                f"`limits` and `user` have no effect in mode {mode}: the plugin runs in the host",
                "use mode: 'process', or leave them out",
            )
        return mode

    def install(
        self, plugin: PythonPlugin, *, grants: Iterable[str] = (), call_timeout: float = 2.0
    ) -> Plugin:
        """Add a plugin that is a Python object, called inline.

        Args:
            plugin: Has `name`, `subscribed_events()` and `on_broadcast(event)`; may have
                `on_load(context)` or `on_load()`, `on_unload()`, `version` and `payload_names()`.
                Those named `on_` may be coroutine functions; see `slipstream.PluginContext`.
            grants: What it may ask of the application, as in a config: of send, peers,
                identity.sign and identity.open.
            call_timeout: The longest wait for an answer of the application, in seconds.

        Returns:
            The plugin, running.

        Raises:
            PluginAlreadyLoaded: The name is taken.
            PluginLoadError: The object lacks something, or has an impossible name.
            ConfigError: There is no such grant.
            Exception: What its `on_load` raised.
        """
        name = checked_name(plugin)
        for grant in (granted := tuple(grants)):
            if grant not in GRANTS:
                raise ConfigError(f"{grant!r} is not a grant", f"use some of {', '.join(GRANTS)}")
        with self._controlling("install a plugin"):
            self._loaded.refuse_same_name(name)
            return self._loaded.add(InlinePython(self._host, plugin, name, granted, call_timeout))

    def unload_plugin(
        self, name: str, timeout: float | None = None, *, wait: float | None = None
    ) -> None:
        """Unload a plugin: flush, `on_unload`, destroy, unmap.

        Args:
            name: Its name in this host.
            timeout: The longest wait for each of these, in seconds; None: its `unload_timeout`.
            wait: As for `load_plugin`; also for another change of this plugin.

        Raises:
            PluginNotLoaded: There is no such plugin.
            ChangeUnderWay: Another change takes longer.
            PluginFailed: A broadcast is under way and does not end; it is still loaded.
        """
        with self._controlling("unload a plugin", wait):
            self._loaded.unload(name, timeout, self._patience(wait))

    def reload_plugin(
        self, name: str, config: ConfigSource | None = None, *, wait: float | None = None
    ) -> Plugin:
        """Load a plugin's library anew and let it take over.

        The new one is opened and checked before the old one is touched. Ordinals and counters go
        on. Events that come while neither is loaded wait in the ring. In mode inline, which has
        none, a GAP tells the new one of them.

        Args:
            name: Its name in this host.
            config: A new config; None reads the file again that it was loaded from.
            wait: As for `unload_plugin`.

        Returns:
            The plugin.

        Raises:
            PluginNotLoaded: There is no such plugin, or it is written in Python.
            ChangeUnderWay: Another change takes longer.
            SlipstreamError: The new version was refused or did not start; the old one serves.
        """
        what = "reload a plugin"
        with self._controlling(what, wait):
            plugin = self._loaded.find(name)
            with plugin.turn(what, self._patience(wait)):
                self._reload(plugin, config)
            return plugin

    def _reload(self, plugin: Plugin, config: ConfigSource | None) -> None:
        name, delivery = plugin.name, plugin.delivery
        if not isinstance(delivery, LibraryPlugin):
            raise PluginNotLoaded(
                f"{name} is written in Python and cannot be reloaded",
                "unload it and install the new object",
            )
        settings = _as_config(config or delivery.config.source or delivery.config)
        mode = self._mode_of(settings)
        if mode is not delivery.mode:
            raise ConfigError(
                f"{name} runs in mode {delivery.mode}, the new config wants {mode}",
                "unload it and load it again to change its mode",
            )
        path = check_library_path(settings.libpath, insecure=self._insecure_paths)
        problem = delivery.bring(settings, path)
        version = delivery.identity.version
        self._pump.say(
            logging.WARNING if problem else logging.INFO,
            "plugin reloaded",
            {"plugin": name, "version": version, "problem": problem},
        )

    def unload(self, timeout: float | None = None) -> None:
        """Unload all plugins, the last loaded first. Problems are logged, none stops it.

        Args:
            timeout: The longest wait for each step, in seconds; None: each one's
                `unload_timeout`.
        """
        with self._controlling("unload"):
            self._loaded.unload_all(timeout, self._wait_timeout)

    def close(self) -> None:
        """Unload all plugins and refuse everything from now on. Does nothing the second time.

        Raises:
            PluginFailed: Called from inside of a plugin's callback.
        """
        if self._closed or self._host.is_foreign:
            return
        with self._controlling("close the manager"):
            self._closed = True
            self._finalizer.detach()
            vars(self).pop("_sender", None)  # its thread ends
            _close(self._loaded, self._host, self._wait_timeout)

    def hurry(self) -> None:
        """Let each wait for a plugin take a second at most from now on, also those under way.

        For a program that is asked again to end: a load whose plugin hangs is given up, and what
        does not unload in time is left or killed.
        """
        self._host.require_own()
        self._host.hurry.begin()

    @property
    def supervisor_beats(self) -> int | None:
        """Grows at least once a second while worker processes are looked after; None: none yet.

        For a watchdog: if it stands still, a worker that crashes is not started again.
        """
        self._host.require_own()
        return self._host.supervisor_beats

    # ---- Asking and steering --------------------------------------------------------

    @property
    def plugins(self) -> Mapping[str, Plugin]:
        """The loaded plugins by name, in the order of loading; a view that follows changes."""
        self._host.require_own()
        return MappingProxyType(self._loaded.plugins)

    def list_plugins(self) -> list[str]:
        """Return the names of the loaded plugins, in the order of loading."""
        return list(self.plugins)

    def pause(self, name: str, *, wait: float | None = None) -> None:
        """Hold a plugin's events back.

        In mode inline a GAP tells the plugin which events it has missed. In the other modes they
        wait in its ring. Only if the ring is full they are lost, and a GAP tells the plugin.

        Args:
            name: Its name in this host.
            wait: The longest wait for another change of this plugin, in seconds; None: the
                manager's `wait_timeout`.

        Raises:
            PluginNotLoaded: There is no such plugin.
            ChangeUnderWay: Another change of it takes longer.
        """
        with self._steering(name, "pause a plugin", wait) as plugin:
            plugin.delivery.pause()

    def resume(self, name: str, *, wait: float | None = None) -> None:
        """Deliver to a paused plugin again.

        Args:
            name: Its name in this host.
            wait: As for `pause`.

        Raises:
            PluginNotLoaded: There is no such plugin.
            ChangeUnderWay: Another change of it takes longer.
        """
        with self._steering(name, "resume a plugin", wait) as plugin:
            plugin.delivery.resume()

    def flush(self, timeout: float = 30.0) -> None:
        """Wait until everything broadcast so far is delivered and acknowledged.

        Args:
            timeout: The longest wait for all plugins together, in seconds. Plugins in threads
                and processes flush side by side, inline ones one after the other.

        Raises:
            FlushTimeout: A plugin did not get there; the message says which and how far, and
                which plugins took the time if none was left for others.
        """
        with self._controlling("flush"):
            self._loaded.flush(timeout, list(self._loaded.plugins.values()))

    def flush_plugin(self, name: str, timeout: float = 30.0, *, wait: float | None = None) -> None:
        """`flush` for one plugin; the others are not held up.

        Args:
            name: Its name in this host.
            timeout: The longest wait, in seconds.
            wait: As for `pause`.

        Raises:
            PluginNotLoaded: There is no such plugin.
            ChangeUnderWay: Another change of it takes longer.
            FlushTimeout: It did not get there.
        """
        with self._steering(name, "flush a plugin", wait) as plugin:
            self._loaded.flush(timeout, [plugin])

    def say(
        self,
        level: int,
        text: str,
        fields: dict[str, object] | None = None,
        *,
        error: BaseException | None = None,
    ) -> None:
        """Log a line in its place among those of the plugins; never waits for a handler.

        Args:
            level: As `logging` has them.
            text: The line.
            fields: What it says beside its text.
            error: What it tells of.
        """
        self._pump.say(level, text, fields or {}, error=error)

    def route(self, payload: Payload) -> bool:
        """Send a payload to the first loaded plugin that claims its name.

        Args:
            payload: The message; its `meta` is not used.

        Returns:
            True if a plugin claims the name; it gets the payload whether it subscribes to
            payloads or not. False if none does: then it is gone, counted in `unclaimed`, and
            logged at a bounded rate.
        """
        claimed = self._sequencer.door.route(
            payload.source, payload.name, payload.body, payload.block_height
        )
        if not claimed:
            self._tell_unclaimed(payload.name)
        return claimed

    def _tell_unclaimed(self, name: bytes) -> None:
        self._unclaimed += 1
        more = self._seldom.due("unclaimed")
        if more is not None:
            fields = {"payload": bytes(name[:_NAME_SHOWN]).decode(errors="replace")}
            more_fields = {"unsaid_before": more} if more else {}
            text = "a payload is not delivered: no plugin claims its name"
            self._pump.say(logging.WARNING, text, {**fields, **more_fields})

    @property
    def unclaimed(self) -> int:
        """How many payloads were given to `route` whose name no plugin claims."""
        return self._unclaimed

    def peer_seen(
        self,
        peer: bytes,
        *,
        public_key: bytes | None = None,
        name: str | bytes | None = None,
        via: Via | int = Via.DIRECT,
    ) -> None:
        """Tell the plugins that a peer was seen: an event PEER_SEEN.

        Args:
            peer: The application's bytes for it.
            public_key: Its key, if that is known.
            name: What it calls itself, if that is known.
            via: How it was seen.
        """
        named = name.encode() if isinstance(name, str) else name
        self.broadcast(PeerSeen(peer, public_key, named, int(via)))

    def peer_forgotten(self, peer: bytes) -> None:
        """Tell the plugins that a peer was forgotten: an event PEER_FORGOTTEN.

        Each subscriber gets it, whatever another plugin does with it, and gets it again after a
        crash until it has acknowledged it. So no plugin keeps what it should delete.

        Args:
            peer: The application's bytes for it.
        """
        self.broadcast(PeerForgotten(peer))

    # ---- The same for asyncio -------------------------------------------------------

    async def broadcast_async(self, *events: Event | bytes) -> float:
        """`broadcast_many` on a thread of its own, so that the event loop never waits for it.

        Calls that are awaited at the same time keep their order. One that is cancelled may send
        its events all the same.

        Args:
            events: What `broadcast` takes.

        Returns:
            How long it took, in seconds. It grows when plugins do not keep up: an inline plugin
            that takes long, a full ring with ``overflow: "block"``. Code that awaits it sends
            events no faster than plugins take them.

        Raises:
            SlipstreamError: What `broadcast_many` raises.
        """
        import asyncio  # noqa: PLC0415 - whoever awaits this has it already

        begin = time.monotonic()
        sending = self._sender.submit(self.broadcast_many, events)
        await asyncio.wrap_future(sending)
        return time.monotonic() - begin

    @functools.cached_property
    def _sender(self) -> ThreadPoolExecutor:
        """One thread, so that what is awaited at the same time keeps its order."""
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only for asyncio

        return ThreadPoolExecutor(1, "slipstream-sender")

    async def load_plugin_async(self, config: ConfigSource) -> Plugin:
        """`load_plugin` on a thread of its own."""
        return await _in_thread(self.load_plugin, config)

    async def unload_plugin_async(self, name: str, timeout: float | None = None) -> None:
        """`unload_plugin` on a thread of its own."""
        await _in_thread(self.unload_plugin, name, timeout)

    async def reload_plugin_async(self, name: str, config: ConfigSource | None = None) -> Plugin:
        """`reload_plugin` on a thread of its own."""
        return await _in_thread(self.reload_plugin, name, config)

    async def flush_async(self, timeout: float = 30.0) -> None:
        """`flush` on a thread of its own."""
        await _in_thread(self.flush, timeout)

    async def unload_async(self, timeout: float | None = None) -> None:
        """`unload` on a thread of its own."""
        await _in_thread(self.unload, timeout)


def enable_crash_handler() -> None:
    """From now on, say on standard error if this process crashes, by SIGSEGV, SIGABRT and the like.

    The line names the function and the plugin that was being called in mode inline or thread, the
    last ordinal that it got, and the file and offset of the instruction, and of the call that led
    there where that is not code, as by a pointer that is NULL; after it come the log
    lines that were not read yet. Then the previous handler gets the signal. If a plugin calls
    exit(), the function and the plugin are named, too. The commands do all this by themselves.
    """
    _native.lib.ss_crash_tell_all()


def _as_mode(mode: Mode | str) -> Mode:
    try:
        return Mode(mode)
    except ValueError:
        raise ConfigError(
            f"default_mode {mode!r} is not a mode", f"use one of {', '.join(Mode)}"
        ) from None


def _in_thread(function: Callable[..., T], *arguments: object) -> Awaitable[T]:
    """Run a function that waits, on a thread of its own, for a coroutine."""
    import asyncio  # noqa: PLC0415 - whoever awaits this has it already

    return asyncio.to_thread(function, *arguments)


def _as_config(config: ConfigSource) -> PluginConfig:
    if isinstance(config, PluginConfig):
        return config
    if isinstance(config, Mapping):
        return PluginConfig.from_mapping(config, folder=Path.cwd())
    return load_config(config)


def _close(loaded: Loaded, host: Host, wait: float) -> None:
    """Unload and close; also what runs for a manager that nobody closed."""
    if host.is_foreign:
        return
    try:
        loaded.unload_all(None, wait)
    finally:
        host.close()
