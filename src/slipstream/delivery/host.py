"""What all plugins of a manager share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream import _native
from slipstream._platform import let_through, make_folder_of, make_private_folder
from slipstream.delivery.hurry import Hurry
from slipstream.delivery.sequencer import Sequencer
from slipstream.delivery.supervisor import Supervisor
from slipstream.errors import ConfigError
from slipstream.files import limit_hint
from slipstream.logs import LogPump

if TYPE_CHECKING:
    from slipstream.delivery.desk import Desk
    from slipstream.delivery.services import Served
    from slipstream.peers import Services


@dataclass(eq=False)
class Host:
    """What all plugins of a manager share.

    Attributes:
        pump: Takes their log lines.
        sequencer: Where they are attached.
        data_dir: Holds a folder for each of them; None: they get none.
        log_level: The lowest level of their log lines, SLIPSTREAM_LOG_*.
        hurry: Makes their waits short.
        served: What the application offers them; None: nothing.
    """

    pump: LogPump
    sequencer: Sequencer
    data_dir: Path | None
    log_level: int
    hurry: Hurry = field(default_factory=Hurry)
    served: Served | None = None
    _supervisor: Supervisor | None = None

    def serve(self, services: Services) -> None:
        """Offer what an application has; before any plugin is loaded."""
        from slipstream.delivery.services import Served  # noqa: PLC0415 - asyncio, where it is used

        self.served = Served(services)

    def open_desk(self, name: str) -> Desk | None:
        """Return where a plugin asks the application; None if that offers nothing."""
        if self.served is None:
            return None
        from slipstream.delivery.desk import Desk  # noqa: PLC0415 - only with services

        return Desk(self.pump, self.served, name)

    @property
    def supervisor(self) -> Supervisor:
        """What looks after worker processes; its thread starts when it is first needed."""
        if self._supervisor is None:
            self._supervisor = Supervisor(self.pump)
        return self._supervisor

    @property
    def supervisor_beats(self) -> int | None:
        """Grows as long as the supervisor makes headway; None: there is none yet."""
        return None if self._supervisor is None else self._supervisor.beats

    @property
    def is_foreign(self) -> bool:
        """It was made by the process that has forked this one."""
        return self.pump.is_foreign

    def require_own(self) -> None:
        """Raise `ClosedError` in a forked child of the process that made it."""
        if self.is_foreign:
            raise _native.closed_error()

    def folder(self, name: str) -> Path | None:
        """Return a plugin's own folder, which need not be there; None if there are none."""
        return None if self.data_dir is None else self.data_dir / name

    def make_folder(self, name: str, user: str | None = None) -> Path | None:
        """Return a plugin's own folder, and make it where it is missing.

        Args:
            name: The plugin's name.
            user: As whom it runs, if not as this user. It gets a folder within that one, which
                stays with the host: what the host writes there no plugin can put a link in
                place of.

        Raises:
            ConfigError: That cannot be done.
        """
        if self.data_dir is None:
            return None
        folder = self.data_dir / name
        try:
            make_private_folder(folder)
            if user is not None:
                let_through(self.data_dir)
                let_through(folder)
                folder = folder / f"user-{user}"
                make_folder_of(user, folder)
        except OSError as error:
            raise ConfigError(
                f"cannot make the data folder {folder}: {error.strerror}",
                limit_hint(error.errno) or "check `data_dir` of the manager and its permissions",
            ) from None
        return folder

    def close(self) -> None:
        """Kill every worker that still runs, and close what is shared."""
        if self._supervisor is not None:
            self._supervisor.close()
        self.pump.drain()
        self.sequencer.close()
        if self.served is not None:
            self.served.close()
        self.pump.close()
