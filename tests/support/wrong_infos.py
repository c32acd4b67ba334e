"""Infos that a host has to refuse, and what each refusal says."""

from __future__ import annotations

import json
from dataclasses import dataclass

from slipstream import Refusal

GOOD: dict[str, object] = {
    "name": "rogue",
    "version": "1.0",
    "abi": 1,
    "flags": ["PROMPT"],
    "kinds": ["BLOCK", 40],
}


@dataclass(frozen=True)
class WrongInfo:
    """One JSON text, and its refusal: the reason, and parts of the message and of the hint."""

    name: str
    text: bytes
    says: str
    hint: str = ""
    refusal: Refusal = Refusal.INFO_INVALID


def json_of(**changes: object) -> bytes:
    """A good info with other values; a key is left out for one that is `...`."""
    values = {key: value for key, value in {**GOOD, **changes}.items() if value is not ...}
    return json.dumps(values).encode()


def _key(says: str, hint: str = "", refusal: Refusal = Refusal.INFO_INVALID, /, **changes: object):
    shown = ", ".join(f"{key} {str(value)[:40]}" for key, value in changes.items())
    return WrongInfo(f"{shown} - {says}"[:80], json_of(**changes), says, hint, refusal)


def _schema(says: str, hint: str = "", /, sample: object = ..., **schema: object) -> WrongInfo:
    text = json_of(config_schema=schema, sample_config=sample)
    return WrongInfo(f"schema {says}", text, says, hint, Refusal.SCHEMA_INVALID)


def _deep(levels: int) -> bytes:
    return json_of(x=...)[:-1] + b', "x": ' + b"[" * levels + b"]" * levels + b"}"


INVALID = [
    WrongInfo("empty", b"", "is empty", 'write {"name"'),
    WrongInfo("white space", b" \n ", "is empty"),
    WrongInfo("no JSON", b"name: rogue", "is not JSON: expecting value, at character 0", "plain"),
    WrongInfo("JSON5", b'{"name": "rogue",}', "is not JSON", "no comma at the end"),
    WrongInfo("cut off", json_of()[:-9], "is not JSON"),
    WrongInfo("two objects", json_of() + json_of(), "is not JSON: extra data"),
    WrongInfo("byte order mark", b"\xef\xbb\xbf" + json_of(), "is not JSON: unexpected UTF-8 BOM"),
    WrongInfo("not UTF-8", b'{"name": "\xff"}', "is not UTF-8: byte 0xff at 10", "UTF-8"),
    WrongInfo("UTF-16", json_of().decode().encode("utf-16-be")[1::2] + b"\x80", "is not UTF-8"),
    WrongInfo("an array", b"[1]", "is not one object, but an array"),
    WrongInfo("a text", b'"rogue"', 'is not one object, but "rogue"'),
    WrongInfo("a key twice", json_of()[:-1] + b', "name": "x"}', 'has the key "name" twice'),
    WrongInfo("NaN", json_of()[:-1] + b', "x": NaN}', "has NaN, which JSON does not know"),
    WrongInfo("Infinity", json_of()[:-1] + b', "x": -Infinity}', "has -Infinity"),
    WrongInfo("too large", json_of()[:-1] + b', "x": 1e999}', "does not fit into 64 bits"),
    WrongInfo("2^64", json_of()[:-1] + b', "x": 18446744073709551616}', "outside of -2^63"),
    WrongInfo("5,000 digits", json_of()[:-1] + b', "x": ' + b"9" * 5000 + b"}", "outside of"),
    WrongInfo("half a character", json_of()[:-1] + b', "x": "\\ud800"}', "half of a surrogate"),
    WrongInfo("half in a key", json_of()[:-1] + b', "\\udfff": 1}', "half of a surrogate"),
    WrongInfo("33 deep", _deep(33), "more than 32 deep"),
    WrongInfo("20,000 deep", _deep(20_000), "more than 32 deep"),
    _key("has no name", 'add "name"', name=...),
    _key("has no version", version=...),
    _key("has no abi", abi=...),
    _key("has no name", 'write "name" for "Name"', name=..., Name="x"),
    _key("name of its slipstream_info_v1 is 1, and must be", name=1),
    _key('is "Rogue", and must be 1 to 63', name="Rogue"),
    _key("and must be 1 to 63", name="n" * 64),
    _key("is null, and must be 1 to 63 printable", version=None),
    _key("printable ASCII", version="1\n"),
    _key("abi of its slipstream_info_v1 is 2, this host speaks major 1", "host for major 2",
         Refusal.WRONG_ABI_MAJOR, abi=2),
    _key('is "1", and must be a whole number', "without quotes", abi="1"),
    _key("is true, and must be a whole number", abi=True),
    _key("is 1.0, and must be a whole number", abi=1.0),
    _key("needs a host of ABI 1.7", "newer slipstream", Refusal.HOST_TOO_OLD, min_host_minor=7),
    _key("and must be a whole number from 0", min_host_minor=-1),
    _key('is "PROMPT", and must be an array of names of flags', flags="PROMPT"),
    _key('flags[0] of its slipstream_info_v1 is "PROMTP"', 'mean "PROMPT"?', flags=["PROMTP"]),
    _key('flags[0] of its slipstream_info_v1 is "batch"', 'mean "BATCH"?', flags=["batch"]),
    _key('is "", which is not a flag', "known are", flags=[""]),
    _key("flags[0] of its slipstream_info_v1 is 2, and must be the name", flags=[2]),
    _key("flags[1] of its slipstream_info_v1 is there twice", flags=["BATCH", "BATCH"]),
    _key("is an object, and must be an array", kinds={}),
    _key('kinds[0] of its slipstream_info_v1 is "BLOK"', 'mean "BLOCK"?', kinds=["BLOK"]),
    _key("is 64, and must be a whole number from 0 to 63", kinds=[64]),
    _key("is -1, and must be", kinds=[-1]),
    _key("is null, and must be the name of a kind", kinds=[None]),
    _key("kinds[1] of its slipstream_info_v1 is there twice", kinds=[3, 3]),
    _key('is "org.example.db/1", which this host does not offer', "it offers slipstream.config/1",
         Refusal.EXTENSION_MISSING, requires=["org.example.db/1"]),
    _key('is "slipstream.config/9", which', "did you mean", Refusal.EXTENSION_MISSING,
         requires=["slipstream.config/1", "slipstream.config/9"]),
    _key('requires[0] of its slipstream_info_v1 is "config"', "slipstream.config/1",
         requires=["config"]),
    _key("must be the id of an extension", optional=[1]),
    _key("must be an array of ids", optional="slipstream.send/1"),
    _key('is "root", which is not a grant', "send, peers, identity.sign", grants=["root"]),
    _key("is an array, and must be an object", encodings=[]),
    _key("is 1, and must be an array of numbers", encodings={"BLOCK": 1}),
    _key("encodings.BLOCK[0] of its", encodings={"BLOCK": ["1"]}),
    _key("names a kind that is there already", encodings={"BLOCK": [1], "3": [1]}),
    _key("encodings.BLOK of its", 'mean "BLOCK"?', encodings={"BLOK": [1]}),
    _key("is true, and must be an object", config_schema=True),
    _key("is null, and must be an object", sample_config=None),
    _key("is 1, and must be a text", licence=1),
    _key("is null, and must be a text", url=None),
]  # fmt: skip

