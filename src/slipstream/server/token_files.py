"""The files behind tokens: keys, and what was issued and revoked, in a folder of the daemon.

``jwt_secret`` has a line for each key that is live, ``ID BASE64 CREATED [UNTIL]``, the present one
first; ``jwt_tokens.jsonl`` a line for each token that was issued or revoked. Both belong to this
user alone, are always written whole, and end with a line that holds the SHA-256 of those before it.
``jwt_lock`` names those that were made once: they have to be there. A file that is missing, cut off
or damaged is never taken for an empty one, because revoked tokens would be good again.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from slipstream._platform import create_private, lock, make_private_folder, open_for_append
from slipstream.errors import ConfigError
from slipstream.files import FileProblem, limit_hint, read_small

T = TypeVar("T")

SECRET_BYTES = 32
KEYS = "jwt_secret"
ISSUED = "jwt_tokens.jsonl"
_LOCK = "jwt_lock"
_LIMIT = 64 << 20
_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Key:
    """A key.

    Attributes:
        name: Its `kid`.
        secret: Its bytes.
        created: When it was made.
        until: When it ends; 0: it does not.
    """

    name: str
    secret: bytes
    created: float
    until: float = 0.0

    def is_live(self, now: float) -> bool:
        """Say whether tokens of it are good."""
        return not self.until or now < self.until

    @property
    def signing(self) -> bytes:
        """It as HMAC takes it, which fills short keys up with zeros itself."""
        return self.secret.ljust(SECRET_BYTES, b"\0")

    def line(self) -> str:
        """Return its line in the file."""
        secret = base64.b64encode(self.secret).decode()
        return f"{self.name} {secret} {self.created:.0f}" + (
            f" {self.until:.0f}\n" if self.until else "\n"
        )


@dataclass(frozen=True, slots=True)
class Issued:
    """A token that was issued.

    Attributes:
        jti: Its number.
        sub: Whose it is.
        scope: What it allows, in words with blanks between.
        iat: When it was issued.
        exp: When it ends.
        kid: By which key it was signed.
        revoked: It was.
    """

    jti: str
    sub: str
    scope: str
    iat: float
    exp: float
    kid: str
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of tokens.

    Attributes:
        not_before: Those that were issued earlier are refused: what was revoked of them is lost.
        issued: Those that were issued here, by their `jti`.
        revoked: The `jti` of those that were revoked, issued here or not.
    """

    not_before: float = 0.0
    issued: dict[str, Issued] = field(default_factory=dict)
    revoked: frozenset[str] = frozenset()

    def text(self) -> str:
        """Return what stands in the file."""
        lines: list[dict[str, object]] = []
        if self.not_before:
            lines.append({"not_before": self.not_before})
        for one in self.issued.values():
            names = ("jti", "sub", "scope", "iat", "exp", "kid")
            lines.append({"issued": {name: getattr(one, name) for name in names}})
        lines += [{"revoked": number} for number in sorted(self.revoked)]
        return "".join(json.dumps(line) + "\n" for line in lines)


def _keys_of(text: str) -> list[Key]:
    keys = []
    for line in text.splitlines():
        name, secret, created, *until = line.split()
        data = base64.b64decode(secret, validate=True)
        keys.append(Key(name, data, float(created), float(until[0]) if until else 0.0))
        if len(data) < SECRET_BYTES:
            raise ValueError(line)
    return keys


def _known_of(text: str) -> Known:
    records = [json.loads(line) for line in text.splitlines()]
    revoked = frozenset(record["revoked"] for record in records if "revoked" in record)
    issued = [Issued(**record["issued"]) for record in records if "issued" in record]
    return Known(
        next((record["not_before"] for record in records if "not_before" in record), 0.0),
        {
            one.jti: Issued(
                one.jti, one.sub, one.scope, one.iat, one.exp, one.kid, one.jti in revoked
            )
            for one in issued
        },
        revoked,
    )


