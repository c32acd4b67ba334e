"""Tokens: HS256, with keys, revocations and a list of what was issued in a folder of the daemon.

``jwt_secret`` has a line for each key that is live, ``ID BASE64 CREATED [UNTIL]``, the present one
first; ``jwt_tokens.jsonl`` a line for each token that was issued or revoked. Both belong to this
user alone. A process that verifies sees at once what another one, such as ``slipstream token``, has
changed.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import math
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import jwt

from slipstream._platform import create_private, lock, open_for_append
from slipstream.errors import ConfigError
from slipstream.files import FileProblem, read_small
from slipstream.server.answers import Refused
from slipstream.server.routes import SCOPES

T = TypeVar("T")

ALGORITHM = "HS256"
AUDIENCE = "slipstream-admin"
LIFE = 30 * 86400.0
GRACE = 86400.0
"""Seconds for which the key before the present one is live after a rotation."""

SECRET_BYTES = 32
SHORT_SECRET_BYTES = 16
"""What `--jwt-secret` of snarkOS has."""

KEYS = "jwt_secret"
ISSUED = "jwt_tokens.jsonl"
_LOCK = "jwt_lock"
_LIMIT = 64 << 20
_TOKEN_MAX = 4096
_REQUIRED = ["exp", "iat", "iss", "aud", "sub", "scope", "jti"]
_PATIENCE = 10.0
_SUBJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    Attributes:
        subject: The token's `sub`; "local" who was let in by the kernel, "" if nobody asked.
        token: Its `jti`; "" if there is none.
        scopes: What it allows.
        expires: When it ends, in seconds since 1970 UTC.
    """

    subject: str
    token: str = ""
    scopes: frozenset[str] = frozenset(SCOPES)
    expires: float = float("inf")


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


def _invalid(why: str) -> Refused:
    return Refused(401, f"the token is not accepted: {why}", headers={"WWW-Authenticate": "Bearer"})


