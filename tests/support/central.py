"""A plugin central on loopback, with TLS: it answers each path with whatever bytes a test wants."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Answer = Iterable[bytes | float]
"""Bytes to send, and seconds to wait; at its end the connection is closed."""


def certificate(
    folder: Path, name: str, *, host: str = "127.0.0.1", days: int = 1
) -> tuple[Path, str]:
    """Make a certificate that vouches for itself; return its file with the key, and its SHA-256."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    try:
        names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(host))]
    except ValueError:
        names = [x509.DNSName(host)]
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=3))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path, made.fingerprint(hashes.SHA256()).hex()


def response(body: bytes = b"", code: str = "200 OK", **headers: object) -> bytes:
    """An answer; `length=None` says none."""
    said = {"Content-Length": len(body), "Connection": "close"}
    said |= {key.replace("_", "-"): value for key, value in headers.items()}
    lines = "".join(f"{key}: {value}\r\n" for key, value in said.items() if value is not None)
    return f"HTTP/1.1 {code}\r\n{lines}\r\n".encode() + body


class Central:
    """A server; `answer(path, headers)` says what it sends."""

    def __init__(self, cert: Path | None, answer: Callable[[str, dict[str, str]], Answer]) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self._context = None
        if cert is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(cert)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}/"
        self._is_over = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while not self._is_over.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, raw: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), raw:
            raw.settimeout(30)
            connection = raw
            if self._context is not None:
                connection = self._context.wrap_socket(raw, server_side=True)
            with connection:
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        asked = b""
        if self._context is None:
            connection.sendall(response(b"in clear"))
            return
        while b"\r\n\r\n" not in asked:
            some = connection.recv(65536)
            if not some:
                return
            asked += some
        first, *lines = asked.decode().split("\r\n")
        path = first.split()[1]
        headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
        self.asked.append(path)
        for part in self.answer(path, headers):
            if self._is_over.is_set():
                return
            if isinstance(part, float):
                time.sleep(part)
            else:
                connection.sendall(part)
        if isinstance(connection, ssl.SSLSocket):
            connection.unwrap()


def files_of(folder: Path) -> Callable[[str, dict[str, str]], Answer]:
    """Serve a folder as web servers do, with ranges."""

    def answer(path: str, headers: dict[str, str]) -> Answer:
        file = folder / path.lstrip("/")
        if not file.is_file():
            return [response(code="404 Not Found")]
        body = file.read_bytes()
        tag = f'"{len(body)}-{hash(body) & 0xFFFFFFFF:x}"'
        said = headers.get("range", "")
        if said and headers.get("if-range", tag) == tag:
            begin = int(said.removeprefix("bytes=").partition("-")[0])
            if begin >= len(body):
                return [response(code="416 Range Not Satisfiable")]
            whole = f"bytes {begin}-{len(body) - 1}/{len(body)}"
            return [response(body[begin:], "206 Partial Content", ETag=tag, Content_Range=whole)]
        return [response(body, ETag=tag)]

    return answer
