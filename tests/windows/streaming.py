"""Streams the genesis to libraries, here or under Windows, and tells what each made of it.

python streaming.py FOLDER    libraries lie there as stream-*.so or .dll, and stream.capture,
in which each event has its place already
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from slipstream import PluginManager
from slipstream._platform import LIBRARY_SUFFIX
from slipstream.streams import EventFile
from support.inside_wine import lines, said, tell

HERE = Path(sys.argv[1])
OUT = HERE / "out.txt"
TIME = (1_700_000_000 * 10**9).to_bytes(8, "little")


def streamed(library: Path, mode: str) -> dict[str, object]:
    """How many events it has got, what it has logged, and what it has written."""
    own = {"out": str(OUT)} if "-written-" in library.name else {}
    said.clear()
    with PluginManager(log_level="info") as manager:
        plugin = manager.load_plugin({"libpath": str(library), "mode": mode, **own})
        with EventFile(str(HERE / "stream.capture"), on_warning=said.append) as file:
            for frame in file:
                # A time that the host does not have to fill in: at 32, as slipstream.h says.
                manager.broadcast(frame[:32] + TIME + frame[40:])
        manager.flush(60)
        delivered = plugin.counters.delivered
    found: dict[str, object] = {
        "delivered": delivered,
        "digest": [line.split(" {")[0] for line in lines("digest ")],
        "sums": [line.split(" {")[0] for line in lines("credits.aleo")],
    }
    if own:
        found["written"] = OUT.read_text()
        OUT.unlink()
    return found


def streams() -> dict[str, object]:
    """By the library's name and the mode."""
    return {
        f"{library.stem} {mode}": streamed(library, mode)
        for library in sorted(HERE.glob(f"stream-*{LIBRARY_SUFFIX}"))
        for mode in ("inline", "thread")
    }


if __name__ == "__main__":
    tell(streams)