class Tokens:
    """Issues, verifies, revokes. One for each network."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        network: str = "mainnet",
        *,
        secret: bytes | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take the keys of a folder, and make the first one if there is none.

        Args:
            folder: Of this user alone.
            network: Tokens of others are not accepted.
            secret: The one key, instead of those in the folder.
            clock: The time, in seconds since 1970 UTC.

        Raises:
            ConfigError: The keys cannot be read or written, or are too short.
        """
        self._folder = Path(folder)
        self._issuer = f"slipstream/{network}"
        self._clock = clock
        self._given: list[Key] = []
        if secret is not None:
            if len(secret) < SHORT_SECRET_BYTES:
                raise ConfigError(
                    f"the secret for tokens has {len(secret)} bytes",
                    f"give one of {SECRET_BYTES} random bytes: openssl rand -base64 32",
                )
            self._given = [Key("given", secret, 0.0)]
        self._keys = _Followed(self._folder / KEYS, _keys_of)
        self._known = _Followed(self._folder / ISSUED, _issued_of)
        if not self._given and not self._keys.now():
            self._make_first()

    # ---- Verifying ----------------------------------------------------------------------

    def caller(self, authorization: list[str]) -> Caller:
        """Return who calls.

        Args:
            authorization: The values of all the headers of that name.

        Raises:
            Refused: There is no token, or it is not accepted: 401.
        """
        if not authorization:
            raise Refused(
                401,
                "a token is needed",
                "send the header Authorization: Bearer TOKEN",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if len(authorization) > 1:
            raise _invalid("there are two headers")
        scheme, _, token = authorization[0].partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise _invalid("the header is not Authorization: Bearer TOKEN")
        return self.verify(token.strip())

    def verify(self, token: str) -> Caller:
        """Return whose token this is.

        Raises:
            Refused: It is not accepted.
        """
        if len(token) > _TOKEN_MAX or not token.isascii():
            raise _invalid("it is none")
        try:
            name = jwt.get_unverified_header(token).get("kid")
        except jwt.PyJWTError:
            raise _invalid("it is none") from None
        why = "no key of this host has signed it"
        for key in self._live_keys():
            if name in {None, key.name}:
                try:
                    return self._checked(token, key)
                except jwt.InvalidSignatureError:
                    continue
                except jwt.PyJWTError as error:
                    why = _reason(error)
                    break
        raise _invalid(why)

    def _checked(self, token: str, key: Key) -> Caller:
        claims = jwt.decode(
            token,
            key.signing,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=self._issuer,
            options={
                "require": _REQUIRED,
                "verify_exp": False,  # the time is looked at below, by one clock
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
        subject, scope, number = (claims[name] for name in ("sub", "scope", "jti"))
        times = [claims["exp"], claims["iat"], claims.get("nbf", 0)]
        if not all(isinstance(text, str) and text for text in (subject, scope, number)):
            raise jwt.InvalidTokenError("a claim is no text")
        if not all(type(at) in {int, float} and math.isfinite(at) for at in times):
            raise jwt.InvalidTokenError("a claim is no time")
        now = self._clock()
        if not now < times[0]:
            raise jwt.ExpiredSignatureError
        if max(times[1:]) > now + 1:
            raise jwt.ImmatureSignatureError
        if self.is_revoked(number):
            raise jwt.InvalidTokenError("it was revoked")
        return Caller(subject, number, frozenset(scope.split()), float(times[0]))

    def is_revoked(self, number: str) -> bool:
        """Say whether a token was revoked, by its `jti`."""
        known = self._known.now() or {}
        return number in known and known[number].revoked

    def _live_keys(self) -> list[Key]:
        now = self._clock()
        return self._given or [key for key in self._keys.now() or () if key.is_live(now)]

    # ---- Issuing ------------------------------------------------------------------------

    def issue(
        self,
        subject: str,
        scopes: Iterable[str] = SCOPES,
        *,
        life: float = LIFE,
        at: float | None = None,
    ) -> str:
        """Issue a token.

        Args:
            subject: Whose it is.
            scopes: What it allows.
            life: For so many seconds.
            at: When it counts as issued; None: now.

        Returns:
            The token.

        Raises:
            ConfigError: The subject or a scope cannot be used, or the files not be written.
        """
        wanted = list(dict.fromkeys(scopes))
        if _SUBJECT.fullmatch(subject) is None:
            raise ConfigError(
                f"{subject!r} is no name for a token", "use letters, digits, and . _ @ - inside"
            )
        if not wanted or not set(wanted) <= set(SCOPES):
            raise ConfigError(
                f"{' '.join(wanted)!r} are no scopes", f"use some of {', '.join(SCOPES)}"
            )
        keys = self._live_keys()
        if not keys:
            raise ConfigError(f"{self._folder / KEYS} holds no key", "rotate to make one")
        issued = int(self._clock() if at is None else at)
        claims = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "sub": subject,
            "scope": " ".join(wanted),
            "jti": secrets.token_hex(16),
            "iat": issued,
            "exp": int(issued + life),
        }
        token = jwt.encode(claims, keys[0].signing, ALGORITHM, headers={"kid": keys[0].name})
        kept = {name: claims[name] for name in ("jti", "sub", "scope", "iat", "exp")}
        with self._locked():
            self._append({"issued": {**kept, "kid": keys[0].name}})
        return token

    def issued(self) -> list[Issued]:
        """Return the tokens that were issued and have not ended, the oldest first."""
        live = {key.name for key in self._live_keys()}
        now = self._clock()
        return [one for one in self._all() if one.exp > now and one.kid in live]

    def revoke(self, number: str) -> Issued | None:
        """Revoke a token.

        Args:
            number: Its `jti`.

        Returns:
            What is known of it; None if it was not issued here. It is revoked in either case.
        """
        if not number or len(number) > 256 or not number.isprintable():
            raise ConfigError(f"{number!r} is no jti", "see `slipstream token list`")
        with self._locked():
            self._append({"revoked": number})
        return next((one for one in self._all() if one.jti == number and one.sub), None)

    def rotate(self, grace: float = GRACE) -> Key:
        """Sign with a new key from now on.

        Args:
            grace: Tokens of the key before are good for so many more seconds.

        Returns:
            The new key.
        """
        now = self._clock()
        if self._given:
            raise ConfigError("the secret was given", "give another one")
        with self._locked():
            fresh = _new_key(now)
            keys = [fresh]
            before = next(iter(self._keys.now() or ()), None)
            if before is not None and grace > 0:
                keys.append(Key(before.name, before.secret, before.created, now + grace))
            self._write(KEYS, "".join(key.line() for key in keys))
            kept = [one for one in self._all() if one.exp > now]
            self._write(ISSUED, "".join(map(_lines_of, kept)))
        return fresh

    # ---- Files --------------------------------------------------------------------------

    def _all(self) -> list[Issued]:
        return list((self._known.now() or {}).values())

    def _make_first(self) -> None:
        with self._locked():
            if not self._keys.now():  # another process was not quicker
                self._write(KEYS, _new_key(self._clock()).line())

    def _append(self, record: dict[str, object]) -> None:
        try:
            descriptor = open_for_append(self._folder / ISSUED)
            try:
                os.write(descriptor, json.dumps(record).encode() + b"\n")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._broken(error) from None

    def _write(self, name: str, text: str) -> None:
        """Put a file in the place of another, whole or not at all."""
        draft = self._folder / f"{name}.{secrets.token_hex(8)}"
        try:
            with os.fdopen(create_private(draft), "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.rename(self._folder / name)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise self._broken(error) from None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = open_for_append(self._folder / _LOCK)
        except OSError as error:
            raise self._broken(error) from None
        try:
            end = time.monotonic() + _PATIENCE
            while True:
                try:
                    lock(descriptor)
                    break
                except OSError:
                    if time.monotonic() > end:
                        raise ConfigError(
                            f"another process holds {self._folder / _LOCK}", "try again"
                        ) from None
                    time.sleep(0.01)
            yield
        finally:
            os.close(descriptor)

    def _broken(self, error: OSError) -> ConfigError:
        return ConfigError(
            f"cannot write tokens in {self._folder}: {error.strerror}",
            "let this user write the folder, or make room on its disk",
        )


class _Followed(Generic[T]):
    """What stands in a file, read again when it has changed."""

    def __init__(self, path: Path, read: Callable[[str, Path], T]) -> None:
        self._path = path
        self._read = read
        self._state: tuple[int, ...] | None = None
        self._value: T | None = None

    def now(self) -> T | None:
        """Return it; None if there is no file."""
        try:
            status = self._path.stat()
        except OSError:
            self._state = self._value = None
            return None
        state = (status.st_ino, status.st_size, status.st_mtime_ns)
        if state != self._state:
            try:
                text = read_small(self._path, _LIMIT).decode("ascii", "replace")
            except FileProblem as problem:
                raise ConfigError(
                    f"{self._path} {problem.reason}", "let this user read it, or remove it"
                ) from None
            self._value, self._state = self._read(text, self._path), state
        return self._value


def _new_key(now: float) -> Key:
    return Key(secrets.token_hex(4), secrets.token_bytes(SECRET_BYTES), now)


def _keys_of(text: str, path: Path) -> list[Key]:
    keys = []
    for line in text.splitlines():
        try:
            name, secret, created, *until = line.split()
            data = base64.b64decode(secret, validate=True)
            keys.append(Key(name, data, float(created), float(until[0]) if until else 0.0))
        except (ValueError, binascii.Error):
            data = b""
        if len(data) < SECRET_BYTES:
            raise ConfigError(
                f"{path} holds a line that is no key of {SECRET_BYTES} bytes",
                "remove the file; then a new key is made, and all tokens have to be issued anew",
            )
    return keys


def _issued_of(text: str, _path: Path) -> dict[str, Issued]:
    found: dict[str, Issued] = {}
    revoked: set[str] = set()
    for line in text.splitlines():
        try:
            record = json.loads(line)
            if "revoked" in record:
                revoked.add(str(record["revoked"]))
            else:
                one = Issued(**record["issued"])
                found[one.jti] = one
        except (ValueError, TypeError, KeyError):
            continue  # cut off when its writer was killed
    for number in revoked:
        one = found.get(number, Issued(number, "", "", 0.0, float("inf"), ""))
        found[number] = Issued(one.jti, one.sub, one.scope, one.iat, one.exp, one.kid, revoked=True)
    return found


def _lines_of(one: Issued) -> str:
    lines = ""
    if one.sub:
        fields = {name: getattr(one, name) for name in ("jti", "sub", "scope", "iat", "exp", "kid")}
        lines += json.dumps({"issued": fields}) + "\n"
    if one.revoked:
        lines += json.dumps({"revoked": one.jti}) + "\n"
    return lines


def _reason(error: jwt.PyJWTError) -> str:
    match error:
        case jwt.ExpiredSignatureError():
            return "it has expired"
        case jwt.ImmatureSignatureError():
            return "it is not valid yet"
        case jwt.MissingRequiredClaimError():
            return f"it has no {error.claim}"
        case jwt.InvalidAudienceError():
            return "it is for another audience"
        case jwt.InvalidIssuerError():
            return "it is of another issuer"
        case jwt.InvalidAlgorithmError():
            return f"its algorithm is not {ALGORITHM}"
    return "it is not well-formed" if isinstance(error, jwt.DecodeError) else str(error)
