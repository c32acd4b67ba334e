"""Inline delivery: `on_broadcast` runs on the broadcasting thread."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING

from slipstream import _native
from slipstream._native import lib
from slipstream.capture import open_for_append
from slipstream.config import Reload
from slipstream.delivery.description import Flush
from slipstream.delivery.instance import LoadReason, Mapping, neither_started
from slipstream.errors import PluginFailed, PluginLoadError, SlipstreamError
from slipstream.status import Counters, Metric, PluginState, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from slipstream.config import PluginConfig
    from slipstream.delivery.instance import Instance
    from slipstream.delivery.sequencer import Sequencer
    from slipstream.library import PrivateCopy

_log = logging.getLogger("slipstream")

_STATES = {
    lib.SS_SLOT_RUNNING: PluginState.RUNNING,
    lib.SS_SLOT_PAUSED: PluginState.PAUSED,
    lib.SS_SLOT_RELOADING: PluginState.LOADING,
    lib.SS_SLOT_FAILED: PluginState.FAILED,
}


class Slot:
    """What both kinds of inline plugin share: a slot of the sequencer."""

    def __init__(self, sequencer: Sequencer, slot: int) -> None:
        self._sequencer = sequencer
        self._slot = slot
        self._last = Counters()
        self._status = Status(PluginState.RUNNING)
        self._detached = False
        self._broken = ""  # why there is no instance that could serve

    def status(self) -> Status:
        """Return the state."""
        if not self._detached and not self._broken:
            number, code = self._sequencer.state(self._slot)
            state = _STATES[number]
            if state is not self._status.state:
                reason = ""
                if state is PluginState.FAILED:
                    reason = f"on_broadcast returned {_native.status_name(code)}"
                self._status = Status(state, reason)
        return self._status

    def _set_state(self, number: int) -> None:
        self._sequencer.set_state(self._slot, number)

    def counters(self) -> Counters:
        """Return the counters; after the end, the last ones."""
        return self._last if self._detached else self._sequencer.counters(self._slot)

    def metrics(self) -> list[Metric]:
        """Return the plugin's own numbers: none, unless it is native."""
        return []

    def pause(self) -> None:
        """Hold events back."""
        if self.status().state is PluginState.RUNNING:
            self._set_state(lib.SS_SLOT_PAUSED)

    def resume(self) -> None:
        """Deliver again."""
        # `loading`: a reload could not finish, since a broadcast did not end in time.
        if self.status().state in {PluginState.PAUSED, PluginState.LOADING}:
            self._set_state(lib.SS_SLOT_RUNNING)

    def ask_flush(self, timeout: float) -> Flush:  # noqa: ARG002 - no time is needed
        """Do nothing: what was broadcast was delivered, and acknowledged on return."""
        return Flush(lambda _left: None, by_itself=True)

    def _detach(self) -> None:
        if self._detached:
            return
        self._last = self._sequencer.detach(self._slot)
        self._status = Status(PluginState.UNLOADING)
        self._detached = True


