"""slipstream.config/1 as a plugin sees it, and slipstream.testing.FakeHost on the way."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from slipstream import PluginManager, PluginStartError
from slipstream.testing import FakeHost, Mapped

OWN: dict[str, object] = {
    "null": None,
    "true": True,
    "int": -42,
    "i64_min": -(2**63),
    "i64_max": 2**63 - 1,
    "u64_max": 2**64 - 1,
    "zero": 0,
    "half": -0.5,
    "large": sys.float_info.max,
    "text": "hello",
    "odd": '"\\/\n\t\x01\U0001f600é\0z',
    "list": [1, False, "", ["deep"]],
    "empty": [],
    "object": {"x": {"y": "deep"}, 'k"\n': 1},
    "a/b~c": 1,
    "": "empty key",
    "ü": 1,
    "own_data_dir": "",
}


def config(library: Path, **changes: object) -> dict[str, object]:
    """22 members with `name` and `libpath`, as the plugin counts them."""
    return {**OWN, "own_config_dir": str(library.parent), "spare": 0, **changes}


def test_all_getters(compile_plugin) -> None:
    library = compile_plugin("asker.c", name="asker")
    with FakeHost(library, config(library)) as host:
        assert host.logs == []
        assert host.close() is Mapped.GONE


def test_the_checks_can_fail(compile_plugin) -> None:
    library = compile_plugin("asker.c", name="asker")
    for key, value in [("int", 42), ("text", "hallo"), ("half", -0.25), ("spare2", 1)]:
        with pytest.raises(PluginStartError, match=r"line \d+: "):
            FakeHost(library, config(library, **{key: value})).__enter__()


def test_the_data_folder_belongs_to_the_effective_name(compile_plugin, tmp_path) -> None:
    library = compile_plugin("asker.c", name="asker")
    with PluginManager(data_dir=tmp_path) as manager:
        base = {**config(library), "libpath": str(library)}
        base["own_config_dir"] = str(Path.cwd())
        for name, given in [("asker", {}), ("second", {"name": "second"})]:
            folder = tmp_path / name
            own = {**base, "own_data_dir": str(folder), **given}
            manager.load_plugin(own)
            assert folder.is_dir()
            manager.reload_plugin(name, own)
