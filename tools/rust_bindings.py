"""The Rust SDK's view of the contract, made from the header: nothing repeats it by hand.

python tools/rust_bindings.py          writes sdk/rust/slipstream-plugin/src/sys.rs

The file lies in git, so that the crate builds without this repository; tests/sdk holds it against
the header.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from pycparser import c_ast, c_parser  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[1]
HEADER = ROOT / "include" / "slipstream.h"
BINDINGS = ROOT / "sdk" / "rust" / "slipstream-plugin" / "src" / "sys.rs"

sys.path.insert(0, str(ROOT / "native" / "python"))
from cdef import declarations  # noqa: E402 - how the core reads the header, too

HEAD = """\
// Made from slipstream.h by tools/rust_bindings.py; do not edit.
//! The contract as it is in C: what the header says of a name holds here.
#![allow(non_camel_case_types, missing_docs, clippy::identity_op)]

use std::ffi::{c_char, c_void, CStr};
use std::mem::size_of;
"""
TYPES = {
    "char": "c_char",
    "double": "f64",
    "int32_t": "i32",
    "int64_t": "i64",
    "size_t": "usize",
    "uint8_t": "u8",
    "uint32_t": "u32",
    "uint64_t": "u64",
    "void": "c_void",
}
# Of these a function may be NULL: it is optional. A host's table has no NULL function.
OPTIONAL = {"slipstream_plugin"}


def constants(part: str) -> list[str]:
    """The literals of the part that programs read."""
    made = []
    in_statuses = True  # they come first, behind the version
    for name, value in re.findall(r"^#define (SLIPSTREAM_\w+) (\S+)", part, re.MULTILINE):
        number = int(value, 0)
        in_statuses = in_statuses and not name.startswith("SLIPSTREAM_KIND_")
        status = in_statuses and not name.startswith("SLIPSTREAM_ABI_")
        kind = "i32" if status else "u64" if number > 0xFFFFFFFF else "u32"
        made.append(f"pub const {name.removeprefix('SLIPSTREAM_')}: {kind} = {value};")
    return made


def texts(header: str) -> list[str]:
    """The texts that stand outside of that part."""
    found = re.findall(r'^#define SLIPSTREAM_(\w+) ("[^"]*")', header, re.MULTILINE)
    return [
        f"pub const {name}: &CStr = c{text};"
        if name.startswith("EXT_")
        else f"pub const {name}: &str = {text};"
        for name, text in found
    ]


def type_of(node: c_ast.Node, *, optional: bool) -> str:
    """How Rust writes a C type."""
    if isinstance(node, c_ast.TypeDecl):
        name = " ".join(node.type.names)
        return TYPES.get(name, name)
    if not isinstance(node, c_ast.PtrDecl):
        raise TypeError(f"what is a {type(node).__name__} in Rust?")
    if isinstance(node.type, c_ast.FuncDecl):
        function = node.type
        arguments = ", ".join(type_of(p.type, optional=optional) for p in function.args.params)
        result = type_of(function.type, optional=optional)
        gives = "" if result == "c_void" else f" -> {result}"
        written = f'unsafe extern "C" fn({arguments}){gives}'
        return f"Option<{written}>" if optional else written
    const = "const" if "const" in getattr(node.type, "quals", ()) else "mut"
    return f"*{const} {type_of(node.type, optional=optional)}"


def tables(part: str) -> list[str]:
    """The structs."""
    prelude = "".join(f"typedef int {name};\n" for name in TYPES if name.endswith("_t"))
    bare = re.sub(r"^#.*$", "", part, flags=re.MULTILINE)
    made = []
    for one in c_parser.CParser().parse(prelude + bare).ext:
        if not isinstance(one.type.type, c_ast.Struct):
            continue
        fields = "".join(
            f"    pub {field.name}: {type_of(field.type, optional=one.name in OPTIONAL)},\n"
            for field in one.type.type.decls
        )
        made.append(f"#[repr(C)]\n#[derive(Clone, Copy)]\npub struct {one.name} {{\n{fields}}}\n")
    return made


def checks(header: str) -> list[str]:
    """What the header asserts of sizes."""
    words = r"SLIPSTREAM_WORDS_AND_POINTERS\((\d+), (\d+)\)"
    pattern = rf"^#define SLIPSTREAM_(\w+)_SIZE_1_0 (?:(\d+)|{words})$"
    made = []
    for name, plain, count, pointers in re.findall(pattern, header, re.MULTILINE):
        size = plain or f"4 * {count} + {pointers} * size_of::<*const ()>()"
        made.append(f"const _: () = assert!(size_of::<slipstream_{name.lower()}>() == {size});")
    return made


def bindings() -> str:
    """Return the file's text."""
    header = HEADER.read_text(encoding="utf-8")
    part = declarations(header)
    parts = ["\n".join(texts(header)), "\n".join(constants(part)), "\n".join(tables(part))]
    return "\n".join([HEAD, *parts, "\n".join(checks(header))]) + "\n"


def main() -> None:
    """Write the file."""
    BINDINGS.write_text(bindings(), encoding="utf-8")


if __name__ == "__main__":
    main()
