"""`slipstream start --plugins`: found, verified, loaded, upgraded, put back."""

from __future__ import annotations

import json
import os
import pwd
import signal
import tempfile
from pathlib import Path

import pytest

from slipstream.errors import SlipstreamError
from slipstream.packages import minisign
from slipstream.packages.build import build
from slipstream.packages.flags import Flags
from slipstream.packages.lock import Lock
from slipstream.packages.providers import Providers
from slipstream.packages.settings import read_settings
from slipstream.packages.trust import LOCAL, MINISIGN, read_signatures
from slipstream.server.client import CallRefused, Client
from support.daemon import Daemon, until

VERSIONS = ("1.0.0", "1.1.0", "1.2.0", "1.3.0")


@pytest.fixture(scope="module")
def key() -> minisign.SecretKey:
    return minisign.generate()


@pytest.fixture
def place(tmp_path: Path, library, key):
    """A settings file for `hello`, and a folder with signed packages of it."""
    return Place(tmp_path, library, key)


class Place:
    def __init__(self, folder: Path, library, key) -> None:
        self.folder, self.library, self.key = folder, library, key
        self.settings = folder / "plugins.json"
        (folder / "release.pub").write_text(key.public.to_text())
        self.want("1.0.0")

    def want(self, version: str, **providers: object) -> None:
        hello = {"name": "hello", "version": version, "config": "file://hello.json"}
        (self.folder / "hello.json").write_text('{"language": "en"}')
        self.settings.write_text(
            json.dumps(
                {
                    # What is installed needs no network: nobody answers there.
                    "central": {"baseURL": "https://127.0.0.1:1/"},
                    "trust": [{"key": "release.pub"}],
                    "providers": {"greeter": hello, **providers},
                }
            )
        )

    def providers(self, **flags: object) -> Providers:
        return Providers(read_settings(self.settings), Flags(**flags), self.folder / "data")

    def make(self, version: str, name: str = "hello", **more: object) -> Path:
        out = self.folder / "made"
        made = build(self.library(version, **more), out, name=name, version=version)
        path = out / f"{made.package}.zip"
        signature = minisign.sign(self.key, made.sealed.view, f"file:{path.name}")
        path.with_name(f"{path.name}.minisig").write_text(signature)
        return path

    def install(self, *versions: str) -> None:
        from slipstream.packages.archive import Archive

        for version in versions:
            path = self.make(version)
            self.providers().store.add(Archive.read(path), read_signatures(path), LOCAL)

    def start(self, *more: object) -> Daemon:
        return Daemon(self.folder, "--plugins", self.settings, "--listen", "tcp:127.0.0.1:0", *more)

    def client(self) -> Client:
        return Client(socket=self.folder / "data" / "admin.sock", network="mainnet")


def test_a_package_s_life(place: Place) -> None:
    place.install(*VERSIONS)
    lock_before = (place.folder / "plugins.lock").read_bytes()
    with place.start() as daemon, place.client() as client:
        daemon.ready()
        status = client.status("greeter")
        entry = Lock.read(place.folder / "plugins.lock").packages[status["package"]["package"]]
        assert status["version"] == status["package"]["version"] == "1.0.0"
        assert status["package"]["digest"] == entry.sha256
        assert status["package"]["signer"] == f"minisign:{place.key.public.id}"
        assert status["package"]["origin"] == "local"
        # What came out of a file is not shown: it may be a secret.
        assert status["config"]["own"] == {"language": "***(file://hello.json)"}
        assert status["package"]["newer"] == list(VERSIONS[1:])
        assert client.reload("greeter")["version"] == "1.0.0"
        for version in VERSIONS[1:]:
            assert client.upgrade("greeter", version)["version"] == version
        # The last three are kept.
        assert client.status("greeter")["package"]["before"] == ["1.1.0", "1.2.0"]
        assert client.steer("greeter", "rollback")["version"] == "1.2.0"
        assert client.steer("greeter", "rollback")["version"] == "1.1.0"
        with pytest.raises(CallRefused, match="has had no other version"):
            client.steer("greeter", "rollback")
        with pytest.raises(CallRefused, match=r"9\.9\.9 is neither in .* nor in") as caught:
            client.upgrade("greeter", "9.9.9")
        assert caught.value.code == 422
        assert daemon.end() == 0
    assert (place.folder / "plugins.lock").read_bytes() == lock_before
    with place.start() as daemon, place.client() as client:
        daemon.ready()
        assert client.status("greeter")["version"] == "1.1.0"  # what was chosen stays
        place.want("1.3.0")  # and what the settings say anew counts more
        daemon.send(signal.SIGHUP)
        daemon.wait_for("the plugins' settings were read again")
        assert client.status("greeter")["version"] == "1.3.0"
        place.settings.write_text("{}")
        daemon.send(signal.SIGHUP)
        daemon.wait_for("the plugins' settings were read again", 2)
        assert client.names() == []
        assert daemon.end() == 0


