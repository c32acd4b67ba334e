"""`FakeHost` in a process of its own, which a plugin's crash ends instead of the tests."""

from __future__ import annotations

import contextlib
import pickle
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from slipstream.check.symbols import name_of
from slipstream.delivery.description import Description
from slipstream.delivery.instance import LoadReason
from slipstream.delivery.instance import Mapping as Mapped
from slipstream.errors import PluginFailed, SlipstreamError
from slipstream.events import Event
from slipstream.logs import LogLine
from slipstream.status import Metric
from slipstream.testing.fake_host import Answer

_TOLD = re.compile(
    rb"slipstream: (?:signal \d+|exit was called) in (?P<call>\w+) of plugin (?P<plugin>[^,\n]+)"
    rb"(?:.*, at (?P<module>.+) \+ 0x(?P<at>[0-9a-f]+))?"
)
_LATE = "did not return within"
_START = 60.0  # seconds, for a Python and a slow machine
_ENDING = 10.0
_LINES = 20  # that the plugin printed, at most
_CALLS = {
    "open": "slipstream_create_plugin_v1",
    "load": "on_load or subscribed_events",
    "deliver": "on_broadcast",
    "unload": "on_unload",
    "close": "destroy",
}


class PluginCrashed(PluginFailed):
    """A plugin has ended the process that it ran in.

    Attributes:
        plugin: Its name; that of the file if it was not known yet.
        call: The call that was under way, such as ``on_broadcast``.
        signal: What it died of, such as ``SIGSEGV``; "" if it ended by itself.
        function: The function, with its file and line where the library was built with ``-g``;
            "" where that is not known.
    """

    def __init__(self, plugin: str, call: str, signal: str, function: str, text: str) -> None:
        """Say what happened; `text` is the whole message."""
        super().__init__(text, "build it with -fsanitize=address, or run the test under gdb")
        self.plugin = plugin
        self.call = call
        self.signal = signal
        self.function = function

    def __reduce__(self) -> tuple[type[Self], tuple[str, str, str, str, str]]:
        return type(self), (self.plugin, self.call, self.signal, self.function, self.message)


