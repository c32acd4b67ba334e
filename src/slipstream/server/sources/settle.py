"""Up to where each stream is settled.

After events went out it is noted, for each stream, which was the last, and for each plugin that
is loaded, which ordinal was given out last. Once every one of these plugins has acknowledged so
far, all events up to there are settled. So the event path pays for a note every few milliseconds
and nothing for an event.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from slipstream.status import PluginState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slipstream.loaded import Plugin
    from slipstream.server.sources.kept import StreamState

_NOTES_MAX = 1000


@dataclass(frozen=True, slots=True)
class Look:
    """How far a subscriber is.

    Attributes:
        acknowledged: Up to this ordinal it is done.
        dead: How many of these it has refused for good.
        told: How many of these it was told of by a GAP.
        gone: It gets nothing more, and nobody waits for it.
    """

    acknowledged: int
    dead: int = 0
    told: int = 0
    gone: bool = False


class Subscriber(Protocol):
    """Who gets events."""

    def accepted(self) -> int:
        """Return the last ordinal that was given out."""

    def look(self) -> Look:
        """Say how far it is."""


class PluginSubscriber:
    """A plugin, from its load to its unload."""

    def __init__(self, plugin: Plugin) -> None:
        """Begin with a plugin that is loaded."""
        self._plugin = plugin

    def accepted(self) -> int:
        """Return the last ordinal that was given out."""
        return self._plugin.counters.accepted

    def look(self) -> Look:
        """Say how far it is."""
        gone = self._plugin.delivery.status().state is PluginState.UNLOADED
        counters = self._plugin.counters
        return Look(counters.acknowledged, counters.dead, counters.told, gone)


@dataclass(slots=True)
class _Note:
    streams: dict[StreamState, int]
    marks: dict[Subscriber, int]


@dataclass(frozen=True, slots=True)
class Change:
    """What a stream has come to."""

    state: StreamState
    settled: int
    dead: int
    told: int

    @property
    def record(self) -> tuple[int, int, int, int]:
        """It as it is kept."""
        return self.state.stream, self.settled, self.dead, self.told


@dataclass
class Settler:
    """Notes from the event path, and what has become of them.

    `note` is for the event path, the rest for one other thread at a time.

    Attributes:
        is_ending: The daemon ends: a plugin that is unloaded now has not left for good, and what
            it did not acknowledge comes again after the start.
    """

    is_ending: bool = False
    _notes: deque[_Note] = field(default_factory=deque)
    _seen: dict[Subscriber, Look] = field(default_factory=dict)

    @property
    def waits(self) -> bool:
        """Something is not settled yet."""
        return bool(self._notes)

    def note(self, streams: dict[StreamState, int], subscribers: Iterable[Subscriber]) -> None:
        """These are the last events of each stream that went out; to these subscribers."""
        note = _Note(streams, {one: one.accepted() for one in subscribers})
        if len(self._notes) >= _NOTES_MAX:  # somebody is paused, or far behind
            try:
                before = self._notes.pop()
            except IndexError:
                pass
            else:
                note.streams = before.streams | note.streams
                note.marks = before.marks | note.marks
        self._notes.append(note)

    def advance(self) -> list[Change]:
        """Look how far the subscribers are; return what has changed by that, to be kept first."""
        changes: dict[StreamState, Change] = {}
        looks: dict[Subscriber, Look] = {}
        notes = list(self._notes)
        for note in notes:
            for one in note.marks:
                if one not in looks:
                    looks[one] = one.look()
        for one, look in looks.items():
            self._attribute(notes, one, look, changes)
        self._seen |= looks
        for one in [one for one, look in self._seen.items() if look.gone and one not in looks]:
            del self._seen[one]
        while self._notes:
            note = self._notes[0]
            if not all(self._is_past(looks.get(one), mark) for one, mark in note.marks.items()):
                break
            try:
                self._notes.popleft()
            except IndexError:
                break
            for state, last in note.streams.items():
                old = _change(changes, state)
                changes[state] = Change(state, max(last, old.settled), old.dead, old.told)
        return list(changes.values())

    def _is_past(self, look: Look | None, mark: int) -> bool:
        if look is None:  # noted since
            return False
        return look.acknowledged >= mark or (look.gone and not self.is_ending)

    def _attribute(
        self,
        notes: list[_Note],
        one: Subscriber,
        look: Look,
        changes: dict[StreamState, Change],
    ) -> None:
        """Count what is dead and told with every stream that it may be of."""
        before = self._seen.get(one, Look(0))
        dead, told = look.dead - before.dead, look.told - before.told
        if not dead and not told:
            return
        states: set[StreamState] = set()
        start = 0
        for note in notes:
            mark = note.marks.get(one, 0)
            if start >= look.acknowledged:
                break
            if mark > before.acknowledged:
                states |= note.streams.keys()
            start = max(start, mark)
        for state in states:
            old = _change(changes, state)
            changes[state] = Change(state, old.settled, old.dead + dead, old.told + told)


def _change(changes: dict[StreamState, Change], state: StreamState) -> Change:
    return changes.get(state) or Change(state, state.settled, state.dead, state.told)
