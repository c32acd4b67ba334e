"""What plugin authors test their own plugins with.

Build a plugin from C or C++ source inside of a test (`build_plugin`), drive a library step by
step and look at everything that it answers, logs and acknowledges (`FakeHost`), or see what a
host sends (`RecordingPlugin`). Works with any test runner::

    def test_commits_on_flush(tmp_path):
        library = build_plugin(Path("src/sink.c"), "-lsqlite3", folder=tmp_path)
        with FakeHost(library, {"path": str(tmp_path / "db")}) as host:
            assert host.deliver(Block(b"...", 7)).ok
            host.flush()
            assert host.acknowledged == 1
            assert not host.misbehaviour
"""

from __future__ import annotations

import itertools
import os
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import slipstream
from slipstream import _native, frames
from slipstream._native import lib
from slipstream.config import PluginConfig, plugin_json
from slipstream.delivery.instance import (
    Description,
    Instance,
    LoadReason,
    Metric,
)
from slipstream.delivery.instance import (
    Mapping as Mapped,
)
from slipstream.errors import PluginFailed, SlipstreamError
from slipstream.events import Event, EventKind, Gap
from slipstream.library import PrivateCopy
from slipstream.logs import LogLine, LogPump

__all__ = [
    "Answer",
    "FakeHost",
    "LoadReason",
    "LogLine",
    "Mapped",
    "PluginBuildError",
    "RecordingPlugin",
    "build_plugin",
]

_COMPILERS = {"c": ("CC", "cc", "-std=gnu11"), "cpp": ("CXX", "c++", "-std=gnu++17")}
_BUILD_TIMEOUT = 120.0


class PluginBuildError(SlipstreamError):
    """The compiler refused a plugin; the message holds what it printed."""


def build_plugin(
    source: str | Path,
    *flags: str,
    folder: Path,
    name: str = "plugin",
    lang: str = "c",
    compiler: str | None = None,
) -> Path:
    """Compile a plugin.

    Warnings are errors; hidden visibility, position-independent code and the folder of
    ``slipstream.h`` are set.

    Args:
        source: The text of the source, or the path of a source file.
        flags: Further arguments of the compiler, behind the source: ``-lsqlite3``, ``-O2``.
        folder: Where the library is put, and the source if it is a text.
        name: The library becomes ``{name}.so``.
        lang: "c" or "cpp".
        compiler: The command; None takes ``CC`` or ``CXX`` from the environment, else ``cc``
            or ``c++``.

    Returns:
        The library's path.

    Raises:
        PluginBuildError: There is no such compiler, or it refused the source.
    """
    variable, usual, standard = _COMPILERS[lang]
    command = shlex.split(compiler or os.environ.get(variable, usual))
    if isinstance(source, Path):
        file = source
    else:
        file = folder / f"{name}.{lang}"
        file.write_text(source, encoding="utf-8")
    library = folder / f"{name}.so"
    arguments = [
        *command,
        *(standard, "-g", "-O1", "-Wall", "-Wextra", "-Werror"),
        *("-shared", "-fPIC", "-fvisibility=hidden", "-pthread"),
        *("-I", slipstream.get_include(), "-o", str(library), str(file)),
        *flags,
    ]
    try:
        done = subprocess.run(  # noqa: S603 - a compiler, with arguments of the test's author
            arguments, capture_output=True, text=True, timeout=_BUILD_TIMEOUT, check=False
        )
    except FileNotFoundError:
        raise PluginBuildError(
            f"there is no compiler {command[0]}", f"install one, or set {variable}"
        ) from None
    if done.returncode != 0:
        raise PluginBuildError(
            f"{shlex.join(arguments)} failed:\n{done.stderr.strip()}",
            "correct the source, or the flags",
        )
    return library


@dataclass(frozen=True, slots=True)
class Answer:
    """What a plugin answered to a call.

    Attributes:
        status: SLIPSTREAM_OK and so on; 0 and 2 (IGNORED) are success.
        text: The plugin's own text for a failure, "" if it succeeded.
    """

    status: int
    text: str

    @property
    def ok(self) -> bool:
        """Whether the plugin took the events."""
        return self.status in {lib.SLIPSTREAM_OK, lib.SLIPSTREAM_IGNORED}

    @property
    def name(self) -> str:
        """The status by name and number, such as ``FAILED (-1)``."""
        return _native.status_name(self.status)


