"""What cffi reads out of the header is what a compiler reads out of it."""

from __future__ import annotations

import functools
import importlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cffi import FFI

from abi_tools import (
    COMPILERS,
    HEADER,
    INCLUDE,
    between,
    cdef_part,
    declarations,
    header_with,
    succeed,
)
from support.toolbox import require

if TYPE_CHECKING:
    from types import ModuleType

LITERAL = re.compile(r"-?(?:0x[0-9A-Fa-f]+|[0-9]+)")
NOT_FOR_CFFI = re.compile(
    r"_H$|_(EXPORT|CALL|CONSTRUCTOR|INFO_SYMBOL|INFO_MAGIC|TARGET_MINOR|PLUGIN_HEAD)$|_EXT_|_SIZE_\d"
)
INTEGERS = {"uint8_t", "uint16_t", "uint32_t", "int32_t", "uint64_t", "int64_t", "size_t"}
SCALARS = INTEGERS | {"double", "char", "void"}
WIDE = {"uint64_t", "int64_t"}


@functools.cache
def parsed() -> FFI:
    ffi = FFI()
    ffi.cdef(declarations(HEADER))
    return ffi


def structs() -> list[str]:
    """The name of every struct that crosses the boundary."""
    return list(parsed().list_types()[0])


def constants() -> dict[str, int]:
    """Every constant of the header as cffi gives it."""
    lib = parsed().dlopen(None)
    names = re.findall(r"^#define (\w+) ", declarations(HEADER), re.MULTILINE)
    return {name: getattr(lib, name) for name in names}


def layout(ffi: FFI, structs: list[str]) -> dict[str, int]:
    """The size of every struct and the offset of every field, by C expression."""
    found = {}
    for struct in structs:
        found[f"sizeof({struct})"] = ffi.sizeof(struct)
        for field, info in ffi.typeof(struct).fields:
            found[f"offsetof({struct}, {field})"] = ffi.offsetof(struct, field)
            found[f"sizeof((({struct} *)0)->{field})"] = ffi.sizeof(info.type)
    return found


def compiled(compiler: str, expressions: list[str], include: Path, folder: Path) -> dict[str, int]:
    """What a compiler makes of integer expressions over the header."""
    lines = "\n".join(
        f'printf("%d %llu\\n", ({text}) < 0, (unsigned long long)({text}));' for text in expressions
    )
    source = folder / "show.c"
    source.write_text(
        f"#include <slipstream.h>\n#include <stdio.h>\nint main(void) {{\n{lines}\n}}\n"
    )
    program = folder / "show"
    succeed((compiler, "-std=c11", "-I", include, source, "-o", program))
    values = {}
    for text, line in zip(expressions, succeed((program,)).split(b"\n"), strict=False):
        negative, bits = map(int, line.split())
        values[text] = bits - 2**64 * negative
    return values


def object_macros(compiler: str) -> dict[str, str]:
    """Every macro without arguments that the header defines."""
    shown = succeed((compiler, "-dM", "-E", "-x", "c", HEADER)).decode()
    return dict(re.findall(r"^#define (SLIPSTREAM_\w+) ?(.*)$", shown, re.MULTILINE))


@pytest.mark.parametrize("compiler", COMPILERS)
def test_cffi_and_compiler_agree_on_everything(compiler: str, tmp_path: Path) -> None:
    require(compiler)
    expected = layout(parsed(), structs()) | constants()
    assert len(expected) > 150
    assert compiled(compiler, list(expected), INCLUDE, tmp_path) == expected


def test_a_difference_would_be_seen(tmp_path: Path) -> None:
    require("gcc")
    expected = layout(parsed(), structs()) | constants()
    other = header_with(
        tmp_path / "other",
        ("#define SLIPSTREAM_TIMEOUT -14 ", "#define SLIPSTREAM_TIMEOUT -18 "),
        ("    uint64_t first_ordinal;", "    uint64_t added;\n    uint64_t first_ordinal;"),
        ("_Static_assert(condition, #condition)", '_Static_assert(1, "")'),
    )
    seen = compiled("gcc", list(expected), other, tmp_path)
    assert {text for text in expected if seen[text] != expected[text]} == {
        "SLIPSTREAM_TIMEOUT",
        "sizeof(slipstream_delivery)",
        "offsetof(slipstream_delivery, first_ordinal)",
    }


@pytest.mark.parametrize("compiler", COMPILERS)
def test_every_number_of_the_header_is_declared(compiler: str) -> None:
    """A constant outside of the marks would have to be repeated by other languages."""
    require(compiler)
    macros = {name for name in object_macros(compiler) if not NOT_FOR_CFFI.search(name)}
    functions = set(re.findall(r"^#define (\w+)\(", HEADER.read_text(), re.MULTILINE))
    assert macros - functions == set(constants())


