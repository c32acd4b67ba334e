"""A plugin's own keys, held against the JSON Schema that the plugin brings with it.

A schema comes from a file of which nothing is known, and errors have to be told in words that help.
So it is a subset of JSON Schema 2020-12: what stands in the tables below. Left out is what would
run a foreign regular expression, fetch something, or lead round in a circle.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from ._document import JsonValue, KeyPath, shown, spell
from ._secrets import ResolvedConfig, resolve_secrets
from ._typos import closest

if TYPE_CHECKING:
    from ._model import PluginConfig

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_MOST_PARTS: Final = 2000
"""Of a schema, a definition counted each time that it is used."""
_MOST_STEPS: Final = 1_000_000
"""Parts of a schema times values of a config: what a check may take."""
_MOST_LEVELS: Final = 64
_REFERENCE: Final = re.compile(r"#/\$defs/(.+)")

_TYPES: Final = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "object": "an object",
    "array": "an array",
    "null": "null",
}


class SchemaProblem(Exception):
    """Why a schema cannot be used.

    Args:
        path: The place in the schema, or in the sample.
        problem: What continues the sentence that begins with that place.
        hint: The next step.
        in_sample: It is the sample that is meant.
    """

    def __init__(self, path: KeyPath, problem: str, hint: str, *, in_sample: bool = False) -> None:
        super().__init__(problem)
        self.path, self.problem, self.hint, self.in_sample = path, problem, hint, in_sample


# ---- What a schema may say ---------------------------------------------------------------------


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_names(value: object) -> bool:
    return (
        isinstance(value, list)
        and all(isinstance(item, str) for item in value)
        and len(set(value)) == len(value)
    )


def _is_type(value: object) -> bool:
    names = value if isinstance(value, list) else [value]
    return _is_names(names) and bool(names) and set(names) <= set(_TYPES)


_COUNT: Final = (_is_count, "a whole number, not below 0")
_NUMBER: Final = (_is_number, "a number")
_TEXT: Final = (lambda value: isinstance(value, str), "a text")
_BOOL: Final = (lambda value: isinstance(value, bool), "true or false")
_LIST: Final = (lambda value: isinstance(value, list) and bool(value), "an array, not empty")
_ANY: Final = (lambda _value: True, "a value")

# Keywords without a schema in them: what their value must be.
_PLAIN: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    "type": (_is_type, f"one of {', '.join(_TYPES)}, or an array of them"),
    "enum": _LIST,
    "const": _ANY,
    "required": (_is_names, "an array of different texts"),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), _COUNT),
    **dict.fromkeys(("minProperties", "maxProperties"), _COUNT),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _NUMBER),
    "multipleOf": (lambda value: _is_number(value) and value > 0, "a number above 0"),
    "uniqueItems": _BOOL,
    "default": _ANY,
    "examples": _LIST,
    "deprecated": _BOOL,
    **dict.fromkeys(("title", "description", "$comment"), _TEXT),
    "$schema": (lambda value: value == DIALECT, f'"{DIALECT}"'),
    "$ref": (
        lambda value: isinstance(value, str) and _REFERENCE.fullmatch(value) is not None,
        'like "#/$defs/NAME": other references are not followed',
    ),
}
_ONE: Final = ("items", "additionalProperties")  # a schema
_NAMED: Final = ("properties", "$defs")  # an object of schemas
_SEVERAL: Final = ("allOf", "anyOf", "oneOf")  # an array of schemas
KEYWORDS: Final = (*_PLAIN, *_ONE, *_NAMED, *_SEVERAL)


def _target(reference: str) -> str:
    """The definition that a reference names."""
    return reference.removeprefix("#/$defs/").replace("~1", "/").replace("~0", "~")


class ConfigSchema:
    """The schema of a plugin's own keys.

    Args:
        schema: As it stands in the plugin's info.

    Raises:
        SchemaProblem: It is no schema, or says what is not in the subset.
    """

    def __init__(self, schema: Mapping[str, JsonValue]) -> None:
        self.schema = dict(schema)
        definitions = schema.get("$defs")
        self._definitions = definitions if isinstance(definitions, dict) else {}
        self._parts: dict[str, int | None] = {}  # of definitions; None: being counted
        self._defaults: list[tuple[KeyPath, Mapping[str, JsonValue]]] = []
        self.parts = self._count(self.schema, (), 0)
        for name in self._definitions:
            self._count_definition(name, ("$defs", name), 0)
        for path, part in self._defaults:
            problem = self._first(part["default"], part)
            if problem is not None:
                raise SchemaProblem(
                    (*path, "default"), problem[1], "use a default that the schema accepts"
                )

    def _count(self, schema: JsonValue, path: KeyPath, level: int) -> int:
        """Check a schema and what is in it; how many parts it has."""
        if schema is True or (schema is False and path[-1:] == ("additionalProperties",)):
            return 1
        if not isinstance(schema, dict):
            raise SchemaProblem(path, f"is {shown(schema)}, and must be a schema", "write {...}")
        if level > _MOST_LEVELS:
            raise SchemaProblem(path, f"is more than {_MOST_LEVELS} levels deep", "make it flatter")
        parts = 1
        for keyword, value in schema.items():
            here = (*path, keyword)
            if keyword not in KEYWORDS or (keyword == "$defs" and path):
                raise SchemaProblem(here, *_not_known(keyword))
            parts += self._count_inside(keyword, value, here, level + 1)
            if parts > _MOST_PARTS:
                problem = f"has more than {_MOST_PARTS} parts, its definitions counted at each use"
                raise SchemaProblem(path, problem, "make it simpler")
        if "default" in schema:
            self._defaults.append((path, schema))
        return parts

    def _count_inside(self, keyword: str, value: JsonValue, path: KeyPath, level: int) -> int:
        inner = list(_inside(keyword, value, path))
        if keyword == "$ref":
            return self._count_definition(_target(str(value)), path, level)
        if keyword == "$defs":
            return 0  # counted where they are used
        return sum(self._count(schema, place, level) for place, schema in inner)

    def _count_definition(self, name: str, path: KeyPath, level: int) -> int:
        if name not in self._definitions:
            known = ", ".join(self._definitions) or "none"
            raise SchemaProblem(
                path, f"names {shown(name)}, which is not in $defs", f"known: {known}"
            )
        if name not in self._parts:
            self._parts[name] = None
            place = ("$defs", name)
            self._parts[name] = self._count(self._definitions[name], place, level)
        parts = self._parts[name]
        if parts is None:
            raise SchemaProblem(
                path, f"leads round in a circle to {shown(name)}", "end it somewhere"
            )
        return parts

    # ---- Checking values ---------------------------------------------------------------------

    @cached_property
    def _validator(self) -> Any:
        import jsonschema  # noqa: PLC0415 - 80 ms that only schemas need

        # Elsewhere 1.0 is an integer; a plugin that reads one with get_u64 refuses it.
        base = jsonschema.Draft202012Validator
        types = base.TYPE_CHECKER.redefine(
            "integer",
            lambda _checker, value: isinstance(value, int) and not isinstance(value, bool),
        )
        extend: Callable[..., Any] = jsonschema.validators.extend
        return extend(base, type_checker=types)(self.schema)

    def _first(
        self, value: JsonValue, schema: Mapping[str, JsonValue] | None = None
    ) -> tuple[KeyPath, str, str, bool] | None:
        """What is wrong with a value: where, what, the next step, and whether the key is meant."""
        steps = self.parts if schema is None else _MOST_PARTS
        if steps * _size(value) > _MOST_STEPS:
            return (), "is too large to be checked", "make it smaller, or the schema simpler", False
        validator = self._validator
        if schema is not None:
            validator = validator.evolve(schema={**schema, "$defs": self._definitions})
        # An unknown key comes first: it explains why the one that was meant is missing.
        errors = sorted(
            validator.iter_errors(value),
            key=lambda error: error.validator != "additionalProperties",
        )
        return _told(errors[0]) if errors else None

    def check_sample(self, sample: Mapping[str, JsonValue]) -> None:
        """Check the config that the plugin gives as an example.

        Raises:
            SchemaProblem: The schema refuses it.
        """
        found = self._first(self.filled(sample))
        if found is not None:
            path, problem, hint, _ = found
            raise SchemaProblem(
                path, f"{problem}, as its own config_schema says", hint, in_sample=True
            )

    def settle(self, config: PluginConfig, resolved: ResolvedConfig) -> ResolvedConfig:
        """Check the plugin's own keys, and add what the schema has for those that are missing.

        Args:
            config: The config, for errors.
            resolved: Its own keys with every secret in clear; left alone.

        Raises:
            ConfigError: They are not what the plugin takes. It shows no secret.
        """
        own = self.filled(resolved.own)
        found = self._first(own)
        if found is None:
            return ResolvedConfig(own, resolved.secrets)
        path, problem, hint, at_key = found
        # What the file has, which for a secret is only the reference to it.
        written = None if config.own_from else _at(config.own, path)
        if not at_key and not isinstance(written, dict | list | None):
            problem = f"{problem}, not {shown(written)}"
        hint = f"{hint}; the plugin says so: slipstream inspect {config.libpath.name}"
        raise config.error(f"{spell(path)} {problem}", hint, path, at_key=at_key)

    @property
    def names(self) -> Iterator[str]:
        """The texts that the schema itself has for values: all may know them."""
        for part in _parts_of(self.schema):
            named = [part.get(key) for key in ("const", "default")]
            for key in ("enum", "examples"):
                several = part.get(key)
                named += several if isinstance(several, list) else []
            yield from (text for text in named if isinstance(text, str))

    def filled(self, values: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """Return values with what the schema has for keys that are missing."""
        own = copy.deepcopy(dict(values))
        self._fill(self.schema, own)
        return own

    def _fill(self, schema: JsonValue, value: JsonValue) -> None:
        for part in self._all_of(schema):
            items, properties = part.get("items"), part.get("properties")
            if isinstance(value, list) and isinstance(items, dict):
                for item in value:
                    self._fill(items, item)
            if not isinstance(value, dict) or not isinstance(properties, dict):
                continue
            for name, inner in properties.items():
                if name not in value:
                    defaults = [p["default"] for p in self._all_of(inner) if "default" in p]
                    if not defaults:
                        continue
                    value[name] = copy.deepcopy(defaults[0])
                self._fill(inner, value[name])

    def _all_of(self, schema: JsonValue) -> Iterator[dict[str, JsonValue]]:
        """A schema and those that hold wherever it does."""
        if not isinstance(schema, dict):
            return
        yield schema
        if isinstance(reference := schema.get("$ref"), str):
            yield from self._all_of(self._definitions[_target(reference)])
        if isinstance(several := schema.get("allOf"), list):
            for one in several:
                yield from self._all_of(one)


def _not_known(keyword: str) -> tuple[str, str]:
    if keyword == "$defs":
        return "is inside of the schema", "put all definitions into the $defs of the outermost one"
    meant = closest(keyword, KEYWORDS)
    said = f'did you mean "{meant}"? ' if meant else ""
    return (
        "is not in the subset of JSON Schema that hosts take",
        f"{said}leave it out; docs/writing-plugins.md lists what there is",
    )


def _inside(keyword: str, value: JsonValue, path: KeyPath) -> Iterator[tuple[KeyPath, JsonValue]]:
    """Check the value of a keyword; the schemas in it, with their places."""
    holds, expected = _PLAIN.get(keyword, _ANY)
    if keyword in _NAMED:
        holds, expected = (lambda v: isinstance(v, dict)), "an object of schemas"
    elif keyword in _SEVERAL:
        holds, expected = (lambda v: isinstance(v, list) and bool(v)), "an array of schemas"
    if not holds(value):
        raise SchemaProblem(path, f"is {shown(value)}, and must be {expected}", "correct it")
    if keyword in _ONE:
        yield path, value
    elif keyword in _NAMED and isinstance(value, dict):
        yield from (((*path, name), inner) for name, inner in value.items())
    elif keyword in _SEVERAL and isinstance(value, list):
        yield from (((*path, at), inner) for at, inner in enumerate(value))


def _parts_of(schema: JsonValue) -> Iterator[dict[str, JsonValue]]:
    """A schema, and all that stand in it."""
    if isinstance(schema, dict):
        yield schema
        for keyword, value in schema.items():
            for _, inner in _inside(keyword, value, ()):
                yield from _parts_of(inner)


def _size(value: JsonValue) -> int:
    """How many values a value is, with all that are in it."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_size, inner))


