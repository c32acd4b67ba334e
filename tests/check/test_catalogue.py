"""The catalogue of checks: whole, true to the header, and with examples that compile."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from importlib import resources
from pathlib import Path

import pytest

from slipstream.check import catalogue as catalogue_module
from slipstream.check.catalogue import SECTIONS, catalogue, rule_line

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
HEADER = ROOT / "include" / "slipstream.h"
OTHER_LANGUAGE = re.compile(r"(#|//) ")

CHECKS = catalogue()


def test_every_file_is_a_section_and_every_section_a_file() -> None:
    folder = resources.files(catalogue_module)
    files = {file.name for file in folder.iterdir() if file.name.endswith(".toml")}
    assert files == {f"{section}.toml" for section in SECTIONS}


def test_every_check_is_whole() -> None:
    ids = [check.id for check in CHECKS.values()]
    assert len(ids) >= 100
    for check in CHECKS.values():
        section, _, name = check.id.partition(".")
        assert section in SECTIONS, check.id
        assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name), check.id
        assert check.level in {"fail", "warn", "note"}, check.id
        for text in (check.why, check.mend):
            assert text.endswith("."), (check.id, text)
            assert len(text) < 480, (check.id, len(text))
        assert 1 <= len(check.example.splitlines()) <= 12, check.id
        assert all(len(line) <= 100 for line in check.example.splitlines()), check.id


def test_checks_stand_in_the_file_of_their_section() -> None:
    for section in SECTIONS:
        text = (resources.files(catalogue_module) / f"{section}.toml").read_text(encoding="utf-8")
        assert {name.partition(".")[0] for name in tomllib.loads(text)} == {section}


def test_titles_are_short_and_tell_the_checks_apart() -> None:
    titles = [check.title for check in CHECKS.values()]
    assert len(set(titles)) == len(titles)
    for title in titles:
        assert 0 < len(title) <= 48, title
        assert not title.endswith("."), title
        first = title.split()[0]
        assert first == first.lower() or first == "RELRO", title


def test_every_need_is_a_check_and_none_needs_itself() -> None:
    done: set[str] = set()
    waiting = dict(CHECKS)
    for check in CHECKS.values():
        assert set(check.needs) <= set(CHECKS), (check.id, check.needs)
        assert len(set(check.needs)) == len(check.needs), check.id
        assert check.needs or check.id == "binary.kind"
    while waiting:
        ready = [name for name, check in waiting.items() if set(check.needs) <= done]
        assert ready, f"a circle in {sorted(waiting)}"
        done.update(ready)
        for name in ready:
            del waiting[name]


def test_what_the_quick_suite_needs_is_quick() -> None:
    for check in CHECKS.values():
        if check.quick:
            assert all(CHECKS[need].quick for need in check.needs), check.id


def test_every_rule_stands_in_the_header() -> None:
    lines = HEADER.read_text(encoding="utf-8").splitlines()
    for check in CHECKS.values():
        assert bool(check.rule) != bool(check.reason_of_rule), check.id
        for excerpt in check.rule:
            assert excerpt == " ".join(excerpt.split()), check.id
            at = rule_line(excerpt)
            assert excerpt.split()[0] in lines[at - 1], (check.id, at)


def test_the_line_of_a_rule() -> None:
    lines = HEADER.read_text(encoding="utf-8").splitlines()
    assert "(const uint8_t *data, size_t len)" in lines[rule_line("(const uint8_t *data") - 1]
    # An excerpt may go over comment marks and line ends, and begin within a line.
    broken = "What one side hands over is copied by the other before the call returns"
    assert "Nothing is freed across the boundary." in lines[rule_line(broken) - 1]
    assert "SLIPSTREAM_FLAG_RESIDENT" in lines[rule_line("never unmap; such a library") - 1]
    for nothing in ("a plugin may do as it likes", ""):
        with pytest.raises(ValueError, match="does not say"):
            rule_line(nothing)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="functions in functions are GNU C")
def test_the_examples_in_c_compile(tmp_path: Path) -> None:
    """All in one file: each is the body of a function, so that their names do not meet."""
    parts = [(HERE / "examples_in_c.h").read_text(encoding="utf-8")]
    for number, check in enumerate(CHECKS.values()):
        if OTHER_LANGUAGE.match(check.example):
            continue
        code = re.sub(r"^#include .*$", "", check.example, flags=re.MULTILINE)
        parts.append(f'int32_t example_{number}(EXAMPLE) {{\n{{\n#line 1 "{check.id}"\n{code}\n}}')
        parts.append("return SLIPSTREAM_OK;\n}\n")
    assert len(parts) > 200
    (tmp_path / "examples.c").write_text("\n".join(parts), encoding="utf-8")
    flags = "-std=gnu11 -fsyntax-only -Wall -Wextra -Werror -Wno-unused".split()
    done = subprocess.run(
        ["gcc", *flags, "-I", str(HEADER.parent), str(tmp_path / "examples.c")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
