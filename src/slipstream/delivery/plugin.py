"""One plugin and how events reach it: what each mode does in its own way."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from slipstream.status import Calls, Counters, Metric, PluginState, Status

if TYPE_CHECKING:
    from pathlib import Path

    from slipstream.config import PluginConfig
    from slipstream.delivery.crash_report import CrashReport
    from slipstream.delivery.description import Flush, Identity
    from slipstream.delivery.desk import Desk
    from slipstream.delivery.host import Host


class Delivery(ABC):
    """One plugin, and how events reach it; each mode has its own.

    Attributes:
        name: Its name in this host.
        identity: What it is; set when it is up, and anew after each reload.
    """

    identity: Identity

    def __init__(self, host: Host, name: str) -> None:
        """Begin with a plugin of which nothing runs yet."""
        self.name = name
        self._host = host
        self._slot = -1
        self._desk: Desk | None = host.open_desk(name)
        self._seen = Status(PluginState.LOADING)
        self._told = ""  # the reason at the last look
        # What it is in beside delivering: a reload, an unload, the end, or a failure for good.
        self._beside: Status | None = None

    def require_own(self) -> None:
        """Raise `ClosedError` in a forked child of its host, where nothing of it is known."""
        self._host.require_own()

    @property
    def unload_timeout(self) -> float:
        """The longest wait for each step of its end, in seconds."""
        return self._host.hurry.short(10.0)

    def status(self) -> Status:
        """Return the state, with its reason."""
        state, reason, since = self._look()
        if state is not self._seen.state or since:
            self._seen = Status(state, reason, since or time.time())
        elif reason != self._told:
            self._seen = Status(state, reason, self._seen.since)
        self._told = reason
        return self._beside or self._seen

    @abstractmethod
    def _look(self) -> tuple[PluginState, str, float]:
        """Return state and reason as they are now; and since when, 0: since it is seen."""

    @abstractmethod
    def counters(self) -> Counters:
        """Return the counters; may be called at any time, and after the end gives the last."""

    @property
    def restarts(self) -> int:
        """How often its worker has crashed; 0 where it has none."""
        return 0

    @property
    def pid(self) -> int | None:
        """Its worker's process; None where it has none: `kill(0)` would end one's own group."""
        return None

    @property
    def last_crash(self) -> CrashReport | None:
        """What is known of the last crash."""
        return None

    @property
    def settings(self) -> PluginConfig | None:
        """The config of the version that serves; None where there is none."""
        return None

    @property
    def folder(self) -> Path | None:
        """Its own folder, which need not be there; None if its host gives none."""
        return self._host.folder(self.name)

    @property
    def dead_letter_file(self) -> Path | None:
        """The file with the events that it refuses for good; None: they are not kept."""
        return None

    def metrics(self) -> list[Metric]:
        """Return the plugin's own numbers: none, unless it is native."""
        return []

    def calls(self) -> Calls | None:
        """Return what became of its calls; None where the application offers nothing."""
        return None if self._desk is None else self._desk.calls()

    @abstractmethod
    def pause(self) -> None:
        """Hold events back; what comes meanwhile is told by a GAP."""

    @abstractmethod
    def resume(self) -> None:
        """Deliver again."""

    @abstractmethod
    def ask_flush(self, timeout: float) -> Flush:
        """Ask for everything delivered to be made durable, `timeout` being all the time for it.

        Raises:
            PluginFailed: The plugin cannot get there at present.
        """

    def close(self, timeout: float) -> str:
        """Flush, unload and give back everything; what could not be delivered is written down.

        Args:
            timeout: The longest wait for each step, in seconds.

        Returns:
            What did not go well, "" if all did.

        Raises:
            PluginFailed: It could not even begin; the plugin is loaded as before.
        """
        if self._beside is not None and self._beside.state is PluginState.UNLOADED:
            return ""
        problems = [self._flush_first(timeout)]
        self._detach()
        self._beside = Status(PluginState.UNLOADING)
        problems += self._end(timeout)
        if self._desk is not None:
            problems.append(self._desk.end(timeout))
        self._beside = Status(PluginState.UNLOADED, "unloaded")
        return "; ".join(filter(None, problems))

    def _flush_first(self, timeout: float) -> str:  # noqa: ARG002 - who needs it says so
        """Flush before the end if that is not a part of it; return what went wrong."""
        return ""

    def _detach(self) -> None:
        """Send it nothing any more."""
        if self._slot >= 0:
            self._host.sequencer.detach(self._slot)
            self._slot = -1

    @abstractmethod
    def _end(self, timeout: float) -> list[str]:
        """Unload and give back everything; after an interrupt, what is left of it."""
