"""Tokens: every way in which one is not accepted, and how they are issued and revoked."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time

import jwt
import pytest

from slipstream.errors import ConfigError
from slipstream.server.answers import Refused
from slipstream.server.routes import SCOPES
from slipstream.server.token_files import ISSUED, KEYS
from slipstream.server.tokens import AUDIENCE, Tokens
from support.rest import read_all


def claims_of(token: str) -> dict:
    return jwt.decode(token, options={"verify_signature": False})


def forged(host, algorithm="HS256", key=None, headers=None, **claims) -> str:
    """A token with other claims; None leaves one out."""
    live = host.tokens._live_keys()[0]
    whole = {**claims_of(host.token), **claims}
    return jwt.encode(
        {name: value for name, value in whole.items() if value is not None},
        key or live.signing,
        algorithm,
        headers=headers or {"kid": live.name},
    )


def altered(token: str) -> str:
    head, body, signature = token.split(".")
    claims = {**claims_of(token), "sub": "root"}
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{head}.{body}.{signature}"


def unsigned(token: str) -> str:
    return token.rpartition(".")[0] + "."


def swapped(token: str) -> str:
    """The last signature bits that base64 does not use are no second token."""
    return token[:-3] + ("AAA" if token[-3:] != "AAA" else "BBB")


def _unchecked_head(host, head: dict) -> str:
    text = json.dumps({"alg": "HS256", "typ": "JWT", **head}).encode()
    start = base64.urlsafe_b64encode(text).decode().rstrip("=")
    return start + "." + host.token.partition(".")[2]


def _revoked(host) -> str:
    token = host.tokens.issue("gone")
    host.tokens.revoke(claims_of(token)["jti"])
    return token


def _rotated(host) -> str:
    # Another process does so; the host sees it by the files.
    token = host.token
    other = Tokens(host.folder / "keys")
    other.rotate(grace=0)
    host.token = other.issue("tester")
    return token


HOUR = 3600
NOW = time.time()
# What is wrong, and what is made of a host that has issued a good one.
BAD_TOKENS = {
    "empty": lambda host: "",
    "words": lambda host: "let me in",
    "dots": lambda host: "...",
    "two parts": lambda host: host.token.rpartition(".")[0],
    "latin-1": lambda host: host.token + "\xe9",
    "altered claims": lambda host: altered(host.token),
    "altered signature": lambda host: swapped(host.token),
    "no signature": lambda host: unsigned(host.token),
    "none": lambda host: jwt.encode(claims_of(host.token), None, "none"),
    "None": lambda host: (
        base64.urlsafe_b64encode(b'{"alg":"None","typ":"JWT"}').decode().rstrip("=")
        + "."
        + host.token.split(".")[1]
        + "."
    ),
    "HS384": lambda host: forged(host, "HS384", host.tokens._live_keys()[0].signing * 2),
    "HS512": lambda host: forged(host, "HS512", host.tokens._live_keys()[0].signing * 2),
    "another key": lambda host: forged(host, key=b"x" * 32),
    "no key id, another key": lambda host: forged(host, key=b"x" * 32, headers={"typ": "JWT"}),
    "another key id": lambda host: forged(host, headers={"kid": "nix"}),
    "a key id that is a path": lambda host: forged(host, headers={"kid": "../../dev/null"}),
    "a key id that is a list": lambda host: _unchecked_head(host, {"kid": ["a"]}),
    "expired": lambda host: forged(host, exp=int(NOW) - 1),
    "expired now": lambda host: forged(host, iat=int(NOW) - 2 * HOUR, exp=int(NOW) - HOUR),
    "not yet valid": lambda host: forged(host, nbf=int(NOW) + HOUR),
    "issued tomorrow": lambda host: forged(host, iat=int(NOW) + 24 * HOUR),
    "another audience": lambda host: forged(host, aud="others"),
    "another issuer": lambda host: forged(host, iss="slipstream/testnet"),
    **{
        f"no {name}": lambda host, name=name: forged(host, **{name: None})
        for name in ("exp", "iat", "iss", "aud", "sub", "scope", "jti")
    },
    "a subject that is a number": lambda host: forged(host, sub=7),
    "scopes in a list": lambda host: forged(host, scope=list(SCOPES)),
    "a time that is a text": lambda host: forged(host, exp="tomorrow"),
    "a time that is true": lambda host: forged(host, exp=True),
    "a time without an end": lambda host: forged(host, exp=float("inf")),
    "a number without a value": lambda host: forged(host, exp=float("nan")),
    "a number beyond all floats": lambda host: forged(host, exp=10**400),
    "revoked": _revoked,
    "before a rotation": _rotated,
    "two in one": lambda host: f"{host.token}, Bearer {host.token}",
    "8 KiB": lambda host: forged(host, more="x" * 8192),
}
REASONS = {
    "it is not a token": "words, dots, two parts, latin-1, a key id that is a list, two in one, 8 KiB",
    "its algorithm is not HS256": "none, None, HS384, HS512",
    "it has expired": "expired, expired now",
    "it is not valid yet": "not yet valid, issued tomorrow",
    "it is for another audience": "another audience",
    "it is of another issuer": "another issuer",
    "Subject must be a string": "a subject that is a number",
    "a claim is not text": "scopes in a list",
    "a claim is not a time": "a time that is a text, a time that is true, a time without an end, "
    "a number without a value, a number beyond all floats",
    "it was revoked": "revoked",
    "the header is not Authorization: Bearer TOKEN": "empty",
}


def reason_of(what: str) -> str:
    if what.startswith("no ") and len(what) < 9:
        return f"it has {what}"
    named = (reason for reason, names in REASONS.items() if what in names.split(", "))
    return next(named, "no key of this host has signed it")


BAD_SCOPES = ["", "plugins", "plugins:*", "plugins:writer", "PLUGINS:READ", "plugins:read\0"]


def test_hostile_tokens(host) -> None:
    """One after the other, with the same connection; each is refused, and the good one is not."""
    with host.served.client() as client:
        for what, make in BAD_TOKENS.items():
            header = {"Authorization": f"Bearer {make(host)}".strip().encode("latin-1")}
            answer = client.get(host.base, headers=header)
            assert answer.status_code == 401, what
            assert answer.json()["error_type"] == "unauthorized", what
            expected = reason_of(what)
            assert answer.json()["message"] == f"the token is not accepted: {expected}", what
            assert answer.headers["www-authenticate"] == "Bearer", what
            good = {"Authorization": f"Bearer {host.token}"}
            assert client.get(host.base, headers=good).status_code == 200, what
        for scope in BAD_SCOPES:
            header = {"Authorization": f"Bearer {forged(host, scope=scope)}"}
            assert client.get(host.base, headers=header).status_code in {401, 403}, scope
        for header in (host.token, f"Basic {host.token}", f"Token {host.token}", "Bearer"):
            answer = client.get(host.base, headers={"Authorization": header})
            assert answer.status_code == 401, header
        two = [("Authorization", f"Bearer {host.token}")] * 2
        assert client.get(host.base, headers=two).status_code == 401
        answer = client.get(f"{host.base}?token={host.token}")
        assert answer.status_code == 401


@pytest.mark.parametrize("size", [400_000, 1 << 20])
def test_a_head_that_is_too_large(host, size) -> None:
    for name, code in ((b"Authorization: Bearer", b"401"), (b"X-Nix:", b"431")):
        with host.served.raw() as connection:
            connection.settimeout(60)
            try:
                connection.sendall(
                    b"GET %b HTTP/1.1\r\nHost: x\r\n%b %b\r\n\r\n"
                    % (host.base.encode(), name, b"a" * size)
                )
            except ConnectionError:
                pass  # the answer is there all the same
            answer = read_all(connection)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 " + code), head
        assert set(json.loads(body)) == {"message", "error_type", "chain"}
    with host.client() as client:
        assert client.get(host.base).status_code == 200


def test_two_keys_live_during_a_rotation(tmp_path) -> None:
    now = [1000.0]
    tokens = Tokens(tmp_path, clock=lambda: now[0])
    old = tokens.issue("old")
    tokens.rotate(grace=100)
    new = tokens.issue("new")
    assert tokens.verify(old).subject == "old"
    assert {one.sub for one in tokens.issued()} == {"old", "new"}
    now[0] += 100
    assert tokens.verify(new).subject == "new"
    with pytest.raises(Refused, match="no key"):
        tokens.verify(old)
    assert [one.sub for one in tokens.issued()] == ["new"]
    again = tokens.issue("again")
    tokens.rotate(grace=100)
    tokens.rotate(grace=100)  # only the one before is live
    with pytest.raises(Refused):
        tokens.verify(again)


def test_a_revocation_outlives_a_rotation(tmp_path) -> None:
    tokens = Tokens(tmp_path)
    gone = tokens.issue("gone")
    tokens.revoke(claims_of(gone)["jti"])
    tokens.revoke("never-issued-here")
    tokens.rotate(grace=100)
    for one in (tokens, Tokens(tmp_path)):
        with pytest.raises(Refused, match="revoked"):
            one.verify(gone)
        assert one.is_revoked("never-issued-here")


def test_the_files_are_private_and_made_once(tmp_path) -> None:
    code = (
        "import sys; from slipstream.server.tokens import Tokens;"
        "Tokens(sys.argv[1]).issue(sys.argv[2])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "keys")]
    started = [subprocess.Popen([*command, f"n{n}"]) for n in range(4)]
    assert [one.wait(120) for one in started] == [0, 0, 0, 0]
    tokens = Tokens(tmp_path / "keys")
    assert sorted(one.sub for one in tokens.issued()) == ["n0", "n1", "n2", "n3"]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()} == {0o600}
    assert len((tmp_path / "keys" / KEYS).read_text().splitlines()) == 2, "one, and the sum"


def test_a_given_secret(tmp_path) -> None:
    tokens = Tokens(tmp_path, secret=b"0123456789abcdef")
    assert tokens.verify(tokens.issue("node", at=time.time() - 10)).subject == "node"
    # As others sign: HMAC fills up with zeros what is short.
    claims = claims_of(tokens.issue("node"))
    assert claims["iss"] == "slipstream/mainnet"
    assert claims["aud"] == AUDIENCE
    assert not (tmp_path / KEYS).exists()
    with pytest.raises(ConfigError, match="8 bytes"):
        Tokens(tmp_path, secret=b"12345678")


def _cut(path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _without_its_last_records(path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: len(lines) // 2]))


def _altered(path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)


def _folder(path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = {
    "removed": lambda path: path.unlink(),
    "emptied": lambda path: path.write_bytes(b""),
    "cut off": _cut,
    "half-written": _without_its_last_records,
    "altered": _altered,
    "replaced": _folder,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", [KEYS, ISSUED])
@pytest.mark.parametrize("secret", [None, b"s" * 32], ids=["own key", "given key"])
def test_a_damaged_file_lets_nobody_in(secret, file, damage, tmp_path) -> None:
    if secret is not None and file == KEYS:
        return  # it has none
    tokens = Tokens(tmp_path, secret=secret)
    good, gone = tokens.issue("good"), tokens.issue("gone")
    tokens.revoke(claims_of(gone)["jti"])
    DAMAGES[damage](tmp_path / file)
    for what in (
        lambda: tokens.verify(gone),
        lambda: tokens.verify(good),
        lambda: tokens.issue("more"),
        lambda: Tokens(tmp_path, secret=secret),
        lambda: Tokens(tmp_path, check=False).rotate(grace=1),
    ):
        with pytest.raises(ConfigError, match=f"{file}, the ") as told:
            what()
        assert "token rotate --grace 0" in told.value.hint
    assert file == KEYS or tokens.is_revoked("whatever")
    # Beginning anew makes nothing good again.
    if (tmp_path / file).is_dir():
        (tmp_path / file).rmdir()
    Tokens(tmp_path, check=False).rotate(grace=0)
    for token in (good, gone):
        with pytest.raises(Refused):
            tokens.verify(token)
    assert tokens.verify(tokens.issue("new")).subject == "new"
    if file == ISSUED:
        with pytest.raises(ConfigError, match="older than the list"):
            tokens.issue("early", at=time.time() - 1000)


def test_a_host_with_a_damaged_list(host, caplog) -> None:
    list_ = host.folder / "keys" / ISSUED
    whole = list_.read_bytes()
    with host.client() as client:
        list_.write_bytes(whole[:-10])
        for _ in range(2):
            answer = client.get(host.base)
            assert answer.status_code == 503
            assert "no token can be accepted" in answer.json()["message"]
        host.manager._pump.drain()
        (line,) = [one for one in caplog.records if ISSUED in one.getMessage()]
        assert line.levelname == "ERROR"
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert "no token can be accepted" in answer.json()["chain"][0]
        assert client.get("/healthz").status_code == 200
        list_.write_bytes(whole)
        assert client.get(host.base).status_code == 200
        assert client.get("/readyz").status_code == 200


def test_what_cannot_be_issued(tmp_path) -> None:
    tokens = Tokens(tmp_path)
    for subject in ("", "../x", "a b", "x" * 64):
        with pytest.raises(ConfigError):
            tokens.issue(subject)
    for scopes in ([], ["plugins:nix"]):
        with pytest.raises(ConfigError):
            tokens.issue("x", scopes)
