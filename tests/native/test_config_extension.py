"""slipstream.config/1 as a plugin sees it, and slipstream.testing.FakeHost on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipstream import PluginManager, PluginStartError, PluginState
from slipstream._native import lib
from slipstream.testing import FakeHost, Mapped
from support.workers import wait

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
    "thousand": 1e3,
    "minus_zero": -0.0,
    "two_63": 2**63,
    "keys": {"z": 1, "a": 2, "~": 3, "/": 4, "~1": 5, "0": 6, "-": 7, "n\0": 8, "": {"": 9}},
}
OK, WRONG_TYPE, OUT_OF_RANGE = (
    lib.SLIPSTREAM_OK,
    lib.SLIPSTREAM_WRONG_TYPE,
    lib.SLIPSTREAM_OUT_OF_RANGE,
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.sampled_from([2**63 - 1, 2**63, 2**64 - 1, -(2**63), 1e3, -0.0, 5e-324, 1e22, 2**53 + 1])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=8)
)
KEYS = st.text(st.sampled_from('~/01-"\\ aé\0\n😀'), max_size=4)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=24,
)


def config(library: Path, **changes: object) -> dict[str, object]:
    """26 members with `name` and `libpath`, as the plugin counts them."""
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


@pytest.mark.parametrize("mode", ["inline", "thread", "process"])
def test_the_data_folder_belongs_to_the_effective_name(compile_plugin, tmp_path, mode) -> None:
    library = tmp_path / "not-its-name.so"
    shutil.copy(compile_plugin("asker.c", name="asker"), library)
    data = tmp_path / "data"
    with PluginManager(data_dir=data, insecure_paths=True) as manager:
        base = {**config(library), "libpath": str(library), "mode": mode}
        base["own_config_dir"] = str(Path.cwd())
        for name, given in [("asker", {}), ("second", {"name": "second"})]:
            own = {**base, "own_data_dir": str(data / name), **given}
            manager.load_plugin(own)
            assert (data / name).is_dir()
            manager.reload_plugin(name, own)
        if mode == "process":  # and after a crash
            plugins = manager.plugins.values()
            for plugin in plugins:
                os.kill(plugin.pid, signal.SIGKILL)
            wait(lambda: all(plugin.restarts == 1 and plugin.pid for plugin in plugins))
            assert {plugin.state for plugin in manager.plugins.values()} == {PluginState.RUNNING}
    assert sorted(path.name for path in data.iterdir()) == ["asker", "second"]


def written(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def sized(text: bytes) -> bytes:
    return struct.pack("=I", len(text)) + text


def numbers(value: object) -> Iterator[bytes]:
    """What get_bool, get_i64, get_u64 and get_f64 answer, as the walker writes it."""
    flag, number = isinstance(value, bool), not isinstance(value, bool)
    whole, real = number and isinstance(value, int), number and isinstance(value, int | float)
    yield struct.pack("=iII", *((OK, value, 0) if flag else (WRONG_TYPE, 7, 0)))
    for form, low, high in (("=iq", -(2**63), 2**63), ("=iQ", 0, 2**64)):
        if whole and low <= value < high:
            yield struct.pack(form, OK, value)
        else:
            yield struct.pack(form, OUT_OF_RANGE if whole else WRONG_TYPE, 7)
    yield struct.pack("=id", *((OK, float(value)) if real else (WRONG_TYPE, 7.0)))


def walked(value: object, pointer: str = "") -> Iterator[bytes]:
    """What the walker writes for a value and all that is in it."""
    types = {type(None): 0, bool: 1, int: 2, float: 2, str: 3, list: 4, dict: 5}
    text = value.encode() if isinstance(value, str) else b""
    items = value if isinstance(value, list | dict) else text
    yield sized(pointer.encode()) + struct.pack("=IQ", types[type(value)], len(items))
    yield from numbers(value)
    yield struct.pack("=i", OK if isinstance(value, str) else WRONG_TYPE) + sized(text)
    yield sized(written(value))
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if items != text else ()
    for key, item in pairs:
        if "\0" not in str(key):
            token = str(key).replace("~", "~0").replace("/", "~1")
            yield from walked(item, f"{pointer}/{token}")


@settings(max_examples=150, deadline=None)
@given(own=VALUES)
def test_every_value_is_found(compile_plugin, tmp_path_factory, own: object) -> None:
    """Whatever a config may hold, the extension says what the JSON for on_load says."""
    library = compile_plugin("walker.c", name="walker")
    out = tmp_path_factory.getbasetemp() / "walked"
    with FakeHost(library, {"out": str(out), "own value": own}) as host:
        assert host.logs == []
    whole = {"name": "walker", "libpath": str(library), "out": str(out), "own value": own}
    assert out.read_bytes() == sized(written(whole)) + b"".join(walked(whole))
