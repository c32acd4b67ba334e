"""What the pages show works: their commands run, their code compiles, their links lead somewhere.

`support/pages.py` says how a page is read.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.pages import Session, blocks, missing_line

ROOT = Path(__file__).resolve().parents[1]
# These have tests of their own: config/test_config_docs.py, cli/test_cli_docs.py, test_tutorial.py.
ELSEWHERE = {"configuration.md", "commands.md", "tutorial.md"}
ALL_PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/README.md")]
)
PAGES = [p for p in ALL_PAGES if p.parent != ROOT / "examples" and p.name not in ELSEWHERE]
PAGES = [p for p in PAGES if ROOT / "examples" not in p.parents]


@pytest.mark.no_asan
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page(page: Path, tmp_path: Path) -> None:
    session = Session(page, tmp_path)
    try:
        for block in blocks(page):
            session.take(block)
    finally:
        session.end()
    if session.missing:
        pytest.skip(f"all but what needs {', '.join(sorted(session.missing))}, which is not here")


def test_output_is_really_compared() -> None:
    assert missing_line("a ... c\n...\nd", "x\na b c\ny\nd") is None
    assert missing_line("d\na", "a\nd") == "a"
    assert missing_line("a.c", "abc") == "a.c"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    text = re.sub(
        r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = page.parent / path if path else page
        assert found.exists(), f"{page.name}: nothing at {target}"
        if anchor:
            assert anchor in anchors(found), f"{page.name}: no heading for {target}"


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"({page.name})" in index, page.name