def _at(value: JsonValue, path: KeyPath) -> JsonValue:
    for part in path:
        if isinstance(value, dict) and isinstance(part, str):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            return None
    return value


# ---- Errors in words ---------------------------------------------------------------------------

# Keywords whose value is a bound.
_BOUNDS: Final = {
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be above {}",
    "exclusiveMaximum": "must be below {}",
    "multipleOf": "must be a multiple of {}",
    "minLength": "must have at least {} characters",
    "maxLength": "must have at most {} characters",
    "minItems": "must have at least {} entries",
    "maxItems": "must have at most {} entries",
    "minProperties": "must have at least {} keys",
    "maxProperties": "must have at most {} keys",
}


def _told(error: Any) -> tuple[KeyPath, str, str, bool]:
    """What an error of jsonschema means. Its own text shows values, which may be secrets."""
    if error.validator in {"anyOf", "oneOf"} and error.context:
        deepest = max(error.context, key=lambda inner: len(inner.absolute_path))
        if len(deepest.absolute_path) > len(error.absolute_path):
            return _told(deepest)
    path: KeyPath = tuple(error.absolute_path)
    keyword, wanted, schema = error.validator, error.validator_value, error.schema
    if keyword == "additionalProperties":
        known = list(schema.get("properties", {}))
        key = next(key for key in error.instance if key not in known)
        meant = closest(key, known)
        near = f': did you mean "{meant}"?' if meant else ""
        hint = f'write "{meant}"' if meant else f"known are {', '.join(known) or 'none'}"
        return (*path, key), f"is not a key of the plugin{near}", hint, True
    if keyword == "required":
        missing = next(key for key in wanted if key not in error.instance)
        about = schema.get("properties", {}).get(missing)
        return path, f"has no {spell((missing,))}", f"add {missing}: {_example(about)}", False
    about = schema if isinstance(schema, dict) else {}
    hint = f"write for example {path[-1]}: {_example(about)}" if path else "correct it"
    return path, _problem(keyword, wanted), hint, False


