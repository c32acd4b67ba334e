"""An hour of events at three times a node's load, with a reload and a crash each minute.

soak.py [SECONDS [EVERY]]
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support.soak import RATE, soak  # noqa: E402 - after the path


def main() -> int:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3600.0
    every = float(sys.argv[2]) if len(sys.argv) > 2 else min(60.0, seconds / 4)
    with tempfile.TemporaryDirectory() as folder:
        found = soak(Path(folder), seconds, every)
    rate = found.events / found.seconds
    result = {**dataclasses.asdict(found), "rate": rate, "growth": found.growth}
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build" / "soak.json").write_text(json.dumps(result, indent=1))
    print(f"{found.events:,} events in {found.seconds:.0f} s: {rate:,.0f} a second of {RATE:,}")
    print(f"{found.crashes} crashes, {found.reloads} reloads, {found.holes} holes")
    print(f"memory: {found.memory[-1]} KiB, grown by {found.growth - 1:.1%}")
    good = found.holes == 0 and found.events == found.last and found.exit_code == 0
    good = good and found.growth < 1.1 and found.crashes > 0 and found.reloads > 0
    print("nothing was lost" if good else "NOT good")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
