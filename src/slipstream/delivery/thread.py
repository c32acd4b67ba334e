"""Thread delivery: the plugin takes events from a ring on its own native thread."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from slipstream import _native
from slipstream._native import ffi, lib
from slipstream._native.handle import Handle
from slipstream.config import Mode
from slipstream.delivery.instance import Instance
from slipstream.delivery.queue import Queue
from slipstream.delivery.queued import Queued
from slipstream.delivery.reload import InHost
from slipstream.errors import PluginFailed, PluginLoadError, Refusal
from slipstream.status import CONSUMER_STATES, PluginState, Status

if TYPE_CHECKING:
    from slipstream._native.cdef import ss_thread
    from slipstream.delivery.host import Host
    from slipstream.delivery.letters import Letters

_STUCK_GRACE = 1.0  # seconds more for a callback that is too late already
_SLICE = 0.02  # seconds between two looks whether what was lost at the end can be told


class Consumer(Handle["ss_thread"]):
    """A loaded instance that takes events out of a ring, on its own thread."""

    def __init__(self, host: Host, instance: Instance, queue: Queue, letters: Letters) -> None:
        """Let it begin."""
        config = instance.config
        options = ffi.new(
            "ss_thread_options *",
            {
                "log_id": instance.log_id,
                "flush_idle_ms": int(config.flush_interval * 1000),
                "callback_timeout_ms": int(config.callback_timeout * 1000),
                "retry_initial_ms": int(config.retry.initial_delay * 1000),
                "retry_max_ms": int(config.retry.max_delay * 1000),
                "retry_max_time_ms": int(config.retry.max_time * 1000),
            },
        )
        pointer = lib.ss_thread_start(
            instance.pointer, queue.pointer, host.pump.pointer, letters.pointer, options
        )
        if pointer == ffi.NULL:
            raise PluginLoadError(
                f"no memory for the consumer of {instance.copy.original}",
                "check the limit on memory: ulimit -v",
                Refusal.CANNOT_OPEN,
            )
        super().__init__(pointer, _free_consumer, queue, letters, instance)

    def look(self) -> tuple[PluginState, str]:
        """Return its state, and the reason of a failure."""
        status = ffi.new("int32_t *")
        with self.asking():
            if self.is_closed:
                return PluginState.LOADING, ""
            state = CONSUMER_STATES[lib.ss_thread_state(self.pointer, status)]
            late = self.late()
        if state is PluginState.FAILED:
            return state, f"on_broadcast returned {_native.status_name(status[0])}"
        if late:
            reason = f"stuck: a callback has not returned for {late:.1f} seconds"
            return PluginState.FAILED, reason
        return state, ""

    def late(self) -> float:
        """Return for how many seconds a callback is late; 0 if none is."""
        return float(lib.ss_thread_late_ns(self.pointer)) / 1e9


def _free_consumer(consumer: ss_thread) -> bool:
    if lib.ss_thread_state(consumer, ffi.new("int32_t *")) == lib.SS_THREAD_RUNNING:
        return False
    lib.ss_thread_free(consumer)
    return True


class ThreadPlugin(Queued[Instance], InHost):
    """A native instance behind a ring in private memory, in this process."""

    mode = Mode.THREAD
    _consumer: Consumer | None = None

    # ---- Versions -----------------------------------------------------------------

    def _withdraw(self, old: Instance, *, overlap: bool) -> None:  # noqa: ARG002 - the same
        self._beside = Status(PluginState.LOADING, "a new version takes over")
        retrying = self._queue.retrying()
        if not self._drain(old, self.config.unload_timeout, retrying=retrying):
            raise PluginFailed(
                "the plugin is stuck in a callback and cannot be replaced",
                "wait until it returns, or unload it",
            )

    def _consume(self, instance: Instance) -> None:
        if self._consumer is not None:
            self._consumer.close()  # until now the version before could acknowledge
        self._consumer = Consumer(self._host, instance, self._queue, self._letters)

    def _take_over(self, fresh: Instance) -> None:
        self._consume(fresh)
        self.present, self.config, self._beside = fresh, fresh.config, None
        self._attach(fresh)

    def _go_on(self, old: Instance) -> None:
        self._beside = None
        if self._consumer is None or lib.ss_thread_go_on(self._consumer.pointer):
            return
        code = ffi.new("int32_t *")
        if lib.ss_thread_state(self._consumer.pointer, code) == lib.SS_THREAD_ENDED:
            self._consume(old)

    def _fail(self, reason: str) -> None:
        self._beside = Status(PluginState.FAILED, reason)
        self._queue.hold_nobody()

    # ---- Asking -------------------------------------------------------------------

    def _look_at_consumer(self) -> tuple[PluginState, str, float]:
        if self._consumer is None:
            return PluginState.LOADING, "", 0
        return (*self._consumer.look(), 0)

    # ---- The end ------------------------------------------------------------------

    def _drain(self, instance: Instance, timeout: float, *, retrying: bool) -> bool:
        """End the consumer; what it did not get to stays in the ring.

        It ends at the last event that was broadcast or, when half of the time is over
        or `retrying`, after the call under way.

        Args:
            instance: Whose thread it runs on.
            timeout: In seconds, for all of it.
            retrying: Whether an event was offered again and again before the end began.

        Returns:
            False if that call does not return either.
        """
        consumer = self._consumer
        if consumer is None or consumer.is_closed:
            return True
        end = time.monotonic() + timeout
        hurry = end if math.isinf(timeout) else end - timeout / 2
        while time.monotonic() < hurry and not consumer.late() and not retrying:
            lib.ss_thread_stop(consumer.pointer)
            if instance.finish(_SLICE):
                return True
        lib.ss_thread_hurry(consumer.pointer)
        left = max(0.0, end - time.monotonic())
        return instance.finish(min(left, _STUCK_GRACE) if consumer.late() else left)

    def _end_consumer(self, timeout: float) -> list[str]:
        instance, consumer = self.present, self._consumer
        if instance is None or consumer is None or instance.is_closed:
            return []
        problems = []
        # Asked first: what is tried for the first time from now on is tried once more.
        retrying = self._queue.retrying()
        self._queue.pause(paused=False)  # what is held back by a pause is delivered, too
        if self._drain(instance, timeout, retrying=retrying):
            problems.append(instance.unload(timeout))
            consumer.close()  # until now it could acknowledge
        problems.append(instance.close(timeout).problem)
        consumer.close()  # if the call has not returned it stays, and the ring with it
        return problems
