"""The OpenAPI 3.1 description of the routes, made of their table."""

from __future__ import annotations

from collections.abc import Callable

from slipstream import __version__
from slipstream.server.answers import phrase_of
from slipstream.server.limits import BODY_BYTES
from slipstream.server.routes import FAULT, JSON, PREFIXES, ROUTES, Route

_FAULT = {"$ref": "#/components/schemas/Fault"}
_OPTIONS = (204, 403, 429, 500, 503)


def description(network: str, root: str, offers: Callable[[Route], bool]) -> dict[str, object]:
    """Return the description.

    Args:
        network: The network of this host.
        root: Where the application is mounted.
        offers: Says which routes there are.
    """
    paths: dict[str, dict[str, object]] = {}
    for route in filter(offers, ROUTES):
        operations = paths.setdefault(route.path.replace("{network}", network), {})
        operations[route.method.lower()] = _operation(route)
        if route.method == "GET":
            operations["head"] = _operation(route, head=True)
        if "{name}" in route.path:
            operations["parameters"] = [
                {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
            ]
        operations.setdefault(
            "options",
            {
                "operationId": f"options_{route.name}",
                "summary": "what a page of another origin may do",
                "responses": {str(code): _answer(code, None, head=False) for code in _OPTIONS},
                "security": [],
            },
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": "slipstream", "version": __version__},
        "servers": [{"url": root + prefix or "/"} for prefix in PREFIXES],
        "paths": paths,
        "components": {
            "schemas": {"Fault": FAULT},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }


def _operation(route: Route, *, head: bool = False) -> dict[str, object]:
    operation: dict[str, object] = {
        "operationId": f"head_{route.name}" if head else route.name,
        "summary": route.says,
        "security": [] if route.scope is None else [{"token": [route.scope]}],
        "responses": {str(code): _answer(code, route, head=head) for code in route.codes},
    }
    if route.query:
        operation["parameters"] = [
            {
                "name": query.name,
                "in": "query",
                "description": query.says,
                "schema": {
                    "type": "integer",
                    "minimum": 0,
                    "maximum": query.most,
                    "default": query.usual,
                },
            }
            for query in route.query
        ]
    if route.body is not None:
        operation["requestBody"] = {
            "required": route.body_required,
            "description": f"at most {BODY_BYTES} bytes",
            "content": {JSON: {"schema": route.body}},
        }
    return operation


def _answer(code: int, route: Route | None, *, head: bool) -> dict[str, object]:
    answer: dict[str, object] = {"description": phrase_of(code)}
    if head or code == 204:
        return answer
    if code == 200 and route is not None:
        answer["content"] = {kind: {"schema": schema} for kind, schema in route.gives.items()}
    else:
        answer["content"] = {JSON: {"schema": _FAULT}}
    return answer
