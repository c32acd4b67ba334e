"""docs/checks.md is what its tool writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from slipstream.check.catalogue import catalogue

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "checks.md"


def test_the_page_is_up_to_date() -> None:
    tool = ROOT / "tools" / "checks_page.py"
    code = f"import runpy; print(runpy.run_path({str(tool)!r})['page'](), end='')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    text = PAGE.read_text(encoding="utf-8")
    assert done.stdout == text, "run: python tools/checks_page.py"
    assert all(f"| `{name}`" in text for name in catalogue())
