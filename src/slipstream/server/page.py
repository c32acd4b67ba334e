"""The status page: one file of the package, which may load and run nothing but what is in it."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class Page:
    """The page as it is answered."""

    content: bytes
    headers: dict[str, str]


@functools.cache
def page() -> Page | None:
    """Return the page; None where the package has none."""
    try:
        content = resources.files("slipstream.server").joinpath("page.html").read_bytes()
    except FileNotFoundError:
        return None
    rules = [
        "default-src 'none'",
        *(f"{kind}-src {_digests(kind, content)}" for kind in ("script", "style")),
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    return Page(content, {"Content-Security-Policy": "; ".join(rules)})


def _digests(kind: str, content: bytes) -> str:
    """Return the digests of the scripts or styles that stand in a page, as a policy has them."""
    parts = re.findall(rb"<%b[^>]*>(.*?)</%b>" % (kind.encode(), kind.encode()), content, re.DOTALL)
    found = [base64.b64encode(hashlib.sha256(part).digest()).decode() for part in parts]
    return " ".join(f"'sha256-{digest}'" for digest in found) or "'none'"
