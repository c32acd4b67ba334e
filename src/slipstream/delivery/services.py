"""The application's services, called for plugins: each call is checked, and has a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

from slipstream._native import lib
from slipstream.text import counted

if TYPE_CHECKING:
    from slipstream.peers import Services

_START_WAIT = 5.0  # seconds


class Method(NamedTuple):
    """A method of a service, and what it may return. The core's `serve` takes it by position.

    Attributes:
        call: The method.
        least: Bytes of an answer, at least.
        most: At most; less than `least` if it returns none.
        none: The status of None, FAILED if it means nothing.
        name: How people know it.
        text: Text is an answer, too.
    """

    call: Callable[..., object]
    least: int
    most: int
    none: int
    name: str
    text: bool = False


class ServiceFailed(Exception):
    """A service did not do what it should.

    Attributes:
        status: What the plugin gets.
        text: What the log says.
        cause: What it raised, if it did.
    """

    def __init__(self, status: int, text: str, cause: BaseException | None = None) -> None:
        """Make one."""
        super().__init__(text)
        self.status, self.text, self.cause = status, text, cause


class Served:
    """The services of an application, ready to be called.

    Attributes:
        services: What the application gave.
        offers: SS_OFFERS_*: what plugins find.
        methods: What is called for what is asked, for the core's `serve`.
    """

    def __init__(self, services: Services) -> None:
        """Take the loop that runs now, if the application names none."""
        self.services = services
        self.offers = (
            (services.control is not None) * lib.SS_OFFERS_SEND
            | (services.peers is not None) * lib.SS_OFFERS_PEERS
            | (services.identity is not None) * lib.SS_OFFERS_IDENTITY
        )
        self.methods = _methods_of(services)
        self._loop = services.loop
        if self._loop is None:
            with contextlib.suppress(RuntimeError):
                self._loop = asyncio.get_running_loop()
        self._own: OwnLoop | None = None
        self._lock = threading.Lock()

    def method_of(self, what: int, number: int) -> Method:
        """Return what was called for what was asked."""
        return self.methods[_key(what, number)]

    def finish(self, method: Method, result: object, timeout: float) -> bytes:
        """Return the answer that a method gave which the core has not sent.

        Args:
            method: The method.
            result: What it has returned.
            timeout: The longest wait for a coroutine, in seconds.

        Raises:
            ServiceFailed: There is no good answer.
            BaseException: What the coroutine raised; see `failure_of`.
        """
        if inspect.isawaitable(result):
            result = finish(result, self._serving_loop(), timeout)
        return _checked(method, result)

    def failure_of(self, method: Method, error: BaseException, timeout: float) -> ServiceFailed:
        """Return what becomes of a call of a method that has raised."""
        if isinstance(error, ServiceFailed):
            return error
        if isinstance(error, TimeoutError):
            late = f"{method.name} took longer than {timeout:.3g} seconds"
            return ServiceFailed(lib.SLIPSTREAM_TIMEOUT, late, error)
        status = lib.SLIPSTREAM_FAILED
        if isinstance(error, LookupError) and not method.most:  # of a message: no such peer
            status = lib.SLIPSTREAM_NOT_FOUND
        return ServiceFailed(status, f"{method.name} raised", error)

    def _serving_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is not None:
            return self._loop
        with self._lock:
            if self._own is None:
                self._own = OwnLoop("slipstream-services")
            return self._own.loop

    def close(self) -> None:
        """End the loop that was made here, if one was."""
        with self._lock:
            if self._own is not None:
                self._own.close()


def _key(what: int, number: int) -> int:
    return what << 32 | number


def _methods_of(services: Services) -> dict[int, Method]:
    """Return what is called for what is asked."""
    found: dict[int, Method] = {}

    def add(what: int, number: int, method: Method) -> None:
        found[_key(what, number)] = method

    most, nothing, no_peer = lib.SS_QUESTION_MAX, lib.SLIPSTREAM_FAILED, lib.SLIPSTREAM_NOT_FOUND
    if (control := services.control) is not None:
        for how, name, call in (
            (lib.SLIPSTREAM_PEER_DIRECT, "send_direct", control.send_direct),
            (lib.SLIPSTREAM_PEER_ROUTED, "send_routed", control.send_routed),
        ):
            add(lib.SS_ASKS_SEND, how, Method(call, 1, 0, lib.SLIPSTREAM_OK, name))
    if (peers := services.peers) is not None:
        for field, name, look_up in (
            (lib.SLIPSTREAM_PEER_PUBLIC_KEY, "peers.public_key", peers.public_key),
            (lib.SLIPSTREAM_PEER_NAME, "peers.name", peers.name),
        ):
            add(lib.SS_ASKS_LOOKUP, field, Method(look_up, 0, most, no_peer, name, text=True))
        peer_at = Method(peers.peer_at, 1, lib.SS_PEER_MAX, no_peer, "peers.peer_at")
        add(lib.SS_ASKS_PEER_AT, 0, peer_at)
    if (identity := services.identity) is not None:
        size, malformed = lib.SLIPSTREAM_SIGNATURE_LEN, lib.SLIPSTREAM_MALFORMED
        public_key = Method(identity.public_key, 0, most, nothing, "identity.public_key")
        add(lib.SS_ASKS_PUBLIC_KEY, 0, public_key)
        add(lib.SS_ASKS_SIGN, 0, Method(identity.sign, size, size, nothing, "identity.sign"))
        add(lib.SS_ASKS_OPEN, 0, Method(identity.open, 0, most, malformed, "identity.open"))
    return found


class OwnLoop:
    """An event loop on a thread of its own, for coroutines of an application that has none.

    Attributes:
        loop: The loop.
    """

    def __init__(self, name: str) -> None:
        """Start the thread."""
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=_run, args=(self.loop,), name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it; what still runs there is cancelled."""
        if self.loop.is_closed():
            return
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.loop.stop)
        if self._thread is not threading.current_thread():
            self._thread.join(_START_WAIT)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    finally:
        loop.close()


