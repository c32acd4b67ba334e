"""Makes the texts of the extension's own functions from its stub.

Run by the build: ``python doc.py OUTPUT.h``. Names, argument names and docstrings stand
in the stub alone; ``help`` and ``inspect.signature`` get them from here.
"""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

STUB = Path(__file__).resolve().parents[2] / "src" / "slipstream" / "_core.pyi"


def _names(node: ast.FunctionDef) -> list[str]:
    """Return a function's arguments without what a call binds."""
    return [arg.arg for arg in node.args.posonlyargs if arg.arg not in {"self", "cls"}]


def _signature(node: ast.FunctionDef) -> list[str]:
    """The same with their defaults, which are the last ones'."""
    names, defaults = _names(node), [f"={ast.unparse(value)}" for value in node.args.defaults]
    without = [""] * (len(names) - len(defaults))
    return [name + default for name, default in zip(names, without + defaults, strict=True)]


def _macro(name: str, signature: str, node: ast.FunctionDef | ast.ClassDef) -> str:
    # CPython's form: the signature ends with this line, and "$" marks what a call binds.
    text = f"{signature}\n--\n\n{ast.get_docstring(node)}"
    return f"#define {name} {json.dumps(text)}\n"


def _macros(node: ast.FunctionDef, bound: str) -> str:
    """Return what a function needs: its docstring, and its arguments for an error's text."""
    names = _signature(node)
    signature = f"{node.name}({', '.join([bound, *names, '/'])})"
    arguments = json.dumps(", ".join(names) or "nothing")
    return (
        _macro(f"SS_DOC_{node.name}", signature, node)
        + f"#define SS_ARGUMENTS_{node.name} {arguments}\n"
    )


def header(stub: str) -> str:
    """Return a header with the texts of every class and function of a stub.

    Args:
        stub: The stub's text.
    """
    found = "/* Made by native/python/doc.py. */\n"
    for node in ast.parse(stub).body:
        if isinstance(node, ast.FunctionDef):
            found += _macros(node, "$module")
        elif isinstance(node, ast.ClassDef):
            methods = {part.name: part for part in node.body if isinstance(part, ast.FunctionDef)}
            names = ", ".join([*_names(methods.pop("__new__")), "/"])
            found += _macro(f"SS_DOC_{node.name}", f"{node.name}({names})", node)
            found += "".join(_macros(method, "$self") for method in methods.values())
    return found


def main() -> None:
    """Write the header to the path given as the first argument."""
    Path(sys.argv[1]).write_text(header(STUB.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
