"""What is installed: locked, kept, swapped by others, killed at any moment."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import threading
from pathlib import Path

import pytest

from slipstream import PluginManager
from slipstream.errors import PackageError, SlipstreamError
from slipstream.packages import minisign
from slipstream.packages.archive import Archive
from slipstream.packages.build import build
from slipstream.packages.flags import Flags
from slipstream.packages.names import PackageName
from slipstream.packages.providers import Providers
from slipstream.packages.settings import read_settings
from slipstream.packages.store import Store, parse_name
from slipstream.packages.trust import LOCAL, TrustedKey, read_signatures

SWAPS = int(os.environ.get("SLIPSTREAM_SWAPS", "0")) or 60
KILLS = int(os.environ.get("SLIPSTREAM_KILLS", "0")) or 20
VERSIONS = ("1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0")


@pytest.fixture(scope="module")
def key() -> minisign.SecretKey:
    return minisign.generate()


@pytest.fixture(scope="module")
def made(tmp_path_factory, library, key) -> dict[str, Path]:
    """Signed packages of `hello` by their versions."""
    out = tmp_path_factory.mktemp("made")
    paths = {}
    for version in VERSIONS:
        archive = build(library(version), out, name="hello", version=version)
        paths[version] = out / f"{archive.package}.zip"
        signature = minisign.sign(key, archive.sealed.view, "x")
        paths[version].with_name(f"{paths[version].name}.minisig").write_text(signature)
    return paths


def settings_of(folder: Path, key: minisign.SecretKey, version: str = "1.0.0") -> Path:
    (folder / "a.pub").write_text(key.public.to_text())
    hello = {"name": "hello", "version": version, "host": {"mode": "inline"}}
    path = folder / "plugins.json"
    path.write_text(json.dumps({"trust": [{"key": "a.pub"}], "providers": {"hello": hello}}))
    return path


def providers_of(settings: Path) -> Providers:
    return Providers(read_settings(settings), Flags(), settings.parent / "data")


def install(store: Store, path: Path) -> None:
    store.add(Archive.read(path), read_signatures(path), LOCAL)


@pytest.fixture
def store(tmp_path: Path, key) -> Store:
    trusted = TrustedKey("k", key.public.to_text().encode())
    return Store(tmp_path / "plugins", tmp_path / "plugins.lock", [trusted])


def test_install_list_remove_prune(store: Store, made) -> None:
    for version in VERSIONS:
        install(store, made[version])
    first = store.folder / made["1.0.0"].name
    before = first.stat().st_ino
    install(store, made["1.0.0"])  # once more changes nothing
    assert first.stat().st_ino == before
    assert [one.version for one in store.packages()] == list(VERSIONS)
    archive, known, signer = store.open(PackageName("hello", "1.2.0"))
    assert archive.package.version == "1.2.0"
    assert (known.signer, known.origin, known.sha256) == (signer, LOCAL, archive.digest)
    gone = store.prune([("hello", "1.0.0")], keep=2)
    assert [one.version for one in gone] == ["1.1.0", "1.2.0"]
    assert [one.version for one in store.packages()] == ["1.0.0", "1.3.0", "1.4.0"]
    assert store.remove(archive.package) is False
    with pytest.raises(PackageError, match=r"1\.2\.0 is not in"):
        store.open(PackageName("hello", "1.2.0"))
    names = {path.name for path in store.folder.iterdir()} - {".lock"}
    assert names == {
        name for v in ("1.0.0", "1.3.0", "1.4.0") for name in
        (made[v].name, f"{made[v].name}.minisig")
    }  # fmt: skip


def test_another_signature_of_the_same_package(store: Store, made, tmp_path: Path) -> None:
    install(store, made["1.0.0"])
    other = minisign.generate()
    archive = Archive.read(made["1.0.0"])
    signature = minisign.sign(other, archive.sealed.view, "x").encode()
    found = {".zip.minisig": signature}
    with pytest.raises(PackageError, match="was made with the key"):
        store.add(archive, found, LOCAL)
    store.keys = (*store.keys, TrustedKey("k", other.public.to_text().encode()))
    assert store.add(archive, found, LOCAL).signer == f"minisign:{other.public.id}"
    assert store.open(archive.package)[2] == f"minisign:{other.public.id}"


def test_what_is_refused_is_not_installed(store: Store, made, tmp_path: Path) -> None:
    path = tmp_path / made["1.0.0"].name
    shutil.copy(made["1.0.0"], path)
    with pytest.raises(PackageError, match="has no signature"):
        install(store, path)
    shutil.copy(f"{made['1.1.0']}.minisig", f"{path}.minisig")
    with pytest.raises(PackageError, match="does not match this content"):
        install(store, path)
    assert not store.lock_path.exists()
    assert store.packages() == []


def test_the_lock_is_read_strictly(store: Store, made) -> None:
    install(store, made["1.0.0"])
    good = store.lock_path.read_text()
    for bad in ("", "{", "[]", '{"form": 2, "packages": {}}', good.replace('"sha256"', '"sha"'),
                good.replace('sha256": "', 'sha256": "x')):  # fmt: skip
        store.lock_path.write_text(bad)
        with pytest.raises(PackageError, match="damaged"):
            store.open(PackageName("hello", "1.0.0"))
    store.lock_path.write_text(good)
    store.lock_path.write_text(good.replace("hello-1.0.0", "other-1.0.0"))
    with pytest.raises(PackageError, match="is not in"):  # its bytes are, under another name
        store.open(PackageName("hello", "1.0.0"))
    store.lock_path.write_text(good)
    # Another content under a locked name, signed or not.
    shutil.copy(made["1.1.0"], store.path_of(Archive.read(made["1.0.0"]).package))
    with pytest.raises(PackageError, match="has SHA-256"):
        store.open(PackageName("hello", "1.0.0"))
    install(store, made["1.1.0"])  # even if that content is locked under its own name
    with pytest.raises(PackageError, match=r"says that it is hello-1\.1\.0"):
        store.open(PackageName("hello", "1.0.0"))


def test_two_at_once_do_not_mix(store: Store, made) -> None:
    with store._changing(), pytest.raises(PackageError, match="somebody else is changing"):
        install(store, made["1.0.0"])
    install(store, made["1.0.0"])


def test_whole_names() -> None:
    for name in ("hello-1.0.0", "hello-1.0.0-linux-amd64", "a-b-1.0-rc1", "a-2b-1.0-linux-arm64"):
        found = parse_name(name)
        assert str(found) == name
    assert parse_name("hello") is None
    assert parse_name("hello-x") is None


# ---- What is checked is what runs ------------------------------------------------------------


def _swap(
    stop: threading.Event, zips: list[Path], evil_zip: Path, unpacked: Path, evil: Path
) -> None:
    """Swap the archive, the folder that it was unpacked into, and the library there; and back."""
    draw = random.Random(1)
    good = zips[0].read_bytes()
    spare = unpacked / "spare"
    while not stop.is_set():
        what = draw.randrange(3)
        try:
            if what == 0:
                draft = unpacked / "swap.zip"
                draft.write_bytes(evil_zip.read_bytes() if draw.randrange(2) else good)
                draft.replace(zips[0])
                continue
            for folder in unpacked.glob("hello-*"):
                if what == 1:
                    shutil.rmtree(spare, ignore_errors=True)
                    folder.rename(spare)
                    folder.mkdir(mode=0o700)
                    shutil.copy(evil, folder / "hello.so")
                else:
                    shutil.copy(evil, unpacked / "swap.so")
                    (unpacked / "swap.so").replace(folder / "hello.so")
        except OSError:
            pass


def test_who_swaps_files_gets_nothing_run(tmp_path: Path, made, library, key) -> None:
    settings = settings_of(tmp_path, key)
    providers = providers_of(settings)
    install(providers.store, made["1.0.0"])
    evil = library("6.6.6")
    evil_zip = tmp_path / "evil.zip"
    build(evil, tmp_path / "evil", name="hello", version="1.0.0")
    shutil.move(next((tmp_path / "evil").glob("*.zip")), evil_zip)
    stop = threading.Event()
    zips = list(providers.store.folder.glob("*.zip"))
    unpacked = tmp_path / "data" / "packages"
    unpacked.mkdir(parents=True)
    child = threading.Thread(target=_swap, args=(stop, zips, evil_zip, unpacked, evil))
    child.start()
    ran, refused = 0, 0
    try:
        with PluginManager() as manager:
            while ran + refused < SWAPS or ran < 5:
                try:
                    ready = providers.prepare("hello")
                    plugin = manager.load_plugin(ready.config)
                except SlipstreamError:
                    refused += 1
                else:
                    ran += 1
                    assert plugin.version == "1.0.0"
                    assert plugin.digest == ready.archive.library.digest
                    manager.unload_plugin("hello")
                assert refused < 100 * SWAPS
    finally:
        stop.set()
        child.join()
    print(f"{ran} ran what was checked, {refused} were refused")


# ---- Killed at any moment --------------------------------------------------------------------


def _change(settings: Path, packages: dict[str, Path], seed: int) -> None:
    """Install, upgrade and roll back without end, as command and daemon do."""
    draw = random.Random(seed)
    providers = providers_of(settings)
    while True:
        version = draw.choice(VERSIONS)
        what = draw.randrange(3)
        if what == 0:
            if version != "1.0.0" and draw.randrange(2):
                providers.store.prune(
                    [("hello", v) for v in providers.versions_of("hello")], keep=2
                )
            install(providers.store, packages[version])
        elif what == 1:
            try:
                providers.prepare("hello", version)
            except PackageError:
                continue
            providers.chose("hello", version)
        else:
            try:
                before = providers.version_before("hello")
                providers.prepare("hello", before)
            except PackageError:
                continue
            providers.chose("hello", before, back=True)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child is killed anyway
def test_killed_at_any_moment_it_starts(tmp_path: Path, made, key) -> None:
    settings = settings_of(tmp_path, key)
    install(providers_of(settings).store, made["1.0.0"])
    draw = random.Random(11)
    context = multiprocessing.get_context("fork")
    for number in range(KILLS):
        child = context.Process(target=_change, args=(settings, made, number))
        child.start()
        child.join(draw.uniform(0.01, 0.15))
        assert child.is_alive(), "it has failed by itself"
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        providers = providers_of(settings)
        providers.sweep()
        ready = providers.prepare("hello")  # nothing else is asked of a state that starts
        assert ready.package.version == providers.version_of("hello")
        with PluginManager() as manager:
            assert manager.load_plugin(ready.config).version == ready.package.version
    providers_of(settings).sweep()
    install(providers.store, made["1.1.0"])
    left = [path.name for path in (tmp_path / "data").rglob(".*") if path.name != ".lock"]
    assert left == [], left
