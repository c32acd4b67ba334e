"""Linux, and systems that are alike in what this needs."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import itertools
import mmap
import os
import pwd
import resource
import select
import signal
import socket
import stat
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks a program to stop."""

HAS_PROCESS_MODE = sys.platform == "linux"
"""Whether a plugin can run in a process of its own."""

LIBRARY_SUFFIX = ".dylib" if sys.platform == "darwin" else ".so"
"""How the names of libraries end."""

_OPEN = Path("/proc/self/fd")


def open_to_read(path: str | os.PathLike[str], *, follow: bool = True) -> int:
    """Open a file for reading, without waiting for the other end of a FIFO.

    Args:
        path: The file.
        follow: Whether it may be a symbolic link.

    Returns:
        A descriptor that no child inherits.

    Raises:
        OSError: It cannot be opened.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    return os.open(path, flags | (0 if follow else os.O_NOFOLLOW))


def create_private(path: str | os.PathLike[str]) -> int:
    """Create a file that was not there, for this user alone; returns its descriptor."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(path, flags, 0o600)


def create_locked(draft: Path, path: Path) -> int:
    """Create a file at `draft`, lock it, and give it its name; returns its descriptor.

    So nobody finds one of that name that is not locked.
    """
    with contextlib.suppress(FileNotFoundError):
        draft.unlink()
    descriptor = create_private(draft)
    try:
        lock(descriptor)
        draft.rename(path)
    except BaseException:
        os.close(descriptor)
        draft.unlink(missing_ok=True)
        raise
    return descriptor


def remove_locked(path: Path, descriptor: int) -> None:
    """Remove and close a file that `create_locked` has made."""
    path.unlink(missing_ok=True)
    os.close(descriptor)


def make_private_folder(path: str | os.PathLike[str]) -> None:
    """Make a folder, and those above it that are missing, for this user alone.

    One that is there stays as it is.

    Raises:
        OSError: That cannot be done.
    """
    folder = Path(path)
    missing = list(itertools.takewhile(lambda one: not one.is_dir(), [folder, *folder.parents]))
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)
        one.chmod(0o700)  # an access list of the folder above may have widened it


def narrow_folder(path: Path) -> bool:
    """Let only this user look into a folder of his own; says whether others could before.

    Who may pass through it, and do no more, still may.
    """
    info = path.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or not info.st_mode & 0o066:
        return False
    path.chmod(0o700)
    return True


def make_folder_of(user: str, path: Path) -> None:
    """Make a folder for another user alone; the one above has to be there, and to be this user's.

    Raises:
        OSError: That cannot be done, or there is no such user.
    """
    entry = _user(user)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(folder).st_uid != entry.pw_uid:
            os.fchown(folder, entry.pw_uid, entry.pw_gid)
    finally:
        os.close(folder)


def let_through(path: Path) -> None:
    """Let others pass through a folder, to what they may read in it, without seeing what is there.

    Raises:
        OSError: That cannot be done.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & stat.S_IXOTH:
        path.chmod(mode | stat.S_IXOTH)


def who_bars(path: Path, user: str) -> Path | None:
    """Find the first folder above a file through which a user cannot pass; None if there is none.

    A folder with an access list may let him through by that: it counts as open.

    Raises:
        OSError: One of them cannot be looked at, or there is no such user.
    """
    entry = _user(user)
    groups = os.getgrouplist(user, entry.pw_gid)
    for folder in reversed(path.absolute().parents):
        info = folder.stat()
        if info.st_uid == entry.pw_uid:
            needed = stat.S_IXUSR
        else:
            needed = stat.S_IXGRP if info.st_gid in groups else stat.S_IXOTH
        if entry.pw_uid != 0 and not info.st_mode & needed and _access_list(str(folder)) is None:
            return folder
    return None


def _user(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise OSError(errno.ENOENT, f"there is no user {name}") from None


def open_for_append(path: str | os.PathLike[str]) -> int:
    """Open a file to which every write appends, and create it where it is missing."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def new_memory(name: str) -> int:
    """Return a file that lies in memory alone, to be sealed once it is filled."""
    return os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def seal_memory(descriptor: int) -> None:
    """From now on nobody changes such a file, whoever has it open."""
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)


