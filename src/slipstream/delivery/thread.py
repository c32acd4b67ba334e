"""Thread delivery: the plugin takes events from a ring on its own native thread."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from slipstream import _native
from slipstream._native import ffi, lib
from slipstream._native.handle import Handle
from slipstream.config import Mode
from slipstream.delivery.instance import Instance
from slipstream.delivery.queue import Queue, Queued
from slipstream.delivery.reload import InHost
from slipstream.errors import PluginFailed
from slipstream.status import CONSUMER_STATES, Metric, PluginState, Status

if TYPE_CHECKING:
    from slipstream.delivery.host import Host

_log = logging.getLogger("slipstream")

_MAX_ATTEMPTS = 5
_STUCK_GRACE = 1.0  # seconds more for a callback that is too late already
_SLICE = 0.02  # seconds between two looks whether what was lost at the end can be told


class Consumer(Handle):
    """A loaded instance that takes events out of a ring, on its own thread."""

    def __init__(self, host: Host, instance: Instance, queue: Queue, dead_letter: Handle) -> None:
        """Let it begin."""
        pointer = lib.ss_thread_start(
            instance.pointer,
            queue.pointer,
            host.pump.pointer,
            instance.log_id,
            dead_letter.pointer,
            int(instance.config.flush_interval * 1000),
            _MAX_ATTEMPTS,
        )
        if pointer == ffi.NULL:
            raise MemoryError
        self._limit = instance.config.callback_timeout
        self._call = (0, 0.0)  # the ordinal in flight, and when it was seen first
        super().__init__(pointer, _free_consumer, queue, dead_letter, instance)

    def look(self) -> tuple[PluginState, str]:
        """Return its state, and the reason of a failure."""
        status = ffi.new("int32_t *")
        with self.asking():
            number = lib.SS_THREAD_ENDED
            if not self.is_closed:
                number = lib.ss_thread_state(self.pointer, status)
            late, _ = self.late()
        state = CONSUMER_STATES[number]
        if state is PluginState.FAILED:
            return state, f"on_broadcast returned {_native.status_name(status[0])}"
        if late:
            reason = f"stuck: a callback has not returned for {late:.1f} seconds"
            return PluginState.FAILED, reason
        return state, ""

    def late(self) -> tuple[float, int]:
        """Return the seconds for which a call has not returned, and its ordinal.

        That is by repeated looks, and 0 as long as it is within callback_timeout.
        """
        with self.asking():
            ordinal = 0 if self.is_closed else lib.ss_thread_call(self.pointer)
            if ordinal == 0 or ordinal != self._call[0]:
                self._call = (ordinal, time.monotonic())
            seconds = time.monotonic() - self._call[1]
        return (seconds if seconds > self._limit > 0 else 0.0), ordinal


def _free_consumer(consumer: Any) -> bool:
    if lib.ss_thread_state(consumer, ffi.new("int32_t *")) == lib.SS_THREAD_RUNNING:
        return False
    lib.ss_thread_free(consumer)
    return True


class ThreadPlugin(Queued[Instance], InHost):
    """A native instance behind a ring in private memory, in this process."""

    mode = Mode.THREAD
    _consumer: Consumer | None = None
    _said_stuck = False  # in the log

    # ---- Versions -----------------------------------------------------------------

    def _withdraw(self, old: Instance, *, overlap: bool) -> None:  # noqa: ARG002 - the same
        self._beside = Status(PluginState.LOADING, "a new version takes over")
        if not self._drain(old, self.config.unload_timeout):
            raise PluginFailed(
                "the plugin is stuck in a callback and cannot be replaced",
                "wait until it returns, or unload it",
            )

    def _consume(self, instance: Instance) -> None:
        if self._consumer is not None:
            self._consumer.close()  # until now the version before could acknowledge
        self._consumer = Consumer(self._host, instance, self._queue, self._dead_letter)

    def _take_over(self, fresh: Instance) -> None:
        self._consume(fresh)
        self.present, self.config, self._beside = fresh, fresh.config, None
        self._attach(fresh.description.kinds, fresh.claims(), fresh.log_id)

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

    def watch(self) -> None:
        """Say in the log when a callback does not return, and when it has; called now and then."""
        late, ordinal = (0.0, 0) if self._consumer is None else self._consumer.late()
        if late and not self._said_stuck:
            limit = self.config.callback_timeout
            reason = f"a callback takes longer than callback_timeout ({limit:g} s)"
            _log.error(
                "plugin is stuck",
                extra={"plugin": self.name, "reason": reason, "ordinal": ordinal},
            )
        elif self._said_stuck and not late:
            _log.warning("plugin is not stuck any more", extra={"plugin": self.name})
        self._said_stuck = late > 0

    def metrics(self) -> list[Metric]:
        """Return the numbers that the plugin reports."""
        return [] if self.present is None else self.present.metrics()

    # ---- The end ------------------------------------------------------------------

    def _drain(self, instance: Instance, timeout: float) -> bool:
        """End the consumer; what it did not get to stays in the ring.

        It ends at the last event that was broadcast or, when the time is over, after the call
        under way.

        Returns:
            False if that call does not return either.
        """
        consumer = self._consumer
        if consumer is None or consumer.is_closed:
            return True
        end = time.monotonic() + timeout
        while time.monotonic() < end and not consumer.late()[0]:
            lib.ss_thread_stop(consumer.pointer)
            if instance.finish(_SLICE):
                return True
        lib.ss_thread_hurry(consumer.pointer)
        return instance.finish(min(timeout, _STUCK_GRACE) if consumer.late()[0] else timeout)

    def _end_consumer(self, timeout: float) -> list[str]:
        instance, consumer = self.present, self._consumer
        if instance is None or consumer is None or instance.is_closed:
            return []
        problems = []
        self._queue.pause(paused=False)  # what is held back by a pause is delivered, too
        if self._drain(instance, timeout):
            problems.append(instance.unload(timeout))
            consumer.close()  # until now it could acknowledge
        problems.append(instance.close(timeout).problem)
        consumer.close()  # if the call has not returned it stays, and the ring with it
        return problems