def test_the_page_upgrades_and_goes_back(place: Place) -> None:
    from support.browser import Browser, chromium
    from support.toolbox import is_not_here

    if chromium() is None:
        is_not_here("there is no chromium")
    place.install("1.0.0", "1.1.0")
    browser = Browser()
    rest = ("--rest", "127.0.0.1:0", "--nojwt")
    try:
        with place.start(*rest) as daemon:
            page = browser.page(daemon.ready().wait_for("ready")["rest"])
            rows = "document.querySelector('tbody').innerText"
            page.until(f"{rows}.includes('1.0.0, process')")
            page.until(f"{rows}.includes('minisign:')")
            for label, version in (("Upgrade", "1.1.0"), ("Back", "1.0.0")):
                button = f"document.querySelector('button[aria-label=\"{label} greeter\"]')"
                page.until(f"{button} && !{button}.hidden")
                page.run(f"{button}.click()")
                page.until(f"{rows}.includes('{version}, process')")
            page.until(f"{button}.hidden")
            page.close()
            assert daemon.end() == 0
    finally:
        browser.close()


def test_what_is_broken_keeps_the_version_before(place: Place) -> None:
    place.install("1.0.0", "1.1.0")
    broken = place.make("1.2.0", fails=True)
    from slipstream.packages.archive import Archive

    store = place.providers().store
    store.add(Archive.read(broken), read_signatures(broken), LOCAL)
    with place.start() as daemon, place.client() as client:
        daemon.ready()
        with pytest.raises(CallRefused, match="did not start") as caught:
            client.upgrade("greeter", "1.2.0")
        assert "version 1.0.0 serves on" in caught.value.hint
        path = next(store.folder.glob("hello-1.1.0-*.zip"))
        content = path.read_bytes()
        refusals = {
            "has SHA-256": lambda: path.write_bytes(content[:-1] + b"x"),
            "has no signature": lambda: [p.unlink() for p in store.folder.glob("hello-1.1.0*sig")],
        }
        for text, harm in refusals.items():
            harm()
            with pytest.raises(CallRefused, match=text):
                client.upgrade("greeter", "1.1.0")
            path.write_bytes(content)
        assert client.status("greeter")["version"] == "1.0.0"
        # Nor does a reload fail open.
        next(store.folder.glob("hello-1.0.0*.minisig")).unlink()
        with pytest.raises(CallRefused, match="has no signature") as caught:
            client.reload("greeter")
        assert "version 1.0.0 serves on" in caught.value.hint
        assert daemon.end() == 0


def test_the_third_of_three_fails(place: Place) -> None:
    from slipstream.packages.archive import Archive

    providers = {}
    for name, fails in (("second", False), ("third", True)):
        path = place.make("1.0.0", name, fails=fails)
        place.providers().store.add(Archive.read(path), read_signatures(path), LOCAL)
        providers[name] = {"name": name, "version": "1.0.0"}
    place.install("1.0.0")
    place.want("1.0.0", **providers)
    with place.start() as daemon:
        assert daemon.wait() == 3
        text = daemon.log.read_text()
    assert "the provider third: " in text
    assert "did not start" in text
    events = [
        line for line in daemon.lines() if line.get("event") in {"plugin loaded", "plugin unloaded"}
    ]
    said = [(line["event"].split()[1], line["plugin"]) for line in events]
    assert said == [
        ("loaded", "greeter"), ("loaded", "second"), ("unloaded", "second"), ("unloaded", "greeter"),
    ]  # fmt: skip