def open_path(descriptor: int) -> Path:
    """Return a path by which this process opens an open file anew, whatever its name is now."""
    return _OPEN / str(descriptor)


def is_open_path(path: Path) -> bool:
    """Whether it is one that `open_path` has given."""
    return path.parent == _OPEN


def lock(descriptor: int) -> None:
    """Lock an open file until it is closed, also against other processes.

    Raises:
        OSError: Somebody else has it.
    """
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def make_library(descriptor: int, path: Path, *, shared: bool) -> None:
    """Let an open file be loaded and not be written; by other users as well if it is `shared`."""
    del path
    os.fchmod(descriptor, 0o555 if shared else 0o500)


def user_folder() -> str:
    """Return a name for a folder of this user's among those of others."""
    return f"slipstream-{os.getuid()}"


def is_private_folder(path: Path) -> bool:
    """Say whether this is a folder, no link to one, that only this user can look into."""
    info = path.lstat()
    mine = info.st_uid == os.getuid() and not info.st_mode & 0o077
    return stat.S_ISDIR(info.st_mode) and mine


def who_may_replace(place: str | int, status: os.stat_result) -> tuple[str, str] | None:
    """Say who, beside root and this user, could replace a file or what is in a folder.

    Args:
        place: The file or folder: its path, or a descriptor of it.
        status: Its own, or that of the link if it is one.

    Returns:
        What is wrong with it, and what mends it, to stand before its path; None if nobody could.
    """
    if status.st_uid not in (0, os.geteuid()):
        if status.st_uid == _unknown_user():
            return (
                f"belongs to a user whom this user namespace does not map (uid {status.st_uid}), "
                "who could replace the library"
            ), "map into the namespace (the user mapping of a container) the owner of"
        owner = f"belongs to another user (uid {status.st_uid})"
        chown = "chown -h" if stat.S_ISLNK(status.st_mode) else "chown"
        return f"{owner}, who could replace the library", f"run: {chown} {os.geteuid()}"
    is_sticky_folder = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    if is_sticky_folder or stat.S_ISLNK(status.st_mode):  # a link has no rights of its own
        return None
    mode = f"mode {stat.S_IMODE(status.st_mode):04o}"
    if status.st_mode & stat.S_IWOTH:
        return f"is writable for everybody ({mode}), so anybody could replace the library", (
            "run: chmod o-w"
        )
    if not status.st_mode & stat.S_IWGRP:  # with an access list: the most that it gives
        return None
    entries = _access_list(place)
    for tag, number in entries if entries is not None else [(_ACL_OWN_GROUP, status.st_gid)]:
        name = _name_others(tag, status.st_gid if tag == _ACL_OWN_GROUP else number)
        if name is not None:
            how = f"is writable for {name}"
            mend = "run: chmod g-w" if entries is None else "run: setfacl -b"
            return f"{how} ({mode}), who could replace the library", mend
    return None


def _unknown_user() -> int | None:
    """As whose the files of those show whom this user namespace does not map; None: it maps all."""
    try:
        shown = int(Path("/proc/sys/kernel/overflowuid").read_text())
        lines = Path("/proc/self/uid_map").read_text().splitlines()
    except (OSError, ValueError):
        return None
    for start, _, count in (map(int, line.split()) for line in lines):
        if start <= shown < start + count:
            return None
    return shown


# acl(5): the attribute is a version, 2, and entries of u16 tag, u16 rights, u32 number.
_ACL_ATTRIBUTE = "system.posix_acl_access"
_ACL_USER, _ACL_OWN_GROUP, _ACL_GROUP, _ACL_MASK = 2, 4, 8, 16
_ACL_WRITE = 2


