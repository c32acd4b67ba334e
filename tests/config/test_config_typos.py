"""Which unknown keys are misspelt keys of the host, and which are the plugin's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipstream.config import PluginConfig, load_config
from slipstream.errors import ConfigError

TYPOS = [
    ("libpaht", "x.so", "libpath"),
    ("ilbpath", "x.so", "libpath"),
    ("libpth", "x.so", "libpath"),
    ("libpaths", "x.so", "libpath"),
    ("l\u0456bpath", "x.so", "libpath"),
    ("Libpath", 5, "libpath"),
    ("lib_path", "x.so", "libpath"),
    ("libPath", "x.so", "libpath"),
    ("LIBPATH", "x.so", "libpath"),
    ("Name", "x", "name"),
    ("nmae", "x", "name"),
    ("mdoe", "thread", "mode"),
    ("uesr", "nobody", "user"),
    ("mod", "thread", "mode"),
    ("nam", "x", "name"),
    ("usr", "nobody", "user"),
    ("overfow", "block", "overflow"),
    ("ring-bytes", 65536, "ring_bytes"),
    ("ringBytes", 65536, "ring_bytes"),
    ("ring_byte", 65536, "ring_bytes"),
    ("block_timeuot", 1, "block_timeout"),
    ("callback_timout", 5, "callback_timeout"),
    ("callback_timout", "5s", "callback_timeout"),
    ("calback_timout", 5, "callback_timeout"),
    ("callbackTimeout", 5, "callback_timeout"),
    ("load_timeouts", 5, "load_timeout"),
    ("unlaod_timeout", 5, "unload_timeout"),
    ("flush_intervall", 5, "flush_interval"),
    ("dead_leter", "x", "dead_letter"),
    ("relaod", "overlap", "reload"),
    ("restrat", {"window": 5}, "restart"),
    ("limit", {"memory": "1GiB"}, "limits"),
    ("sha-256", "no digest", "sha256"),
    ("sha265", "0" * 64, "sha256"),
    ("enable", True, "enabled"),
]

OWN = [
    *(
        (key, "text")
        for key in (
            "database table path host port names model level users limit node code lib plugin "
            "title url uri mean moda sha512 digest preload upload download reloads overflows "
            "file folder topic brokers format kinds programs password username nickname node "
            "modes model_name library output_path log_level restarts enable limits_of own source use mod"
        ).split()
    ),
    ("limit", 100),
    ("limit", {"rows": 5}),
    ("restarts", 3),
    ("libpath_extra", "x"),
    ("lock_timeout", 5),
    ("read_timeout", 5),
    ("upload_timeout", 5),
    ("fallback_timeout", 5),
    ("idle_timeout", 5),
    ("timeout", 5),
    ("interval", 5),
    ("push_interval", 5),
    ("flash_interval", 5),
    ("ring_size", 5),
    ("string_bytes", 5),
    ("max_bytes", 5),
    ("read_letter", 5),
    ("", 5),
    ("-", 5),
    ("日本", 5),
]


@pytest.mark.parametrize(("key", "value", "known"), TYPOS)
def test_a_misspelt_key_is_refused_with_a_suggestion(key: str, value: object, known: str) -> None:
    mapping = {key: value} if known == "libpath" else {"libpath": "x", key: value}
    with pytest.raises(ConfigError) as caught:
        PluginConfig.from_mapping(mapping, folder="/")
    assert caught.value.message == f'unknown key "{key}": did you mean "{known}"?'
    assert caught.value.hint.startswith(f'write "{known}"; if the key is meant for the plugin')


@pytest.mark.parametrize(("key", "value"), OWN)
def test_other_keys_are_the_plugins_own(key: str, value: object) -> None:
    config = PluginConfig.from_mapping({"libpath": "x", key: value}, folder="/")
    assert config.own == {key: value}


@pytest.mark.parametrize("key", sorted({typo for typo, _, _ in TYPOS}))
def test_inside_an_object_of_the_plugins_own_any_key_goes(key: str) -> None:
    text = json.dumps({"libpath": "x", "own": {key: 1}})
    config = PluginConfig.from_mapping(json.loads(text), folder="/")
    assert config.own == {"own": {key: 1}}


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("p.toml", '# mine\nlibpath = "x.so"\n', "written in TOML"),
        ("p.json5", "\n[plugin]\nlibpath = 'x.so'\n", "written in TOML"),
        ("p.yaml", "---\nlibpath: x.so\n", "written in YAML"),
        ("p.yml", "libpath: x.so\nmode: thread\n", "written in YAML"),
        ("p.json5", "\x7fELF\2\1\1" + 90 * "\0", "is a library, and not the config of one"),
        ("libp.so.1", 99_999 * "x", "is a library, and not the config of one"),
    ],
)
def test_what_is_no_config_is_named(tmp_path: Path, file: str, content: str, says: str) -> None:
    path = tmp_path / file
    path.write_text(content)
    with pytest.raises(ConfigError, match=says) as caught:
        load_config(path)
    assert str(path) in caught.value.message
    assert "{ libpath: " in caught.value.hint


def test_json5_that_is_broken_is_not_taken_for_something_else(tmp_path: Path) -> None:
    path = tmp_path / "p.json5"
    path.write_text("// mine: it is\n{ libpath: 'x.so', mode = 'thread' }\n")
    with pytest.raises(ConfigError, match="p.json5:2:"):
        load_config(path)
