"""Mappings of bytes with pending changes in layers over what is committed.

A layer holds only what changed, so that opening, dropping and committing one costs what was
written, not what is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MappingId = tuple[bytes, bytes]
"""Program id and mapping name."""


class _Delta:
    """What one layer changed in one mapping."""

    __slots__ = ("entries", "exists", "hides_below")

    def __init__(self) -> None:
        self.exists = True
        self.hides_below = False
        self.entries: dict[bytes, bytes | None] = {}

    def clear(self, *, exists: bool) -> None:
        self.exists = exists
        self.hides_below = True
        self.entries.clear()

    def merge(self, later: _Delta) -> None:
        """Put a later change of the same mapping on top of this one."""
        if later.hides_below:
            self.clear(exists=later.exists)
        self.exists = later.exists
        self.entries.update(later.entries)

    def apply(self, entries: dict[bytes, bytes]) -> None:
        """Make the change in the mapping itself."""
        if self.hides_below:
            entries.clear()
        for key, value in self.entries.items():
            if value is None:
                entries.pop(key, None)
            else:
                entries[key] = value


class LayeredMappings:
    """Committed mappings and a stack of layers; writes go to the topmost one.

    Args:
        mappings: What is committed at first.
    """

    def __init__(self, mappings: Mapping[MappingId, Mapping[bytes, bytes]]) -> None:
        self._committed = {where: dict(entries) for where, entries in mappings.items()}
        self._layers: list[dict[MappingId, _Delta]] = []

    def push(self) -> None:
        """Open a layer."""
        self._layers.append({})

    def merge(self) -> None:
        """Close the topmost layer into the one below it, or commit it if there is none."""
        layer = self._layers.pop()
        for where, delta in layer.items():
            if self._layers:
                self._layers[-1].setdefault(where, _Delta()).merge(delta)
            elif delta.exists:
                delta.apply(self._committed.setdefault(where, {}))
            else:
                self._committed.pop(where, None)

    def drop(self) -> None:
        """Close the topmost layer and forget its writes."""
        self._layers.pop()

    def get(self, where: MappingId, key: bytes) -> bytes | None:
        """Return the key's value, or None."""
        for layer in reversed(self._layers):
            delta = layer.get(where)
            if delta is not None:
                if key in delta.entries:
                    return delta.entries[key]
                if delta.hides_below:
                    return None
        return self._committed.get(where, {}).get(key)

    def exists(self, where: MappingId) -> bool:
        """Return whether the mapping was written and not removed since."""
        for layer in reversed(self._layers):
            if where in layer:
                return layer[where].exists
        return where in self._committed

    def entries(self, where: MappingId) -> dict[bytes, bytes]:
        """Return a copy of a mapping's entries, oldest key first."""
        entries = dict(self._committed.get(where, {}))
        for layer in self._layers:
            if where in layer:
                layer[where].apply(entries)
        return entries

    def put(self, where: MappingId, key: bytes, value: bytes | None) -> None:
        """Set a key, or remove it with None."""
        delta = self._layers[-1].setdefault(where, _Delta())
        delta.exists = True
        delta.entries[key] = value

    def replace(self, where: MappingId, entries: Iterable[tuple[bytes, bytes]]) -> None:
        """Make the mapping hold these entries and no other."""
        delta = self._layers[-1].setdefault(where, _Delta())
        delta.clear(exists=True)
        delta.entries.update(entries)

    def remove(self, where: MappingId) -> None:
        """Remove the mapping."""
        self._layers[-1].setdefault(where, _Delta()).clear(exists=False)
