"""Looks at a library before anything of it runs: is it there, who can change it, is it the one."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from slipstream._platform import who_may_replace
from slipstream.errors import InvalidPluginPath, PluginLoadError, Refusal
from slipstream.files import FileProblem, limit_hint, open_regular
from slipstream.text import printable

_STEPS_MOST = 4096  # names on the way; links may bring more of them
_INSECURE = "or accept the risk with --insecure-paths"


def check_library_path(path: str | os.PathLike[str], *, insecure: bool = False) -> Path:
    """Finds the file behind a library's path and refuses one that others could replace.

    Refused is what others may write to: everybody, a group with other members, whoever an access
    list names; and what belongs to a user other than root and the host's own. That holds for the
    file, for each link on the way to it, and for all folders above them (a sticky one such as
    /tmp is safe).

    Args:
        path: The library; symbolic links are followed.
        insecure: Do not look at owners and permissions.

    Returns:
        The absolute path without symbolic links.

    Raises:
        InvalidPluginPath: There is no such regular file, or others could replace it.
    """
    name = printable(os.path.abspath(path))
    try:
        real = Path(os.path.realpath(path, strict=True))
        with open_regular(real) as descriptor:
            found = who_may_replace(descriptor, os.fstat(descriptor))
        unsafe = _find_unsafe(os.path.join(os.getcwd(), path))
        if found is not None:
            unsafe = "library", real, found
    except FileProblem as problem:
        raise InvalidPluginPath(
            f"the library {name} {problem.reason}",
            problem.hint("let libpath name a shared library that the user of the host may read"),
        ) from None
    except (FileNotFoundError, NotADirectoryError):
        missing = _first_missing(Path(os.path.abspath(path)))
        aside = (
            "" if printable(str(missing)) == name else f": there is no {printable(str(missing))}"
        )
        raise InvalidPluginPath(
            f"the library {name} does not exist{aside}",
            "build it, or correct libpath; a relative one counts from the config file's folder",
        ) from None
    except (OSError, ValueError) as error:
        number = error.errno if isinstance(error, OSError) else None
        reason = os.strerror(number) if number else "the name is not possible"
        raise InvalidPluginPath(
            f"the library {name} cannot be found: {reason}",
            limit_hint(number) or "correct libpath, or let the user of the host reach the file",
        ) from None
    if unsafe is not None and not insecure:
        import shlex  # noqa: PLC0415 - only refusals need it

        what, part, (wrong, mend) = unsafe
        quoted = shlex.quote(printable(str(part)))
        raise InvalidPluginPath(f"the {what} {quoted} {wrong}", f"{mend} {quoted}, {_INSECURE}")
    return real


def verify_digest(path: str | os.PathLike[str], expected: str) -> None:
    """Compares a library's SHA-256 with the one that is expected.

    Args:
        path: The library. To be of use, give the copy that is then opened.
        expected: 64 hexadecimal digits.

    Raises:
        PluginLoadError: The digests differ, or the file cannot be read.
    """
    name = printable(os.fspath(path))
    try:
        with open_regular(Path(path)) as descriptor, open(descriptor, "rb", closefd=False) as file:
            import hashlib  # noqa: PLC0415 - embedding starts quicker without it

            actual = hashlib.file_digest(file, "sha256").hexdigest()
    except FileProblem as problem:
        refusal = Refusal.CANNOT_OPEN if problem.found else Refusal.NOT_FOUND
        raise PluginLoadError(
            f"the digest of {name} cannot be checked: it {problem.reason}",
            problem.hint("let libpath name the shared library itself"),
            refusal,
        ) from None
    except OSError as error:
        raise PluginLoadError(
            f"the digest of {name} cannot be checked: {error.strerror}",
            limit_hint(error.errno) or "make sure that the file can be read",
            Refusal.CANNOT_OPEN,
        ) from None
    if actual != expected.lower():
        raise PluginLoadError(
            f"{name} has the SHA-256 digest {actual}, but the config expects {expected.lower()}",
            "restore the library that was meant, or, if you trust this one, set "
            f'sha256: "{actual}"',
            Refusal.DIGEST_MISMATCH,
        )


def _first_missing(path: Path) -> Path:
    """The uppermost part of a path that is not there."""
    return next((p for p in [*reversed(path.parents), path] if not os.path.exists(p)), path)


def _find_unsafe(path: str) -> tuple[str, Path, tuple[str, str]] | None:
    """What, where, and how, of the first link or folder on a path's way that others may change."""
    root, *rest = Path(path).parts
    at = Path(root)
    for _step in range(_STEPS_MOST):
        status = os.lstat(at)
        is_link = stat.S_ISLNK(status.st_mode)
        found = who_may_replace(str(at), status) if rest or is_link else None
        if found is not None:
            return "link" if is_link else "folder", at, found
        if is_link:
            rest[:0] = Path(os.readlink(at)).parts
            at = at.parent
        if not rest:
            return None
        name = rest.pop(0)
        at = at.parent if name == ".." else at / name
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
