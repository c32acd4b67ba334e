"""Configs that are right, and what becomes of them."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path

import json5
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slipstream.config import (
    JsonValue,
    Limits,
    Mode,
    Overflow,
    PluginConfig,
    Reload,
    Restart,
    load_config,
    parse_config,
    plugin_config,
)
from slipstream.config._keys import RULES
from slipstream.errors import ConfigError, InvalidConfigFileFormat
from support.packed import packed_json
from support.systems import only_posix

FULL = """\ufeff// every key
{
  libpath: './build/../libfull.so', name: "full-1.0", mode: "process", overflow: "drop_oldest",
  ring_bytes: "64KiB", block_timeout: 0, dead_letter: "dead.capture", reload: "overlap",
  callback_timeout: 0, load_timeout: .5, unload_timeout: 3600, flush_interval: 1e-2,
  restart: { initial_delay: 1, max_delay: 2, max_crashes: 3, window: 4, },
  limits: { memory: 0x10000000, open_files: 64 },
  user: "nobody", sha256: "%s", enabled: false,
  table: "t", nested: { deep: [1, -2, null, true, 1.5, "é"] }, /* the plugin's own */
}
""" % ("AB" * 32)


def test_every_key_reaches_its_field(tmp_path: Path) -> None:
    (tmp_path / "build").mkdir()
    file = tmp_path / "full.json5"
    file.write_text(FULL, encoding="utf-8")
    assert load_config(file) == PluginConfig(
        libpath=tmp_path / "libfull.so",
        name="full-1.0",
        mode=Mode.PROCESS,
        overflow=Overflow.DROP_OLDEST,
        ring_bytes=65536,
        block_timeout=0.0,
        dead_letter=tmp_path / "dead.capture",
        reload=Reload.OVERLAP,
        callback_timeout=0.0,
        load_timeout=0.5,
        unload_timeout=3600.0,
        flush_interval=0.01,
        restart=Restart(initial_delay=1, max_delay=2, max_crashes=3, window=4),
        limits=Limits(memory=0x10000000, open_files=64),
        user="nobody",
        sha256="ab" * 32,
        enabled=False,
        own={"table": "t", "nested": {"deep": [1, -2, None, True, 1.5, "é"]}},
        source=file,
        folder=tmp_path,
    )


def test_every_field_has_a_key_and_the_other_way_round() -> None:
    fields = {f.name for f in dataclasses.fields(PluginConfig)}
    assert set(RULES) == fields - {
        *("own", "source", "folder"),
        *("document", "content", "own_from"),
    }


def test_defaults() -> None:
    config = parse_config('{libpath: "x.so"}', folder="/nowhere")
    assert config == PluginConfig(libpath=Path("/nowhere/x.so"), folder=Path("/nowhere"))
    assert config.ring_bytes == 16 * 2**20
    assert (config.block_timeout, config.callback_timeout) == (5, 30)
    assert (config.load_timeout, config.unload_timeout, config.flush_interval) == (30, 10, 1)
    assert config.restart == Restart(initial_delay=0.1, max_delay=30, max_crashes=5, window=60)
    assert config.mode is None
    assert config.enabled


@pytest.mark.parametrize("key", ["restart", "retry"])
def test_delays_may_be_equal(key: str) -> None:
    text = f'{{libpath: "x.so", {key}: {{initial_delay: 2, max_delay: 2}}}}'
    delays = getattr(parse_config(text, folder="/nowhere"), key)
    assert delays.initial_delay == delays.max_delay == 2


def test_a_config_cannot_be_changed() -> None:
    config = parse_config('{libpath: "x.so"}', folder="/nowhere")
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("65536", 2**16),
        ('"65536B"', 2**16),
        ('"64KiB"', 2**16),
        ('"64 KiB"', 2**16),
        ('"16MiB"', 2**24),
        ('"1GiB"', 2**30),
        ("1073741824", 2**30),
    ],
)
def test_sizes(text: str, size: int) -> None:
    config = parse_config(f'{{libpath: "x", ring_bytes: {text}}}', folder="/")
    assert config.ring_bytes == size


@only_posix
@pytest.mark.parametrize(
    ("libpath", "expected"),
    [
        ("lib.so", "/srv/conf/lib.so"),
        ("./lib.so", "/srv/conf/lib.so"),
        ("../lib.so", "/srv/lib.so"),
        ("/opt/lib.so", "/opt/lib.so"),
        ("a b/ü.so", "/srv/conf/a b/ü.so"),
    ],
)
def test_paths_count_from_the_folder_of_the_config(libpath: str, expected: str) -> None:
    config = PluginConfig.from_mapping({"libpath": libpath}, folder="/srv/conf")
    assert config.libpath == Path(expected)


@only_posix
def test_dots_count_from_where_a_linked_folder_leads(tmp_path: Path) -> None:
    (tmp_path / "real" / "conf").mkdir(parents=True)
    (tmp_path / "conf").symlink_to(tmp_path / "real" / "conf")
    config = PluginConfig.from_mapping({"libpath": "../x.so"}, folder=tmp_path / "conf")
    assert config.libpath == tmp_path / "real" / "x.so"


def test_a_relative_config_path_counts_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "p.json").write_text('{"libpath": "x.so"}')
    monkeypatch.chdir(tmp_path)
    config = load_config("p.json")
    assert (config.source, config.libpath) == (tmp_path / "p.json", tmp_path / "x.so")


def test_a_mapping_may_hold_paths_and_is_not_kept(tmp_path: Path) -> None:
    own = {"list": [1]}
    config = PluginConfig.from_mapping(
        {"libpath": tmp_path / "x.so", "own": own, "where": Path("/data")}, folder=tmp_path
    )
    own["list"].append(2)
    assert config.libpath == tmp_path / "x.so"
    assert config.own == {"own": {"list": [1]}, "where": "/data"}


@pytest.mark.parametrize("number", [0, -(2**63), 2**63, 2**64 - 1, 2**53 + 1])
@pytest.mark.parametrize("comment", ["", "// JSON5"])
def test_integers_keep_every_digit(number: int, comment: str) -> None:
    config = parse_config(f'{comment}\n{{"libpath": "x", "n": {number}}}', folder="/")
    assert config.own == {"n": number}
    assert f'"n":{number}'.encode() in packed_json(plugin_config(config, "n"))


@pytest.mark.parametrize(
    "text",
    [
        r'"\ud83d\ude00"',
        '"😀"',
        r'"\x41\
B"',
        '"\u2028"',
        r'"\u0000"',
    ],
)
def test_texts(text: str) -> None:
    config = parse_config(f'{{libpath: "x", t: {text}}}', folder="/")
    (value,) = config.own.values()
    assert value in ("😀", "AB", "\u2028", "\0")


def test_what_the_plugin_gets() -> None:
    text = '{zeta: 1.50, libpath: "./x.so", name: "n", mode: "thread", alpha: {b: [], a: "é\\n"}}'
    config = parse_config(text, folder="/srv")
    expected = '{"name":"other","libpath":"/srv/x.so","zeta":1.5,"alpha":{"b":[],"a":"é\\n"}}'
    assert packed_json(plugin_config(config, "other")) == expected.encode()


def test_what_json_cannot_hold_is_never_handed_over() -> None:
    config = PluginConfig(libpath=Path("/x.so"), own={"number": float("nan")})
    with pytest.raises(ValueError, match="Out of range float"):
        plugin_config(config, "n")


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=8)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)


def as_json5(value: JsonValue, indent: int | None = None) -> str:
    """JSON5 text; the library writes NUL as \\0 even before a digit, where JSON5 forbids it."""
    text = json5.dumps(value, indent=indent)
    return re.sub(r"(?<!\\)((?:\\\\)*)\\0(?=\d)", r"\1\\x00", text)


@given(value=VALUES, strict=st.booleans())
@example(value={"\x000": "\\\x001\\0"}, strict=False)
def test_own_values_come_through_unchanged(value: JsonValue, strict: bool) -> None:
    written = json.dumps(value) if strict else as_json5(value, indent=1)
    config = parse_config(f'{{"libpath": "x", "own value": {written}}}', folder="/")
    assert config.own == {"own value": value}
    handed = json.loads(packed_json(plugin_config(config, "n")))
    assert handed == {"name": "n", "libpath": "/x", "own value": value}


@given(before=VALUES, after=VALUES)
def test_an_error_points_at_its_value(before: JsonValue, after: JsonValue) -> None:
    first, last = as_json5(before), as_json5(after, indent=2)
    head = f'{{libpath: "x", // NaN\n a: [{first}, {{b: /* , */ '
    text = f"{head}NaN}}], c: {last}}}"
    with pytest.raises(InvalidConfigFileFormat) as caught:
        parse_config(text, folder="/")
    column = len(head) - head.rindex("\n")
    assert f"line 2, column {column}: a[1].b is NaN" in caught.value.message


def test_an_error_in_a_mapping_names_the_key() -> None:
    with pytest.raises(ConfigError, match=r"^restart\.window must be .* not 0") as caught:
        PluginConfig.from_mapping({"libpath": "x", "restart": {"window": 0}}, folder="/")
    assert caught.value.hint == "write for example window: 60"


@only_posix
def test_a_folder_whose_name_is_not_utf8_is_refused(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/\xff"
    os.mkdir(folder)
    with pytest.raises(ConfigError, match=r"^libpath is a path that is not UTF-8: .*\\udcff/x"):
        PluginConfig.from_mapping({"libpath": "x"}, folder=os.fsdecode(folder))
