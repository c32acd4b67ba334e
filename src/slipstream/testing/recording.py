"""A plugin in Python that keeps what it gets."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable

from slipstream.events import Event, EventKind, Gap
from slipstream.text import counted


class RecordingPlugin:
    """A plugin in Python that keeps what it gets, for `PluginManager.install`.

    Attributes:
        name: Its name.
        events: The events so far, gaps among them, in order.
        loads: How often `on_load` was called.
        unloads: How often `on_unload` was called.
        on_event: Called with each event after it was kept; what it raises is the plugin's
            failure. None does nothing.
    """

    version = "1"

    def __init__(
        self,
        name: str = "recorder",
        kinds: Iterable[EventKind | int] = tuple(EventKind),
        *,
        payload_names: Iterable[bytes | str] = (),
        on_event: Callable[[Event], object] | None = None,
    ) -> None:
        """Make a plugin.

        Args:
            name: Its name.
            kinds: What it subscribes to.
            payload_names: The payload names that it claims.
            on_event: See the attribute.
        """
        self.name = name
        self.events: list[Event] = []
        self.loads = 0
        self.unloads = 0
        self.on_event = on_event
        self._kinds = tuple(kinds)
        self._payload_names = tuple(payload_names)
        self._arrived = threading.Condition()

    def on_load(self) -> None:
        """Count."""
        self.loads += 1

    def on_unload(self) -> None:
        """Count."""
        self.unloads += 1

    def subscribed_events(self) -> Iterable[EventKind | int]:
        """Return the kinds that were given."""
        return self._kinds

    def payload_names(self) -> Iterable[bytes | str]:
        """Return the names that were given."""
        return self._payload_names

    def on_broadcast(self, event: Event) -> None:
        """Keep the event."""
        with self._arrived:
            self.events.append(event)
            self._arrived.notify_all()
        if self.on_event is not None:
            self.on_event(event)

    def wait_for(self, count: int, timeout: float = 10.0) -> list[Event]:
        """Wait until there are `count` events, for hosts that broadcast on other threads.

        Args:
            count: How many.
            timeout: The longest wait, in seconds.

        Returns:
            The first `count` events.

        Raises:
            TimeoutError: There are fewer.
        """
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.events) >= count, timeout):
                raise TimeoutError(
                    f"{len(self.events)} of {counted(count, 'event')} after {timeout:g} s"
                )
            return list(itertools.islice(self.events, count))

    @property
    def gaps(self) -> list[Gap]:
        """The gaps among the events."""
        return [event for event in self.events if isinstance(event, Gap)]
