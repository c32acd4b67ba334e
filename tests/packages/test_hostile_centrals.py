"""Centrals that were made to do harm: each is refused with a text of its own, and leaves nothing."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import random
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from slipstream.errors import PackageError
from slipstream.packages import minisign
from slipstream.packages.build import build
from slipstream.packages.central import CentralClient, Patience
from slipstream.packages.central_folder import make_central
from slipstream.packages.flags import Flags
from slipstream.packages.lock import Lock
from slipstream.packages.names import PackageName
from slipstream.packages.providers import Providers
from slipstream.packages.settings import Central as Where
from slipstream.packages.settings import read_settings
from slipstream.packages.store import Store
from slipstream.packages.trust import TrustedKey
from support.central import Answer, Central, certificate, files_of, response

QUICK = Patience(connect=5.0, silence=0.4, whole=1.5, tries=2, between=0.01)
SURE = Patience(connect=20.0, silence=20.0, whole=60.0, tries=4, between=0.01)
WANTED = PackageName("hello", "1.0.0")
KILLS = int(os.environ.get("SLIPSTREAM_KILLS", "0")) or 8
OTHER = "https://127.0.0.2:1"


@dataclass
class World:
    """A good central's folder, a key, certificates."""

    www: Path
    key: minisign.SecretKey
    certs: dict[str, Path]
    prints: dict[str, str]
    zip: bytes
    old: bytes
    signature: bytes
    other_signature: bytes
    strange_signature: bytes


@pytest.fixture(scope="module")
def world(tmp_path_factory, library) -> World:
    folder = tmp_path_factory.mktemp("world")
    key, certs, prints, made = minisign.generate(), {}, {}, {}
    for name, more in (
        ("good", {}),
        ("other", {}),
        ("expired", {"days": -1}),
        ("host", {"host": "a.example"}),
    ):
        certs[name], prints[name] = certificate(folder, name, **more)  # type: ignore[arg-type]
    for version in ("0.9.0", "1.0.0"):
        made[version] = build(library(version), folder, name="hello", version=version)
        path = folder / f"{made[version].package}.zip"
        path.with_name(f"{path.name}.minisig").write_text(
            minisign.sign(key, made[version].sealed.view, "x")
        )
    make_central(folder / "www", sorted(folder.glob("*.zip")))
    content = made["1.0.0"].sealed.view
    return World(
        www=folder / "www",
        key=key,
        certs=certs,
        prints=prints,
        zip=bytes(content),
        old=bytes(made["0.9.0"].sealed.view),
        signature=minisign.sign(key, content, "x").encode(),
        other_signature=minisign.sign(key, memoryview(b"other"), "x").encode(),
        strange_signature=minisign.sign(minisign.generate(), content, "x").encode(),
    )


def fetch_and_add(
    world: World, url: str, folder: Path, monkeypatch, *, patience: Patience = QUICK,
    trusts: str = "good", **where: object,
) -> Store:  # fmt: skip
    """Install from a central as the command does."""
    monkeypatch.setenv("SSL_CERT_FILE", str(world.certs[trusts]))
    key = TrustedKey("the key", world.key.public.to_text().encode())
    store = Store(folder / "plugins", folder / "plugins.lock", [key])
    store.folder.mkdir()
    central = Where(base_url=url, **where)  # type: ignore[arg-type]
    with CentralClient(central, store.folder, patience=patience) as client:
        archive, signatures = client.fetch(WANTED)
    store.add(archive, signatures, central.origin)
    return store


Make = Callable[[World, str, dict[str, str]], Answer | None]


def at(end: str, *parts: bytes | float) -> Make:
    """Of the path that ends so, this is what is sent."""
    return lambda _w, path, _h: list(parts) if path.endswith(end) else None


def moved(target: str, code: str = "302 Found") -> bytes:
    return response(code=code, Location=target)


def endless(head: bytes, piece: bytes, pause: float = 0.0) -> Answer:
    yield head
    while True:
        yield piece
        if pause:
            yield pause


ZIP, SIG, INDEX = ".zip", ".minisig", "index.json"
PLAIN = b"HTTP/1.1 200 OK\r\n"
MANY = 600 * 1024 * 1024


