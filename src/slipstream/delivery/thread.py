"""Thread delivery: the plugin takes events from a ring on its own native thread."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from slipstream import _native
from slipstream._native import ffi, lib
from slipstream.capture import open_for_append
from slipstream.config import Reload
from slipstream.delivery.instance import LoadReason, Mapping
from slipstream.delivery.port import Port
from slipstream.errors import PluginFailed, PluginLoadError
from slipstream.plugin import Counters, PluginState, Status

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from slipstream.config import PluginConfig
    from slipstream.delivery.instance import Instance, Metric
    from slipstream.delivery.sequencer import Sequencer
    from slipstream.library import PrivateCopy

_MAX_ATTEMPTS = 5


class ThreadPlugin:
    """A native instance behind a ring in private memory, in this process."""

    def __init__(self, queue: Any, config: PluginConfig, state_dir: Path | None) -> None:
        """Make the ring; nothing runs yet.

        Args:
            queue: The native log queue.
            config: The plugin's config.
            state_dir: Where undelivered events go; None: nowhere.
        """
        self._queue = queue
        self._config = config
        self._state_dir = state_dir
        self._name = ""
        self._settled = b""
        self._sequencer: Sequencer | None = None
        self._slot = -1
        self._instance: Instance | None = None
        self._thread: Any = ffi.NULL
        self._last: tuple[Status, Counters] | None = None
        self._status = Status(PluginState.LOADING)
        self._call = (0, 0.0)  # the ordinal in flight, and when it was seen first
        self._dead_letter = -1
        self._port = Port(config, shared=False)
        try:
            if config.dead_letter is not None:
                self._dead_letter = open_for_append(config.dead_letter)
        except BaseException:
            self._port.free()
            raise

    @property
    def config(self) -> PluginConfig:
        """The config of the present generation."""
        return self._config

    @property
    def source(self) -> int:
        """The number that the present generation's log lines carry."""
        return 0 if self._instance is None else self._instance.source

    def start(
        self, instance: Instance, name: str, settled: bytes, config: PluginConfig
    ) -> None:
        """Let a loaded instance take events.

        Args:
            instance: Loaded; belongs to this object afterwards.
            name: The plugin's effective name.
            settled: What its `on_load` got, for starting it again.
            config: Its config.
        """
        self._thread = lib.ss_thread_start(
            instance.handle,
            self._port.handle,
            self._queue,
            instance.source,
            self._dead_letter,
            int(config.flush_interval * 1000),
            _MAX_ATTEMPTS,
        )
        if self._thread == ffi.NULL:
            raise MemoryError
        self._instance, self._name = instance, name
        self._settled, self._config = settled, config
        self._status = Status(PluginState.RUNNING)

    def attach(self, sequencer: Sequencer) -> None:
        """Let the sequencer put events into the ring."""
        instance = self._require()
        kinds = instance.describe().kinds
        self._slot = sequencer.attach_port(self._port.handle, kinds, instance.source)
        self._sequencer = sequencer
        for name in instance.claims():
            sequencer.claim(self._slot, name)

    def _require(self) -> Instance:
        if self._instance is None:
            raise PluginFailed("it is not loaded", "load it again")
        return self._instance

    # ---- Asking -------------------------------------------------------------------

    def status(self) -> Status:
        """Return the state with its reason."""
        if self._last is not None:
            return self._last[0]
        state, reason = PluginState.RUNNING, ""
        if self._thread != ffi.NULL:
            code = ffi.new("int32_t *")
            if lib.ss_thread_state(self._thread, code) == lib.SS_THREAD_FAILED:
                state = PluginState.FAILED
                reason = f"on_broadcast returned {_native.status_name(code[0])}"
            elif self._is_stuck():
                state = PluginState.FAILED
                reason = f"stuck: a callback has not returned for {self._stuck_for():.1f} seconds"
            else:
                stats = self._port.stats()
                if stats.is_paused:
                    state = PluginState.PAUSED
                elif stats.is_stalled:
                    state = PluginState.STALLED
                    reason = "its ring stayed full for block_timeout"
        if state is not self._status.state:
            self._status = Status(state, reason)
        return self._status

    def _stuck_for(self) -> float:
        ordinal = lib.ss_thread_call(self._thread)
        if ordinal == 0 or ordinal != self._call[0]:
            self._call = (ordinal, time.monotonic())
        return time.monotonic() - self._call[1] if ordinal else 0.0

    def _is_stuck(self) -> bool:
        limit = self._config.callback_timeout
        return self._stuck_for() > limit > 0

    def counters(self) -> Counters:
        """Return the counters."""
        return self._last[1] if self._last is not None else self._port.counters()

    def metrics(self) -> list[Metric]:
        """Return the numbers that the plugin reports."""
        return [] if self._instance is None else self._instance.metrics()

    # ---- Steering -----------------------------------------------------------------

    def pause(self) -> None:
        """Hold events back; they are kept until the ring is full, then told of by a GAP."""
        self._port.pause(paused=True)

    def resume(self) -> None:
        """Deliver again."""
        self._port.pause(paused=False)

    def _hindrance(self) -> str:
        status = self.status()
        if status.state in {PluginState.PAUSED, PluginState.FAILED}:
            return f"it is {status.state}" + (f": {status.reason}" if status.reason else "")
        return ""

    def flush(self, timeout: float) -> None:
        """Wait until everything broadcast so far is acknowledged.

        Raises:
            PluginFailed: It cannot get there, or did not in time.
        """
        problem = self._hindrance()
        if problem:
            raise PluginFailed(problem, "resume it, or unload it")
        self._port.flush(timeout, self._hindrance)

    def _drain(self, timeout: float) -> bool:
        """Stop the consumer at the last event that was broadcast; False if it does not end."""
        if self._thread == ffi.NULL:
            return True
        instance = self._require()
        lib.ss_thread_stop(self._thread)
        if not instance.finish(timeout):
            return False
        lib.ss_thread_free(self._thread)
        self._thread = ffi.NULL
        return True

    def stop(self, timeout: float) -> str:
        """Drain, unload and close; what is left is written to a capture.

        Returns:
            What did not go well, "" if all did.
        """
        if self._last is not None:
            return ""
        if self._sequencer is not None:
            self._sequencer.detach(self._slot)
        problems: list[str] = []
        drained = self._drain(timeout)
        if self._instance is not None:
            if drained:
                problems.append(self._instance.unload(timeout))
                mapping = self._instance.close(timeout)
            else:
                mapping = Mapping.STUCK
            problems.append("" if mapping is Mapping.GONE else mapping.meaning)
        self._last = (self.status(), self._port.counters())
        count, path = self._port.save_leftover(self._state_dir, self._name)
        if count:
            where = "" if path is None else f", written to {path}"
            problems.append(f"{count} events were not acknowledged{where}")
        if drained:  # else the plugin may still use the ring
            self._free()
        return "; ".join(p for p in problems if p)

    def reload(
        self,
        fresh: Instance,
        config: PluginConfig,
        settled: bytes,
        reopen: Callable[[PrivateCopy], Instance],
    ) -> str:
        """Put an opened, not yet loaded instance in the place of the present one.

        Events wait in the ring meanwhile; none is lost.

        Args:
            fresh: The new instance, opened and checked.
            config: Its config.
            settled: The JSON for its `on_load`.
            reopen: Opens the old version's kept copy once more.

        Returns:
            What became of the old library, "" if it is unmapped as it should be.

        Raises:
            SlipstreamError: The new one was not started; the old version goes on.
        """
        old = self._require()
        overlap = config.reload is Reload.OVERLAP
        multiple = lib.SLIPSTREAM_FLAG_MULTI_INSTANCE
        try:
            if overlap and not (old.describe().has(multiple) and fresh.describe().has(multiple)):
                raise PluginLoadError(
                    "reload: overlap needs a plugin with the flag MULTI_INSTANCE, in both versions",
                    "use reload: 'replace' in the config",
                )
            if overlap:
                fresh.load(settled, LoadReason.RELOAD, config.load_timeout)
            if not self._drain(self._config.unload_timeout):
                raise PluginFailed(
                    "the plugin did not drain its ring in time",
                    "raise `unload_timeout`, or unload it",
                )
            problem = old.unload(self._config.unload_timeout)
            if not overlap:
                try:
                    fresh.load(settled, LoadReason.RELOAD, config.load_timeout)
                except BaseException:
                    self._go_back(old, reopen)
                    raise
        except BaseException:
            fresh.discard(config.unload_timeout)
            raise
        self.start(fresh, self._name, settled, config)
        if self._sequencer is not None:
            self._sequencer.set_kinds(self._slot, fresh.describe().kinds)
        mapping = old.close(config.unload_timeout)
        problems = [problem, "" if mapping is Mapping.GONE else mapping.meaning]
        return "; ".join(p for p in problems if p)

    def _go_back(self, old: Instance, reopen: Callable[[PrivateCopy], Instance]) -> None:
        again = reopen(old.copy)
        again.load(self._settled, LoadReason.RELOAD, self._config.load_timeout)
        self.start(again, self._name, self._settled, self._config)
        old.close(self._config.unload_timeout)

    def _free(self) -> None:
        self._port.free()
        if self._dead_letter >= 0:
            os.close(self._dead_letter)
            self._dead_letter = -1

    def discard(self) -> None:
        """Free the ring, after a failed load."""
        if self._last is None:
            self._last = (Status(PluginState.FAILED), Counters())
            self._free()
