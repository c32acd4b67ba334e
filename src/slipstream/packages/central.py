"""Fetching packages from a plugin central.

Nothing that comes from there is believed: it is a file of at most so many bytes, from the host
that was asked for, with the certificate that was named. What it is worth, keys and lock say.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

from slipstream.errors import PackageError
from slipstream.extras import need
from slipstream.files import FileProblem, limit_hint, read_small
from slipstream.packages.archive import Archive
from slipstream.packages.deadline import bound
from slipstream.packages.names import SUFFIX, PackageName
from slipstream.packages.sealed import MEBIBYTE, MOST_BYTES, Sealed
from slipstream.packages.settings import Central
from slipstream.packages.trust import MINISIGN, MOST_KEY_BYTES, OPENPGP
from slipstream.text import counted, printable

INDEX = "index.json"
_MOST_INDEX = 16 * MEBIBYTE
_REDIRECTS = 5
_AGAIN = {408, 425, 429, 500, 502, 503, 504}
PART = ".part-"

Progress = Callable[[int, int], None]


class _Passing(Exception):
    """Something that another try may mend.

    Args:
        problem: What it was.
        wait: How long the central asks to wait, in seconds.
    """

    def __init__(self, problem: str, wait: float = 0.0) -> None:
        super().__init__(problem)
        self.problem, self.wait = problem, wait


@dataclass(slots=True)
class Patience:
    """How long is waited, in seconds.

    Attributes:
        connect: For a connection.
        silence: For the next byte.
        whole: For all of a file.
        tries: How often a file is tried.
        between: Before the second try; each further one waits twice as long.
    """

    connect: float = 10.0
    silence: float = 20.0
    whole: float = 600.0
    tries: int = 4
    between: float = 0.5


@dataclass(slots=True)
class _Part:
    """A download under way: its bytes so far, and of which version of the file they are."""

    path: Path
    tag: str = ""
    size: int = 0
    notes: Path = field(init=False)

    def __post_init__(self) -> None:
        self.notes = self.path.with_name(f"{self.path.name}.json")
        with contextlib.suppress(
            FileProblem, ValueError, KeyError, TypeError, OSError, RecursionError
        ):
            said = json.loads(read_small(self.notes, 4096))
            self.tag, self.size = str(said["tag"]), self.path.stat().st_size

    def begin(self, tag: str) -> None:
        """Forget what there is."""
        self.drop()
        self.tag, self.size = tag, 0
        if tag:
            self.notes.write_text(json.dumps({"tag": tag}), encoding="utf-8")

    def drop(self) -> None:
        """Remove it."""
        for path in (self.notes, self.path):
            with contextlib.suppress(OSError):
                path.unlink()
        self.tag, self.size = "", 0


class CentralClient:
    """Fetches from one plugin central."""

    def __init__(
        self,
        central: Central,
        folder: Path,
        *,
        patience: Patience | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Nothing is asked yet.

        Args:
            central: The central.
            folder: Where downloads under way lie.
            patience: How long is waited.
            progress: Called with how much of how much is there.
        """
        self._central, self._folder = central, folder
        self._patience = patience or Patience()
        self._progress = progress or (lambda _done, _all: None)
        self._httpx = need("httpx", "packages")
        ssl = importlib.import_module("ssl")  # 10 ms that only this needs
        self._ssl_error = ssl.SSLError
        context = ssl.create_default_context()
        if central.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        patience = self._patience
        self._client = self._httpx.Client(
            verify=context,
            follow_redirects=False,
            timeout=self._httpx.Timeout(patience.silence, connect=patience.connect),
            headers={"Accept-Encoding": "identity", "User-Agent": "slipstream"},
        )
        self._end = 0.0  # of the download under way
        bound(self._client, lambda: self._end - time.monotonic())

    def close(self) -> None:
        """End its connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- What is asked for ------------------------------------------------------------------

    def fetch(self, wanted: PackageName) -> tuple[Archive, dict[str, bytes]]:
        """Fetch a package and its signatures.

        Raises:
            PackageError: They cannot be had, or are not what the central's index says.
        """
        index = self.index()
        offered = [one for one in wanted.candidates() if index is None or str(one) in index]
        if not offered:
            raise PackageError(
                f"{wanted} is not in the {INDEX} of {self._central.origin}",
                "see its list of packages, or have it made again there",
            )
        for package in offered[:-1]:
            with contextlib.suppress(_NotThere):
                return self._fetch(package, index)
        return self._fetch(offered[-1], index)

    def _fetch(
        self, package: PackageName, index: dict[str, str] | None
    ) -> tuple[Archive, dict[str, bytes]]:
        url = self._url(package.place(self._central.dist))
        part = self._folder / f"{PART}{package}{SUFFIX}"
        goes_on = part.exists()
        try:
            archive = self._archive(package, url, part, index)
        except _NotThere:
            raise
        except PackageError:
            if not goes_on:
                raise
            archive = self._archive(package, url, part, index)  # of what was left nothing is used
        return archive, self._signatures(package, url)

    def _archive(
        self, package: PackageName, url: str, part: Path, index: dict[str, str] | None
    ) -> Archive:
        sealed = self._download(url, MOST_BYTES, part, f"{package}{SUFFIX}")
        if index is not None and sealed.digest != index[str(package)]:
            raise PackageError(
                f"{url} has SHA-256 {sealed.digest}, and the {INDEX} there has "
                f"{index[str(package)]}",
                "tell whoever runs it; nothing was installed",
            )
        archive = Archive(sealed)
        archive.require(package)
        return archive

    def _signatures(self, package: PackageName, url: str) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for suffix, where in (
            (MINISIGN, f"{url}.minisig"),
            (OPENPGP, self._url(package.place(self._central.sig))),
        ):
            with contextlib.suppress(_NotThere):
                what = f"the signature {package}{suffix}"
                found[suffix] = bytes(self._download(where, MOST_KEY_BYTES, None, what).view)
        return found

    def index(self) -> dict[str, str] | None:
        """Return the digests of the central's packages by their names; None: it has no index.

        Raises:
            PackageError: It has one that cannot be used.
        """
        url = self._url(INDEX)
        try:
            content = bytes(self._download(url, _MOST_INDEX, None, INDEX).view)
        except _NotThere:
            return None
        try:
            said = json.loads(content)
            if said["form"] != 1:
                raise ValueError(said["form"])
            return {str(name): str(one["sha256"]) for name, one in said["packages"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise PackageError(
                f"{url} is damaged, or of another version of slipstream", "tell whoever runs it"
            ) from None

    def public_key(self) -> bytes:
        """Fetch the key that the central gives of itself.

        Raises:
            PackageError: There is none.
        """
        url = self._url(self._central.public_key_uri)
        return bytes(self._download(url, MOST_KEY_BYTES, None, "the central's key").view)

    def _url(self, path: str) -> str:
        url = urljoin(self._central.base_url, path.lstrip("/") if "://" not in path else path)
        self._require_here(url, f"the template leads to {printable(url)}")
        if ".." in urlsplit(url).path.split("/"):
            raise PackageError(f"{printable(url)} has .. in its path", "fix the template")
        return url

    def _require_here(self, url: str, what: str) -> None:
        parts = urlsplit(url)
        if f"{parts.scheme}://{parts.netloc}" != self._central.origin:
            raise PackageError(
                f"{what}, and not to {self._central.origin}",
                "a package comes from the central that was named, or not at all",
            )

    # ---- Downloading ------------------------------------------------------------------------

    def _download(self, url: str, most: int, keep: Path | None, what: str) -> Sealed:
        """Fetch a file, trying again where that may help.

        Args:
            url: Where it is.
            most: So many bytes at most.
            keep: Where its bytes are kept meanwhile, so that a later run goes on; None: nowhere.
            what: What it is, for errors.
        """
        patience = self._patience
        self._end = time.monotonic() + patience.whole
        part = None if keep is None else _Part(keep)
        problem, wait = "", 0.0
        for number in range(patience.tries):
            if wait >= self._end - time.monotonic():
                problem = f"{problem}; of {patience.whole:g} seconds too little is left"
                break
            time.sleep(wait)
            try:
                return self._try(url, most, part, what)
            except _Passing as error:
                problem = error.problem
                wait = min(error.wait or patience.between * 2**number, 30.0)
        raise PackageError(
            f"{printable(url)}: {problem}", "check that the central works, and try again"
        )

    def _try(self, url: str, most: int, part: _Part | None, what: str) -> Sealed:
        httpx = self._httpx
        for _ in range(_REDIRECTS + 1):
            headers = {}
            if part is not None and part.size and part.tag:
                headers = {"Range": f"bytes={part.size}-", "If-Range": part.tag}
            try:
                with self._client.stream("GET", url, headers=headers) as response:
                    self._check_certificate(response, url)
                    if response.has_redirect_location:
                        url = self._redirected(url, response)
                        continue
                    return self._take(response, url, most, part, what)
            except httpx.ConnectError as error:
                if "CERTIFICATE" in str(error).upper() or "SSL" in str(error).upper():
                    raise self._bad_certificate(url, str(error)) from None
                raise _Passing(f"no connection: {error}") from None
            except (httpx.TimeoutException, TimeoutError):
                raise _Passing("it does not answer in time") from None
            except httpx.RemoteProtocolError as error:
                raise _Passing(f"the answer ends early, or is none: {error}") from None
            except (httpx.TransportError, self._ssl_error) as error:
                raise _Passing(f"the connection broke: {error}") from None
        raise PackageError(
            f"{printable(url)}: more than {_REDIRECTS} redirects", "tell whoever runs the central"
        )

    def _bad_certificate(self, url: str, said: str) -> PackageError:
        return PackageError(
            f"{urlsplit(url).netloc} has no good certificate: {printable(said)}",
            "name one that this machine trusts (SSL_CERT_FILE), or its certFingerprint together "
            "with insecureSkipTLSVerify",
        )

    def _check_certificate(self, response: Any, url: str) -> None:
        wanted = self._central.fingerprint
        if not wanted:
            return
        stream = response.extensions["network_stream"]
        tls = stream.get_extra_info("ssl_object")
        found = b"" if tls is None else tls.getpeercert(True) or b""  # noqa: FBT003 - it knows no name for it
        digest = hashlib.sha256(found).hexdigest()
        if digest != wanted:
            raise PackageError(
                f"{urlsplit(url).netloc} has a certificate with the SHA-256 {digest}, and "
                f"certFingerprint is {wanted}",
                "ask whoever runs the central whether it has a new one",
            )

    def _redirected(self, url: str, response: Any) -> str:
        target: str = urljoin(url, str(response.headers.get("location", "")))
        self._require_here(target, f"{printable(url)} redirects to {printable(target)}")
        return target

    def _take(self, response: Any, url: str, most: int, part: _Part | None, what: str) -> Sealed:
        self._check_status(response, url, part)
        length = response.headers.get("content-length", "")
        said = int(length) if length.isdecimal() and len(length) < 16 else -1
        goes_on = response.status_code == 206
        begun = part.size if part is not None and goes_on else 0
        if said + begun > most:
            raise PackageError(
                f"{printable(url)} is said to have {counted(said + begun, 'byte')}, more than "
                f"{most // 1024} KiB",
                "tell whoever runs the central",
            )
        if part is None:
            pieces = list(self._pieces(response, url, 0, most, said))
            return Sealed(what, pieces, most)
        try:
            if not goes_on:
                part.begin(_tag(response))
            with part.path.open("ab") as file:
                for piece in self._pieces(response, url, begun, most, said):
                    file.write(piece)
                    part.size += len(piece)
                file.flush()
                os.fsync(file.fileno())
        except (self._ssl_error, TimeoutError):
            raise  # of the connection
        except OSError as error:
            raise PackageError(
                f"{printable(str(part.path))} cannot be written: {error.strerror}",
                limit_hint(error.errno) or "make room there, or let this user write there",
            ) from None
        sealed = Sealed.read(part.path, most)
        sealed.name = what
        part.drop()
        return sealed

    def _pieces(self, response: Any, url: str, begun: int, most: int, said: int) -> Any:
        have = begun
        for piece in response.iter_raw():
            have += len(piece)
            if have > most:
                raise PackageError(
                    f"{printable(url)} has no end: more than {most // 1024} KiB came",
                    "tell whoever runs the central",
                )
            self._progress(have, max(said + begun, have))
            yield piece
        if said >= 0 and have - begun != said:
            raise _Passing(f"only {have - begun} of {counted(said, 'byte')} came")

    def _check_status(self, response: Any, url: str, part: _Part | None) -> None:
        code = response.status_code
        if code in {404, 410}:
            raise _NotThere(f"{printable(url)} is not there ({code})", "see name and version")
        if code in _AGAIN:
            raise _Passing(f"it answers {code}", _retry_after(response))
        if code == 416 and part is not None:  # what we have is no part of what is there now
            part.drop()
            raise _Passing("what was fetched before is of no use any more")
        if code == 206 and part is not None and self._goes_on(response, part):
            pass
        elif code == 206:
            if part is not None:
                part.drop()
            raise _Passing("it answers with another part than was asked for")
        elif code != 200:
            raise PackageError(
                f"{printable(url)}: it answers {code}", "ask whoever runs the central"
            )
        if response.headers.get("content-encoding", "identity") != "identity":
            raise PackageError(
                f"{printable(url)} comes compressed, though that was not asked for",
                "let the central serve its files as they are",
            )

    @staticmethod
    def _goes_on(response: Any, part: _Part) -> bool:
        said = response.headers.get("content-range", "")
        return (
            bool(part.size)
            and said.startswith(f"bytes {part.size}-")
            and _tag(response) == part.tag
        )


class _NotThere(PackageError):
    """The central does not have it."""


def _tag(response: Any) -> str:
    """What tells one version of a file from another; a weak one does not."""
    tag = str(response.headers.get("etag", ""))
    if tag and not tag.startswith("W/"):
        return tag
    return str(response.headers.get("last-modified", ""))


def _retry_after(response: Any) -> float:
    said = response.headers.get("retry-after", "")
    if said.isdecimal() and len(said) < 6:
        return float(said)
    return 0.0