def lying(**entry: object) -> bytes:
    name = str(WANTED.candidates()[0])
    return response(json.dumps({"form": 1, "packages": {name: entry} if entry else {}}).encode())


CASES: dict[str, tuple[Make, str]] = {
    # Elsewhere.
    "redirect to another host": (at(ZIP, moved(f"{OTHER}/a.zip")), "redirects to https://127.0.0.2"),
    "redirect to another scheme": (at(ZIP, moved("http://127.0.0.1/a.zip")), "redirects to http://"),
    "redirect to a file": (at(ZIP, moved("file:///etc/passwd")), "redirects to file:///etc/passwd"),
    "redirect to another port": (at(ZIP, moved("https://127.0.0.1:1/a")), "redirects to https://127.0.0.1:1"),
    "redirect with a user": (
        lambda _w, p, h: [moved(f"https://x@{h['host']}/a.zip")] if p.endswith(ZIP) else None,
        "redirects to https://x@",
    ),
    "redirect of the signature": (at(SIG, moved(f"{OTHER}/a.sig")), "redirects to https://127.0.0.2:1/a.sig"),
    "redirect of the index": (at(INDEX, moved(f"{OTHER}/i")), "redirects to https://127.0.0.2:1/i"),
    "redirect for ever": (
        lambda _w, p, _h: [moved(p + "x")] if ".zip" in p and "sig" not in p else None,
        "more than 5 redirects",
    ),
    "redirect nowhere": (at(ZIP, response(code="302 Found")), "it answers 302"),
    # Too much, too slow, too little.
    "endless": (at(ZIP, response(code="200 OK", Content_Length=MANY)), "629,145,600 bytes, more than"),
    "endless index": (
        lambda _w, p, _h: endless(PLAIN + b"\r\n", bytes(2**20)) if p.endswith(INDEX) else None,
        "index.json has no end",
    ),
    "endless signature": (
        lambda _w, p, _h: endless(PLAIN + b"\r\n", bytes(2**16)) if p.endswith(SIG) else None,
        "minisig has no end",
    ),
    "endless chunks": (
        lambda _w, p, _h: endless(
            PLAIN + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + bytes(65536) + b"\r\n"
        ) if p.endswith(SIG) else None,
        "zip.minisig has no end: more than 256 KiB",
    ),
    "endless head": (
        lambda _w, p, _h: endless(PLAIN, b"X-A: " + b"b" * 9000 + b"\r\n") if p.endswith(ZIP) else None,
        "the answer ends early, or is none",
    ),
    "slow": (
        lambda _w, p, _h: endless(PLAIN + b"Content-Length: 9999\r\n\r\n", b"x", 0.05)
        if p.endswith(ZIP) else None,
        "it does not answer in time; of 1.5 seconds too little is left",
    ),
    "slow index": (
        lambda _w, p, _h: endless(PLAIN + b"Content-Length: 9999\r\n\r\n", b"x", 0.05)
        if p.endswith(INDEX) else None,
        "index.json: it does not answer in time; of 1.5 seconds too little is left",
    ),
    "slow head": (
        lambda _w, p, _h: endless(PLAIN + b"X: ", b"x", 0.05) if p.endswith(ZIP) else None,
        "it does not answer in time; of 1.5 seconds too little is left",
    ),
    "always about to begin": (
        lambda _w, p, _h: endless(b"", b"HTTP/1.1 102 Processing\r\n\r\n", 0.05)
        if p.endswith(ZIP) else None,
        "it does not answer in time; of 1.5 seconds too little is left",
    ),
    "slow size of a chunk": (
        lambda _w, p, _h: endless(PLAIN + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x", 0.05)
        if p.endswith(ZIP) else None,
        "it does not answer in time; of 1.5 seconds too little is left",
    ),
    "silent": (at(ZIP, 1.0), "it does not answer in time"),
    "silent behind the head": (at(ZIP, PLAIN + b"Content-Length: 9\r\n\r\n", 1.0), "does not answer in time"),
    "short": (at(ZIP, response(b"abc", Content_Length=9)), "the answer ends early"),
    "closed at once": (at(ZIP), "the answer ends early"),
    "chunks that end early": (
        at(ZIP, PLAIN + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc"), "the answer ends early",
    ),
    "chunks that are none": (
        at(ZIP, PLAIN + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc"), "the answer ends early",
    ),
    "no HTTP": (at(ZIP, b"220 ftp.example\r\n"), "the answer ends early, or is none"),
    "two lengths": (
        at(ZIP, PLAIN + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"), "ends early, or is none",
    ),
    "long": (at(ZIP, response(b"abcdefghi", Content_Length=3)), "it is not a zip file"),
    "empty": (at(ZIP, response()), "it is not a zip file"),
    "cut off and said so": (
        lambda w, p, _h: [response(w.zip[:2000])] if p.endswith(ZIP) else None, "it is cut off",
    ),
    # Codes.
    "404": (at(ZIP, response(code="404 Not Found")), "is not there (404)"),
    "410": (at(ZIP, response(code="410 Gone")), "is not there (410)"),
    "403": (at(ZIP, response(code="403 Forbidden")), "it answers 403"),
    "401": (at(ZIP, response(code="401 Unauthorized")), "it answers 401"),
    "204": (at(ZIP, response(code="204 No Content", Content_Length=None)), "it answers 204"),
    "500 for ever": (at(ZIP, response(code="500 Oops")), "it answers 500"),
    "503 for long": (at(ZIP, response(code="503 Later", Retry_After="99999")), "it answers 503"),
    "206 unasked": (
        at(ZIP, response(b"abc", "206 Partial Content", Content_Range="bytes 0-2/3")),
        "another part than was asked for",
    ),
    # Compressed.
    "compressed": (
        at(ZIP, response(gzip.compress(bytes(10**6)), Content_Encoding="gzip")), "comes compressed",
    ),
    "compressed bomb as a signature": (
        at(SIG, response(gzip.compress(bytes(10**6)), Content_Encoding="gzip")),
        "minisig comes compressed",
    ),
    "compressed index": (
        at(INDEX, response(gzip.compress(b"{}"), Content_Encoding="br")), "index.json comes compressed",
    ),
    # Other content.
    "no package": (at(ZIP, response(b"<html>welcome</html>")), "is not a zip file"),
    "an older version": (
        lambda w, p, _h: [response(w.old)] if p.endswith(ZIP) else None, "0.9.0",
    ),
    "signature of another file": (
        lambda w, p, _h: [response(w.other_signature)] if p.endswith(SIG) else None,
        "does not match this content",
    ),
    "signature of another key": (
        lambda w, p, _h: [response(w.strange_signature)] if p.endswith(SIG) else None, "was made with the key",
    ),
    "signature that is none": (at(SIG, response(b"trust me")), "is not one that minisign makes"),
    "no signature": (at(SIG, response(code="404 Not Found")), "has no signature"),
    "signature too large": (at(SIG, response(bytes(300_000))), "300,000 bytes, more than 256 KiB"),
    # An index that lies.
    "index without it": (at(INDEX, lying()), "is not in the index.json"),
    "index with another digest": (at(INDEX, lying(sha256="0" * 64)), "and the index.json there has 0000"),
    "index that is none": (at(INDEX, response(b"<html>")), "index.json is damaged"),
    "index of another form": (at(INDEX, response(b'{"form": 2}')), "index.json is damaged"),
    "index that is a list": (at(INDEX, response(b"[]")), "index.json is damaged"),
    "index that is deep": (at(INDEX, response(b"[" * 100_000)), "index.json is damaged"),
    "index without digests": (at(INDEX, lying(size=1)), "index.json is damaged"),
    "index that is forbidden": (at(INDEX, response(code="403 No")), "index.json: it answers 403"),
    "index that fails": (at(INDEX, response(code="500 No")), "index.json: it answers 500"),
}  # fmt: skip

WITHOUT_INDEX = {"an older version", "cut off and said so", "long", "empty", "no package"}


@pytest.mark.parametrize("case", CASES)
def test_hostile_centrals_are_refused(case: str, world: World, tmp_path: Path, monkeypatch) -> None:
    make, text = CASES[case]
    good = files_of(world.www)

    def answer(path: str, headers: dict[str, str]) -> Answer:
        if case in WITHOUT_INDEX and path.endswith(INDEX):
            return [response(code="404 Not Found")]
        made = make(world, path, headers)
        return good(path, headers) if made is None else made

    with Central(world.certs["good"], answer) as central, pytest.raises(PackageError) as caught:
        fetch_and_add(world, central.url, tmp_path, monkeypatch)
    assert text in caught.value.message
    left = {entry.name for entry in (tmp_path / "plugins").iterdir()}
    assert all(name.startswith((".part-", ".lock")) for name in left)
    assert not (tmp_path / "plugins.lock").exists()


TLS = {
    "of nobody": ("other", {}, "has no good certificate"),
    "expired": ("expired", {"trusts": "expired"}, "certificate has expired"),
    "of another host": ("host", {"trusts": "host"}, "not valid for '127.0.0.1'"),
    "another fingerprint": ("good", {"fingerprint": "0" * 64}, "and certFingerprint is 0000"),
    "another fingerprint, unchecked": (
        "other", {"fingerprint": "0" * 64, "insecure": True}, "and certFingerprint is 0000",
    ),
    "without TLS": (None, {}, "has no good certificate"),
}  # fmt: skip


@pytest.mark.parametrize("case", TLS)
def test_certificates_that_are_refused(
    case: str, world: World, tmp_path: Path, monkeypatch
) -> None:
    cert, more, text = TLS[case]
    served = None if cert is None else world.certs[cert]
    with Central(served, files_of(world.www)) as central, pytest.raises(PackageError) as caught:
        fetch_and_add(world, central.url, tmp_path, monkeypatch, **more)
    assert text in caught.value.message


def test_there_are_fifty_and_more() -> None:
    assert len(CASES) + len(TLS) >= 50
    assert len({text for _, text in CASES.values()} | {text for *_, text in TLS.values()}) >= 45


@pytest.mark.parametrize(
    "how", ["trusted", "by its fingerprint", "500 then well", "redirect here", "in a folder"]
)
def test_a_good_central(how: str, world: World, tmp_path: Path, monkeypatch) -> None:
    good, failed = files_of(world.www), []

    def answer(path: str, headers: dict[str, str]) -> Answer:
        if how == "500 then well" and path.endswith(ZIP) and not failed:
            failed.append(path)
            return [response(code="500 Oops")]
        if how == "redirect here" and path.endswith(ZIP) and not failed:
            failed.append(path)
            return [moved(path)]
        if how == "in a folder":
            return good(path.removeprefix("/in/here"), headers) if "/in/here/" in path else []
        return good(path, headers)

    folder = "in/here/" if how == "in a folder" else ""
    pinned = how == "by its fingerprint"
    more = {"insecure": True, "fingerprint": world.prints["other"]} if pinned else {}
    with Central(world.certs["other" if pinned else "good"], answer) as central:
        url = central.url + folder
        store = fetch_and_add(world, url, tmp_path, monkeypatch, patience=SURE, **more)
    archive, known, signer = store.open(WANTED)
    assert bytes(archive.sealed.view) == world.zip
    assert known.origin == central.url.rstrip("/")
    assert signer == known.signer == f"minisign:{world.key.public.id}"
    assert bool(failed) == (how in {"500 then well", "redirect here"})


def test_a_disk_without_room(world: World, tmp_path: Path, monkeypatch) -> None:
    whole = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Central(world.certs["good"], files_of(world.www)) as central:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(world.zip) // 2, whole[1]))
        try:
            with pytest.raises(PackageError, match="zip cannot be written: File too large"):
                fetch_and_add(world, central.url, tmp_path, monkeypatch, patience=SURE)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, whole)
        (tmp_path / "plugins").rename(tmp_path / "before")
        fetch_and_add(world, central.url, tmp_path, monkeypatch, patience=SURE)


def test_an_older_one_is_refused_against_the_lock(
    world: World, tmp_path: Path, monkeypatch
) -> None:
    """The name of the new version with the bytes of another build, signed all right."""
    with Central(world.certs["good"], files_of(world.www)) as central:
        store = fetch_and_add(world, central.url, tmp_path, monkeypatch, patience=SURE)
        lock = store.lock()
        name = str(WANTED.candidates()[0])
        lock.packages[name] = type(lock.packages[name])("0" * 64, "x", "y")
        lock.write()
        with CentralClient(Where(base_url=central.url), store.folder, patience=SURE) as client:
            archive, signatures = client.fetch(WANTED)
        with pytest.raises(PackageError, match=r"is locked with 0000"):
            store.add(archive, signatures, "local")
        assert Lock.read(store.lock_path).packages[name].sha256 == "0" * 64
        with pytest.raises(PackageError, match=r"has SHA-256 .* has 0000"):
            store.open(WANTED)


def test_a_key_on_first_use(world: World, tmp_path: Path, monkeypatch) -> None:
    """It is taken with the flag alone, and then stays, whatever the central gives later."""
    monkeypatch.setenv("SSL_CERT_FILE", str(world.certs["good"]))
    keys = [world.key.public.to_text().encode(), minisign.generate().public.to_text().encode()]
    settings = tmp_path / "plugins.json"

    def ids(**flags: bool) -> list[str]:
        found = Providers(
            read_settings(settings), Flags(**flags), tmp_path / "data", say=said.append
        )
        return [key.id for key in found.store.keys]

    said: list[str] = []
    with Central(world.certs["good"], lambda _path, _headers: [response(keys[0])]) as central:
        where = {"baseURL": central.url, "publicKeyURI": "release.pub"}
        settings.write_text(json.dumps({"central": where}))
        with pytest.raises(PackageError, match="itself vouches for"):
            ids()
        assert central.asked == []
        assert ids(trust_on_first_use=True) == [world.key.public.id]
        assert "is taken on first use, and pinned" in said[0]
        keys.reverse()
        assert ids(trust_on_first_use=True) == ids() == [world.key.public.id]
        assert len(central.asked) == 1
    assert ids() == [world.key.public.id]  # nor is a network needed


# ---- Downloads that are killed ---------------------------------------------------------------


def _fetch(url: str, folder: Path) -> None:
    os.environ.pop("PYTHONFAULTHANDLER", None)
    with CentralClient(Where(base_url=url), folder, patience=SURE) as client:
        client.fetch(WANTED)


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child is killed anyway
def test_killed_downloads_are_taken_up_again(world: World, tmp_path: Path, monkeypatch) -> None:
    """Whenever it is killed, the next one has all of it; part of it is never believed."""
    monkeypatch.setenv("SSL_CERT_FILE", str(world.certs["good"]))
    good, ranges = files_of(world.www), []
    part = tmp_path / f".part-{WANTED.candidates()[0]}.zip"

    def answer(path: str, headers: dict[str, str]) -> Answer:
        if path.endswith(ZIP):
            ranges.append(headers.get("range", ""))
            for whole in good(path, headers):
                assert isinstance(whole, bytes)
                for begin in range(0, len(whole), 1024):
                    yield whole[begin : begin + 1024]
                    yield 0.002
        else:
            yield from good(path, headers)

    draw = random.Random(7)
    context = multiprocessing.get_context("fork")
    with Central(world.certs["good"], answer) as central:
        for number in range(KILLS):
            child = context.Process(target=_fetch, args=(central.url, tmp_path))
            # Once so much is there; if that is more than there is, it may end by itself.
            enough = draw.randrange(len(world.zip) + 2000)
            child.start()
            end = time.monotonic() + 30
            while child.exitcode is None and size_of(part) < enough and time.monotonic() < end:
                child.join(0.001)
            if child.exitcode is None:
                assert child.pid is not None
                os.kill(child.pid, signal.SIGKILL)
            child.join(60)
            if number % 4 == 3:  # what is there may also be another one's, or damaged
                part.write_bytes(draw.randbytes(draw.randrange(3000)))
        with CentralClient(Where(base_url=central.url), tmp_path, patience=SURE) as client:
            archive, _ = client.fetch(WANTED)
    assert bytes(archive.sealed.view) == world.zip
    assert not list(tmp_path.glob("*.zip"))
    assert any(ranges)
