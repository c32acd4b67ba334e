"""The data folder of a daemon: what lies where, and the lock that makes it one daemon's."""

from __future__ import annotations

import os
from pathlib import Path

from slipstream._platform import lock, make_private_folder, narrow_folder, open_for_append
from slipstream.errors import SlipstreamError
from slipstream.files import limit_hint


class DataFolderInUse(SlipstreamError):
    """Another daemon has it."""


def usual_folder(network: str) -> Path:
    """Return where a daemon keeps its data unless it is told otherwise.

    Raises:
        SlipstreamError: Nothing says where.
    """
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]  # systemd may give several
    if given:
        return Path(given)
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    try:
        return Path(state).expanduser() / "slipstream" / network
    except RuntimeError:
        raise SlipstreamError(
            "this user has no home folder, so there is no usual data folder", "name one: --data-dir"
        ) from None


class DataDir:
    """The folder, locked until it is closed.

    Attributes:
        path: Where it is.
        narrowed: Folders below it into which other users could look until now.
    """

    def __init__(self, path: Path) -> None:
        """Make the folder if it is missing, and lock it.

        Raises:
            DataFolderInUse: Another daemon has it, or it cannot be had.
        """
        self.path = path.absolute()
        self._lock = -1
        try:
            make_private_folder(self.path)
            self._lock = open_for_append(self.path / "lock")
        except OSError as error:
            raise DataFolderInUse(
                f"cannot use the data folder {self.path}: {error.strerror}",
                limit_hint(error.errno) or "choose one that this user may write to: --data-dir",
            ) from None
        try:
            lock(self._lock)
        except OSError:
            holder = os.pread(self._lock, 64, 0).decode("ascii", "replace").strip() or "unknown"
            self.close()
            raise DataFolderInUse(
                f"the data folder {self.path} is in use by the daemon with the process id {holder}",
                "end that one, or give this one a folder of its own: --data-dir",
            ) from None
        try:
            os.ftruncate(self._lock, 0)
            os.write(self._lock, f"{os.getpid()}\n".encode())
        except OSError as error:
            self.close()
            raise DataFolderInUse(
                f"cannot write {self.path / 'lock'}: {error.strerror}",
                limit_hint(error.errno)
                or "make room on its disk, or choose another data folder: --data-dir",
            ) from None
        self.narrowed = self._narrow()

    def _narrow(self) -> list[Path]:
        try:
            make_private_folder(self.plugins)
            return [one for one in (self.plugins, *self.plugins.iterdir()) if narrow_folder(one)]
        except OSError as error:
            self.close()
            raise DataFolderInUse(
                f"cannot use the folder {self.plugins}: {error.strerror}",
                limit_hint(error.errno)
                or "let it belong to this user, or choose another data folder: --data-dir",
            ) from None

    @property
    def plugins(self) -> Path:
        """Where each plugin has a folder of its own."""
        return self.path / "plugins"

    @property
    def admin_socket(self) -> Path:
        """Where local commands connect."""
        return self.path / "admin.sock"

    @property
    def streams(self) -> Path:
        """Up to where each stream is settled."""
        return self.path / "streams"

    @property
    def audit(self) -> Path:
        """Who changed what."""
        return self.path / "audit.jsonl"

    def write_token(self, subject: str, token: str) -> Path:
        """Write a token for its owner alone; return where.

        Raises:
            OSError: That cannot be done.
        """
        path = self.path / f"jwt_secret_{subject}.txt"
        draft = self.path / f".jwt_secret_{subject}.{os.getpid()}"
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, f"{token}\n".encode())
        finally:
            os.close(descriptor)
        draft.replace(path)
        return path

    def close(self) -> None:
        """Let another daemon have it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
