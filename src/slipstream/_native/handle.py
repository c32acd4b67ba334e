"""One life for all that is held for Python: what the core has made, and files that must go in time.

A handle is closed by `close`, at the end of a `with`, or when nobody refers to it any more,
whatever comes first. Afterwards, and in a forked child, it has no pointer: whoever uses it all
the same gets a `ClosedError`.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar

from slipstream import _native
from slipstream._native import lib

P = TypeVar("P")

_living: weakref.WeakSet[Handle[Any]] = weakref.WeakSet()
_left: list[object] = []  # what calls that do not return may still use


class Handle(Generic[P]):
    """Something that has to be given back. A context manager.

    Attributes:
        is_closed: It was closed, or belongs to the parent of a forked process.
    """

    is_closed = False

    def __init__(self, pointer: P, free: Callable[[P], object], *needs: object) -> None:
        """Hold something.

        Args:
            pointer: What is held.
            free: Gives it back; called once, and never in a forked child. It must not refer to
                this object. False: a call that does not return uses it; so it stays for good,
                and so do the handles that it needs.
            needs: What it uses, which lives at least as long.
        """
        self._pointer = pointer
        self._process = lib.ss_os_process()
        # Re-entrant: a signal handler may ask or close while this thread does.
        self._lock = threading.RLock()
        self._finalizer = weakref.finalize(self, _give_back, free, pointer, self._process, needs)
        self._finalizer.atexit = False  # at the end of the process its owner closes it, in order
        _living.add(self)

    @property
    def pointer(self) -> P:
        """The pointer that the core knows it by.

        Raises:
            ClosedError: It is closed, or belongs to the parent of this process.
        """
        if self.is_closed or self.is_foreign:
            raise _native.closed_error()
        return self._pointer

    @property
    def is_foreign(self) -> bool:
        """It was made by the process that has forked this one."""
        return self._process != lib.ss_os_process()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def asking(self) -> threading.RLock:
        """Return the lock that keeps it from being closed, for questions of any thread.

        Raises:
            ClosedError: In a forked child; there the lock may be held for good.
        """
        if self.is_foreign:
            raise _native.closed_error()
        return self._lock

    def close(self) -> object:
        """Give it back. Does nothing the second time, and nothing in a forked child."""
        if not self.is_closed and not self.is_foreign:
            with self._lock:
                self.is_closed = True
            self._finalizer()
        return None


def _give_back(
    free: Callable[[P], object], pointer: P, process: int, needs: tuple[object, ...]
) -> None:
    if process == lib.ss_os_process() and free(pointer) is False:
        _left.append(needs)
        for need in needs:
            if isinstance(need, Handle):
                need._finalizer.detach()  # noqa: SLF001 - of this very module


def _disown() -> None:
    """Let a forked child use nothing of its parent's, and give nothing of it back."""
    for handle in _living:
        handle.is_closed = True
        handle._finalizer.detach()  # noqa: SLF001 - of this very module


if hasattr(os, "register_at_fork"):  # where there are forks
    os.register_at_fork(after_in_child=_disown)
