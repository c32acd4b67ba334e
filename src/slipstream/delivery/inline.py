"""Inline delivery: `on_broadcast` runs on the broadcasting thread."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from slipstream import _native
from slipstream._native import ffi, lib
from slipstream.config import Mode
from slipstream.delivery.description import Flush
from slipstream.delivery.letters import save_undelivered
from slipstream.delivery.plugin import Delivery
from slipstream.delivery.reload import InHost
from slipstream.errors import PluginFailed, SlipstreamError
from slipstream.status import SLOT_STATES, Counters, PluginState, Status, counters_of

if TYPE_CHECKING:
    from slipstream.delivery.instance import Instance


class Slot(Delivery):
    """What both kinds of inline plugin share: a slot of the sequencer."""

    _last = ffi.new("ss_stats *")
    _left = ""  # what there is to tell of what it never got

    def _look(self) -> tuple[PluginState, str, float]:
        if self._slot < 0:
            return self._seen.state, self._seen.reason, 0
        stats = self._host.sequencer.stats(self._slot)
        state = SLOT_STATES[stats.state]
        if state is PluginState.FAILED:
            return state, f"on_broadcast returned {_native.status_name(stats.status)}", 0
        return state, "", 0

    def counters(self) -> Counters:
        """Return the counters; after the end, the last ones."""
        slot = self._slot
        stats = self._last if slot < 0 else self._host.sequencer.stats(slot)
        return counters_of(stats)

    def _detach(self) -> None:
        if self._slot >= 0:
            self._last, gap = self._host.sequencer.detach(self._slot)
            self._slot = -1
            self._left = save_undelivered(gap, self._host.folder(self.name), self.name)

    def pause(self) -> None:
        """Hold events back."""
        if self.status().state is PluginState.RUNNING:
            self._host.sequencer.set_state(self._slot, lib.SS_SLOT_PAUSED)

    def resume(self) -> None:
        """Deliver again."""
        # `loading`: a reload could not finish, since a broadcast did not end in time.
        if self.status().state in {PluginState.PAUSED, PluginState.LOADING}:
            self._host.sequencer.set_state(self._slot, lib.SS_SLOT_RUNNING)

    def ask_flush(self, timeout: float) -> Flush:  # noqa: ARG002 - no time is needed
        """Do nothing: what was broadcast was delivered, and acknowledged on return."""
        return Flush(lambda _left: None, by_itself=True)


class InlinePlugin(Slot, InHost):
    """A native instance that is called on the broadcasting thread."""

    mode = Mode.INLINE
    serves_to_the_last = True
    _after = lib.SS_SLOT_RUNNING  # the slot's state when a new version has taken over

    # ---- Versions -----------------------------------------------------------------

    def _withdraw(self, old: Instance, *, overlap: bool) -> None:
        sequencer = self._host.sequencer
        paused = sequencer.stats(self._slot).state == lib.SS_SLOT_PAUSED
        self._after = lib.SS_SLOT_PAUSED if paused else lib.SS_SLOT_RUNNING
        explicit = old.description.flags & lib.SLIPSTREAM_FLAG_EXPLICIT_ACK
        if explicit or not overlap:
            # From here on the old one gets nothing, so that what it has can be made durable.
            sequencer.set_state(self._slot, lib.SS_SLOT_RELOADING)
        if explicit:
            self._flush(old, self.config.unload_timeout)

    def _take_over(self, fresh: Instance) -> None:
        sequencer = self._host.sequencer
        first = self._slot < 0
        if first:
            attach = lib.ss_sequencer_attach
            self._slot = sequencer.attach(self, "load", attach, fresh.pointer)
        else:
            sequencer.replace(self._slot, fresh.pointer)
        self.present, self.config, self._beside = fresh, fresh.config, None
        if first:
            sequencer.set_letters(self._slot, self._letters.pointer)
        else:
            sequencer.set_state(self._slot, self._after)

    def _go_on(self, old: Instance) -> None:
        sequencer = self._host.sequencer
        if sequencer.stats(self._slot).state == lib.SS_SLOT_RELOADING:
            after = lib.SS_SLOT_PAUSED if old.is_stuck() else self._after
            sequencer.set_state(self._slot, after)

    def _fail(self, reason: str) -> None:
        self._beside = Status(PluginState.FAILED, reason)
        with contextlib.suppress(SlipstreamError):
            self._host.sequencer.set_state(self._slot, lib.SS_SLOT_FAILED)

    # ---- Asking and steering ------------------------------------------------------

    def resume(self) -> None:
        """Deliver again.

        Raises:
            PluginFailed: A call into the plugin has not returned.
        """
        if self.present is not None and self.present.is_stuck():
            raise PluginFailed(
                "the plugin's flush has not returned yet",
                "look at what it writes to: a full disk, a lock, a slow network",
            )
        super().resume()

    def ask_flush(self, timeout: float) -> Flush:
        """Return what calls the plugin's `flush` between two broadcasts, if it needs one.

        That raises `PluginFailed` if it failed, or did not return in time; then the plugin is
        paused.
        """
        instance = self.present
        if (
            instance is None
            or not instance.is_loaded
            or not instance.description.flags & lib.SLIPSTREAM_FLAG_EXPLICIT_ACK
            or self.status().state is PluginState.FAILED
        ):
            return super().ask_flush(timeout)
        return Flush(lambda left: self._flush(instance, left), by_itself=False)

    def _flush(self, instance: Instance, timeout: float) -> None:
        if timeout <= 0:  # begun, it would not return in time, and the plugin be paused for that
            raise PluginFailed("no time is left for its flush", "give a longer timeout")
        try:
            with self._host.sequencer.held(self._slot, instance.is_stuck):
                instance.flush(timeout)
        finally:
            if instance.is_stuck():
                self._seen = Status(PluginState.PAUSED, "its flush has not returned yet")

    def _flush_first(self, timeout: float) -> str:
        try:
            self.ask_flush(timeout).wait(timeout)
        except SlipstreamError as error:
            return error.message
        return ""

    def _end(self, timeout: float) -> list[str]:
        problems = []
        if self.present is not None and not self.present.is_closed:
            problems = [self.present.unload(timeout), self.present.close(timeout).problem]
        self._letters.close()
        return [*problems, self._left]
