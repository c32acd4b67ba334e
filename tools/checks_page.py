"""Write docs/checks.md, the list of all checks of a plugin, out of their catalogue.

python tools/checks_page.py

`tests/check/test_checks_page.py` holds the page against the catalogue.
"""

from __future__ import annotations

from pathlib import Path

from slipstream.check.catalogue import SECTIONS, Check, catalogue, rule_line

PAGE = Path(__file__).resolve().parents[1] / "docs" / "checks.md"

_HEAD = """\
# Checks

All that `slipstream check` tries, in the order in which it does; [Checking](checking.md) says how
it is used. This page is made of the checks' catalogue by `tools/checks_page.py`.

A finding of a `fail` check means that the plugin breaks the contract; of a `warn` check that it
will make trouble somewhere; of a `note` check that it could be better. Those with a * are part of
`--quick`. The number is the line of [slipstream.h](../include/slipstream.h) in which the rule
stands. `slipstream checks --explain ID` says why a rule is there, how to fix what breaks it, and
shows a few lines that keep it.
"""

_WHAT = {
    "binary": "the file, without anything of it running",
    "entry": "opening it, and its constructor",
    "table": "what the constructor returns",
    "lifecycle": "from the constructor to destroy",
    "subscriptions": "which events it wants",
    "events": "what it does with events, and with the memory in which they lie",
    "errors": "how it says that something went wrong",
    "threads": "which threads call it, and its own",
    "unload": "whether it goes when it is told to",
    "resources": "what it takes and does not give back",
    "hygiene": "what it changes in a process that is not its own",
    "hostile": "events that no source should send",
    "contract": "the finer points of slipstream.h",
    "peers": "what it takes from peers, and asks of a host that has them",
}


def _row(check: Check) -> str:
    mark = " *" if check.quick else ""
    lines = ", ".join(str(rule_line(text)) for text in check.rule) or "-"
    return f"| `{check.id}`{mark} | {check.level} | {check.title} | {lines} |"


def page() -> str:
    """Return the page."""
    checks = list(catalogue().values())
    parts = [_HEAD, f"{len(checks)} checks, {sum(one.quick for one in checks)} of them quick.\n"]
    for section in SECTIONS:
        of_it = [one for one in checks if one.id.startswith(f"{section}.")]
        rows = "\n".join(map(_row, of_it))
        parts.append(
            f"## {section}\n{_WHAT[section].capitalize()}.\n\n"
            f"| check | finding | holds if it passes | line |\n|---|---|---|---|\n{rows}\n"
        )
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
