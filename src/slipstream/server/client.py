"""A client of the admin application, over a Unix socket or a URL."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx

from slipstream.errors import ConfigError, SlipstreamError
from slipstream.files import FileProblem, read_small

_TOKEN_MAX = 64 << 10
_CONNECT = 5.0
_QUIET = 30.0  # seconds of silence after which whoever follows hears that the other side is gone
_START = "is it running? slipstream start; --data-dir names its folder, --url another address"
_HINTS = {
    401: "give a token: --token-file FILE; `slipstream token issue` makes one",
    403: "see what the token allows: slipstream token list",
    409: "try again when the other change is done",
    429: "ask less often, or raise --rest-rps",
}


class CallRefused(SlipstreamError):
    """The daemon has refused a call.

    Args:
        code: Its status.
        message: As of every error.
        hint: As of every error.
    """

    def __init__(self, code: int, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.code = code


class Client:
    """Talks to a daemon, or to whatever serves `admin_app`. A context manager."""

    def __init__(
        self,
        *,
        socket: Path | None = None,
        url: str = "",
        token: str = "",
        network: str = "",
        timeout: float = 300.0,
    ) -> None:
        """Connect when the first call is made.

        Args:
            socket: An admin socket.
            url: Instead: where REST is served.
            token: Goes with the URL.
            network: Of the daemon; "": it is asked.
            timeout: The longest wait for an answer, in seconds.
        """
        self.where = url or str(socket)
        self._is_local = not url
        self._network = network
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            self._http = httpx.Client(
                base_url=url or "http://local",
                headers=headers,
                timeout=httpx.Timeout(timeout, connect=_CONNECT),
                # Proxies of the environment are for other places.
                transport=httpx.HTTPTransport(uds=None if url else str(socket)),
            )
        except (httpx.InvalidURL, UnicodeError) as error:
            raise SlipstreamError(
                f"{url!r} is not a URL: {error}", "use http://HOST:PORT or https://HOST:PORT"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    # ---- Calls --------------------------------------------------------------------------

    def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **more)
        except (httpx.TransportError, httpx.UnsupportedProtocol) as error:
            raise self._no_answer(error) from None
        if not answer.is_success:
            raise self._refusal(answer)
        return answer

    def _refusal(self, answer: httpx.Response) -> CallRefused:
        message, hints = f"the daemon answered {answer.status_code} {answer.reason_phrase}", []
        try:
            body = answer.json()
            message = str(body["message"])
            hints = [str(one).removeprefix("next: ") for one in body["chain"]]
        except (ValueError, LookupError, TypeError):
            pass
        code = answer.status_code
        # The socket asks for no token, so none can allow too little.
        if code in _HINTS and not ((code == 403 and self._is_local) or (code == 409 and hints)):
            hints.append(_HINTS[code])
        return CallRefused(code, message, "; ".join(hints))

    def _no_answer(self, error: Exception) -> SlipstreamError:
        said, hint = str(error) or type(error).__name__, _START
        if "WRONG_VERSION_NUMBER" in said or "RECORD_LAYER_FAILURE" in said:
            hint = "it does not speak TLS: write http://"
        elif isinstance(error, httpx.RemoteProtocolError) and self.where.startswith("http:"):
            hint = f"if it was started with --tls-cert, write https://; else {_START}"
        return SlipstreamError(f"no answer from {self.where}: {said}", hint)

    def _call(self, method: str, path: str = "", **more: Any) -> Any:
        answer = self._send(method, self._base() + path, **more)
        try:
            return answer.json()
        except ValueError:
            raise SlipstreamError(
                f"what {self.where} has answered is not JSON", "is that a slipstream daemon?"
            ) from None

    def _base(self) -> str:
        return f"/{self.network}/slipstream/plugins"

    @property
    def network(self) -> str:
        """The network of the daemon."""
        if not self._network:
            try:
                paths = self._send("GET", "/openapi.json").json()["paths"]
                found = next(path for path in paths if path.endswith("/slipstream/plugins"))
            except (ValueError, LookupError, TypeError, StopIteration):
                raise SlipstreamError(
                    f"what answers at {self.where} is not a slipstream daemon",
                    "check --url and --data-dir",
                ) from None
            self._network = found.split("/")[1]
        return self._network

    def names(self) -> list[str]:
        """Return the names of the loaded plugins."""
        found: list[str] = self._call("GET")
        return found

    def plugins(self) -> list[dict[str, Any]]:
        """Return the status of every plugin, in the order of loading."""
        found: list[dict[str, Any]] = self._call("GET", params={"status": 1})
        return found

    def status(self, name: str) -> dict[str, Any]:
        """Return everything that is known of a plugin."""
        found: dict[str, Any] = self._call("GET", _segment(name))
        return found

    def load(self, config_file: str) -> dict[str, Any]:
        """Load a plugin from a config file of the daemon's machine."""
        done: dict[str, Any] = self._call("POST", json={"config_file": config_file})
        return done

    def reload(self, name: str, config_file: str = "") -> dict[str, Any]:
        """Load a plugin anew, from another config file if one is named."""
        body = {"json": {"config_file": config_file}} if config_file else {}
        done: dict[str, Any] = self._call("PUT", _segment(name), **body)
        return done

    def upgrade(self, name: str, version: str) -> dict[str, Any]:
        """Let another installed version of a plugin's package serve."""
        body = {"version": version}
        done: dict[str, Any] = self._call("POST", f"{_segment(name)}/upgrade", json=body)
        return done

    def unload(self, name: str) -> dict[str, Any]:
        """Flush and unload a plugin."""
        done: dict[str, Any] = self._call("DELETE", _segment(name))
        return done

    def steer(self, name: str, what: str) -> dict[str, Any]:
        """Do something with a plugin: pause, resume or flush."""
        done: dict[str, Any] = self._call("POST", f"{_segment(name)}/{what}")
        return done

    def logs(self, name: str, lines: int) -> list[dict[str, Any]]:
        """Return the last log lines of a plugin."""
        found: list[dict[str, Any]] = self._call(
            "GET", f"{_segment(name)}/logs", params={"lines": lines}
        )
        return found

    def crashes(self, name: str) -> list[dict[str, Any]]:
        """Return the crash reports of a plugin, the newest first."""
        found: list[dict[str, Any]] = self._call("GET", f"{_segment(name)}/crashes")
        return found

    def follow(self, name: str, lines: int) -> Iterator[dict[str, Any]]:
        """Yield the last log lines of a plugin and those that come, until it is unloaded."""
        path = f"{self._base()}{_segment(name)}/logs"
        query: Mapping[str, int] = {"follow": 1, "lines": lines}
        kind = ""
        for line in self._stream(path, query, httpx.Timeout(_QUIET)):
            word, _, value = line.partition(": ")
            if word == "event":
                kind = value
            elif word == "data" and kind == "line":
                yield json.loads(value)
            elif word == "data" and kind == "lost":
                yield {"lost": json.loads(value).get("lost")}

    def dead_letters(self, name: str, skip: int, limit: int) -> Iterator[dict[str, Any]]:
        """Yield what a plugin has refused, the oldest first."""
        path = f"{self._base()}{_segment(name)}/dead-letters"
        for line in self._stream(path, {"skip": skip, "limit": limit}, self._http.timeout):
            if line:
                yield json.loads(line)

    def _stream(self, path: str, query: Mapping[str, int], timeout: httpx.Timeout) -> Iterator[str]:
        try:
            with self._http.stream("GET", path, params=query, timeout=timeout) as answer:
                if not answer.is_success:
                    answer.read()
                    raise self._refusal(answer)
                yield from answer.iter_lines()
        except (httpx.TransportError, httpx.UnsupportedProtocol) as error:
            raise self._no_answer(error) from None


def read_token(file: Path) -> str:
    """Return the token that a file holds.

    Raises:
        ConfigError: It holds none.
    """
    try:
        return read_small(file, _TOKEN_MAX).decode("ascii").strip()
    except (FileProblem, OSError, UnicodeError) as error:
        raise ConfigError(
            f"cannot read the token in {file}: {error}",
            "it is one line of ASCII, as `slipstream token issue` prints it",
        ) from None


def _segment(name: str) -> str:
    return "/" + quote(name, safe="")
