"""What thread and process mode share: a plugin behind a ring."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from slipstream._native import lib
from slipstream.config import Mode
from slipstream.delivery.letters import save_undelivered
from slipstream.delivery.queue import Queue, retry_reason
from slipstream.delivery.reload import Reloadable, V
from slipstream.errors import PluginFailed
from slipstream.status import Counters, PluginState

if TYPE_CHECKING:
    from slipstream.config import PluginConfig
    from slipstream.delivery.description import Flush
    from slipstream.delivery.host import Host

# From these a plugin does not get to its last event by itself.
_HINDERED = {
    PluginState.PAUSED,
    PluginState.QUARANTINED,
    PluginState.FAILED,
    PluginState.UNLOADED,
}


class Queued(Reloadable[V]):
    """A plugin behind a ring, with a consumer that takes the events out of it."""

    # Events wait in the ring while a new version takes over.
    _kept = ("ring_bytes", "overflow", "block_timeout")

    def __init__(self, host: Host, config: PluginConfig, name: str) -> None:
        """Make the ring; nothing runs yet."""
        super().__init__(host, config, name)
        self._queue = Queue(config, shared=self.mode is Mode.PROCESS)

    def _attach(self, fresh: V) -> None:
        """Let the sequencer put into the ring what the version wants that serves now."""
        sequencer, described = self._host.sequencer, fresh.description
        if self._slot < 0:
            attach, queue = lib.ss_sequencer_attach_queue, self._queue.pointer
            self._slot = sequencer.attach(
                self, "load", attach, queue, described.kinds, fresh.log_id
            )
        sequencer.renew_queue(self._slot, described.kinds, fresh.log_id, described.claims)

    def _look(self) -> tuple[PluginState, str, float]:
        state, reason, since = self._look_at_consumer()
        if state is PluginState.RUNNING:
            stats = self._queue.stats()
            if stats.state == lib.SS_SLOT_PAUSED:
                state = PluginState.PAUSED
            elif stats.state == lib.SS_SLOT_STALLED:
                state, reason = PluginState.STALLED, "its ring stayed full for block_timeout"
            reason = "; ".join(filter(None, (reason, retry_reason(stats))))
        return state, reason, since

    @abstractmethod
    def _look_at_consumer(self) -> tuple[PluginState, str, float]:
        """Return the state, its reason and its beginning, without what the ring adds."""

    def counters(self) -> Counters:
        """Return the counters."""
        return self._queue.counters()

    def pause(self) -> None:
        """Hold events back; they are kept until the ring is full, then told of by a GAP."""
        self._queue.pause(paused=True)

    def resume(self) -> None:
        """Deliver again."""
        self._queue.pause(paused=False)

    def _hindrance(self) -> str:
        status = self.status()
        if status.state in _HINDERED:
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

    def _end(self, timeout: float) -> list[str]:
        problems = self._end_consumer(timeout)
        if not self._queue.is_closed:
            folder = self._host.folder(self.name)
            problems.append(save_undelivered(self._queue.leftover(), folder, self.name))
            self._queue.abandon()
        self._queue.close()
        self._letters.close()
        return problems

    @abstractmethod
    def _end_consumer(self, timeout: float) -> list[str]:
        """Drain, unload and end the consumer; what did not go well."""
