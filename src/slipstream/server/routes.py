"""THE table of routes: the application, its OpenAPI description and the page on it are made of it.

Each route has its paths thrice: plain, below ``/v1`` and below ``/v2``, as clients of snarkOS have
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

READ, WRITE, METRICS = "plugins:read", "plugins:write", "metrics:read"
SCOPES = (READ, WRITE, METRICS)
NETWORKS = ("mainnet", "testnet", "canary")
PREFIXES = ("", "/v1", "/v2")

_PLUGINS = "/{network}/slipstream/plugins"
_PLUGIN = f"{_PLUGINS}/{{name}}"

JSON, TEXT, HTML = "application/json", "text/plain", "text/html"
LINES, EVENTS = "application/x-ndjson", "text/event-stream"

Schema = dict[str, object]


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


_STRING: Schema = {"type": "string"}
_NULLABLE: Schema = {"type": ["string", "null"]}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_NUMBER: Schema = {"type": "number"}
_TRUE: Schema = {"const": True}
_ANY_OBJECT: Schema = {"type": "object"}

FAULT: Schema = _object(
    message=_STRING, error_type=_STRING, chain={"type": "array", "items": _STRING}
)
_CONFIG_FILE: Schema = {
    "type": "string",
    "minLength": 1,
    "description": "A config file below one of the folders that configs may be loaded from.",
}
_LOAD: Schema = {
    "type": "object",
    "properties": {"config_file": _CONFIG_FILE},
    "required": ["config_file"],
}
_VERSION: Schema = {
    "type": "object",
    "properties": {
        "version": {
            "type": "string",
            "minLength": 1,
            "description": "A version of the plugin's package that is installed.",
        }
    },
    "required": ["version"],
}
_RELOAD: Schema = {"type": "object", "properties": {"config_file": _CONFIG_FILE}}
_COUNTERS: Schema = _object(
    **dict.fromkeys(
        (
            *("accepted", "delivered", "dead", "told", "undelivered", "waiting", "dead_unkept"),
            *("lost", "acknowledged", "retrying", "lag"),
        ),
        _COUNT,
    )
)
STATUS: Schema = _object(
    name=_STRING,
    state=_STRING,
    reason=_STRING,
    since=_NUMBER,
    mode=_STRING,
    version=_STRING,
    path=_NULLABLE,
    digest=_STRING,
    config_file=_NULLABLE,
    kinds={"type": "array", "items": _STRING},
    counters=_COUNTERS,
    calls={"type": ["object", "null"]},
    restarts=_COUNT,
    pid={"type": ["integer", "null"]},
    callback=_object(count=_COUNT, total_ns=_COUNT, buckets={"type": "array", "items": _COUNT}),
    last_crash={"type": ["object", "null"]},
    config={"type": ["object", "null"]},
    metrics={"type": "array", "items": _ANY_OBJECT},
    package={
        "anyOf": [
            _object(
                package=_STRING,
                name=_STRING,
                version=_STRING,
                digest=_STRING,
                signer=_STRING,
                origin=_STRING,
                before={"type": "array", "items": _STRING},
                newer={"type": "array", "items": _STRING},
            ),
            {"type": "null"},
        ]
    },
)
_LINE: Schema = _object(
    number=_COUNT, time=_NUMBER, level=_STRING, text=_STRING, fields=_ANY_OBJECT
)


@dataclass(frozen=True)
class Query:
    """A number in the query.

    Attributes:
        name: Its name.
        usual: Its value where it is not given.
        most: The largest value.
        says: What it does.
    """

    name: str
    usual: int
    most: int
    says: str


@dataclass(frozen=True)
class Route:
    """One route.

    Attributes:
        method: GET, POST, PUT or DELETE; a GET answers HEAD, too.
        path: With ``{network}`` and ``{name}``.
        name: Of the function that answers.
        says: What it does, in a few words.
        scope: What the token has to allow; None: it needs none.
        gives: What a 200 has, by its content type.
        body: What the request has; None: nothing.
        body_required: Whether it must be there.
        query: What may stand in the query.
        more: Codes beside those that follow from the rest.
    """

    method: str
    path: str
    name: str
    says: str
    scope: str | None
    gives: Mapping[str, Schema]
    body: Schema | None = None
    body_required: bool = False
    query: tuple[Query, ...] = ()
    more: tuple[int, ...] = ()

    @property
    def field(self) -> str:
        """The one text that the body has."""
        properties = {} if self.body is None else self.body["properties"]
        return next(iter(properties), "") if isinstance(properties, dict) else ""

    @property
    def is_change(self) -> bool:
        """It changes something."""
        return self.method != "GET"

    @property
    def codes(self) -> list[int]:
        """Every code with which it answers, OPTIONS aside."""
        found = {200, 429, 500, 503, *self.more}
        if self.scope is not None:
            found |= {401, 403}
        if "{name}" in self.path:
            found |= {404}
        if self.is_change:
            found |= {403, 409}
        if self.body is not None:
            found |= {400, 408, 413, 415, 422}
        if self.query:
            found |= {400}
        return sorted(found)


_WHOLE = Query("status", 0, 1, "1: the whole status of each instead of its name")
_LIMIT = Query("limit", 1000, 100_000, "so many at most")
_SKIP = Query("skip", 0, 2**53, "leave out so many of the oldest")
_FOLLOW = Query("follow", 0, 1, "1: go on with what comes, as server-sent events")
_LAST = Query("lines", 100, 1000, "so many of the last lines")


def _named(word: str) -> Mapping[str, Schema]:
    return {JSON: _object(**{word: _STRING})}


ROUTES = (
    Route(
        *("GET", _PLUGINS, "list_plugins", "names of the loaded plugins", READ),
        {JSON: {"type": "array", "items": {"anyOf": [_STRING, STATUS]}}},
        query=(_WHOLE,),
    ),
    Route(
        *("POST", _PLUGINS, "load", "load a plugin", WRITE),
        _named("loaded"),
        body=_LOAD,
        body_required=True,
    ),
    Route("GET", _PLUGIN, "status", "everything known of a plugin", READ, {JSON: STATUS}),
    Route(
        *("PUT", _PLUGIN, "reload", "load a plugin anew, and let it take over", WRITE),
        {JSON: _object(reloaded=_STRING, version=_STRING, previous_version=_STRING)},
        body=_RELOAD,
    ),
    Route(
        *("DELETE", _PLUGIN, "unload", "flush and unload a plugin", WRITE),
        {JSON: _object(unloaded=_TRUE)},
    ),
    Route(
        *("POST", f"{_PLUGIN}/pause", "pause", "hold a plugin's events back", WRITE),
        _named("paused"),
    ),
    Route(
        *("POST", f"{_PLUGIN}/resume", "resume", "deliver to a paused plugin again", WRITE),
        _named("resumed"),
    ),
    Route(
        *("POST", f"{_PLUGIN}/flush", "flush", "wait until all is acknowledged", WRITE),
        _named("flushed"),
    ),
    Route(
        *("POST", f"{_PLUGIN}/upgrade", "upgrade", "let another installed version serve", WRITE),
        {JSON: _object(reloaded=_STRING, version=_STRING, previous_version=_STRING)},
        body=_VERSION,
        body_required=True,
    ),
    Route(
        *("POST", f"{_PLUGIN}/rollback", "rollback", "let the version before serve again", WRITE),
        {JSON: _object(reloaded=_STRING, version=_STRING, previous_version=_STRING)},
        more=(422,),  # of no package, or the version before does not start
    ),
    Route(
        *("GET", f"{_PLUGIN}/logs", "logs", "a plugin's last log lines", READ),
        {JSON: {"type": "array", "items": _LINE}, EVENTS: {}},
        query=(_FOLLOW, _LAST),
    ),
    Route(
        *("GET", f"{_PLUGIN}/crashes", "crashes", "crash reports, the newest first", READ),
        {JSON: {"type": "array", "items": _ANY_OBJECT}},
    ),
    Route(
        *("GET", f"{_PLUGIN}/dead-letters", "dead_letters", "what a plugin refused", READ),
        {LINES: _STRING},
        query=(_SKIP, _LIMIT),
    ),
    Route(
        *("GET", "/healthz", "healthz", "the process answers", None),
        {JSON: _object(healthy=_TRUE)},
    ),
    Route(
        *("GET", "/readyz", "readyz", "every plugin runs; else who does not", None),
        {JSON: _object(ready=_TRUE)},
    ),
    Route(
        *("GET", "/metrics", "metrics", "Prometheus text, or OpenMetrics", METRICS),
        {TEXT: _STRING, "application/openmetrics-text": _STRING},
    ),
    Route(
        *("GET", "/openapi.json", "openapi", "this, for programs", None),
        {JSON: _ANY_OBJECT},
    ),
    Route("GET", "/", "page", "the status page", None, {HTML: _STRING}),
)


def match(path: str) -> tuple[dict[str, Route], dict[str, str]]:
    """Find the routes of a path.

    Args:
        path: As it was asked for, with or without a prefix.

    Returns:
        Those routes by their method, none if there is no such path; and what stands for
        ``network`` and ``name``.
    """
    parts = path.split("/")
    if len(parts) > 2 and f"/{parts[1]}" in PREFIXES[1:]:
        parts = ["", *parts[2:]]
    found: dict[str, Route] = {}
    given: dict[str, str] = {}
    for route in ROUTES:
        values = _values(route.path.split("/"), parts)
        if values is not None:
            found[route.method] = route
            given = values
    return found, given


def _values(pattern: list[str], parts: list[str]) -> dict[str, str] | None:
    if len(pattern) != len(parts):
        return None
    values: dict[str, str] = {}
    for want, part in zip(pattern, parts, strict=True):
        if want.startswith("{") and part:
            values[want.strip("{}")] = part
        elif want != part:
            return None
    return values
