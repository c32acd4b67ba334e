"""Tokens: HS256, with keys, revocations and a list of what was issued in a folder of the daemon.

A process that verifies sees at once what another one, such as ``slipstream token``, has changed.
Where the list of revoked tokens or the keys are missing or damaged, no token is accepted.
"""

from __future__ import annotations

import dataclasses
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import jwt

from slipstream.errors import ConfigError
from slipstream.server.answers import Refused
from slipstream.server.routes import SCOPES
from slipstream.server.token_files import SECRET_BYTES, Issued, Key, Known, TokenFiles, new_key
from slipstream.text import counted

ALGORITHM = "HS256"
AUDIENCE = "slipstream-admin"
LIFE = 30 * 86400.0
GRACE = 86400.0
"""Seconds for which the key before the present one is live after a rotation."""

SHORT_SECRET_BYTES = 16
"""What `--jwt-secret` of snarkOS has."""

_TOKEN_MAX = 4096
_FOREVER = 2**63  # seconds; no time is that late, and neither nan nor infinity is less
_REQUIRED = ["exp", "iat", "iss", "aud", "sub", "scope", "jti"]
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
        check: bool = True,
    ) -> None:
        """Take the keys of a folder, and make the first one if there is none.

        Args:
            folder: Of this user alone.
            network: Tokens of others are not accepted.
            secret: The one key, instead of those in the folder.
            clock: The time, in seconds since 1970 UTC.
            check: False lets the files be missing or damaged, for `rotate` to begin anew.

        Raises:
            ConfigError: The files cannot be written, one is missing or damaged, or the secret is
                too short.
        """
        self._issuer = f"slipstream/{network}"
        self._clock = clock
        self._given: list[Key] = []
        if secret is not None:
            if len(secret) < SHORT_SECRET_BYTES:
                raise ConfigError(
                    f"the secret for tokens has {counted(len(secret), 'byte')}",
                    f"give one of {SECRET_BYTES} random bytes: openssl rand -base64 32",
                )
            self._given = [Key("given", secret, 0.0)]
        self._files = TokenFiles(Path(folder))
        self._files.begin(with_key=not self._given, now=clock())
        if check:
            self.check()

    def check(self) -> None:
        """See whether tokens can be accepted.

        Raises:
            ConfigError: The keys, or the list of revoked tokens, are missing or damaged.
        """
        self._files.check(with_key=not self._given)

    # ---- Verifying ----------------------------------------------------------------------

    def caller(self, authorization: list[str]) -> Caller:
        """Return who calls.

        Args:
            authorization: The values of all the headers of that name.

        Raises:
            Refused: There is no token, or it is not accepted: 401.
            ConfigError: It cannot be said whether it is accepted: see `check`.
        """
        if not authorization:
            raise Refused(
                401,
                "a token is needed",
                "send the header Authorization: Bearer TOKEN",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if len(authorization) > 1:
            raise _invalid("there are two Authorization headers")
        scheme, _, token = authorization[0].partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise _invalid("the header is not Authorization: Bearer TOKEN")
        return self.verify(token.strip())

    def verify(self, token: str) -> Caller:
        """Return whose token this is.

        Raises:
            Refused: It is not accepted.
            ConfigError: It cannot be said whether it is accepted: see `check`.
        """
        if len(token) > _TOKEN_MAX or not token.isascii():
            raise _invalid("it is not a token")
        try:
            name = jwt.get_unverified_header(token).get("kid")
        except jwt.PyJWTError:
            raise _invalid("it is not a token") from None
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
            raise jwt.InvalidTokenError("a claim is not text")
        if not all(type(at) in {int, float} and abs(at) < _FOREVER for at in times):
            raise jwt.InvalidTokenError("a claim is not a time")
        now = self._clock()
        if not now < times[0]:
            raise jwt.ExpiredSignatureError
        if max(times[1:]) > now + 1:
            raise jwt.ImmatureSignatureError
        known = self._files.known.now()
        if number in known.revoked:
            raise jwt.InvalidTokenError("it was revoked")
        if times[1] < known.not_before:
            raise jwt.InvalidTokenError("it is older than the list of revoked tokens")
        return Caller(subject, number, frozenset(scope.split()), float(times[0]))

    def is_revoked(self, number: str) -> bool:
        """Say whether a token was revoked, by its `jti`; so are all if that cannot be said."""
        try:
            return number in self._files.known.now().revoked
        except ConfigError:
            return True

    def _live_keys(self) -> list[Key]:
        now = self._clock()
        return self._given or [key for key in self._files.keys.now() if key.is_live(now)]

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
                f"{subject!r} is not a valid name for a token",
                "use letters, digits, and . _ @ - inside",
            )
        unknown = next((scope for scope in wanted or [""] if scope not in SCOPES), None)
        if unknown is not None:
            raise ConfigError(f"there is no scope {unknown!r}", f"use some of {', '.join(SCOPES)}")
        with self._files.locked():
            known = self._files.known.now()
            begins = int(max(self._clock(), known.not_before) if at is None else at)
            if begins < known.not_before:
                raise ConfigError(
                    "a token that counts as issued so early is older than the list of revoked ones",
                    f"give a time from {known.not_before:.0f} on: --jwt-timestamp",
                )
            key = self._live_keys()[0]
            one = Issued(
                jti=secrets.token_hex(16),
                sub=subject,
                scope=" ".join(wanted),
                iat=begins,
                exp=int(begins + life),
                kid=key.name,
            )
            claims = {name: getattr(one, name) for name in ("sub", "scope", "jti", "iat", "exp")}
            claims |= {"iss": self._issuer, "aud": AUDIENCE}
            token = jwt.encode(claims, key.signing, ALGORITHM, headers={"kid": key.name})
            more = {**known.issued, one.jti: one}
            self._files.write(known=dataclasses.replace(known, issued=more))
        return token

    def issued(self) -> list[Issued]:
        """Return the tokens that were issued and have not ended, the oldest first."""
        live = {key.name for key in self._live_keys()}
        now = self._clock()
        known = self._files.known.now().issued.values()
        return [one for one in known if one.exp > now and one.kid in live]

    def revoke(self, number: str) -> Issued | None:
        """Revoke a token.

        Args:
            number: Its `jti`.

        Returns:
            What is known of it; None if it was not issued here. It is revoked in either case.
        """
        if not number or len(number) > 256 or not number.isprintable():
            raise ConfigError(
                f"{number!r} is not the id (jti) of a token", "see `slipstream token list`"
            )
        with self._files.locked():
            known = self._files.known.now()
            self._files.write(known=dataclasses.replace(known, revoked=known.revoked | {number}))
        return self._files.known.now().issued.get(number)

    def rotate(self, grace: float = GRACE) -> Key:
        """Sign with a new key from now on.

        Without a grace it also begins anew where the files are missing or damaged: whatever was
        issued until now is refused then.

        Args:
            grace: Tokens of the key before are good for so many more seconds.

        Returns:
            The new key.
        """
        now = self._clock()
        if self._given:
            raise ConfigError(
                "the secret was given to the daemon, so it cannot be rotated here",
                "give another one",
            )
        with self._files.locked():
            fresh = new_key(now)
            keys = [fresh]
            if grace > 0:
                before = self._files.keys.now()[0]
                keys.append(dataclasses.replace(before, until=now + grace))
            self._files.write(keys=keys, known=self._known_from(now, anew=grace <= 0))
        return fresh

    def _known_from(self, now: float, *, anew: bool) -> Known:
        """Return what is known without the tokens that have ended; if nothing is, begin anew."""
        try:
            known = self._files.known.now()
        except ConfigError:
            if not anew:
                raise
            return Known(not_before=int(now) + 1)
        issued = {number: one for number, one in known.issued.items() if one.exp > now}
        gone = known.issued.keys() - issued
        return dataclasses.replace(known, issued=issued, revoked=known.revoked - gone)


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
