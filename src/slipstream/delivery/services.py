"""The application's services, called for plugins: each call is checked, and has a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from slipstream._native import ffi, lib

if TYPE_CHECKING:
    from slipstream._native.cdef import Pointer, ss_asked, uint8_t
    from slipstream.peers import Services

_START_WAIT = 5.0  # seconds
_PLAIN = (bytes, str, type(None))  # what is no coroutine, at a glance
_BY_NUMBER = (lib.SS_ASKS_SEND, lib.SS_ASKS_LOOKUP)  # whose number says which method is meant
# The name of a service's method, the method, and what its answer is held against.
Method = tuple[str, Callable[..., object], Callable[[str, object], bytes]]


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
    """

    def __init__(self, services: Services) -> None:
        """Take the loop that runs now, if the application names none."""
        self.services = services
        self.offers = (
            (services.control is not None) * lib.SS_OFFERS_SEND
            | (services.peers is not None) * lib.SS_OFFERS_PEERS
            | (services.identity is not None) * lib.SS_OFFERS_IDENTITY
        )
        self._methods = _methods_of(services)
        self._loop = services.loop
        if self._loop is None:
            with contextlib.suppress(RuntimeError):
                self._loop = asyncio.get_running_loop()
        self._own: OwnLoop | None = None
        self._lock = threading.Lock()

    def answer(self, asked: ss_asked, timeout: float) -> bytes:
        """Call the service that a plugin wants, and return its answer.

        Args:
            asked: What it wants.
            timeout: The longest wait for a coroutine, in seconds.

        Raises:
            ServiceFailed: There is no good answer.
        """
        name, method, check = self._find(asked)
        try:
            result = method(*_arguments(asked))
            if not isinstance(result, _PLAIN) and inspect.isawaitable(result):
                result = finish(result, self._serving_loop(), timeout)
        except TimeoutError as error:
            late = f"{name} took longer than {timeout:.3g} seconds"
            raise ServiceFailed(lib.SLIPSTREAM_TIMEOUT, late, error) from error
        except LookupError as error:
            status = lib.SLIPSTREAM_FAILED
            if asked.what == lib.SS_ASKS_SEND:
                status = lib.SLIPSTREAM_NOT_FOUND
            raise ServiceFailed(status, f"{name} raised", error) from error
        except BaseException as error:
            raise ServiceFailed(lib.SLIPSTREAM_FAILED, f"{name} raised", error) from error
        return check(name, result)

    def _find(self, asked: ss_asked) -> Method:
        """Return the method that is meant."""
        number = asked.number if asked.what in _BY_NUMBER else 0
        method = self._methods.get((asked.what, number))
        if method is None:
            raise ServiceFailed(lib.SLIPSTREAM_UNSUPPORTED, "the application has no such service")
        return method

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


def _methods_of(services: Services) -> dict[tuple[int, int], Method]:
    """Return what is called for what is asked."""
    found: dict[tuple[int, int], Method] = {}
    if (control := services.control) is not None:
        for how, called, method in (
            (lib.SLIPSTREAM_PEER_DIRECT, "send_direct", control.send_direct),
            (lib.SLIPSTREAM_PEER_ROUTED, "send_routed", control.send_routed),
        ):
            found[lib.SS_ASKS_SEND, how] = called, method, _nothing
    if (peers := services.peers) is not None:
        key, name = lib.SLIPSTREAM_PEER_PUBLIC_KEY, lib.SLIPSTREAM_PEER_NAME
        found[lib.SS_ASKS_LOOKUP, key] = "peers.public_key", peers.public_key, _found
        found[lib.SS_ASKS_LOOKUP, name] = "peers.name", peers.name, _found
        found[lib.SS_ASKS_PEER_AT, 0] = "peers.peer_at", peers.peer_at, _peer
    if (identity := services.identity) is not None:
        found[lib.SS_ASKS_PUBLIC_KEY, 0] = "identity.public_key", identity.public_key, _bytes_of
        found[lib.SS_ASKS_SIGN, 0] = "identity.sign", identity.sign, _signature
        found[lib.SS_ASKS_OPEN, 0] = "identity.open", identity.open, _opened
    return found


def _arguments(asked: ss_asked) -> tuple[object, ...]:
    what = asked.what
    if what == lib.SS_ASKS_PEER_AT:
        return (asked.number,)
    if what == lib.SS_ASKS_PUBLIC_KEY:
        return ()
    first = _bytes(asked.first, asked.first_len)
    if what != lib.SS_ASKS_SEND:
        return (first,)
    return first, _bytes(asked.name, asked.name_len), _bytes(asked.body, asked.body_len)


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


def _bytes(data: Pointer[uint8_t], size: int) -> bytes:
    return bytes(ffi.buffer(data, size)) if size else b""


def _rubbish(name: str, expected: str, result: object) -> ServiceFailed:
    if isinstance(result, bytes | str):
        found = f"{len(result)} of them" if isinstance(result, bytes) else "text"
    else:
        found = type(result).__name__
    text = f"{name} returned {found}, and has to return {expected}"
    return ServiceFailed(lib.SLIPSTREAM_FAILED, text)


def _nothing(name: str, result: object) -> bytes:
    if result is not None:
        raise _rubbish(name, "None", result)
    return b""


def _bytes_of(name: str, result: object) -> bytes:
    if not isinstance(result, bytes | bytearray | memoryview):
        raise _rubbish(name, "bytes", result)
    made = bytes(result)
    if len(made) > lib.SS_QUESTION_MAX:
        raise _rubbish(name, f"at most {lib.SS_QUESTION_MAX} bytes", made)
    return made


def _found(name: str, result: object) -> bytes:
    if result is None:
        raise ServiceFailed(lib.SLIPSTREAM_NOT_FOUND, "")
    return _bytes_of(name, result.encode() if isinstance(result, str) else result)


def _peer(name: str, result: object) -> bytes:
    made = b"" if isinstance(result, str) else _found(name, result)
    if not 0 < len(made) <= lib.SS_PEER_MAX:
        raise _rubbish(name, f"1 to {lib.SS_PEER_MAX} bytes", result)
    return made


def _signature(name: str, result: object) -> bytes:
    made = _bytes_of(name, result)
    if len(made) != lib.SLIPSTREAM_SIGNATURE_LEN:
        raise _rubbish(name, f"{lib.SLIPSTREAM_SIGNATURE_LEN} bytes", made)
    return made


def _opened(name: str, result: object) -> bytes:
    if result is None:
        raise ServiceFailed(lib.SLIPSTREAM_MALFORMED, "")
    return _bytes_of(name, result)
