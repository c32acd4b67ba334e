"""Inline delivery: `on_broadcast` runs on the broadcasting thread."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import structlog

from slipstream import _native, frames
from slipstream._native import ffi, lib
from slipstream.capture import open_for_append
from slipstream.config import Reload
from slipstream.delivery.instance import LoadReason, Mapping
from slipstream.errors import PluginLoadError, SlipstreamError
from slipstream.plugin import Counters, PluginState, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from slipstream.config import PluginConfig
    from slipstream.delivery.instance import Instance, Metric
    from slipstream.delivery.sequencer import Sequencer
    from slipstream.events import Event, EventKind

_log = structlog.get_logger("slipstream")

_STATES = {
    lib.SS_SLOT_RUNNING: PluginState.RUNNING,
    lib.SS_SLOT_PAUSED: PluginState.PAUSED,
    lib.SS_SLOT_RELOADING: PluginState.LOADING,
    lib.SS_SLOT_FAILED: PluginState.FAILED,
}


class _Slot:
    """What both kinds of inline plugin share: a slot of the sequencer."""

    def __init__(self, sequencer: Sequencer, slot: int) -> None:
        self._sequencer = sequencer
        self._slot = slot
        self._last = Counters()
        self._status = Status(PluginState.RUNNING)
        self._detached = False

    def status(self) -> Status:
        if not self._detached:
            number, code = self._sequencer.state(self._slot)
            state = _STATES[number]
            if state is not self._status.state:
                reason = ""
                if state is PluginState.FAILED:
                    reason = f"on_broadcast returned {_native.status_name(code)}"
                self._status = Status(state, reason)
        return self._status

    def counters(self) -> Counters:
        return self._last if self._detached else self._sequencer.counters(self._slot)

    def metrics(self) -> list[Metric]:
        return []

    def pause(self) -> None:
        if self.status().state is PluginState.RUNNING:
            self._sequencer.set_state(self._slot, lib.SS_SLOT_PAUSED)

    def resume(self) -> None:
        if self.status().state is PluginState.PAUSED:
            self._sequencer.set_state(self._slot, lib.SS_SLOT_RUNNING)

    def flush(self, timeout: float) -> None:
        """Do nothing: what was broadcast was delivered, and acknowledged on return."""

    def _detach(self) -> None:
        self._last = self._sequencer.counters(self._slot)
        self._sequencer.detach(self._slot)
        self._detached = True


class InlinePlugin(_Slot):
    """A native instance that is called on the broadcasting thread."""

    def __init__(
        self, sequencer: Sequencer, instance: Instance, config: PluginConfig, settled: bytes
    ) -> None:
        """Attach a loaded instance.

        Args:
            sequencer: Where it is attached.
            instance: Loaded; closed by `stop`.
            config: Its config.
            settled: The JSON that its `on_load` got, for a restart after a failed reload.
        """
        dead_letter = -1
        if config.dead_letter is not None:
            dead_letter = open_for_append(config.dead_letter)
        try:
            super().__init__(sequencer, sequencer.attach(instance))
            if dead_letter >= 0:
                sequencer.set_dead_letter(self._slot, dead_letter)
        except BaseException:
            if dead_letter >= 0:
                os.close(dead_letter)
            raise
        self._instance = instance
        self._config = config
        self._settled = settled
        self._dead_letter = dead_letter

    @property
    def config(self) -> PluginConfig:
        """The config of the present generation."""
        return self._config

    def metrics(self) -> list[Metric]:
        """Return the numbers that the plugin reports."""
        return [] if self._detached else self._instance.metrics()

    def flush(self, timeout: float) -> None:
        """Call the plugin's `flush` between two broadcasts.

        Raises:
            PluginFailed: It failed or did not return in time.
        """
        if self._instance.describe().has(lib.SLIPSTREAM_FLAG_EXPLICIT_ACK):
            with self._sequencer.held(self._slot):
                self._instance.flush(timeout)

    def stop(self, timeout: float) -> str:
        """Detach, flush, unload and close.

        Returns:
            What became of the library, "" if it is unmapped as it should be.
        """
        problems: list[str] = []
        try:
            self.flush(timeout)
        except SlipstreamError as error:
            problems.append(error.message)
        self._detach()
        problems.append(self._instance.unload(timeout))
        # The last acknowledgements may have come from on_unload.
        mapping = self._instance.close(timeout)
        if self._dead_letter >= 0:
            os.close(self._dead_letter)
        if mapping is not Mapping.GONE:
            problems.append(mapping.meaning)
        return "; ".join(p for p in problems if p)

    def reload(
        self,
        fresh: Instance,
        config: PluginConfig,
        settled: bytes,
        reopen: Callable[[Path], Instance],
    ) -> str:
        """Put an opened, not yet loaded instance in the place of the present one.

        Events that come meanwhile are told to the plugin by a GAP. Should the new one's
        `on_load` fail, the old version is started again from its kept copy.

        Args:
            fresh: The new instance, opened and checked.
            config: The new config; `reload` decides which of the two is loaded first.
            settled: The JSON for its `on_load`.
            reopen: Makes an instance of the old version's kept copy.

        Returns:
            What became of the old library, "" if it is unmapped as it should be.

        Raises:
            SlipstreamError: The new one was not started; the old version goes on.
        """
        old = self._instance
        multiple = lib.SLIPSTREAM_FLAG_MULTI_INSTANCE
        overlap = config.reload is Reload.OVERLAP
        if overlap and not (old.describe().has(multiple) and fresh.describe().has(multiple)):
            raise PluginLoadError(
                "reload: overlap needs a plugin with the flag MULTI_INSTANCE, in both versions",
                "use reload: 'replace' in the config",
            )
        problems: list[str] = []
        if overlap:
            fresh.load(settled, LoadReason.RELOAD, config.load_timeout)
        else:
            self.flush(self._config.unload_timeout)
            self._sequencer.set_state(self._slot, lib.SS_SLOT_RELOADING)
            problems.append(old.unload(self._config.unload_timeout))
            try:
                fresh.load(settled, LoadReason.RELOAD, config.load_timeout)
            except BaseException:
                self._go_back(reopen)
                raise
        self._sequencer.replace(self._slot, fresh)
        self._sequencer.set_state(self._slot, lib.SS_SLOT_RUNNING)
        self._instance, self._config, self._settled = fresh, config, settled
        if overlap:
            problems.append(old.unload(config.unload_timeout))
        mapping = old.close(config.unload_timeout)
        if mapping is not Mapping.GONE:
            problems.append(mapping.meaning)
        return "; ".join(p for p in problems if p)

    def _go_back(self, reopen: Callable[[Path], Instance]) -> None:
        old = self._instance
        again = reopen(old.copy.path)
        try:
            again.open(self._config.load_timeout)
            again.load(self._settled, LoadReason.RELOAD, self._config.load_timeout)
        except BaseException:
            again.close(self._config.unload_timeout)
            self._status = Status(PluginState.FAILED, "neither version could be started")
            raise
        self._sequencer.replace(self._slot, again)
        self._sequencer.set_state(self._slot, lib.SS_SLOT_RUNNING)
        self._instance = again
        old.close(self._config.unload_timeout)


@runtime_checkable
class PythonPlugin(Protocol):
    """A plugin written in Python, for `PluginManager.install`.

    It may also have `version` (a string), `on_load()`, `on_unload()` and `payload_names()`.
    """

    @property
    def name(self) -> str:
        """1 to 63 of a-z, 0-9, '.', '_' and '-', starting with a letter or digit."""

    def subscribed_events(self) -> Iterable[EventKind | int]:
        """Return the kinds that it wants; asked once, after `on_load`."""

    def on_broadcast(self, event: Event) -> None:
        """Take one event. An exception counts as a failed event and is logged."""


class InlinePython(_Slot):
    """A plugin written in Python, called on the broadcasting thread."""

    def __init__(self, sequencer: Sequencer, plugin: PythonPlugin, source: int) -> None:
        """Call the plugin's `on_load` if it has one, and attach it.

        Args:
            sequencer: Where it is attached.
            plugin: The object.
            source: The number that the core's log lines about it carry.
        """
        self._plugin = plugin
        self._handle: Any = ffi.new_handle(self._on_broadcast)  # C holds it: keep it here
        on_load = getattr(plugin, "on_load", None)
        if on_load is not None:
            on_load()
        try:
            self.kinds = 0
            for kind in plugin.subscribed_events():
                self.kinds |= 1 << int(kind)
            super().__init__(
                sequencer, sequencer.attach_function(self.kinds, self._handle, source)
            )
            for name in getattr(plugin, "payload_names", list)():
                sequencer.claim(self._slot, name.encode() if isinstance(name, str) else name)
        except BaseException:
            self._call_on_unload()
            raise

    def _on_broadcast(self, _attempt: int, ordinal: int, frame: memoryview) -> int:
        try:
            self._plugin.on_broadcast(frames.decode(frame)[0])
        except Exception:
            _log.exception("on_broadcast raised", plugin=self._plugin.name, ordinal=ordinal)
            return int(lib.SLIPSTREAM_FAILED)
        except BaseException as error:  # KeyboardInterrupt: for whoever broadcasts
            _native.park(error)
            return int(lib.SLIPSTREAM_FAILED)
        return int(lib.SLIPSTREAM_OK)

    def _call_on_unload(self) -> str:
        on_unload = getattr(self._plugin, "on_unload", None)
        if on_unload is None:
            return ""
        try:
            on_unload()
        except Exception as error:
            _log.exception("on_unload raised", plugin=self._plugin.name)
            return f"on_unload raised {error!r}"
        return ""

    def stop(self, timeout: float) -> str:  # noqa: ARG002 - Python code cannot be cut short
        """Detach and call `on_unload` if there is one."""
        self._detach()
        return self._call_on_unload()