class InlinePlugin(Slot):
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

    @property
    def log_id(self) -> int:
        """The number that the present generation's log lines carry."""
        return self._instance.log_id

    def resume(self) -> None:
        """Deliver again.

        Raises:
            PluginFailed: A call into the plugin has not returned.
        """
        if self._instance.is_stuck():
            raise PluginFailed(
                "the plugin's flush has not returned yet",
                "look at what it writes to: a full disk, a lock, a slow network",
            )
        super().resume()

    def metrics(self) -> list[Metric]:
        """Return the numbers that the plugin reports."""
        return [] if self._detached else self._instance.metrics()

    def ask_flush(self, timeout: float) -> Flush:
        """Return what calls the plugin's `flush` between two broadcasts, if it needs one.

        That raises `PluginFailed` if it failed, or did not return in time; then the plugin is
        paused.
        """
        explicit = self._instance.describe().has(lib.SLIPSTREAM_FLAG_EXPLICIT_ACK)
        if not explicit or self.status().state is PluginState.FAILED:
            return super().ask_flush(timeout)
        return Flush(self._flush, by_itself=False)

    def _flush(self, timeout: float) -> None:
        try:
            with self._sequencer.held(self._slot, self._instance.is_stuck):
                self._instance.flush(timeout)
        finally:
            if self._instance.is_stuck():
                self._status = Status(PluginState.PAUSED, "its flush has not returned yet")

    def stop(self, timeout: float) -> str:
        """Flush, detach, unload and close.

        Returns:
            What became of the library, "" if it is unmapped as it should be.

        Raises:
            PluginFailed: A broadcast is under way and does not end; nothing was done.
        """
        problems: list[str] = []
        try:
            self.ask_flush(timeout).wait(timeout)
        except SlipstreamError as error:
            problems.append(error.message)
        self._detach()
        problems.append(self._instance.unload(timeout))
        mapping = self._instance.close(timeout)
        if self._dead_letter >= 0:
            os.close(self._dead_letter)
            self._dead_letter = -1
        if mapping is not Mapping.GONE:
            problems.append(mapping.meaning)
        return "; ".join(p for p in problems if p)

    def reload(
        self,
        fresh: Instance,
        config: PluginConfig,
        settled: bytes,
        reopen: Callable[[PrivateCopy], Instance],
    ) -> str:
        """Put an opened, not yet loaded instance in the place of the present one.

        Events that come meanwhile are told to the plugin by a GAP. Should the new one's
        `on_load` fail, the old version is started again from its kept copy.

        Args:
            fresh: The new instance, opened and checked.
            config: The new config; `reload` decides which of the two is loaded first.
            settled: The JSON for its `on_load`.
            reopen: Opens the old version's kept copy once more.

        Returns:
            What became of the old library, "" if it is unmapped as it should be.

        Raises:
            SlipstreamError: The new one was not started; the old version goes on, or the
                plugin's state is `failed`. In any case `fresh` was discarded.
        """
        old = self._instance
        problems: list[str] = []
        try:
            problems.append(self._switch(fresh, config, settled, reopen))
        finally:
            if self._instance is fresh:
                self._config, self._settled, self._broken = config, settled, ""
                mapping = old.discard(config.unload_timeout)
                problems.append("" if mapping is Mapping.GONE else mapping.meaning)
            else:
                fresh.discard(config.unload_timeout)
        return "; ".join(p for p in problems if p)

    def _switch(
        self,
        fresh: Instance,
        config: PluginConfig,
        settled: bytes,
        reopen: Callable[[PrivateCopy], Instance],
    ) -> str:
        """Unload the present instance and let `fresh` take its place; what went wrong, or ""."""
        old = self._instance
        multiple = lib.SLIPSTREAM_FLAG_MULTI_INSTANCE
        overlap = config.reload is Reload.OVERLAP
        if overlap and not (old.describe().has(multiple) and fresh.describe().has(multiple)):
            raise PluginLoadError(
                "reload: overlap needs a plugin with the flag MULTI_INSTANCE, in both versions",
                "use reload: 'replace' in the config",
            )
        was_paused = self.status().state is PluginState.PAUSED
        after = lib.SS_SLOT_PAUSED if was_paused else lib.SS_SLOT_RUNNING
        timeout = self._config.unload_timeout
        if overlap:
            fresh.load(settled, LoadReason.RELOAD, config.load_timeout)
        if not overlap or old.describe().has(lib.SLIPSTREAM_FLAG_EXPLICIT_ACK):
            # From here on the old one gets nothing, so that what it has can be made durable.
            self._set_state(lib.SS_SLOT_RELOADING)
            try:
                self.ask_flush(timeout).wait(timeout)
            except BaseException:
                self._set_state(lib.SS_SLOT_PAUSED if old.is_stuck() else after)
                raise
        if overlap:
            self._take_over(fresh, after)
            return old.unload(timeout)
        problem = old.unload(timeout)
        try:
            fresh.load(settled, LoadReason.RELOAD, config.load_timeout)
            self._take_over(fresh, after)
        except BaseException as error:
            if self._instance is not fresh:
                self._go_back(reopen, after, error)
            raise
        return problem

    def _take_over(self, instance: Instance, state: int) -> None:
        self._sequencer.replace(self._slot, instance)
        self._instance = instance
        self._set_state(state)

    def _go_back(
        self, reopen: Callable[[PrivateCopy], Instance], state: int, cause: BaseException
    ) -> None:
        """Start the old version again, which is unloaded, from its kept copy."""
        old = self._instance
        try:
            again = reopen(old.copy)
            try:
                again.load(self._settled, LoadReason.RELOAD, self._config.load_timeout)
                self._take_over(again, state)
            except BaseException:
                if self._instance is not again:
                    again.discard(self._config.unload_timeout)
                raise
        except SlipstreamError as error:
            self._broken = f"neither version could be started: {error.message}"
            self._status = Status(PluginState.FAILED, self._broken)
            with contextlib.suppress(SlipstreamError):
                self._set_state(lib.SS_SLOT_FAILED)
            raise neither_started(cause, error) from cause
        old.close(self._config.unload_timeout)
