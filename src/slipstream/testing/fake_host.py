"""A host of one native plugin, in which the test takes each step itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Self

from slipstream import _native, frames
from slipstream._native import lib
from slipstream._native.handle import Handle
from slipstream.config import PluginConfig, ResolvedConfig, plugin_config, settle_own
from slipstream.delivery.description import Description
from slipstream.delivery.instance import Instance, LoadReason
from slipstream.delivery.instance import Mapping as Mapped
from slipstream.errors import ClosedError, PluginFailed
from slipstream.events import Event
from slipstream.library import PrivateCopy
from slipstream.logs import LogLine, LogPump
from slipstream.status import Metric


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


class FakeHost(Handle[list[Instance]]):
    """A host of one native plugin, in which the test takes each step itself.

    It uses the same loader as the real host: the same checks and refusals, the same host
    table, all calls on one native thread. It has no sequencer: `deliver` calls
    `on_broadcast` with the attempt and the ordinal that the test wants. A context manager
    that opens and loads the plugin, and closes it at the end; a host that is dropped closes
    itself.
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
        self._logs: list[LogLine] = []
        path = Path(library).absolute()
        keys = {**(config or {}), "libpath": str(path)}
        read = PluginConfig.from_mapping(keys, folder=path.parent)
        self._config = replace(read, load_timeout=timeout, unload_timeout=timeout)
        self._name = name
        self._data_dir = data_dir
        self._timeout = timeout
        self._ordinal = 0
        self._own: ResolvedConfig | None = None  # once the library is judged
        self._pump = LogPump(log_level, self._logs.append)
        opened: list[Instance] = []  # one, once it is open
        super().__init__(opened, partial(_end, self._pump, timeout))
        self._finalizer.atexit = True

    def __enter__(self) -> Self:
        try:
            self.load()
        except BaseException:
            self.close()
            raise
        return self

    def open(self) -> Description:
        """Copy and open the library, construct the instance and check its table.

        Returns:
            What the plugin says of itself.

        Raises:
            PluginLoadError: It was refused; `refusal` says why.
        """
        copy = PrivateCopy(self._config.libpath)
        try:
            self._own = settle_own(
                self._config, None if copy.info is None else copy.info.config_schema
            )
            _native.hide(self._own.forms)
        except BaseException:
            copy.close()
            raise
        self.pointer.append(Instance(self._pump, copy, self._config, self._config.libpath.stem))
        return self._live().description

    def load(self, reason: LoadReason = LoadReason.START) -> Description:
        """Call `on_load`, after `open` if that was not called, and ask what it subscribes to.

        Args:
            reason: What `on_load` is told.

        Returns:
            What the plugin says of itself; `kinds` is set now.

        Raises:
            PluginLoadError: It was refused.
            PluginStartError: Its `on_load` failed.
            PluginFailed: It was loaded before.
        """
        if not self.pointer:
            self.open()
        instance = self._live()
        settled = plugin_config(
            self._config, self._name or instance.description.name, resolved=self._own
        )
        try:
            instance.load(settled, self._data_dir, reason)
        except ClosedError:
            if self.is_closed:
                raise
            raise PluginFailed(
                "the plugin was loaded before",
                "make another FakeHost; `with FakeHost(...)` loads it by itself",
            ) from None
        return instance.description

    def _live(self) -> Instance:
        if not self.pointer:
            raise PluginFailed("the plugin is not open", "call open or load first")
        return self.pointer[-1]

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
        mapped = Mapped.NONE
        if not self.is_closed:
            for instance in self.pointer:
                mapped = instance.close(self._timeout)
            super().close()
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
    def logs(self) -> list[LogLine]:
        """The lines that the plugin and the core have logged so far, all of them."""
        self._pump.drain()
        return self._logs

    @property
    def misbehaviour(self) -> list[str]:
        """What the core has logged about breaches of the contract, so far."""
        return [line.text for line in self.logs if line.contract]


def _end(pump: LogPump, timeout: float, opened: list[Instance]) -> None:
    for instance in opened:
        instance.close(timeout)
    pump.close()


def _frame(event: Event | bytes, ordinal: int) -> bytes:
    if isinstance(event, bytes):
        return event
    if not hasattr(event, "meta"):
        what = type(event).__name__
        raise TypeError(f"{what} is not an event; deliver takes events, one behind the other")
    if event.meta.stream == 0:
        event = replace(event, meta=replace(event.meta, stream=1, sequence=ordinal))
    return frames.encode(event)
