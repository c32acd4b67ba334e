"""Makes the types of ``ffi`` and ``lib`` from the headers' declarations, so that mypy knows them.

Run by the build: ``python stub.py OUTPUT.pyi``.

A struct's class stands for the struct and for a pointer to it, as cffi gives both the same
attributes. NULL fits everywhere: what may be NULL is not told.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import cffi
from cdef import all_declarations

HEAD = """\
# Made by native/python/stub.py.
from collections.abc import Callable, Iterator
from typing import Any, Generic, Literal, TypeVar, overload

_Item_co = TypeVar("_Item_co", covariant=True)
_Function = TypeVar("_Function", bound=Callable[..., Any])

class CData: ...

class Pointer(CData, Generic[_Item_co]):
    def __getitem__(self, index: int, /) -> _Item_co: ...
    def __iter__(self) -> Iterator[_Item_co]: ...

class FunctionPointer(CData): ...

class Address(CData):
    def __int__(self) -> int: ...

class Buffer:
    def __buffer__(self, flags: int, /) -> memoryview: ...

"""
FFI = """
class FFI:
    NULL: Any
    errno: int
    def string(self, pointer: Pointer[char], /) -> bytes: ...
    def buffer(self, pointer: CData, size: int = ..., /) -> Buffer: ...
    def sizeof(self, ctype: str, /) -> int: ...
    def new_handle(self, value: object, /) -> CData: ...
    def from_handle(self, handle: CData, /) -> Any: ...
    def def_extern(
        self, name: str, error: object, onerror: Callable[[Any, BaseException, Any], None]
    ) -> Callable[[_Function], _Function]: ...
    @overload
    def cast(self, ctype: Literal["uintptr_t"], pointer: CData, /) -> Address: ...
    @overload
    def cast(self, ctype: Literal["void *"], address: int, /) -> CData: ...
"""
NEW = """\
    @overload
    def new(self, ctype: Literal["{}"], init: {} = ..., /) -> {}: ...
"""

SEEN = """\
    @overload
    def from_buffer(self, ctype: Literal["{0} *"], data: bytes | bytearray, /) -> {0}: ...
"""

NUMBERS = ("int32_t", "uint32_t", "uint64_t", "size_t")
FUNCTION = re.compile(r"^(?P<result>[^()]*?)(?P<name>\w+)\((?P<arguments>.*)\)$", re.DOTALL)
# What cffi makes of bytes for a function, for as long as the call takes.
MADE_OF_BYTES = {"char", "uint8_t"}


def python_type(ctype: cffi.FFI.CType) -> str:
    """Return what a C type is in Python."""
    if ctype.kind in {"pointer", "array"}:
        item = ctype.item
        if item.kind == "void":
            return "CData"
        if item.kind == "struct" and ctype.kind == "pointer":
            return python_type(item)
        return f"Pointer[{item.cname if item.kind == 'primitive' else python_type(item)}]"
    if ctype.kind == "primitive":
        return {"_Bool": "bool", "double": "float"}.get(ctype.cname, "int")
    return str({"void": "None", "function": "FunctionPointer"}.get(ctype.kind, ctype.cname))


def argument_type(ctype: cffi.FFI.CType) -> str:
    """Return what a function of the core takes for a C type."""
    taken = python_type(ctype)
    if ctype.kind == "pointer" and ctype.item.cname in MADE_OF_BYTES:
        return f"bytes | {taken}"
    return taken


def argument_names(arguments: str) -> list[str]:
    """Return the names in a declaration's list of arguments."""
    flat = re.sub(r"\(\*(\w+)\)\([^()]*\)", r"\1", arguments)  # a pointer to a function
    return re.findall(r"(\w+)(?:,|$)", "" if flat == "void" else flat)


class Stub:
    """The declarations, parsed, and what is said of them in Python."""

    def __init__(self, declarations: str) -> None:
        self.ffi = cffi.FFI()
        self.ffi.cdef(declarations)
        self.names = self.ffi.list_types()[0]
        self.fields = {
            name: fields for name in self.names if (fields := self.ffi.typeof(name).fields)
        }
        self.constants = re.findall(r"^#define (\w+)", declarations, re.MULTILINE)
        rest = re.sub(r"^#.*$", "", declarations, flags=re.MULTILINE)
        rest = re.sub(r"typedef struct (\w+) (\{[^{}]*\} )?\1;", "", rest)
        self.functions = [" ".join(part.split()) for part in rest.split(";") if part.strip()]

    def function(self, declaration: str) -> str:
        """Return a function of ``lib``, or what it has for one that Python gives to the core."""
        found = FUNCTION.match(declaration)
        if found is None:
            message = f"this is not a function: {declaration}"
            raise ValueError(message)
        name = found["name"]
        if found["result"].startswith("extern"):
            return f"    {name}: FunctionPointer\n"
        ctype = self.ffi.typeof(f"{found['result']}(*)({found['arguments']})")
        names = argument_names(found["arguments"])
        arguments = [
            f"{argument}: {argument_type(kind)}"
            for argument, kind in zip(names, ctype.args, strict=True)
        ]
        everything = ", ".join(["lib", *arguments, *(["/"] if arguments else [])])
        return f"    def {name}({everything}) -> {python_type(ctype.result)}: ...\n"

    def structs(self) -> str:
        """Return the classes of all structs, first of those that Python cannot look into."""
        hidden = [f"class {name}(CData): ...\n" for name in self.names if name not in self.fields]
        known = [
            f"\nclass {name}(CData):\n"
            + "".join(f"    {field}: {python_type(info.type)}\n" for field, info in fields)
            for name, fields in self.fields.items()
        ]
        return "".join(hidden + known)

    def news(self) -> str:
        """Return what can be made anew: structs that are known, and what functions write to."""
        found = [NEW.format(f"{name} *", "object", name) for name in self.fields]
        found += [NEW.format(f"{name} *", "int", f"Pointer[{name}]") for name in NUMBERS]
        found.append(NEW.format("char[]", "bytes", "Pointer[char]"))
        found.append(NEW.format("uint8_t[]", "int", "Pointer[uint8_t]"))
        found.append(NEW.format("int32_t[]", "list[int]", "Pointer[int32_t]"))
        found.append(NEW.format("const char *[]", "list[Pointer[char]]", "Pointer[Pointer[char]]"))
        found += [SEEN.format(name) for name in self.fields]
        return "".join(found)

    def text(self) -> str:
        """Return the whole file."""
        return "".join(
            [
                HEAD,
                *(f"class {name}(int): ...\n" for name in ("uint8_t", *NUMBERS)),
                "class char(bytes): ...\n",
                self.structs(),
                FFI,
                self.news(),
                "\nclass Lib:\n",
                *(f"    {name}: int\n" for name in self.constants),
                *map(self.function, self.functions),
            ]
        )


def main() -> None:
    """Write the stub to the path given as the first argument."""
    Path(sys.argv[1]).write_text(Stub(all_declarations()).text(), encoding="utf-8")


if __name__ == "__main__":
    main()
