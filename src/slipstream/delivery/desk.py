"""Where one plugin asks the application: the threads that serve it."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from slipstream import _native
from slipstream._native import ffi, lib
from slipstream._native.handle import Handle
from slipstream.logs import Seldom
from slipstream.status import Calls
from slipstream.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from slipstream._native.cdef import ss_asked, ss_desk, ss_terms
    from slipstream.delivery.services import Served
    from slipstream.logs import LogPump

GRANTS = {
    "send": lib.SS_GRANTS_SEND,
    "peers": lib.SS_GRANTS_PEERS,
    "identity.sign": lib.SS_GRANTS_SIGN,
    "identity.open": lib.SS_GRANTS_OPEN,
}
"""The bit of each grant."""

# So many threads serve one plugin at most: those of calls that do not come back are among them.
_THREADS_MAX = 16
_IDLE_MAX = 2
_LOOK_EVERY_MS = 1000  # between two looks for calls that do not come back
_SPARE = 1.0  # seconds for threads to end
_SLICE = 0.002  # seconds between two looks at them
# A plugin that asks without a pause is served for a part of the time only: more would take Python's
# lock from those who send events. Who is told to come again, and does so at once, gets less.
_SHARE, _SHARE_OF_FLOOD = 0.5, 0.1
_FLOOD = 20  # calls that were told so for each one that was served
_BURST = 0.02  # seconds for which it may be served in one go
_DEBT = 0.001  # seconds that may be owed: who sleeps has to wait for Python's lock afterwards


class Desk(Handle["ss_desk"]):
    """Where the instances of one plugin ask, and what answers them.

    Attributes:
        name: The plugin's.
    """

    def __init__(self, pump: LogPump, served: Served, name: str) -> None:
        """Make one that nobody asks yet.

        Args:
            pump: Takes its log lines.
            served: The services.
            name: The plugin's name, as far as it is known.
        """
        pointer = lib.ss_desk_new(pump.pointer)
        if pointer == ffi.NULL:
            raise MemoryError
        super().__init__(pointer, lib.ss_desk_free, pump)
        self.name = name
        self._pump, self._served = pump, served
        self._seldom = Seldom()
        self._guard = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._ended = False
        self._timeout = 0.0
        # What each thread has in hand; and of which calls it was said that they are late.
        self._in_hand: dict[threading.Thread, ss_asked] = {}
        self._late: dict[threading.Thread, int] = {}
        self._spent = _Budget(self.calls)

    def terms(self, grants: Iterable[str], call_timeout: float) -> ss_terms:
        """Return the terms of an instance that is about to ask, and begin to serve it.

        Args:
            grants: What it may.
            call_timeout: The longest wait for an answer, in seconds.
        """
        granted, services = sum(GRANTS[grant] for grant in set(grants)), self._served.services
        sends = self._served.offers & lib.SS_OFFERS_SEND and granted & lib.SS_GRANTS_SEND
        self._timeout = max(self._timeout, call_timeout)
        if granted and not self._threads:
            self._start_thread()
        return ffi.new(
            "ss_terms *",
            {
                "offers": self._served.offers,
                "grants": granted,
                "call_timeout_ms": max(1, int(call_timeout * 1000)),
                "outbox_messages": services.outbox_messages if sends else 0,
                "outbox_bytes": services.outbox_bytes // 8 * 8 if sends else 8,
            },
        )

    # ---- The threads --------------------------------------------------------------

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._serve, name=f"calls-{self.name}", daemon=True)
        with self._guard:
            if len(self._threads) >= _THREADS_MAX:
                return
            self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:
            with self._guard:
                self._threads.discard(thread)
            self._say("cannot start a thread for its calls", {})

    def _serve(self) -> None:
        pointer, asked = self.pointer, ffi.new("ss_asked *")
        me = threading.current_thread()
        self._in_hand[me] = asked
        try:
            while True:
                status = lib.ss_desk_take(pointer, _LOOK_EVERY_MS, asked)
                if status == lib.SLIPSTREAM_OK:
                    self._serve_one(pointer, asked)
                elif status == lib.SLIPSTREAM_WRONG_STATE or self._is_one_too_many():
                    return
                elif status == lib.SLIPSTREAM_NO_MEMORY:
                    time.sleep(0.1)
                self._tell_late()
        finally:
            with self._guard:
                self._threads.discard(me)
                del self._in_hand[me]
                self._late.pop(me, None)

    def _busy(self) -> list[tuple[threading.Thread, ss_asked]]:
        """Return which threads have a call in hand, and which."""
        return [(who, asked) for who, asked in list(self._in_hand.items()) if asked.taken_ns]

    def _is_one_too_many(self) -> bool:
        return len(self._threads) - len(self._busy()) > _IDLE_MAX

    def _stand_by(self) -> None:
        """See to it that somebody is there for the next call, should this one not come back."""
        if len(self._busy()) >= len(self._threads):
            self._start_thread()

    def _serve_one(self, pointer: ss_desk, asked: ss_asked) -> None:
        """Answer what is wanted. The plugin waits: what can come afterwards, does."""
        began, result, error = time.thread_time(), None, None
        desk, it, methods = _native.address(pointer), _native.address(asked), self._served.methods
        try:
            result = _native.serve(desk, it, methods, self._stand_by)
        except BaseException as raised:  # noqa: BLE001 - the plugin gets an answer all the same
            error = raised
        if asked.taken_ns:
            self._answer(pointer, asked, result, error)
        if asked.late_ns > self._timeout * 1e9:
            self._say("a service came back too late", {"seconds": round(asked.late_ns / 1e9, 3)})
        if not self._ended:
            self._spent.pay(time.thread_time() - began)

    def _answer(
        self, pointer: ss_desk, asked: ss_asked, result: object, error: BaseException | None
    ) -> None:
        """Answer what the core has not: a coroutine, a failure, rubbish."""
        method = self._served.method_of(asked.what, asked.number)
        status, answer = lib.SLIPSTREAM_OK, b""
        try:
            if error is not None:
                raise error
            answer = self._served.finish(method, result, self._timeout)
        except BaseException as raised:  # noqa: BLE001 - as above
            failure = self._served.failure_of(method, raised, self._timeout)
            status = failure.status
            if failure.text:
                fields: dict[str, object] = {"status": _native.status_name(status)}
                if asked.what == lib.SS_ASKS_SEND:
                    fields["ticket"] = asked.ticket
                self._say(failure.text, fields, failure.cause)
        lib.ss_desk_answer(pointer, asked, status, answer, len(answer))

    def _tell_late(self) -> None:
        """Say what has not come back in time."""
        for thread, asked in self._busy():
            since, seconds = asked.taken_ns, lib.ss_desk_in_hand_ns(asked) / 1e9
            if self._late.get(thread) == since or seconds <= self._timeout + _LOOK_EVERY_MS / 2000:
                continue
            self._late[thread] = since
            fields: dict[str, object] = {"seconds": round(seconds, 1), "call": _CALLS[asked.what]}
            self._say("a service does not come back; its call has failed", fields)

    def _say(
        self, text: str, fields: dict[str, object], error: BaseException | None = None
    ) -> None:
        more = self._seldom.due(text)
        if more is None:
            return
        if more:
            fields = {**fields, "unsaid_before": more}
        self._pump.say(
            logging.WARNING,
            text,
            {"plugin": self.name, **fields},
            error=error if isinstance(error, Exception) else None,
        )

    # ---- Asking, and the end ------------------------------------------------------

    def calls(self) -> Calls:
        """Return what became of the plugin's calls."""
        stats = ffi.new("ss_desk_stats *")
        lib.ss_desk_describe(self.pointer, stats)
        return Calls(
            sent=stats.sent,
            unsent=stats.unsent,
            waiting=stats.waiting,
            answered=stats.answered,
            denied=stats.denied,
            retries=stats.retries,
            timeouts=stats.timeouts,
            nonsense=stats.nonsense,
        )

    def end(self, timeout: float) -> str:
        """Hand over what is left, and let the threads go.

        Args:
            timeout: The longest wait, in seconds.

        Returns:
            What did not go well, "" if all did.
        """
        if self._ended or self.is_foreign:
            return ""
        self._ended = True
        lib.ss_desk_end(self.pointer, 0)
        self._wait_for_threads(timeout)
        lib.ss_desk_end(self.pointer, 1)
        left = self.calls().waiting
        self._wait_for_threads(_SPARE)
        if not left:
            return ""
        return counted(left, "message was", "messages were") + " not handed to the application"

    def _wait_for_threads(self, timeout: float) -> None:
        """Wait for their end; not for those with a call for which nobody waits any more."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            with self._guard:
                busy = self._busy()
                sending = [
                    lib.ss_desk_in_hand_ns(asked) < self._timeout * 1e9
                    for _, asked in busy
                    if asked.what == lib.SS_ASKS_SEND
                ]
                if len(self._threads) == len(busy) and not any(sending):
                    return
            time.sleep(_SLICE)


class _Budget:
    """Processor time in which a plugin may be served: some at once, and then a part of all."""

    def __init__(self, look: Callable[[], Calls]) -> None:
        """All of it is there; `look` returns what became of the plugin's calls."""
        self._lock = threading.Lock()
        self._look = look
        self._left = _BURST
        self._share = _SHARE
        self._paid = time.monotonic()
        self._looked, self._retries, self._served = self._paid, 0, 0

    def pay(self, seconds: float) -> None:
        """Pay for so much; waits where not enough is left.

        Args:
            seconds: Of the processor, while Python's lock was had: it costs nobody anything that
                one waits for it, and is awakened in vain as often as others let go of it.
        """
        now = time.monotonic()
        with self._lock:
            self._left = min(_BURST, self._left + (now - self._paid) * self._share) - seconds
            self._paid = now
            self._served += 1
            owed, share = -self._left, self._share
            if now - self._looked > _BURST:
                self._judge(now)
        if owed > _DEBT:
            time.sleep(min(owed / share, 10 * _BURST))

    def _judge(self, now: float) -> None:
        retries = self._look().retries
        flood = retries - self._retries > _FLOOD * self._served
        self._share = _SHARE_OF_FLOOD if flood else _SHARE
        self._looked, self._retries, self._served = now, retries, 0


_CALLS = {
    lib.SS_ASKS_SEND: "send",
    lib.SS_ASKS_LOOKUP: "lookup",
    lib.SS_ASKS_PEER_AT: "peer_at",
    lib.SS_ASKS_PUBLIC_KEY: "public_key",
    lib.SS_ASKS_SIGN: "sign",
    lib.SS_ASKS_OPEN: "open",
}
