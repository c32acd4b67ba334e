"""Addresses of sockets, as options have them: ``unix:PATH`` and ``tcp:HOST:PORT``."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import stat
from dataclasses import dataclass

from slipstream.errors import ConfigError, SlipstreamError

_FORM = "write unix:PATH or tcp:HOST:PORT, such as tcp:127.0.0.1:4100 or tcp:[::1]:4100"


class CannotBind(SlipstreamError):
    """Nobody can listen at an address."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where somebody listens.

    Attributes:
        path: Of a socket in the file system; "" for one of TCP.
        host: Name or number.
        port: 0 lets the system choose.
    """

    path: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp:{host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Only this machine can reach it."""
        return bool(self.path) or is_loopback(self.host)

    def connect(self, seconds: float) -> socket.socket:
        """Return a connection to whoever listens there.

        Raises:
            OSError: There is none to be had.
        """
        if not self.path:
            return socket.create_connection((self.host, self.port), seconds)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(seconds)
            connection.connect(self.path)
        except BaseException:
            connection.close()
            raise
        return connection

    def file_id(self) -> tuple[int, int] | None:
        """Return what tells its socket file from another of the same name; None: there is none."""
        try:
            status = os.lstat(self.path)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def bind(self, *, mode: int = 0o600, group: int = -1) -> socket.socket:
        """Return a socket that listens there. A socket file that a dead process left is replaced.

        Args:
            mode: Of the socket file: who may write to it may connect.
            group: The number of its group; -1: as the system gives it.

        Raises:
            CannotBind: That cannot be.
        """
        try:
            if self.path:
                return _bind_unix(self.path, mode, group)
            return _bind_tcp(self.host, self.port)
        except _CannotGive as error:
            raise CannotBind(
                f"cannot give {self} to the group {group}: {error}",
                "name a group that this user belongs to, or leave out --listen-group",
            ) from None
        except OSError as error:
            if self.path and not error.errno:
                raise CannotBind(
                    f"cannot listen at {self}: the path is longer than a socket may have",
                    "choose a shorter one: --listen, or --data-dir for its admin.sock",
                ) from None
            raise CannotBind(
                f"cannot listen at {self}: {error.strerror or error}", self._advice(error)
            ) from None

    def _advice(self, error: OSError) -> str:
        match error:
            case PermissionError() if self.path:
                return "let this user write to its folder, or choose another path"
            case PermissionError():
                return "choose a port from 1024 on, or let the program have CAP_NET_BIND_SERVICE"
            case FileNotFoundError():
                return "make its folder first, or choose another path"
            case FileExistsError():
                return "choose another path"
            case OSError(errno=errno.EADDRINUSE):
                return "choose another address, or end whoever listens there"
        return "choose an address of this machine"


def name_of(bound: socket.socket) -> str:
    """Return the address of a socket as the option has it, with the port that it got."""
    name = bound.getsockname()
    return f"unix:{name}" if isinstance(name, str) else str(Address(host=name[0], port=name[1]))


def unbind(bound: socket.socket, address: Address, made: tuple[int, int] | None) -> None:
    """Close a socket, and remove its file, unless somebody has put another in its place.

    Args:
        bound: The socket.
        address: Where.
        made: The file's `file_id` when it was bound.
    """
    if made is not None and address.file_id() == made:
        with contextlib.suppress(OSError):
            os.unlink(address.path)  # noqa: PTH108 - as above
    bound.close()


def parse_address(text: str) -> Address:
    """Return the address that a text names.

    Raises:
        ConfigError: It names none.
    """
    kind, _, rest = text.partition(":")
    if kind == "unix" and rest:
        return Address(path=os.path.abspath(rest))  # noqa: PTH100 - a text, not looked at
    if kind == "tcp":
        return parse_host_port(rest, text)
    raise ConfigError(f"{text!r} is not an address", _FORM)


def parse_host_port(rest: str, whole: str = "") -> Address:
    """Return the address of ``HOST:PORT``.

    Raises:
        ConfigError: It is none.
    """
    host, _, port = rest.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(
            f"{whole or rest!r} is not an address",
            _FORM if whole else "write HOST:PORT, such as 127.0.0.1:3030",
        )
    return Address(host=host, port=int(port))


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach a host of this name or number."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bind_tcp(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, place = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # connections inherit it
        bound.bind(place)
        bound.listen(128)
        bound.setblocking(False)  # noqa: FBT003 - its only argument
    except BaseException:
        bound.close()
        raise
    return bound


class _CannotGive(Exception):
    """The file cannot belong to a group."""


def _bind_unix(path: str, mode: int, group: int) -> socket.socket:
    _remove_left(path)
    bound = socket.socket(socket.AF_UNIX)
    try:
        mask = os.umask(0o177)  # so that nobody can connect before the mode is set
        try:
            bound.bind(path)
        finally:
            os.umask(mask)
        if group >= 0:
            try:
                os.chown(path, -1, group, follow_symlinks=False)
            except OSError as error:
                os.unlink(path)  # noqa: PTH108 - as above
                raise _CannotGive(error.strerror) from None
        if mode != 0o600:
            os.chmod(path, mode)  # noqa: PTH101 - as above
        bound.listen(128)
        bound.setblocking(False)  # noqa: FBT003 - its only argument
    except BaseException:
        bound.close()
        raise
    return bound


def _remove_left(path: str) -> None:
    """Remove a socket file at which nobody listens any more."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(17, "a file of this name exists, and it is not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as tried:
        tried.settimeout(1.0)
        try:
            tried.connect(path)
        except ConnectionRefusedError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108 - as above
            return
    raise OSError(98, "somebody listens there already")
