"""The object `host`: keys of the host that can never be a plugin's."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipstream.config import Mode, Overflow, PluginConfig, parse_config
from slipstream.errors import ConfigError, LibPathNotSet

FOLDER = Path("/")


def test_any_key_of_the_host_may_stand_there() -> None:
    inside = "{host: {libpath: 'a.so', mode: 'thread', retry: {max_time: 9}}, own: 1}"
    config = parse_config(inside, folder=FOLDER)
    assert (config.libpath, config.mode, config.retry.max_time) == (Path("/a.so"), Mode.THREAD, 9)
    assert config.own == {"own": 1}
    same = parse_config(
        "{libpath: 'a.so', mode: 'thread', retry: {max_time: 9}, own: 1}", folder=FOLDER
    )
    assert config == same
    mixed = PluginConfig.from_mapping(
        {"libpath": "a.so", "host": {"overflow": "drop_newest"}}, folder=FOLDER
    )
    assert mixed.overflow is Overflow.DROP_NEWEST
    assert "host" not in mixed.own


@pytest.mark.parametrize(
    ("text", "says", "line"),
    [
        ("{libpath: 'a',\n host: {moed: 'thread'}}", 'did you mean "mode"', ":2:9"),
        ("{libpath: 'a', mode: 'thread',\n host: {mode: 'thread'}}", "is given twice", ":2:"),
        ("{libpath: 'a',\n host: {mode: 'fast'}}", "host.mode", ":2:"),
        ("{libpath: 'a',\n host: {mode: 'inline', user: 'x'}}", "no effect in mode", ":2:"),
        ("{libpath: 'a',\n host: {restart: {initial_delay: 9, max_delay: 1}}}", "longer", ":2:"),
        ("{libpath: 'a', host: {host: {}}}", "is not a key of host", ":1:"),
    ],
)
def test_what_is_wrong_there_is_told_with_its_place(text: str, says: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, folder=FOLDER, source="x.json5")
    assert says in str(caught.value)
    assert line in str(caught.value)


@pytest.mark.parametrize("value", ["'db.example'", "7", "['a']", "true"])
def test_what_is_no_object_is_the_plugins_own(value: str) -> None:
    config = parse_config(f"{{libpath: 'a', host: {value}}}", folder=FOLDER)
    assert list(config.own) == ["host"]


def test_no_library_anywhere() -> None:
    with pytest.raises(LibPathNotSet):
        parse_config("{host: {mode: 'thread'}}", folder=FOLDER)
