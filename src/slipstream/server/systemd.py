"""What systemd is told: ready, stopping, and that there is headway (sd_notify(3))."""

from __future__ import annotations

import contextlib
import os
import socket


class Notify:
    """Tells the service manager, if there is one.

    Attributes:
        watchdog: Seconds within which it wants to hear that there is headway; 0: it does not.
    """

    def __init__(self) -> None:
        """Look who wants to be told; children do not see it."""
        self._address = os.environ.pop("NOTIFY_SOCKET", "")
        micros = os.environ.pop("WATCHDOG_USEC", "")
        pid = os.environ.pop("WATCHDOG_PID", "")
        mine = not pid or pid == str(os.getpid())
        self.watchdog = int(micros) / 1e6 if self._address and mine and micros.isdigit() else 0.0

    def tell(self, *lines: str) -> None:
        """Send lines such as ``READY=1``; nobody waits for whoever does not read them."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender,
        ):
            sender.sendto("\n".join(lines).encode(), address)
