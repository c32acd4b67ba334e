"""The reference page says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from slipstream.config import parse_config
from slipstream.config._keys import RULES
from slipstream.errors import ConfigError

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
SOURCE = "/etc/slipstream/postgres.json5"
TABLES = re.findall(r"^<!-- (\w+): made by .*?$(.*?)^<!-- end", PAGE, re.DOTALL | re.MULTILINE)
ROWS = [
    (table, *row)
    for table, text in TABLES
    for row in re.findall(r"^\| \[?`(\w+)`[^|]*\| [^|]+ \| ([^|]+) \| .* \|$", text, re.MULTILINE)
]


def _parse(text: str) -> object:
    return parse_config(text, folder="/etc/slipstream", source=SOURCE)


def test_every_key_has_its_row_and_its_section() -> None:
    assert {key for table, key, _ in ROWS if table == "host"} == set(RULES)
    for key, rule in RULES.items():
        assert {inner for table, inner, _ in ROWS if table == key} == set(rule.parts)
        assert re.search(rf"^### .*`{key}`", PAGE, re.MULTILINE), key


@pytest.mark.parametrize(("table", "key", "default"), ROWS)
def test_the_defaults_are_those_of_the_code(table: str, key: str, default: str) -> None:
    code = re.fullmatch(r"`(.*)`", default)
    if code is None:
        assert default in {"required", "no limit", "not checked"} or "'s" in default
        return
    entry = f"{key}: {code[1]}"
    if table != "host":
        entry = f"{table}: {{ {entry} }}"
    assert _parse(f'{{ libpath: "x", {entry} }}') == _parse('{ libpath: "x" }')


@pytest.mark.parametrize("example", re.findall(r"Example:\s`(.*?)`\.", PAGE, re.DOTALL))
def test_the_examples_are_accepted(example: str) -> None:
    entry = example if example.startswith("libpath") else f'libpath: "x", {example}'
    _parse(f"{{ {entry} }}")


BLOCKS = re.findall(r"^```(json5|text)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_first_block_is_a_config() -> None:
    assert _parse(BLOCKS[0][1])


@pytest.mark.parametrize(
    ("text", "output"), [(BLOCKS[at - 1][1], b[1]) for at, b in enumerate(BLOCKS) if b[0] == "text"]
)
def test_the_errors_shown_are_the_real_ones(text: str, output: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _parse(text)
    assert str(caught.value) + "\n" == output


def test_the_errors_named_exist() -> None:
    classes = {cls.__name__ for cls in ConfigError.__subclasses__()} | {"ConfigError"}
    assert set(re.findall(r"^\| `(\w+)` \| [^|]+ \|$", PAGE, re.MULTILINE)) == classes