class Followed(Generic[T]):
    """What stands in a file, read again when it has changed."""

    def __init__(self, path: Path, what: str, read: Callable[[str], T]) -> None:
        """Name the file.

        Args:
            path: Where it is.
            what: What it holds, for people.
            read: Understands its text; a ValueError, TypeError or KeyError says that it cannot.
        """
        self._path = path
        self._what = what
        self._read = read
        self._state: tuple[int, ...] | None = None
        self._value: T | ConfigError | None = None

    def now(self) -> T:
        """Return it.

        Raises:
            ConfigError: The file is missing or damaged.
        """
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._state = None
            raise self._lost("is missing") from None
        except OSError as error:
            self._state = None
            hint = limit_hint(error.errno)
            raise self._lost(f"cannot be read: {error.strerror}", hint) from None
        state = (status.st_ino, status.st_size, status.st_mtime_ns)
        if state != self._state or self._value is None:
            self._value, self._state = self._look(), state
        if isinstance(self._value, ConfigError):
            raise self._value.with_traceback(None)
        return self._value

    def _look(self) -> T | ConfigError:
        try:
            data = read_small(self._path, _LIMIT)
        except FileProblem as problem:
            return self._lost(problem.reason, problem.hint(""))
        text, _, seal = data.removesuffix(b"\n").rpartition(b"\n")
        text += b"\n" if text else b""
        try:
            if data != text + _seal(text):
                raise ValueError(seal)
            return self._read(text.decode("ascii"))
        except (ValueError, TypeError, KeyError, RecursionError):
            return self._lost("is empty" if not data else "is cut off or damaged")

    def _lost(self, reason: str, hint: str = "") -> ConfigError:
        return ConfigError(
            f"no token can be accepted: {self._path}, {self._what}, {reason}",
            hint
            or "put the file back as it was; or start over with `slipstream token rotate --grace 0 "
            f"--data-dir {self._path.parent}`, after which every token has to be issued again",
        )


class TokenFiles:
    """The files of a folder; other processes may use them at the same time.

    Attributes:
        keys: Those that sign.
        known: What was issued and revoked.
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is read or made."""
        self.folder = folder
        self.keys = Followed(folder / KEYS, "the keys of tokens", _keys_of)
        self.known = Followed(folder / ISSUED, "the list of revoked tokens", _known_of)

    def begin(self, *, with_key: bool, now: float) -> None:
        """Make the files that were never made.

        Raises:
            ConfigError: They cannot be written.
        """
        first = {ISSUED: Known().text(), **({KEYS: new_key(now).line()} if with_key else {})}
        if set(first) <= self._made():
            return
        with self.locked() as descriptor:
            # A file is noted after it was made: who is killed between leaves one too many.
            for name in first.keys() - self._made():
                if not (self.folder / name).exists():
                    self._write(name, first[name])
                try:
                    os.write(descriptor, f"{name}\n".encode())
                    os.fsync(descriptor)
                except OSError as error:
                    raise self._broken(error) from None

    def check(self, *, with_key: bool) -> None:
        """See whether the files are as they have to be; a folder without any is well.

        Raises:
            ConfigError: One of those that were made once is missing or damaged.
        """
        made = self._made()
        if ISSUED in made or (self.folder / ISSUED).exists():
            self.known.now()
        if with_key and (KEYS in made or (self.folder / KEYS).exists()):
            self.keys.now()

    def write(self, *, keys: Iterable[Key] | None = None, known: Known | None = None) -> None:
        """Put files in the place of others, each whole or not at all; while they are locked.

        Raises:
            ConfigError: That cannot be done.
        """
        if known is not None:
            self._write(ISSUED, known.text())
        if keys is not None:
            self._write(KEYS, "".join(key.line() for key in keys))

    @contextlib.contextmanager
    def locked(self) -> Iterator[int]:
        """Keep other writers out.

        Raises:
            ConfigError: Another one stays too long, or the folder cannot be written.
        """
        try:
            make_private_folder(self.folder)
            descriptor = open_for_append(self.folder / _LOCK)
        except OSError as error:
            raise self._broken(error) from None
        try:
            self._hand_over(descriptor)
            end = time.monotonic() + _PATIENCE
            while True:
                try:
                    lock(descriptor)
                    break
                except OSError:
                    if time.monotonic() > end:
                        raise ConfigError(
                            f"another process holds {self.folder / _LOCK}", "try again"
                        ) from None
                    time.sleep(0.01)
            yield descriptor
        finally:
            os.close(descriptor)

    def _made(self) -> set[str]:
        try:
            return set((self.folder / _LOCK).read_text("ascii", "replace").splitlines())
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise self._broken(error) from None

    def _write(self, name: str, text: str) -> None:
        draft = self.folder / f"{name}.{secrets.token_hex(8)}"
        data = text.encode("ascii")
        try:
            with os.fdopen(create_private(draft), "wb") as file:
                self._hand_over(file.fileno())
                file.write(data + _seal(data))
                file.flush()
                os.fsync(file.fileno())
            draft.rename(self.folder / name)
            folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise self._broken(error) from None

    def _hand_over(self, descriptor: int) -> None:
        """Let what root has made belong to the user of the folder, who has to read it."""
        if os.geteuid() == 0:
            owner = self.folder.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)

    def _broken(self, error: OSError) -> ConfigError:
        return ConfigError(
            f"cannot write tokens in {self.folder}: {error.strerror}",
            limit_hint(error.errno) or "let this user write the folder, or make room on its disk",
        )


def _seal(text: bytes) -> bytes:
    return f'{{"sha256": "{hashlib.sha256(text).hexdigest()}"}}\n'.encode()


def new_key(now: float) -> Key:
    """Make a key."""
    return Key(secrets.token_hex(4), secrets.token_bytes(SECRET_BYTES), now)