_LOOP = {"a": {"$ref": "#/$defs/b"}, "b": {"properties": {"next": {"$ref": "#/$defs/a"}}}}
_LAUGHS = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(20)}

SCHEMAS = [
    _schema("config_schema.$defs.a.$ref", "correct it", **{"$defs": {"a": {"$ref": "#/x"}}}),
    _schema("leads round in a circle", "end it", **{"$ref": "#/$defs/a", "$defs": _LOOP}),
    _schema("leads round in a circle", **{"$defs": {"a": {"$ref": "#/$defs/a"}}}),
    _schema("has more than 2000 parts", "simpler", **{"$defs": {**_LAUGHS, "d20": {}}}),
    _schema("$ref of its slipstream_info_v1 is", "correct it", **{"$ref": "http://example.org/s"}),
    _schema('names "b", which is not in $defs', "known: a",
            **{"$ref": "#/$defs/b", "$defs": {"a": {}}}),
    _schema("config_schema.properties.x.pattern of its slipstream_info_v1 is not in the subset",
            "lists what there is", properties={"x": {"pattern": "^(a+)+$"}}),
    _schema("config_schema.proprties of its slipstream_info_v1 is not in the subset",
            'mean "properties"?', proprties={}),
    _schema("is inside of the schema", properties={"x": {"$defs": {}}}),
    _schema('is "int", and must be one of integer', properties={"x": {"type": "int"}}),
    _schema("is 0, and must be a number above 0", multipleOf=0),
    _schema("is -1, and must be a whole number", minLength=-1),
    _schema("is 1, and must be a schema", properties={"x": 1}),
    _schema("config_schema.properties.x of its slipstream_info_v1 is false, and must be a schema",
            "write {...}", properties={"x": False}),
    _schema("is an array, and must be an object of schemas", properties=[]),
    _schema("is an array, and must be an array of schemas", anyOf=[]),
    _schema("must be an array of different texts", required=["a", "a"]),
    _schema('and must be "https://json-schema.org', **{"$schema": "http://json-schema.org/d"}),
    _schema("config_schema.properties.x.default of its slipstream_info_v1 must be text",
            "default that the schema accepts", properties={"x": {"type": "string", "default": 1}}),
    _schema("sample_config.x of its slipstream_info_v1 must be a whole number, as its own",
            sample={"x": "1"}, properties={"x": {"type": "integer"}}),
    _schema("sample_config of its slipstream_info_v1 has no x", sample={}, required=["x"]),
    _schema('sample_config.yy of its slipstream_info_v1 is not a key of the plugin: did you mean "y"',
            sample={"yy": 1}, properties={"y": {}}, additionalProperties=False),
    _schema("is too large to be checked", sample={"x": list(range(3000))},
            properties={f"p{n}": True for n in range(400)}),
]  # fmt: skip