def finish(
    result: Awaitable[object], loop: asyncio.AbstractEventLoop, timeout: float | None
) -> object:
    """Run a coroutine on another thread's loop, and return what it returns.

    Args:
        result: The coroutine, or anything else that can be awaited.
        loop: Where it runs.
        timeout: The longest wait, in seconds; then it is cancelled. None: no limit.

    Raises:
        TimeoutError: It did not end in time.
        BaseException: What it raised.
    """
    future = asyncio.run_coroutine_threadsafe(_as_coroutine(result), loop)
    try:
        return future.result(timeout)
    except TimeoutError:
        future.cancel()
        raise


async def _as_coroutine(result: Awaitable[object]) -> object:
    return await result


# ---- What an answer must be ----------------------------------------------------------------------


def _checked(method: Method, result: object) -> bytes:
    if result is None and method.none != lib.SLIPSTREAM_FAILED:
        if method.none == lib.SLIPSTREAM_OK:
            return b""
        raise ServiceFailed(method.none, "")
    if method.text and isinstance(result, str):
        result = result.encode()
    if not isinstance(result, bytes | bytearray | memoryview):
        raise _rubbish(method, result)
    made = bytes(result)
    if not method.least <= len(made) <= method.most:
        raise _rubbish(method, made)
    return made


def _rubbish(method: Method, result: object) -> ServiceFailed:
    if isinstance(result, bytes):
        found = counted(len(result), "byte", "bytes")
    else:
        found = "text" if isinstance(result, str) else type(result).__name__
    expected = f"{method.least} to {counted(method.most, 'byte', 'bytes')}"
    if not method.least:
        expected = f"bytes, {method.most:,} at most"
    elif method.most < method.least:
        expected = "None"
    elif method.most == method.least:
        expected = counted(method.least, "byte", "bytes")
    text = f"{method.name} returned {found}, and has to return {expected}"
    return ServiceFailed(lib.SLIPSTREAM_FAILED, text)
