"""Loads each library of a folder under Windows, and looks at it with commands: what is said.

python refused.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from slipstream import PluginManager, SlipstreamError
from support.inside_wine import command, said, tell

HERE = Path(sys.argv[1])


def libraries() -> list[Path]:
    return [path for path in sorted(HERE.iterdir()) if path.suffix == ".dll"]


def refused(manager: PluginManager, path: Path, mode: str) -> dict[str, object]:
    said.clear()
    try:
        manager.load_plugin({"libpath": str(path), "mode": mode})
    except SlipstreamError as error:
        refusal = getattr(error, "refusal", None)
        manager.flush()  # drains the log
        return {
            "refusal": None if refusal is None else str(refusal),
            "message": error.message,
            "hint": error.hint,
            "lines": [line.split(" {")[0] for line in said],
        }
    manager.unload_plugin(next(iter(manager.plugins)))
    return {"refusal": "none: it was loaded", "message": "", "hint": "", "lines": said[:]}


def loads() -> object:
    found = {}
    with PluginManager(log_level="trace") as manager:
        for path in libraries():
            sys.stderr.write(f"{path.name}\n")
            sys.stderr.flush()
            found[path.name] = {mode: refused(manager, path, mode) for mode in ("inline", "thread")}
        good = manager.load_plugin({"libpath": str(HERE / "good" / "good.dll"), "mode": "thread"})
        manager.block(b"", 1)
        manager.flush(60)
        found["good"] = {"delivered": good.counters.delivered}
    found["left"] = sorted(path.name for path in HERE.rglob("*slipstream-copy*"))
    return found


def commands() -> object:
    found = {}
    for path in libraries():
        found[path.name] = {
            "check": command("check", "--quick", str(path)),
            "inspect": command("inspect", str(path)),
        }
    return found


if __name__ == "__main__":
    tell(loads, commands)
