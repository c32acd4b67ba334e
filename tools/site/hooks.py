"""What the site needs beside the pages of docs/, for mkdocs.

* The navigation is docs/index.md: each `##` heading is a section, each list item's first link a
  page.
* What pages link to outside of docs/ (examples, headers) becomes a part of the site, so that each
  link leads somewhere and is checked. Source files are shown as code.
* The information behind the language of a fence (```` ```c file=count.c ````) becomes its title.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, Files, InclusionLevel

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
_FENCE = re.compile(r"^( *)```(\w+) file=(\S+)$", re.MULTILINE)
_LANGUAGES = {".h": "c", ".c": "c", ".hpp": "cpp", ".cpp": "cpp", ".rs": "rust", ".json": "json",
              ".service": "ini", ".yml": "yaml", ".py": "python", ".xsd": "xml"}  # fmt: skip
_ASIDE = InclusionLevel.NOT_IN_NAV
_UNSEARCHED = "---\nsearch: {exclude: true}\nhide: [toc]\n---\n"
_IMAGES = {".svg", ".png"}


def on_config(config: MkDocsConfig) -> None:
    """Take the navigation from the index."""
    nav: list[object] = [{"Start": "index.md"}]
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    for section in re.split(r"^## ", index, flags=re.MULTILINE)[1:]:
        title, _, rest = section.partition("\n")
        links = re.findall(r"^\* \[([^]]+)\]\(([^)#\s]+)\)", rest, re.MULTILINE)
        pages = [{name: _uri(_path("docs/index.md", link))} for name, link in links]
        if pages:
            nav.append({title: pages})
    config.nav = nav


def _path(page: str, link: str) -> str:
    """Where a link of a page leads, from the top of the checkout."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link))


def _uri(path: str) -> str:
    """What stands for a path of the checkout in the site."""
    if path == "README.md":
        return "index.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if (ROOT / path).is_dir():
        return f"{path}/{'README.md' if (ROOT / path / 'README.md').exists() else 'index.md'}"
    return path if Path(path).suffix in {".md", *_IMAGES} else f"{path}.md"


def _linked(path: str) -> set[str]:
    """The paths to which a page links outside of docs/."""
    text = (ROOT / path).read_text("utf-8")
    found = {_path(path, match[2]) for match in _LINK.finditer(text) if "://" not in match[2]}
    return {one for one in found if not one.startswith(("docs", "..")) and (ROOT / one).exists()}


def _content(path: str) -> str:
    """The page for what is no page: a folder, or a file that is read as text."""
    whole = ROOT / path
    if whole.is_dir():
        names = sorted(
            one.name
            for one in whole.iterdir()
            if one.suffix not in {".so", ".pyc"} and one.name[0] not in "._"
        )
        rows = [
            f"* [{name}]({name}/README.md)"
            if (whole / name / "README.md").exists()
            else f"* {name}"
            for name in names
        ]
        return f"# {path}\n\n" + "\n".join(rows) + "\n"
    language = _LANGUAGES.get(whole.suffix, "text")
    fence = "`" * 6
    numbers = ' linenums="1"' if language == "c" else ""
    shown = f"{fence}{language}{numbers}\n{whole.read_text('utf-8')}{fence}"
    return f"{_UNSEARCHED}# {whole.name}\n\n{shown}\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is linked, and what that links to."""
    todo = {
        path
        for page in sorted((ROOT / "docs").glob("*.md"))
        for path in _linked(f"docs/{page.name}")
    }
    done: set[str] = set()
    while todo - done:
        path = min(todo - done)
        done.add(path)
        uri = _uri(path)
        if uri in files.src_uris:
            continue
        whole = ROOT / path
        source = whole / "README.md" if whole.is_dir() else whole
        if source.exists() and source.suffix in {".md", *_IMAGES}:
            made = File.generated(config, uri, abs_src_path=str(source), inclusion=_ASIDE)
        else:
            made = File.generated(config, uri, content=_content(path), inclusion=_ASIDE)
        files.append(made)
        if source.suffix == ".md" and source.exists():
            todo |= _linked(os.path.relpath(source, ROOT))
        elif whole.is_dir():
            todo |= {f"{path}/{one.parent.name}/README.md" for one in whole.glob("*/README.md")}
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links and fences be those of the site."""
    del config, files
    uri = page.file.src_uri
    here = f"docs/{uri}" if (ROOT / "docs" / uri).exists() else uri

    def link(match: re.Match[str]) -> str:
        path = _path(here, match[2])
        if "://" in match[2] or not (ROOT / path).exists():
            return match[0]
        target = posixpath.relpath(_uri(path), posixpath.dirname(uri) or ".")
        return f"{match[1]}{target}{match[3] or ''}{match[4]}"

    return _FENCE.sub(r'\1```\2 title="\3"', _LINK.sub(link, markdown))
