"""The other side of `IsolatedHost`: ``python -m slipstream.testing.served FD`` holds the plugin."""

from __future__ import annotations

import os
import pickle
import resource
import socket
import sys

from slipstream import enable_crash_handler
from slipstream.errors import SlipstreamError
from slipstream.testing.fake_host import FakeHost


def main() -> None:
    """Do what the socket `FD` asks for, until its other end is closed."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    enable_crash_handler()
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        asked, answers = channel.makefile("rb"), channel.makefile("wb")
        library, config, options = pickle.load(asked)  # noqa: S301 - of the test that started this
        host = FakeHost(library, config, **options)
        while True:
            try:
                name, arguments, keywords = pickle.load(asked)  # noqa: S301 - as above
            except EOFError:
                os._exit(0)  # whatever the plugin may still be doing
            answers.write(_answer(host, name, arguments, keywords))
            answers.flush()


def _answer(
    host: FakeHost, name: str, arguments: tuple[object, ...], keywords: dict[str, object]
) -> bytes:
    try:
        found = getattr(host, name)
        answer = (True, found(*arguments, **keywords) if callable(found) else found)
    except Exception as error:  # noqa: BLE001 - raised where it was asked for
        answer = (False, error)
    try:
        return pickle.dumps(answer)
    except (pickle.PicklingError, TypeError, AttributeError):
        return pickle.dumps((False, SlipstreamError(f"{name} gave {answer[1]!r}")))


if __name__ == "__main__":
    main()
