"""Say hello by a packaged plugin, from nothing: key, package, central, settings, daemon, reload.

Run by ``make hello``. Exits with 0 if both greetings were heard.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import http.server
import ipaddress
import json
import os
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HERE = Path(__file__).resolve().parent
COMMAND = str(Path(sys.executable).with_name("slipstream"))
SECONDS = 60.0


def slipstream(*arguments: object, **environment: str) -> str:
    """Run a command, show it and what it says; return that."""
    words = [str(one) for one in arguments]
    print(f"$ slipstream {' '.join(words)}", flush=True)
    done = subprocess.run(
        [COMMAND, *words],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=SECONDS,
        env={**os.environ, **environment},
    )
    print(done.stdout, end="", flush=True)
    return done.stdout


def certificate(path: Path) -> str:
    """Write a certificate for loopback with its key; return its fingerprint."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(here, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(secret + made.public_bytes(pem))
    return made.fingerprint(hashes.SHA256()).hex()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path, cert: Path) -> Iterator[str]:
    """Serve a folder by HTTPS on loopback."""
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(_Quiet, directory=str(folder))
    ) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"https://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()


@contextmanager
def daemon(folder: Path, *arguments: object) -> Iterator[None]:
    """Run a daemon, from when it is ready to its end."""
    log = folder / "daemon.log"
    words = [str(one) for one in arguments]
    print(f"$ slipstream start {' '.join(words)} &", flush=True)
    with (
        log.open("wb") as file,
        subprocess.Popen([COMMAND, "start", *words], stderr=file, stdout=file) as process,
    ):
        try:
            end = time.monotonic() + SECONDS
            while b"ready" not in log.read_bytes():
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(log.read_text(encoding="utf-8"))
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(SECONDS)
            process.kill()


def greeting(folder: Path, number: int, word: str) -> bool:
    """Send a greeting as a producer, and look whether it is answered so."""
    events = folder / f"greet-{number}.jsonl"
    event = {"kind": "Payload", "name": "hello.greet", "body": "world", "source": "you"}
    events.write_text(
        json.dumps({**event, "stream": 7, "sequence": number}) + "\n", encoding="utf-8"
    )
    slipstream("replay", events, "--to", f"unix:{folder}/events.sock")
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        said = slipstream("plugins", "logs", "greeter", "--data-dir", folder / "data")
        if f"{word}, world!" in said:
            return True
        time.sleep(0.2)
    return False


def hello(folder: Path) -> bool:
    """Go the whole way in a folder; return whether both greetings were heard."""
    slipstream("package", "keygen", "--out", folder / "keys", "--name", "release")
    slipstream("package", "build", HERE / "hello.so", "--out", folder / "dist")
    package = next((folder / "dist").glob("*.zip"))
    slipstream("package", "sign", package, "--key", folder / "keys" / "release.key")
    slipstream("package", "central", folder / "www", package)
    settings, config = folder / "plugins.json", folder / "hello.json"
    config.write_text('{"language": "en"}', encoding="utf-8")
    fingerprint = certificate(folder / "central.pem")
    with served(folder / "www", folder / "central.pem") as url:
        wanted = {
            "baseDir": str(folder / "packages"),
            "central": {
                "baseURL": url,
                "certFingerprint": fingerprint,
                "publicKeyURI": f"file://{folder}/keys/release.pub",
            },
            "providers": {
                "greeter": {"name": "hello", "version": "1.0.0", "config": f"file://{config}"}
            },
        }
        settings.write_text(json.dumps(wanted, indent=2), encoding="utf-8")
        where = ("--plugins", settings, "--data-dir", folder / "data")
        trusts = str(folder / "central.pem")
        slipstream("package", "install", "--yes", *where, SSL_CERT_FILE=trusts)
        slipstream("package", "list", *where)
    listen = f"unix:{folder}/events.sock"
    with daemon(folder, *where, "--norest", "--listen", listen, "--insecure-paths"):
        slipstream("plugins", "list", "--data-dir", folder / "data")
        english = greeting(folder, 1, "Hello")
        config.write_text('{"language": "es"}', encoding="utf-8")
        slipstream("plugins", "reload", "greeter", "--data-dir", folder / "data")
        return greeting(folder, 2, "Hola") and english


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="hello-") as scratch:
        heard = hello(Path(scratch))
    print("OK: Hello, and then Hola" if heard else "NOT OK: a greeting is missing")
    sys.exit(0 if heard else 1)
