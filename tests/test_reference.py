"""Pages and pictures that are made of the code are what their tools write; the site is whole."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from slipstream.cli import cli
from slipstream.errors import Refusal

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
TOOLS = ("api_page", "commands_page", "config_page", "errors_page", "metrics_page", "pictures")
# What pages and messages of commands may tell to type; not prose such as "make it so".
TYPED = re.compile(r"(?:^\$ |`)(slipstream|make) ([a-z][\w-]*)(?: ([a-z][\w-]*))?", re.MULTILINE)


_WRITE = """
import json, runpy, sys
pages = [runpy.run_path(f"tools/{tool}.py")["pages"]() for tool in sys.argv[1:]]
print(json.dumps({name: text for some in pages for name, text in some.items()}))
"""


@pytest.mark.no_asan
def test_what_is_made_of_the_code_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WRITE, *TOOLS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pages = json.loads(done.stdout)
    assert len(pages) >= 10
    for name, text in pages.items():
        assert (DOCS / name).read_text(encoding="utf-8") == text, f"{name}: run make pages"


def test_every_refusal_has_its_place() -> None:
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    for one in Refusal:
        assert f"### {one.value}\n`Refusal.{one.name}`" in page


def commands() -> dict[str, set[str]]:
    """Each command with those below it."""
    context = click.Context(cli)
    found = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    return {name: set(getattr(one, "commands", {})) for name, one in found.items()}


def test_every_command_that_a_page_tells_to_type_exists() -> None:
    known = commands()
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    # What `slipstream new` and the examples have of their own.
    targets |= {"check", "run", "debug"}
    seen = 0
    for page in [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *ROOT.glob("examples/*/README.md")]:
        for program, first, second in TYPED.findall(page.read_text(encoding="utf-8")):
            seen += 1
            if program == "make":
                assert first in targets, f"{page.name}: make {first}"
            else:
                assert first in known, f"{page.name}: slipstream {first}"
                if known[first] and second:
                    assert second in known[first], f"{page.name}: slipstream {first} {second}"
    assert seen > 100


@pytest.mark.no_asan
def test_the_site_has_no_broken_link_and_every_page(tmp_path) -> None:
    # Not --quiet, with which strict mode does not hear of warnings.
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mkdocs", "build"),
            *("-f", str(ROOT / "tools/site/mkdocs.yml"), "-d", str(tmp_path / "site")),
        ],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    index = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    side = index.partition('aria-label="Navigation"')[2].partition("</nav>\n")[0] + index
    for page in DOCS.glob("*.md"):
        html = f"{page.stem}.html"
        assert (tmp_path / "site" / html).is_file()
        assert f'href="{html}"' in side or page.name == "index.md", page.name
    assert "https://fonts" not in index