def native_module() -> ModuleType:
    try:
        return importlib.import_module("slipstream._native")
    except ImportError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"the package is not built: {error}")


def test_built_module_agrees() -> None:
    native = native_module()
    expected = layout(parsed(), structs())
    assert layout(native.ffi, structs()) == expected
    assert {name: getattr(native.lib, name) for name in constants()} == constants()


def test_the_declarations_hold_nothing_else() -> None:
    """Only typedefs of structs and #define NAME literal stand between the marks.

    What came after 1.0 stands between #if SLIPSTREAM_TARGET_MINOR and #endif.
    """
    code = re.sub(
        r"^#(if SLIPSTREAM_TARGET_MINOR >= \d+|endif)$", "", cdef_part(HEADER), flags=re.MULTILINE
    )
    for line in (line for line in code.splitlines() if line.startswith("#")):
        define = re.fullmatch(r"#define (SLIPSTREAM_\w+) (\S+)\s*", line)
        assert define, line
        assert LITERAL.fullmatch(define[2]), line
    rest = re.sub(r"^#.*$", "", code, flags=re.MULTILINE)
    struct = re.compile(r"\s*typedef struct (\w+) \{[^{}]*\} \1;\s*")
    assert struct.sub("", rest).strip() == ""
    values = re.findall(r"^#define (\w+) ", code, re.MULTILINE)
    assert len(values) == len(set(values))


def test_what_the_build_parses_is_that_part() -> None:
    def squeezed(text: str) -> str:
        return "".join(text.replace("SLIPSTREAM_CALL", "").split())

    assert squeezed(declarations(HEADER)) == squeezed(cdef_part(HEADER))


def spelled(ffi: FFI, ctype: FFI.CType) -> list[str]:
    """The scalars that a type is made of; fails for what the contract forbids."""
    if ctype.kind == "function":
        assert not ctype.ellipsis
        assert all(argument.kind in {"primitive", "pointer"} for argument in ctype.args)
        assert ctype.result.kind in {"primitive", "pointer", "void"}
        for part in (*ctype.args, ctype.result):
            spelled(ffi, part)
        return ["pointer"]
    if ctype.kind == "pointer":
        if ctype.item.kind != "struct":
            spelled(ffi, ctype.item)
        return ["pointer"]
    assert ctype.kind in {"primitive", "void"}, ctype.cname
    assert ctype.cname in SCALARS, ctype.cname
    return [ctype.cname]


def test_tables_are_made_of_allowed_types() -> None:
    ffi = parsed()
    names, tags, unions = ffi.list_types()
    assert (sorted(names), unions) == (sorted(tags), [])
    for struct in names:
        fields = ffi.typeof(struct).fields
        assert fields[0][0] == "struct_size", struct
        assert fields[0][1].type.cname == "uint32_t", struct
        assert all(info.bitsize == -1 for _, info in fields), struct
        kinds = [kind for _, info in fields for kind in spelled(ffi, info.type)]
        assert not ("pointer" in kinds and WIDE & set(kinds)), f"{struct} cannot grow by pointers"


def test_every_function_pointer_has_the_calling_convention_macro() -> None:
    code = cdef_part(HEADER)
    pointers = re.findall(r"\(\s*(\w*)\s*\*\s*\w+\)\(", code)
    assert len(pointers) > 20
    assert set(pointers) == {"SLIPSTREAM_CALL"}


def test_every_function_has_its_tag() -> None:
    """[who may call it & in which state], on the function or above its table."""
    part = between(HEADER.read_text(), "cdef:begin */", "/* cdef:end */")
    thread = r"(?:plugin|delivery|any)-thread"
    tag = re.compile(rf"\[({thread}(?: \| {thread})* & [^\]]*)\]")
    states = {"constructing", "constructed", "loading", "loaded", "unloading", "ended", "alive"}
    functions = 0
    for chunk in re.split(r"^\} \w+;$", part, flags=re.MULTILINE)[:-1]:
        above, _, body = chunk.partition("typedef struct")
        start = 0
        for function in re.finditer(r"\(SLIPSTREAM_CALL \*(\w+)\)", body):
            tags = tag.findall(body[start : function.start()]) or tag.findall(above)
            assert len(tags) == 1, function[1]
            named = re.findall(r"[a-z]+", tags[0].partition("& ")[2].partition(",")[0])
            assert set(named) <= states, function[1]
            start = function.end()
            functions += 1
    assert functions == part.count("(SLIPSTREAM_CALL *")
