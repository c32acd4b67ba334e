"""How long a daemon with two plugins takes to be ready, and what it costs while nothing happens."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support.daemon import Daemon, config, until  # noqa: E402 - after the path

IDLE = 10.0


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    examples = ROOT / "examples"
    ready: list[float] = []
    for attempt in range(6):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            ledger = config(folder, examples / "ledger" / "ledger.so", database=f"{name}/l.db")
            tally = config(folder, examples / "tally" / "tally.so")
            options = ("--slipstream-config", ledger, "--slipstream-config", tally)
            listen = ("--listen", f"unix:{name}/p.sock", "--rest", "127.0.0.1:0", "--nobanner")
            with Daemon(folder, *options, *listen) as daemon:
                line = until(lambda: daemon.said("ready"), "ready")
                ready.append(time.monotonic() - daemon.began)
                if attempt == 5:
                    time.sleep(2.0)
                    before = processor_seconds(daemon.process.pid)
                    time.sleep(IDLE)
                    idle = (processor_seconds(daemon.process.pid) - before) / IDLE
                daemon.end()
    print(
        f"from start to ready: median {statistics.median(ready):.2f} s, {min(ready):.2f} to {max(ready):.2f}"
    )
    print(f"of that in the daemon itself: {line['seconds']} s (the last one)")
    print(f"idle: {idle:.2%} of a processor")


if __name__ == "__main__":
    main()