def test_all_faults_are_told_at_once_and_nothing_is_changed(place: Place) -> None:
    from slipstream.server.settings import Options, understand

    place.install("1.0.0")
    more = {"name": "none", "version": "1.0.0"}
    place.want("1.0.0", first=more, second={**more, "config": "env://NOT_THERE"})
    (place.folder / "hello.json").unlink()
    found = understand(Options(plugins=str(place.settings), data_dir=place.folder / "data"))
    assert found.exit_code == 3
    said = {fault.where: fault.error.message for fault in found.faults}
    assert "hello.json does not exist" in said["the provider greeter"]
    assert "none-1.0.0 is neither in" in said["the provider first"]
    assert set(said) == {f"the provider {name}" for name in ("greeter", "first", "second")}
    assert {path.name for path in (place.folder / "data").iterdir()} == {"plugins"}


def test_start_refuses_what_is_not_verified(place: Place) -> None:
    place.install("1.0.0")
    lock = place.folder / "plugins.lock"
    locked = lock.read_text()
    cases = {
        "is neither in": lambda: place.want("1.0.1"),
        "is not in": lock.unlink,
        "is damaged": lambda: lock.write_text("{"),
    }
    for text, harm in cases.items():
        harm()
        with pytest.raises(SlipstreamError, match=text):
            place.providers().prepare("greeter")
        place.want("1.0.0")
        lock.write_text(locked)
    lock.unlink()
    with place.start() as daemon:
        assert daemon.wait() == 3
        assert "is not in" in daemon.log.read_text()
    lock.write_text(locked)
    # Without signatures it starts, never without the lock.
    for path in (place.folder / "data" / "plugins").glob(f"*{MINISIGN}"):
        path.unlink()
    with place.start("--plugins.skipverify") as daemon, place.client() as client:
        daemon.ready()
        assert client.status("greeter")["package"]["signer"] == "not verified"
        until(lambda: daemon.said("--plugins.skipverify"), "a warning")
        assert daemon.end() == 0
    lock.unlink()
    with pytest.raises(SlipstreamError, match="is not in"):
        place.providers(skip_verify=True).prepare("greeter")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_package_s_worker_is_of_another_user(library, key) -> None:
    """Who may read neither the settings nor what else is in the data folder of the daemon."""
    nobody = pwd.getpwnam("nobody").pw_uid
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to others
        os.chmod(folder, 0o711)
        place = Place(Path(folder), library, key)
        data = place.folder / "data"
        data.mkdir(mode=0o700)
        place.install("1.0.0", "1.1.0")
        host = {"user": "nobody"}
        hello = {"name": "hello", "version": "1.0.0", "config": {"language": "en"}, "host": host}
        place.want("1.0.0", greeter=hello)
        with place.start() as daemon:
            assert daemon.wait() == 3
            assert f"this user may not pass through {data}" in daemon.log.read_text()
            assert f"next: run: chmod o+x {data};" in daemon.log.read_text()
        data.chmod(0o701)
        with place.start() as daemon, place.client() as client:
            daemon.ready()
            for version in ("1.0.0", "1.1.0", "1.0.0"):
                if version != client.status("greeter")["version"]:
                    client.upgrade("greeter", version)
                status = client.status("greeter")
                assert (status["state"], status["version"]) == ("running", version)
                assert Path(f"/proc/{status['pid']}").stat().st_uid == nobody
            own = data / "plugins" / "greeter" / "user-nobody"
            assert (own.stat().st_uid, own.stat().st_mode & 0o777) == (nobody, 0o700)
            assert own.parent.stat().st_uid == 0
            assert daemon.end() == 0
