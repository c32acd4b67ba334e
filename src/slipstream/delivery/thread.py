"""Thread delivery: the plugin takes events from a ring on its own native thread."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

from slipstream import _native
from slipstream._native import ffi, lib
from slipstream.capture import open_for_append
from slipstream.config import Reload
from slipstream.delivery.description import Flush
from slipstream.delivery.instance import LoadReason, Mapping, neither_started
from slipstream.delivery.queue import Queue
from slipstream.errors import PluginFailed, PluginLoadError, SlipstreamError
from slipstream.status import Counters, Metric, PluginState, Status

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from slipstream.config import PluginConfig
    from slipstream.delivery.instance import Instance
    from slipstream.delivery.sequencer import Sequencer
    from slipstream.library import PrivateCopy

_MAX_ATTEMPTS = 5
_STUCK_GRACE = 1.0  # seconds more for a callback that is too late already
_SLICE = 0.02  # seconds between two looks whether what was lost at the end can be told


class ThreadPlugin:
    """A native instance behind a ring in private memory, in this process."""

    def __init__(self, log: Any, config: PluginConfig, state_dir: Path | None) -> None:
        """Make the ring; nothing runs yet.

        Args:
            log: The native log queue.
            config: The plugin's config.
            state_dir: Where undelivered events go; None: nowhere.
        """
        self._log_queue = log
        self._config = config
        self._state_dir = state_dir
        self._name = ""
        self._settled = b""
        self._sequencer: Sequencer | None = None
        self._slot = -1
        self._instance: Instance | None = None
        self._freeing = threading.Lock()  # the state is asked for by any thread
        self._thread: Any = ffi.NULL
        self._status = Status(PluginState.LOADING)
        # What it is in beside delivering: a reload, an unload, the end, or a failure for good.
        self._beside: Status | None = None
        self._dead_letter = -1
        self._queue = Queue(config, shared=False)
        try:
            if config.dead_letter is not None:
                self._dead_letter = open_for_append(config.dead_letter)
        except BaseException:
            self._queue.free()
            raise

    @property
    def config(self) -> PluginConfig:
        """The config of the present generation."""
        return self._config

    @property
    def log_id(self) -> int:
        """The number that the present generation's log lines carry."""
        return 0 if self._instance is None else self._instance.log_id

    def start(self, instance: Instance, name: str, settled: bytes, config: PluginConfig) -> None:
        """Let a loaded instance take events.

        Args:
            instance: Loaded; belongs to this object afterwards.
            name: The plugin's effective name.
            settled: What its `on_load` got, for starting it again.
            config: Its config.
        """
        thread = lib.ss_thread_start(
            instance.handle,
            self._queue.handle,
            self._log_queue,
            instance.log_id,
            self._dead_letter,
            int(config.flush_interval * 1000),
            _MAX_ATTEMPTS,
            int(config.callback_timeout * 1000),
        )
        if thread == ffi.NULL:
            raise MemoryError
        self._thread = thread
        self._instance, self._name = instance, name
        self._settled, self._config = settled, config
        self._beside = None
        self._status = Status(PluginState.RUNNING)

    def attach(self, sequencer: Sequencer) -> None:
        """Let the sequencer put events into the ring."""
        instance = self._require()
        kinds = instance.describe().kinds
        self._slot = sequencer.attach_queue(self._queue.handle, kinds, instance.log_id)
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
        with self._freeing:
            state, reason = self._look()
        if self._beside is not None:
            return self._beside
        if state is not self._status.state:
            self._status = Status(state, reason)
        return self._status

    def _look(self) -> tuple[PluginState, str]:
        code = ffi.new("int32_t *")
        if self._thread == ffi.NULL:
            return PluginState.LOADING, ""
        if lib.ss_thread_state(self._thread, code) == lib.SS_THREAD_FAILED:
            return PluginState.FAILED, f"on_broadcast returned {_native.status_name(code[0])}"
        stuck_for = self._stuck_for()
        if stuck_for:
            return (
                PluginState.FAILED,
                f"stuck: a callback has not returned for {stuck_for:.1f} seconds",
            )
        stats = self._queue.stats()
        if stats.state == lib.SS_SLOT_PAUSED:
            return PluginState.PAUSED, ""
        if stats.state == lib.SS_SLOT_STALLED:
            return PluginState.STALLED, "its ring stayed full for block_timeout"
        return PluginState.RUNNING, ""

    def _stuck_for(self) -> float:
        """For how many seconds a callback is late; 0 if none is."""
        return float(lib.ss_thread_late_ns(self._thread)) / 1e9

    def counters(self) -> Counters:
        """Return the counters."""
        return self._queue.counters()

    def metrics(self) -> list[Metric]:
        """Return the numbers that the plugin reports."""
        return [] if self._instance is None else self._instance.metrics()

    # ---- Steering -----------------------------------------------------------------

    def pause(self) -> None:
        """Hold events back; they are kept until the ring is full, then told of by a GAP."""
        self._queue.pause(paused=True)

    def resume(self) -> None:
        """Deliver again."""
        self._queue.pause(paused=False)

    def _hindrance(self) -> str:
        status = self.status()
        if status.state in {PluginState.PAUSED, PluginState.FAILED}:
            return f"it is {status.state}" + (f": {status.reason}" if status.reason else "")
        return ""

    def ask_flush(self, timeout: float) -> Flush:
        """Ask for a flush, at whose end everything broadcast so far is acknowledged.

        Raises:
            PluginFailed: It cannot get there.
        """
        problem = self._hindrance()
        if problem:
            raise PluginFailed(problem, "resume it, or unload it")
        return self._queue.ask_flush(timeout, self._hindrance)

    def _drain(self, timeout: float) -> bool:
        """End the consumer; what it did not get to stays in the ring.

        It ends at the last event that was broadcast or, when the time is over, after the call
        under way.

        Returns:
            False if that call does not return either.
        """
        if self._thread == ffi.NULL:
            return True
        instance = self._require()
        end = time.monotonic() + timeout
        while time.monotonic() < end and not self._stuck_for():
            lib.ss_thread_stop(self._thread)
            if instance.finish(_SLICE):
                return True
        lib.ss_thread_hurry(self._thread)
        return instance.finish(min(timeout, _STUCK_GRACE) if self._stuck_for() else timeout)

    def _free_thread(self) -> None:
        with self._freeing:
            thread, self._thread = self._thread, ffi.NULL
        if thread != ffi.NULL:
            lib.ss_thread_free(thread)

    def stop(self, timeout: float) -> str:
        """Drain, unload and close; what is left is written to a capture.

        Returns:
            What did not go well, "" if all did.
        """
        if self._instance is None and self._queue.is_free:
            return ""
        if self._sequencer is not None:
            self._sequencer.detach(self._slot)
            self._sequencer = None
        self._beside = Status(PluginState.UNLOADING)
        problems: list[str] = []
        self._queue.pause(paused=False)  # what is held back by a pause is delivered, too
        drained = self._drain(timeout)
        if self._instance is not None:
            if drained:
                problems.append(self._instance.unload(timeout))
                self._free_thread()  # until now it could acknowledge
            mapping = self._instance.close(timeout)
            problems.append("" if mapping is Mapping.GONE else mapping.meaning)
            self._instance = None
        problems.append(self._queue.save_leftover(self._state_dir, self._name))
        self._beside = Status(PluginState.UNLOADED)
        if drained:  # else the plugin still uses the ring, whenever it returns
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
        old = self._instance
        before = self._status
        problems: list[str] = []
        try:
            overlap = config.reload is Reload.OVERLAP and old is not None
            if overlap:
                self._check_overlap(fresh)
                fresh.load(settled, LoadReason.RELOAD, config.load_timeout)
            self._beside = Status(PluginState.LOADING, "a new version takes over")
            problems.append(self._end(old))
            if not overlap:
                fresh.load(settled, LoadReason.RELOAD, config.load_timeout)
            self.start(fresh, self._name, settled, config)
        except BaseException as error:
            try:
                fresh.discard(config.unload_timeout)
            finally:
                self._go_back(old, reopen, error)
                self._status = before
            raise
        if self._sequencer is not None:
            kinds = fresh.describe().kinds
            self._sequencer.renew_queue(self._slot, kinds, fresh.log_id, fresh.claims())
        if old is not None:
            mapping = old.close(config.unload_timeout)
            problems.append("" if mapping is Mapping.GONE else mapping.meaning)
        return "; ".join(p for p in problems if p)

    def _check_overlap(self, fresh: Instance) -> None:
        multiple = lib.SLIPSTREAM_FLAG_MULTI_INSTANCE
        if not (self._require().describe().has(multiple) and fresh.describe().has(multiple)):
            raise PluginLoadError(
                "reload: overlap needs a plugin with the flag MULTI_INSTANCE, in both versions",
                "use reload: 'replace' in the config",
            )

    def _end(self, old: Instance | None) -> str:
        """Drain and unload the present instance; what did not go well, or ""."""
        if old is None:
            return ""
        timeout = self._config.unload_timeout
        if not self._drain(timeout):
            raise PluginFailed(
                "the plugin is stuck in a callback and cannot be replaced",
                "wait until it returns, or unload it",
            )
        try:
            return old.unload(timeout)
        finally:
            self._free_thread()

    def _go_back(
        self,
        old: Instance | None,
        reopen: Callable[[PrivateCopy], Instance],
        cause: BaseException,
    ) -> None:
        """Let the old version go on, from its kept copy if it was unloaded already."""
        if old is None:  # nothing to go back to
            self._beside = Status(PluginState.FAILED, "no version of it could be started")
            return
        self._beside = None
        if self._thread != ffi.NULL:
            if not lib.ss_thread_go_on(self._thread) and self._has_ended():
                self._free_thread()
                self.start(old, self._name, self._settled, self._config)
            return
        try:
            again = reopen(old.copy)
            try:
                again.load(self._settled, LoadReason.RELOAD, self._config.load_timeout)
                self.start(again, self._name, self._settled, self._config)
            except BaseException:
                again.discard(self._config.unload_timeout)
                raise
        except SlipstreamError as error:
            reason = f"neither version could be started: {error.message}"
            self._beside = Status(PluginState.FAILED, reason)
            self._instance = None
            self._queue.hold_nobody()
            raise neither_started(cause, error) from cause
        finally:
            old.close(self._config.unload_timeout)

    def _has_ended(self) -> bool:
        code = ffi.new("int32_t *")
        return bool(lib.ss_thread_state(self._thread, code) == lib.SS_THREAD_ENDED)

    def _free(self) -> None:
        self._queue.free()
        if self._dead_letter >= 0:
            os.close(self._dead_letter)
            self._dead_letter = -1

    def discard(self) -> None:
        """End the consumer and free the ring, after a failed load; the instance is the caller's."""
        self._beside = Status(PluginState.FAILED)
        if self._sequencer is not None:
            self._sequencer.detach(self._slot)
        if self._drain(self._config.unload_timeout):
            self._free_thread()
            self._free()
        self._instance = None
