"""Looks at a library before anything of it runs: is it there, who can change it, is it the one."""

from __future__ import annotations

import os
from pathlib import Path

from slipstream._platform import who_may_replace
from slipstream.errors import InvalidPluginPath, PluginLoadError, Refusal
from slipstream.files import FileProblem, open_regular
from slipstream.text import printable

_INSECURE = "or accept the risk with --insecure-paths"


def check_library_path(path: str | os.PathLike[str], *, insecure: bool = False) -> Path:
    """Finds the file behind a library's path and refuses one that others could replace.

    Refused is what anybody may write to, a folder above it included (a sticky one such as
    /tmp is safe), and what belongs to a user other than root and the host's own.

    Args:
        path: The library; symbolic links are followed, and the checks are of the real file.
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
            statuses = [(real, os.fstat(descriptor))]
        statuses += [(folder, os.stat(folder)) for folder in real.parents]
    except FileProblem as problem:
        raise InvalidPluginPath(
            f"the library {name} {problem.reason}",
            "let libpath name a shared library that the user of the host may read",
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
        reason = error.strerror if isinstance(error, OSError) else "the name is not possible"
        raise InvalidPluginPath(
            f"the library {name} cannot be found: {reason}",
            "correct libpath, or let the user of the host reach the file",
        ) from None
    if not insecure:
        for part, status in statuses:
            _refuse_unsafe(part, status, "library" if part is real else "folder")
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
            "let libpath name the shared library itself",
            refusal,
        ) from None
    except OSError as error:
        raise PluginLoadError(
            f"the digest of {name} cannot be checked: {error.strerror}",
            "see that the file can be read",
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


def _refuse_unsafe(path: Path, status: os.stat_result, what: str) -> None:
    import shlex  # noqa: PLC0415 - only refusals need it

    found = who_may_replace(status)
    if found is not None:
        problem, mend = found
        quoted = shlex.quote(printable(str(path)))
        raise InvalidPluginPath(
            f"the {what} {quoted} {problem}", f"run: {mend} {quoted}, {_INSECURE}"
        )