def _access_list(place: str | int) -> list[tuple[int, int]] | None:
    """Tag and number of the users and groups that an access list lets write; None: it has none."""
    try:
        data = os.getxattr(place, _ACL_ATTRIBUTE)
    except OSError:
        return None
    entries = list(struct.iter_unpack("<HHI", data[4:]))
    mask = next((rights for tag, rights, _ in entries if tag == _ACL_MASK), _ACL_WRITE)
    return [
        (tag, number)
        for tag, rights, number in entries
        if tag in {_ACL_USER, _ACL_OWN_GROUP, _ACL_GROUP} and rights & mask & _ACL_WRITE
    ]


def _name_others(tag: int, number: int) -> str | None:
    """Whom this entry lets write beside root and this user: as a text; None: nobody."""
    if tag == _ACL_USER:
        return None if number in (0, os.geteuid()) else f"the user {number}"
    try:
        group = grp.getgrgid(number)
    except KeyError:
        return f"the group {number}"
    mine = {"root"}
    with contextlib.suppress(KeyError):
        mine.add(pwd.getpwuid(os.geteuid()).pw_name)
    members = {*group.gr_mem, *(user.pw_name for user in pwd.getpwall() if user.pw_gid == number)}
    return f"the group {group.gr_name}" if members - mine else None


def group_number(name: str) -> int | None:
    """Return the number of a group, named or written as a number; None: there is none."""
    try:
        return int(name) if name.isascii() and name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError:
        return None


_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: struct ucred of unix(7)


def peer_user(connection: socket.socket) -> int | None:
    """Return the user at the other end of a Unix socket, as the kernel says; None: of another."""
    if connection.family != socket.AF_UNIX:
        return None
    said = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user: int = _CREDENTIALS.unpack(said)[1]
    return user


_LIMITS = {
    "open files": resource.RLIMIT_NOFILE,
    "processes": resource.RLIMIT_NPROC,
    "locked memory": resource.RLIMIT_MEMLOCK,
}


def limit_of(which: str) -> tuple[int | None, int | None] | None:
    """Return a limit and the most that it can be set to, None for none; None: there is no such."""
    soft, hard = resource.getrlimit(_LIMITS[which])
    infinite = resource.RLIM_INFINITY
    return (None if soft == infinite else soft), (None if hard == infinite else hard)


def processor_count() -> int:
    """Return on how many processors this process may run."""
    if hasattr(os, "sched_getaffinity"):  # macOS has none
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_executable(descriptor: int, size: int) -> None:
    """Map a file as code, and let go of it.

    Raises:
        OSError: That is forbidden where it lies.
    """
    rights = mmap.PROT_READ | mmap.PROT_EXEC
    mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=rights).close()


def c_library() -> str | None:
    """Name the C library, if it is one that unloads libraries; None: it is not."""
    if sys.platform == "darwin":
        return "that of macOS"
    return os.confstr("CS_GNU_LIBC_VERSION")


def at_fork_in_child(do: Callable[[], object]) -> None:
    """Have this called in each child that is forked."""
    os.register_at_fork(after_in_child=do)


def wake_pipe() -> tuple[int, int]:
    """Return the ends of a pipe, for reading and for writing, neither of which ever waits."""
    return os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)


def wait_readable(descriptor: int, seconds: float | None) -> bool:
    """Wait until there is something to read, so long at most; says whether there is."""
    return bool(select.select([descriptor], [], [], seconds)[0])


def write_patiently(descriptor: int, data: bytes, seconds: float) -> bool:
    """Write all of it, past any buffer; says whether that was done.

    Args:
        descriptor: Anything; what it leads to may be full, closed or read by nobody.
        data: The bytes.
        seconds: The longest wait for the reader to take some of it.
    """
    left = memoryview(data)
    looks = select.poll()
    looks.register(descriptor, select.POLLOUT)
    end = time.monotonic() + seconds
    try:
        while left and looks.poll(max(0.0, end - time.monotonic()) * 1000):
            try:
                # A pipe that is ready takes that much without waiting.
                left = left[os.write(descriptor, left[: select.PIPE_BUF]) :]
            except BlockingIOError:  # others write, too
                time.sleep(0.001)
                if time.monotonic() >= end:
                    return False
            else:
                end = time.monotonic() + seconds
    except (OSError, ValueError):
        return False
    return not left