class IsolatedHost:
    """`FakeHost` in a process of its own; has the same methods.

    Where a plugin crashes, the call under way raises `PluginCrashed`; where one hangs,
    `PluginFailed` after `timeout`. Either way its process is gone then. A context manager.
    """

    def __init__(
        self,
        library: str | Path,
        config: Mapping[str, object] | None = None,
        *,
        timeout: float = 10.0,
        **options: Any,
    ) -> None:
        """Start the process; nothing of the library runs yet.

        Args:
            library: The plugin.
            config: The plugin's own keys.
            timeout: The longest that each step may take, in seconds.
            options: The others of `FakeHost`.
        """
        self._library = Path(library).absolute()
        self._timeout = timeout
        self._name = self._library.stem
        self._is_open = self._is_loaded = False
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 - until the process ends
        here, there = socket.socketpair()
        with there:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter
                [sys.executable, "-m", "slipstream.testing.served", str(there.fileno())],
                pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._printed,
                stderr=self._printed,
            )
        self._channel = here
        self._reader = here.makefile("rb")
        self._is_ended = False
        own = dict(config or {})
        here.sendall(pickle.dumps((self._library, own, {**options, "timeout": timeout})))

    def __enter__(self) -> Self:
        try:
            self.load()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> Description:
        """As `FakeHost.open`."""
        description: Description = self._ask("open")
        self._name = description.name
        self._is_open = True
        return description

    def load(self, reason: LoadReason = LoadReason.START) -> Description:
        """As `FakeHost.load`."""
        if not self._is_open:
            self.open()
        description: Description = self._ask("load", reason)
        self._is_loaded = True
        return description

    def deliver(
        self, *events: Event | bytes, attempt: int = 1, first_ordinal: int | None = None
    ) -> Answer:
        """As `FakeHost.deliver`."""
        answer: Answer = self._ask("deliver", *events, attempt=attempt, first_ordinal=first_ordinal)
        return answer

    def flush(self) -> None:
        """As `FakeHost.flush`."""
        self._ask("flush")

    def unload(self) -> str:
        """As `FakeHost.unload`; raises if it does not return."""
        self._is_loaded = False
        text: str = self._ask("unload")
        return text

    def close(self) -> Mapped:
        """As `FakeHost.close`, and end the process; does nothing if that is over already."""
        if self._is_ended:
            return Mapped.NONE
        try:
            if self._is_loaded:
                self.unload()
            mapped: Mapped = self._ask("close")
            if mapped is Mapped.STUCK:
                raise self._late(f"destroy {_LATE} {self._timeout:g} seconds")
            return mapped
        finally:
            if not self._is_ended:
                self._end(_ENDING)

    @property
    def acknowledged(self) -> int:
        """As of `FakeHost`."""
        ordinal: int = self._ask("acknowledged")
        return ordinal

    @property
    def metrics(self) -> list[Metric]:
        """As of `FakeHost`."""
        metrics: list[Metric] = self._ask("metrics")
        return metrics

    @property
    def logs(self) -> list[LogLine]:
        """As of `FakeHost`."""
        lines: list[LogLine] = self._ask("logs")
        return lines

    @property
    def misbehaviour(self) -> list[str]:
        """As of `FakeHost`."""
        lines: list[str] = self._ask("misbehaviour")
        return lines

    # ---- The process ----------------------------------------------------------------------

    def _ask(self, name: str, *arguments: object, **keywords: object) -> Any:
        if self._is_ended:
            raise PluginFailed(f"the process of {self._name} has ended", "start a new host")
        self._channel.settimeout(4 * self._timeout + _START)
        try:
            self._channel.sendall(pickle.dumps((name, arguments, keywords)))
            good, value = pickle.load(self._reader)  # noqa: S301 - of our own child
        except TimeoutError:
            raise self._late(f"its process {_LATE} {self._channel.gettimeout():g} s") from None
        except (EOFError, ConnectionError):
            raise self._crashed(_CALLS.get(name, name)) from None
        text = value.message if isinstance(value, SlipstreamError) else value
        if isinstance(text, str) and _LATE in text:
            raise self._late(text)
        if not good:
            raise value
        return value

    def _late(self, text: str) -> PluginFailed:
        self._end()
        return PluginFailed(
            f"{self._name}: {text}; its process was killed",
            "raise `timeout` if it needs longer; else look at what it waits for",
        )

    def _crashed(self, call: str) -> PluginCrashed:
        printed = self._end(_ENDING)
        number = -(self._process.returncode or 0)
        told = _TOLD.search(printed)
        died_of = signal.Signals(number).name if number > 0 else ""
        function = ""
        if told is not None:
            if not told["plugin"].startswith(b"that is"):
                self._name = told["plugin"].decode(errors="replace")
            call = told["call"].decode()
            if told["module"] is not None:
                function = self._function(told["module"].decode(), int(told["at"], 16))
        how = f"fell by {died_of}" if died_of else f"has ended its process, with {-number},"
        text = f"{self._name} {how} in {call}" + (f", in {function}" if function else "")
        lines = printed.decode(errors="replace").splitlines()[-_LINES:]
        text = "\n  ".join([text, *lines])
        return PluginCrashed(self._name, call, died_of, function, text)

    def _function(self, module: str, offset: int) -> str:
        """The library stands in for its private copy, which is gone."""
        own = Path(module).name.startswith(f".{self._library.stem}.{self._process.pid}-")
        return name_of(self._library if own else Path(module), offset)

    def _end(self, patience: float | None = None) -> bytes:
        """End the process; what it printed, which goes to standard error as well."""
        self._is_ended = True
        self._reader.close()
        self._channel.close()  # it ends then, unless it hangs
        if patience is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
        self._process.kill()
        self._process.wait()
        for copy in self._library.parent.glob(f".{self._library.stem}.{self._process.pid}-*"):
            copy.unlink(missing_ok=True)
        self._printed.seek(0)
        printed = self._printed.read()
        self._printed.close()
        sys.stderr.write(printed.decode(errors="replace"))
        return printed
