"""`slipstream package`: what its commands say and do, over a real central where they need one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from slipstream.cli.package import package
from slipstream.errors import PackageError
from support.central import Central, certificate, files_of


@pytest.fixture
def run(tmp_path: Path):
    def run(*arguments: object) -> str:
        done = CliRunner().invoke(package, list(map(str, arguments)), obj=None)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.stdout

    return run


@pytest.fixture
def world(tmp_path: Path, library, run):
    """A key, two signed versions in a central's folder, and settings that trust it."""
    run("keygen", "--out", tmp_path, "--name", "a")
    for version in ("1.0.0", "1.1.0"):
        run("build", library(version), "--out", tmp_path, "--name", "hello", "--version", version)
    for path in sorted(tmp_path.glob("*.zip")):
        run("sign", path, "--key", tmp_path / "a.key")
    cert, fingerprint = certificate(tmp_path, "cert")

    def wants(url: str) -> Path:
        path = tmp_path / "plugins.json"
        central = {"baseURL": url, "certFingerprint": fingerprint, "insecureSkipTLSVerify": True}
        wanted = {"greeter": {"name": "hello", "version": "1.0.0"}}
        path.write_text(
            json.dumps({"central": central, "providers": wanted, "trust": [{"key": "a.pub"}]})
        )
        return path

    return tmp_path, cert, wants


def test_install_update_list_prune_remove(world, run) -> None:
    folder, cert, wants = world
    first, second = sorted(folder.glob("*.zip"))
    www = folder / "www"
    assert run("central", www, first).strip() == first.name.removesuffix(".zip")
    with Central(cert, files_of(www)) as central:
        where = ("--plugins", wants(central.url), "--data-dir", folder / "data")
        assert run("install", "--yes", *where) == f"{first.stem} is installed\n"
        assert run("install", "--yes", *where) == "nothing had to be installed\n"
        assert run("update", *where) == "nothing had to be updated\n"
        run("central", www, second)
        assert json.loads(run("update", "--json", *where))["updated"][0]["package"] == second.stem
        # A central that offers less than what is locked may play an old list again.
        (www / "index.json").unlink()
        for path in www.rglob("hello-1.1.0*"):
            path.unlink()
        run("central", www)
        with pytest.raises(PackageError, match=r"newest hello is 1\.0\.0, older than 1\.1\.0"):
            run("update", *where)
    listed = json.loads(run("list", "--json", *where))["packages"]
    assert [one["package"] for one in listed] == [first.stem, second.stem]
    assert {one["origin"] for one in listed} == {central.url.rstrip("/")}
    assert all(one["here"] and one["signer"].startswith("minisign:") for one in listed)
    assert "minisign:" in run("list", *where)
    # What the settings want stays, however old it is.
    assert run("prune", "--keep", "1", *where) == "nothing had to be removed\n"
    assert run("remove", "hello", "1.1.0", *where) == f"{second.stem} is removed\n"
    with pytest.raises(PackageError, match="is not installed"):
        run("remove", "hello", "1.1.0", *where)


def test_inspect_verify_sign_keygen(world, run) -> None:
    folder, _, _ = world
    path = min(folder.glob("*.zip"))
    said = json.loads(run("inspect", path, "--json"))
    assert (said["name"], said["version"], said["entrypoint"]) == ("hello", "1.0.0", "hello.so")
    assert said["sha256"] in run("inspect", path)
    signer = json.loads(run("verify", path, "--key", folder / "a.pub", "--json"))["signer"]
    assert signer in run("verify", path, "--key", folder / "a.pub")
    with pytest.raises(PackageError, match="a key is never overwritten|cannot be written"):
        run("keygen", "--out", folder, "--name", "a")
    assert (folder / "a.key").stat().st_mode & 0o777 == 0o600
    run("keygen", "--out", folder, "--name", "b", "--openpgp", "Ann <ann@example.org>")
    run("sign", path, "--key", folder / "b.key.asc")
    assert "openpgp:" in run("verify", path, "--key", folder / "b.asc")
    with pytest.raises(PackageError, match="cannot sign"):
        run("sign", path, "--key", folder / "b.asc")
    with pytest.raises(PackageError, match="a.pub is the public half; signing needs the secret"):
        run("sign", path, "--key", folder / "a.pub")
    with pytest.raises(PackageError, match="a.key is the SECRET half"):
        run("verify", path, "--key", folder / "a.key")
    run("keygen", "--out", folder, "--name", "c")
    with pytest.raises(PackageError, match="was made with the key"):
        run("verify", path, "--key", folder / "c.pub")