def _problem(keyword: str | None, wanted: Any) -> str:
    if keyword == "type":
        names = wanted if isinstance(wanted, list) else [wanted]
        return f"must be {' or '.join(_TYPES[name] for name in names)}"
    if keyword == "enum":
        return f"must be {' or '.join(map(shown, wanted))}"
    if keyword == "const":
        return f"must be {shown(wanted)}"
    if keyword == "uniqueItems":
        return "has an entry twice"
    if keyword in _BOUNDS:
        return _BOUNDS[keyword].format(shown(wanted))
    if keyword in {"anyOf", "oneOf"}:
        return f"must have {'one' if keyword == 'anyOf' else 'exactly one'} of {len(wanted)} forms"
    return "must not be there"


_EXAMPLES: Final = {"string": '"..."', "boolean": "true", "object": "{}", "array": "[]"}


def _example(schema: Any) -> str:
    """A value that may be written, as far as a schema tells."""
    if not isinstance(schema, dict):
        return "..."
    for key in ("examples", "enum"):
        if schema.get(key):
            return shown(schema[key][0])
    for key in ("default", "const"):
        if key in schema:
            return shown(schema[key])
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind in {"integer", "number"}:
        low = schema.get("minimum", 0)
        return shown(low if schema.get("maximum", math.inf) >= low else schema["maximum"])
    return _EXAMPLES.get(str(kind), "...")


def settle_own(config: PluginConfig, schema: Mapping[str, JsonValue] | None) -> ResolvedConfig:
    """Make of a plugin's own keys what the plugin gets: secrets in clear, defaults filled in.

    Args:
        config: The config.
        schema: The plugin's schema, judged; None if it has none.

    Raises:
        ConfigError: A secret is not to be had, or the keys are not what the plugin takes.
    """
    resolved = resolve_secrets(config.own, config.folder, source=config.source)
    judged = None if schema is None else ConfigSchema(schema)
    if config.own_from:
        resolved = resolved.wholly_secret(() if judged is None else judged.names)
    return resolved if judged is None else judged.settle(config, resolved)
