"""Write the tables of docs/rest.md out of the table of routes that serves.

python tools/rest_page.py

`tests/server/test_openapi.py` holds the page against the routes.
"""

from __future__ import annotations

from pathlib import Path

from slipstream.server.answers import phrase_of, type_of
from slipstream.server.routes import JSON, ROUTES, Route

PAGE = Path(__file__).resolve().parents[1] / "docs" / "rest.md"
BEGIN, END = "<!-- routes: made by tools/rest_page.py -->", "<!-- end of the routes -->"

_FOR_ALL = {429, 500, 503}


def _row(route: Route) -> str:
    query = "".join(f" `?{query.name}`" for query in route.query)
    codes = ", ".join(str(code) for code in route.codes if code not in _FOR_ALL)
    gives = " or ".join(f"`{kind}`" for kind in route.gives if kind != JSON)
    says = f"{route.says} ({gives})" if gives else route.says
    scope = f"`{route.scope}`" if route.scope else "-"
    return f"| `{route.method}` | `{route.path}`{query} | {says} | {scope} | {codes} |"


def tables() -> str:
    """Return the tables of the page."""
    codes = sorted({code for route in ROUTES for code in route.codes if code != 200} | {405})
    rows = [f"| {code} | `{type_of(code)}` | {phrase_of(code)} |" for code in codes]
    return "\n".join(
        [
            BEGIN,
            "",
            "| method | path | what | scope | codes |",
            "|---|---|---|---|---|",
            *map(_row, ROUTES),
            "",
            f"Each may also answer {', '.join(map(str, sorted(_FOR_ALL)))}, and every path 405.",
            "",
            "| code | `error_type` | |",
            "|---|---|---|",
            *rows,
            "",
            END,
        ]
    )


def page() -> str:
    """Return the page with its tables as they have to be."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    return before + tables() + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
