"""Signatures: ours are good for Debian's gpg and minisign, theirs are good here, and no others."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from slipstream.errors import PackageError
from slipstream.packages import minisign, openpgp
from slipstream.packages.archive import Archive
from slipstream.packages.build import build
from slipstream.packages.trust import (
    LOCAL,
    MINISIGN,
    OPENPGP,
    TrustedKey,
    read_key,
    read_signatures,
    signer_of,
)


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        assert not os.environ.get("CI"), f"{name} is missing; tools/bootstrap.sh installs it"
        pytest.skip(f"no {name} on this machine")
    return found


def run(
    *command: object, home: Path | None = None, given: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, **({} if home is None else {"GNUPGHOME": str(home)})}
    return subprocess.run(
        list(map(str, command)), input=given, capture_output=True, env=environment, timeout=120,
        check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def package(tmp_path_factory, library) -> Archive:
    return build(library(), tmp_path_factory.mktemp("made"), name="hello", version="1.0.0")


@pytest.fixture(scope="module")
def key() -> minisign.SecretKey:
    return minisign.generate()


def trusted(key: minisign.SecretKey, **more: str) -> TrustedKey:
    return TrustedKey("the key", key.public.to_text().encode(), **more)


def signed(key: minisign.SecretKey, package: Archive) -> dict[str, bytes]:
    return {MINISIGN: minisign.sign(key, package.sealed.view, "file:x").encode()}


# ---- minisign --------------------------------------------------------------------------------


def test_minisign_verifies_ours(package, key, tmp_path: Path) -> None:
    program = tool("minisign")
    path = tmp_path / "hello.zip"
    path.write_bytes(package.sealed.view)
    (tmp_path / "hello.zip.minisig").write_bytes(signed(key, package)[MINISIGN])
    (tmp_path / "release.pub").write_text(key.public.to_text())
    done = run(program, "-Vm", path, "-p", tmp_path / "release.pub")
    assert done.returncode == 0, done
    assert b"file:x" in done.stdout
    path.write_bytes(b"x")
    assert run(program, "-Vm", path, "-p", tmp_path / "release.pub").returncode != 0


def test_minisign_signs_with_our_key(package, key, tmp_path: Path) -> None:
    program = tool("minisign")
    (tmp_path / "release.key").write_text(minisign.write_secret(key))
    path = tmp_path / "hello.zip"
    path.write_bytes(package.sealed.view)
    done = run(program, "-Sm", path, "-s", tmp_path / "release.key")
    assert done.returncode == 0, done
    found = {MINISIGN: (tmp_path / "hello.zip.minisig").read_bytes()}
    assert signer_of(package, found, [trusted(key)], LOCAL) == f"minisign:{key.public.id}"


@pytest.mark.parametrize("how", ["plain", "password", "legacy"])
def test_theirs_are_good_here(package, tmp_path: Path, how: str) -> None:
    program = tool("minisign")
    secret, public, path = (tmp_path / name for name in ("a.key", "a.pub", "hello.zip"))
    path.write_bytes(package.sealed.view)
    protects = how == "password"
    if protects and not os.environ.get("SLIPSTREAM_LONG"):
        pytest.skip("SLIPSTREAM_LONG=1 runs it: a password takes a GiB and seconds")
    given = b"secret\nsecret\n" if protects else b""
    made = run(
        program, "-G", *([] if protects else ["-W"]), "-p", public, "-s", secret, given=given
    )
    if protects and made.returncode != 0:
        pytest.skip(f"minisign asks for passwords at a terminal alone: {made.stderr!r}")
    legacy = ["-l"] if how == "legacy" else []
    done = run(program, "-Sm", path, *legacy, "-s", secret, given=b"secret\n" if protects else b"")
    assert done.returncode == 0, done
    trusts = read_key(public)
    signer = signer_of(package, read_signatures(path), [trusts], LOCAL)
    assert signer == f"minisign:{trusts.id}"
    text = secret.read_text()
    if protects:
        with pytest.raises(PackageError, match="locked with a password"):
            minisign.read_secret(text, "it")
        with pytest.raises(PackageError, match="locked with another password"):
            minisign.read_secret(text, "it", b"other")
    mine = minisign.read_secret(text, "it", b"secret")
    assert signer_of(package, signed(mine, package), [trusts], LOCAL) == signer


@pytest.mark.parametrize(
    ("cost", "memory", "n", "p"),
    [(524_288, 1 << 24, 1 << 14, 1), (32_768, 1 << 24, 1 << 10, 1), (1 << 21, 1 << 24, 1 << 14, 4)],
)
def test_the_numbers_of_a_password_are_libsodium_s(cost, memory, n, p) -> None:
    """The first are its interactive limits, for which it documents 16,384, 8 and 1."""
    body, salt = bytes(range(104)), bytes(32)
    stream = hashlib.scrypt(b"secret", salt=salt, n=n, r=8, p=p, maxmem=1 << 26, dklen=104)
    unlocked = minisign._unlocked(body, b"secret", salt, cost, memory)
    assert unlocked == bytes(a ^ b for a, b in zip(body, stream, strict=True))


@pytest.mark.parametrize(
    ("cost", "memory"),
    [(1 << 25, minisign._MOST_COST + 1), (1 << 31, 1 << 24)],
    ids=["much memory", "many times"],
)
def test_a_password_that_costs_too_much_is_not_tried(cost, memory) -> None:
    with pytest.raises(PackageError, match="costs too much to try"):
        minisign._unlocked(bytes(104), b"secret", bytes(32), cost, memory)


def test_what_is_no_good_signature_is_refused(package, key) -> None:
    good = signed(key, package)[MINISIGN].decode()
    lines = good.splitlines()
    other = minisign.generate()
    cases = {
        "was made with the key": minisign.sign(other, package.sealed.view, "x"),
        "does not match this content": minisign.sign(key, memoryview(b"other"), "x"),
        "the comment of": good.replace("file:x", "file:y"),
        "is not one that minisign makes": "\n".join(lines[:2]),
        "is damaged": good.replace(lines[1], lines[1][:-8]),
        "of an unknown algorithm": good.replace(lines[1], "QUFB" + lines[1][4:]),
    }
    for text, signature in cases.items():
        with pytest.raises(PackageError, match=text):
            signer_of(package, {MINISIGN: signature.encode()}, [trusted(key)], LOCAL)


# ---- OpenPGP ---------------------------------------------------------------------------------


def test_gpg_verifies_ours(package, tmp_path: Path) -> None:
    program = tool("gpg")
    secret, public = openpgp.generate("Ann <ann@example.org>")
    made = openpgp.sign(secret, package.digest, "it")
    cert = TrustedKey("the key", public)
    assert signer_of(package, {OPENPGP: made}, [cert], LOCAL) == f"openpgp:{cert.id}"
    for name, content in (("pub", public), ("sig", made), ("sum", package.digest.encode())):
        (tmp_path / name).write_bytes(content)
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    alone = ["--batch", "--no-autostart"]  # no agent is left behind
    assert run(program, *alone, "--import", tmp_path / "pub", home=home).returncode == 0
    done = run(program, *alone, "--verify", tmp_path / "sig", tmp_path / "sum", home=home)
    assert done.returncode == 0, done
    (tmp_path / "sum").write_text("0" * 64)
    done = run(program, *alone, "--verify", tmp_path / "sig", tmp_path / "sum", home=home)
    assert done.returncode != 0


def test_gpg_s_are_good_here(package, tmp_path: Path) -> None:
    program = tool("gpg")
    tool("gpg-agent")
    import tempfile

    with tempfile.TemporaryDirectory(prefix="gpg") as folder:  # a socket's path is short
        home = Path(folder)
        quick = ["--batch", "--pinentry-mode", "loopback", "--passphrase", ""]
        done = run(
            program, *quick, "--quick-gen-key", "bob@example.org", "rsa2048", "sign", home=home
        )
        assert done.returncode == 0, done
        public = run(program, "--armor", "--export", home=home).stdout
        for line_end in ("", "\n"):
            given = f"{package.digest}{line_end}".encode()
            made = run(program, *quick, "--armor", "--detach-sign", home=home, given=given)
            signatures = {OPENPGP: made.stdout}
            cert = TrustedKey("the key", public)
            assert signer_of(package, signatures, [cert], LOCAL) == f"openpgp:{cert.id}"
        made = run(program, *quick, "--detach-sign", home=home, given=b"0" * 64)
        with pytest.raises(PackageError, match="or is for another digest than"):
            signer_of(package, {OPENPGP: made.stdout}, [cert], LOCAL)
        run(shutil.which("gpgconf") or "true", "--kill", "gpg-agent", home=home)


def test_of_another_key_or_none(package) -> None:
    secret, public = openpgp.generate("Ann <ann@example.org>")
    _, other = openpgp.generate("Eve <eve@example.org>")
    made = openpgp.sign(secret, package.digest, "it")
    with pytest.raises(PackageError, match="was not made with the key"):
        signer_of(package, {OPENPGP: made}, [TrustedKey("k", other)], LOCAL)
    with pytest.raises(PackageError, match="is not an OpenPGP signature"):
        signer_of(package, {OPENPGP: b"x"}, [TrustedKey("k", public)], LOCAL)
    with pytest.raises(PackageError, match="is not an OpenPGP key"):
        signer_of(package, {OPENPGP: made}, [TrustedKey("k", b"x")], LOCAL)
    with pytest.raises(PackageError, match="cannot sign"):
        openpgp.sign(public, package.digest, "it")


# ---- Who may vouch for what ------------------------------------------------------------------


def test_it_never_fails_open(package, key, monkeypatch: pytest.MonkeyPatch) -> None:
    good = signed(key, package)
    with pytest.raises(PackageError, match="no public key is named"):
        signer_of(package, good, [], LOCAL)
    with pytest.raises(PackageError, match="has no signature"):
        signer_of(package, {}, [trusted(key)], LOCAL)
    with pytest.raises(PackageError, match="a signature of another kind"):
        signer_of(package, {OPENPGP: b"x"}, [trusted(key)], LOCAL)
    bound = trusted(key, names="other-*")
    with pytest.raises(PackageError, match=r"no key may vouch for hello from local: .* other-\*"):
        signer_of(package, good, [bound], LOCAL)
    bound = trusted(key, origin="https://a.example")
    with pytest.raises(PackageError, match="no key may vouch for hello from https://b.example"):
        signer_of(package, good, [bound], "https://b.example")
    assert signer_of(package, good, [bound], "https://a.example")
    assert signer_of(package, good, [trusted(key, names="h?l*"), bound], LOCAL)
    # A wrong one beside the right one does no harm, and no good.
    both = [trusted(minisign.generate()), trusted(key)]
    assert signer_of(package, good, both, LOCAL) == f"minisign:{key.public.id}"
    import sys

    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.ed25519", None)
    with pytest.raises(Exception, match=r"slipstream\[packages\]"):
        signer_of(package, good, [trusted(key)], LOCAL)
    monkeypatch.setitem(sys.modules, "pysequoia", None)
    with pytest.raises(Exception, match=r"slipstream\[packages\]"):
        signer_of(package, {OPENPGP: b"x"}, [TrustedKey("k", b"x")], LOCAL)
