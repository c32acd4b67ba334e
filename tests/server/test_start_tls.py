"""REST over TLS: what is served, and what is wrong with a certificate before anything runs."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest

from support.daemon import Daemon, config

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", key, "-out", cert, "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key


def test_rest_over_tls(examples, tmp_path, certificate) -> None:
    cert, key = certificate
    tally = config(tmp_path, examples / "tally" / "tally.so")
    given = ("--slipstream-config", tally, "--rest", "127.0.0.1:0")
    with Daemon(tmp_path, *given, "--tls-cert", cert, "--tls-key", key) as daemon:
        address = daemon.ready().said("ready")["rest"]
        assert address.startswith("https://127.0.0.1:")
        token = (tmp_path / "data" / "jwt_secret_operator.txt").read_text().strip()
        trusted = ssl.create_default_context(cafile=str(cert))
        with httpx.Client(
            verify=trusted, base_url=address, headers={"Authorization": f"Bearer {token}"}
        ) as client:
            assert client.get("/readyz").status_code == 200
            assert client.get("/mainnet/slipstream/plugins").json() == ["tally"]
            assert client.post("/mainnet/slipstream/plugins/tally/pause").status_code == 200
        with pytest.raises(httpx.ConnectError):  # a certificate that nobody has vouched for
            httpx.get(f"{address}/readyz")
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://{address.removeprefix('https://')}/readyz")
        with httpx.Client(verify=trusted, base_url=address) as client:
            assert client.get("/readyz").status_code == 503  # it is paused
        assert daemon.end() == 0


@pytest.mark.parametrize("what", ["the key of another", "no certificate", "a password", "no key"])
def test_what_is_wrong_with_it_is_told_before_anything_runs(
    examples, tmp_path, certificate, what
) -> None:
    cert, key = certificate
    if what == "the key of another":
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    elif what == "a password":
        protect = ["openssl", "rsa", "-aes128", "-passout", "pass:word", "-in", key, "-out", key]
        subprocess.run(protect, check=True, capture_output=True)
    elif what == "no certificate":
        cert.write_text("rubbish")
    else:
        key.unlink()
    tally = config(tmp_path, examples / "tally" / "tally.so")
    given = ("--slipstream-config", tally, "--rest", "127.0.0.1:0")
    with Daemon(tmp_path, *given, "--tls-cert", cert, "--tls-key", key) as daemon:
        assert daemon.wait() == 2
        log = daemon.log.read_text()
        assert "Traceback" not in log
        assert str(cert) in log or str(key) in log
        assert "next: " in log
        assert not daemon.said("plugin loaded")
