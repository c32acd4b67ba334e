"""A plugin's own keys against the schema that it brings: errors in words, defaults, no secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipstream import ConfigError, PluginConfig
from slipstream.config import ConfigSchema, JsonValue, SchemaProblem, parse_config, settle_own

SCHEMA: dict[str, JsonValue] = {
    "type": "object",
    "properties": {
        "every": {"type": "integer", "minimum": 0, "maximum": 10, "default": 3},
        "mode": {"type": "string"},
        "rate": {"type": "number", "exclusiveMinimum": 0, "multipleOf": 0.5},
        "word": {"enum": ["all", "none", 7]},
        "fixed": {"const": "x"},
        "text": {"type": "string", "minLength": 2, "maxLength": 4, "examples": ["abc"]},
        "either": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/server"}]},
        "one": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
        "list": {"type": "array", "items": {"$ref": "#/$defs/server"}, "maxItems": 2,
                 "uniqueItems": True},
        "server": {"allOf": [{"$ref": "#/$defs/server"}], "default": {"host": "here"}},
    },
    "required": ["every"],
    "additionalProperties": False,
    "$defs": {
        "server": {
            "type": "object",
            "properties": {"host": {"type": "string"}, "port": {"type": ["integer", "null"], "default": 1}},
            "required": ["host"],
            "additionalProperties": False,
            "minProperties": 1,
        },
    },
}  # fmt: skip


def settle(text: str) -> dict[str, JsonValue]:
    config = parse_config(f"{{libpath: 'x.so', {text}}}", folder="/", source="/c.json5")
    return settle_own(config, SCHEMA).own


@pytest.mark.parametrize(
    ("text", "says", "column", "hint"),
    [
        ("every: '1'", 'every must be a whole number, not "1"', 26, "every: 3"),
        ("every: 1.0", "every must be a whole number, not 1.0", 26, "every: 3"),
        ("every: true", "every must be a whole number, not true", 26, "every: 3"),
        ("every: 11", "every must be at most 10, not 11", 26, "every: 3"),
        ("every: -1", "every must be at least 0, not -1", 26, "every: 3"),
        ("rate: 0", "rate must be above 0, not 0", 25, "rate"),
        ("rate: 0.7", "rate must be a multiple of 0.5, not 0.7", 25, "rate"),
        ("word: 'al'", 'word must be "all" or "none" or 7, not "al"', 25, 'word: "all"'),
        ("fixed: 1", 'fixed must be "x", not 1', 26, 'fixed: "x"'),
        ("text: 'a'", 'text must have at least 2 characters, not "a"', 25, 'text: "abc"'),
        ("text: 'abcde'", "text must have at most 4 characters", 25, 'text: "abc"'),
        ("one: null", "one must have exactly one of 2 forms", 24, "one: ..."),
        ("either: 1", "either must have one of 2 forms, not 1", 27, "either"),
        ("either: {host: 1}", "either.host must be text, not 1", 34, 'host: "..."'),
        ("evry: 1", 'evry is not a key of the plugin: did you mean "every"?', 19, 'write "every"'),
        ("zzzzz: 1", "zzzzz is not a key of the plugin", 19, "known are every, mode, rate"),
        ("list: [{}]", "list[0] has no host", 26, 'add host: "..."'),
        ("list: [{host: 'a', pot: 1}]", "list[0].pot is not a key of the plugin: did", 38, '"port"'),
        ("list: [{host: 'a'}, {host: 'a'}]", "list has an entry twice", 25, "list: []"),
        ("list: [{host: ''}, {host: 'a'}, {host: 'b'}]", "list must have at most 2", 25, "[]"),
        ("server: {host: 'a', port: 'b'}", 'server.port must be a whole number or null, not "b"',
         45, "port: 1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_at_its_place(text, says, column, hint) -> None:
    with pytest.raises(ConfigError) as caught:
        settle(text)
    first, *excerpt = caught.value.message.splitlines()
    assert first.startswith(f"/c.json5:1:{column}: {says}")
    assert excerpt[1].index("^") - excerpt[0].index("{") == column - 1
    assert hint in caught.value.hint
    assert "slipstream inspect x.so" in caught.value.hint


def test_an_unknown_key_is_told_before_the_one_that_is_missing() -> None:
    schema: dict[str, JsonValue] = {**SCHEMA, "required": ["mode"]}
    config = PluginConfig.from_mapping({"libpath": "x.so", "moode": 1, "every": 1}, folder="/")
    with pytest.raises(ConfigError, match="moode is not a key of the plugin"):
        settle_own(config, schema)


def test_defaults_are_filled_in() -> None:
    assert settle("") == {"every": 3, "server": {"host": "here", "port": 1}}
    assert settle("every: 1, list: [{host: 'a'}, {host: 'b', port: null}]") == {
        "every": 1,
        "list": [{"host": "a", "port": 1}, {"host": "b", "port": None}],
        "server": {"host": "here", "port": 1},
    }
    schema = ConfigSchema(SCHEMA)
    assert schema.filled({}) == schema.filled({})
    first, second = schema.filled({}), schema.filled({})
    assert first["server"] is not second["server"]
    assert json.dumps(SCHEMA).count('"here"') == 1


def test_without_a_schema_all_is_taken() -> None:
    config = parse_config("{libpath: 'x.so', anything: [1]}", folder="/")
    assert settle_own(config, None).own == {"anything": [1]}


def test_secrets_are_checked_and_not_shown(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORD", "a hidden word")
    for text, says in (
        ("word: 'env://WORD'", 'word must be "all" or "none" or 7, not "env://WORD"'),
        ("text: 'env://WORD'", 'text must have at most 4 characters, not "env://WORD"'),
        ("every: 'env://WORD'", 'every must be a whole number, not "env://WORD"'),
        ("list: [{host: 'env://WORD', host2: 1}]", "list[0].host2 is not a key"),
        ("one: ['env://WORD']", "one must have exactly one of 2 forms"),
    ):
        with pytest.raises(ConfigError) as caught:
            settle(text)
        assert says in caught.value.message
        assert "hidden" not in repr(caught.value) + str(caught.value.__context__)
    monkeypatch.setenv("WORD", "abc")
    assert settle("text: 'env://WORD'")["text"] == "abc"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from([*SCHEMA["properties"], "host", "port"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from([*SCHEMA["properties"], "x"]), VALUES, max_size=4))
def test_any_values_are_settled_or_refused(values) -> None:
    config = PluginConfig(libpath=Path("/x.so"), own=values)
    try:
        own = settle_own(config, SCHEMA).own
    except ConfigError as error:
        assert error.hint
    else:
        assert own.keys() >= {*values, "every", "server"}
        # What was taken once is taken again, as it is.
        assert ConfigSchema(SCHEMA).filled(own) == own


KEYWORDS = st.sampled_from(
    "type enum properties items anyOf $ref $defs default minimum not".split()
)


@given(
    st.recursive(
        st.integers() | st.text(max_size=4) | st.booleans(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS, inner, max_size=3),
    )
)
def test_any_schema_is_taken_or_refused(schema) -> None:
    try:
        ConfigSchema({"properties": {"x": schema}}).filled({"x": {}})
    except SchemaProblem as problem:
        assert problem.hint