class FakeHost:
    """A host of one native plugin, whose every step the test takes itself.

    It uses the same loader as the real host: the same checks and refusals, the same host
    table, all calls on one native thread. It has no sequencer: `deliver` calls
    `on_broadcast` with the attempt and the ordinal that the test wants. A context manager
    that opens and loads the plugin, and closes it at the end.

    Attributes:
        logs: The lines that the plugin and the core have logged so far.
    """

    def __init__(  # noqa: PLR0913 - all but the first are rarely given, and by name
        self,
        library: str | Path,
        config: Mapping[str, object] | None = None,
        *,
        name: str | None = None,
        data_dir: Path | None = None,
        log_level: str = "trace",
        timeout: float = 10.0,
    ) -> None:
        """Make a host; nothing of the library runs yet.

        Args:
            library: The plugin.
            config: The plugin's own keys.
            name: The effective name in the config; None takes the plugin's own.
            data_dir: The plugin's own folder; None gives it none.
            log_level: The lowest level that is kept.
            timeout: The longest that each step may take, in seconds.
        """
        self.logs: list[LogLine] = []
        path = Path(library).absolute()
        self._config = PluginConfig.from_mapping(
            {**(config or {}), "libpath": str(path)}, folder=path.parent
        )
        self._name = name
        self._data_dir = data_dir
        self._timeout = timeout
        self._ordinal = 0
        self._pump = LogPump(log_level, self.logs.append)
        self._instance: Instance | None = None

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
        """Copy and open the library, construct the instance and check its table.

        Returns:
            What the plugin says of itself.

        Raises:
            PluginLoadError: It was refused; `refusal` says why.
        """
        self._instance = Instance(
            self._pump.queue, 1, PrivateCopy(self._config.libpath), self._config.folder
        )
        self._instance.open(self._timeout)
        return self._instance.describe()

    def load(self, reason: LoadReason = LoadReason.START) -> Description:
        """Call `on_load`, after `open` if that was not called, and ask what it subscribes to.

        Args:
            reason: What `on_load` is told.

        Returns:
            What the plugin says of itself; `kinds` is set now.

        Raises:
            PluginLoadError: It was refused.
            PluginStartError: Its `on_load` failed.
        """
        name = self._name or (self._instance.describe() if self._instance else self.open()).name
        instance = self._live()
        if self._data_dir is not None:
            instance.set_data_dir(self._data_dir)
        instance.load(plugin_json(self._config, name), reason, self._timeout)
        return instance.describe()

    def _live(self) -> Instance:
        if self._instance is None:
            raise PluginFailed("the plugin is not open", "call open or load first")
        return self._instance

    def deliver(
        self, *events: Event | bytes, attempt: int = 1, first_ordinal: int | None = None
    ) -> Answer:
        """Call `on_broadcast` once, with all events as one run.

        Args:
            events: Events, or ready frames. An event without stream and sequence gets
                stream 1 and its ordinal.
            attempt: 1 the first time; above that the events may have been delivered before.
            first_ordinal: The ordinal of the first event; None goes on from the last one.

        Returns:
            Status and text.

        Raises:
            PluginFailed: The plugin is not open, or did not return in time.
        """
        first = self._ordinal + 1 if first_ordinal is None else first_ordinal
        run = b"".join(_frame(event, first + i) for i, event in enumerate(events))
        status, text = self._live().deliver(run, len(events), first, attempt, self._timeout)
        self._ordinal = max(self._ordinal, first + len(events) - 1)
        return Answer(status, text)

    def flush(self) -> None:
        """Call the plugin's `flush`.

        Raises:
            PluginFailed: It failed, or did not return in time.
        """
        self._live().flush(self._timeout)

    def unload(self) -> str:
        """Call `on_unload`, if the plugin is loaded; the plugin's error, "" if it has none."""
        return self._live().unload(self._timeout)

    def close(self) -> Mapped:
        """Unload if need be, destroy the instance and unmap the library.

        Returns:
            What became of the library; `Mapped.GONE` is as it should be.
        """
        mapped = Mapped.NONE if self._instance is None else self._instance.discard(self._timeout)
        self._instance = None
        self._pump.stop()
        return mapped

    @property
    def acknowledged(self) -> int:
        """The last ordinal that a plugin with EXPLICIT_ACK has acknowledged."""
        return self._live().acknowledged()

    @property
    def metrics(self) -> list[Metric]:
        """The numbers that the plugin reports."""
        return self._live().metrics()

    @property
    def misbehaviour(self) -> list[str]:
        """What the core has logged about breaches of the contract, so far."""
        self._pump.drain()
        return [line.text for line in self.logs if line.contract]


def _frame(event: Event | bytes, ordinal: int) -> bytes:
    if isinstance(event, bytes):
        return event
    if event.meta.stream == 0:
        event = replace(event, meta=replace(event.meta, stream=1, sequence=ordinal))
    return frames.encode(event)


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
                raise TimeoutError(f"{len(self.events)} of {count} events after {timeout:g} s")
            return list(itertools.islice(self.events, count))

    @property
    def gaps(self) -> list[Gap]:
        """The gaps among the events."""
        return [event for event in self.events if isinstance(event, Gap)]
