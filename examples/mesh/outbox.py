"""What a node sends to the mailbox of another: each message until its receipt is here."""

from __future__ import annotations

import contextlib
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

from keys import PLUGIN, Card, is_signed, seal

PUT = b"org.example.mailbox.put"
SEALED = b"org.example.mailbox.sealed"
RECEIPT = b"org.example.mailbox.receipt"

_WINDOW = 2048  # messages that may wait for their receipts
_TOGETHER = 256  # messages that are handed over at once
_PAUSES = (0.3, 2.0)  # seconds without a receipt before all is sent again: at first, at most
_PATIENCE = 300.0  # seconds for all that is waited for

Send = Callable[[bytes, Sequence[tuple[bytes, bytes]]], None]


class Outbox:
    """Messages to one mailbox, in order; `mailbox.c` says how they look.

    Attributes:
        sent_again: How many were sent once more.
        receipts: How many receipts were looked at; a newer one says all that older ones do.
    """

    def __init__(self, send: Send, me: bytes, to: Card) -> None:
        """Make one without messages.

        Args:
            send: Sends messages, each a name and a body, to a peer.
            me: This node.
            to: Whose mailbox it is.
        """
        self._send, self._me, self._to = send, me, to
        self._waiting: deque[tuple[int, bytes, bytes]] = deque()  # number, name, body
        self._last = 0  # number of the last one
        self._sent = 0  # the same of those that were sent
        self._receipt = b""  # that is to be looked at
        self._progress = time.monotonic()  # when something was last sent or received
        self._is_closed = False
        self._changed = threading.Condition()
        self.sent_again = self.receipts = 0
        self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)
        self._thread.start()

    def put(self, message: bytes, *, sealed: bool = False) -> None:
        """Send a message; wait for receipts first, where too many are out.

        Raises:
            TimeoutError: None comes.
        """
        body = seal(self._to.box_key, message) if sealed else message
        self._wait_for(lambda: len(self._waiting) < _WINDOW)
        with self._changed:
            self._last += 1
            self._waiting.append((self._last, SEALED if sealed else PUT, body))
            self._changed.notify_all()

    def wait(self) -> None:
        """Wait until every message has its receipt.

        Raises:
            TimeoutError: Some have none.
        """
        self._wait_for(lambda: not self._waiting)

    def take_receipt(self, source: bytes, body: bytes) -> None:
        """Take a receipt, which is looked at unless a newer one comes before."""
        if source == self._to.peer:
            with self._changed:
                self._receipt = body
                self._changed.notify_all()

    def close(self) -> None:
        """Send nothing any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()

    def _wait_for(self, done: Callable[[], bool]) -> None:
        with self._changed:
            if not self._changed.wait_for(done, _PATIENCE):
                raise TimeoutError(f"{len(self._waiting)} messages have no receipt")

    def _work(self) -> None:
        pause = _PAUSES[0]
        while True:
            with self._changed:
                self._changed.wait_for(self._is_wanted, pause)
                if self._is_closed:
                    return
                receipt, self._receipt = self._receipt, b""
                if self._is_late(pause):
                    self.sent_again += self._sent - self._waiting[0][0] + 1
                    self._sent = self._waiting[0][0] - 1
                    pause = min(2 * pause, _PAUSES[1])
            if receipt and self._believe(receipt):
                pause = _PAUSES[0]
            self._send_some()

    def _is_wanted(self) -> bool:
        return self._is_closed or bool(self._receipt) or self._sent < self._last

    def _is_late(self, pause: float) -> bool:
        is_out = bool(self._waiting) and self._waiting[0][0] <= self._sent
        return is_out and time.monotonic() - self._progress > pause

    def _believe(self, receipt: bytes) -> bool:
        """Take off what has a receipt, if the mailbox's node has signed it."""
        number, signature = receipt[:8], receipt[8:]
        if not is_signed(self._to.peer, signature, PLUGIN + RECEIPT + self._me + number):
            return False
        (last,) = struct.unpack("<Q", number)
        with self._changed:
            self.receipts += 1
            had = len(self._waiting)
            while self._waiting and self._waiting[0][0] <= last:
                self._waiting.popleft()
            self._sent = max(self._sent, last)
            is_progress = len(self._waiting) < had
            if is_progress:
                self._progress = time.monotonic()
            self._changed.notify_all()
        return is_progress

    def _send_some(self) -> None:
        """Send what was not sent yet; what finds no way is late, and sent again."""
        with self._changed:
            if not self._waiting or self._sent == self._last:
                return
            oldest = self._waiting[0][0]
            first = self._sent - oldest + 1
            some = list(islice(self._waiting, first, first + _TOGETHER))
            self._sent = some[-1][0]
            self._progress = time.monotonic()
        with contextlib.suppress(LookupError):
            bodies = ((name, struct.pack("<QQ", number, oldest) + b) for number, name, b in some)
            self._send(self._to.peer, list(bodies))
