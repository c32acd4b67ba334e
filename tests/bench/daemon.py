"""How long a daemon takes to be ready, and what it costs while nothing happens and when scraped."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from slipstream import PluginManager  # noqa: E402 - after the path
from slipstream.server import Metrics  # noqa: E402
from slipstream.testing import build_plugin  # noqa: E402
from support.daemon import Daemon, config, until  # noqa: E402

IDLE = 10.0


def processor_seconds(pid: int) -> float:
    """What the threads of a process have run; exact, where `stat` counts in ticks of 10 ms."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def with_workers(pid: int) -> list[int]:
    """A daemon's process and those of its workers."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    found = [(thread / "children").read_text().split() for thread in threads]
    return [pid, *(int(child) for children in found for child in children)]


def scrape_seconds(plugins: int) -> float:
    """Processor time of a scrape of so many plugins: the best of ten."""
    source = (ROOT / "tests" / "plugins" / "talker.c").read_text()
    with tempfile.TemporaryDirectory() as name, PluginManager(insecure_paths=True) as manager:
        flags = "-DFLAGS=SLIPSTREAM_FLAG_MULTI_INSTANCE"
        library = build_plugin(source, flags, folder=Path(name), name="talker")
        for number in range(plugins):
            manager.load_plugin({"libpath": str(library), "name": f"t{number}", "mode": "inline"})
        metrics = Metrics(manager)
        took = []
        for _ in range(10):
            begun = time.thread_time()
            metrics()
            took.append(time.thread_time() - begun)
        metrics.close()
    return min(took)


def main() -> None:
    one, many = scrape_seconds(1), scrape_seconds(64)
    print(f"a scrape of 64 plugins: {many * 1000:.1f} ms, {many / one:.1f} times that of one")
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
                    pids = with_workers(daemon.process.pid)
                    before = [processor_seconds(pid) for pid in pids]
                    time.sleep(IDLE)
                    after = [processor_seconds(pid) for pid in pids]
                    idle = [(b - a) / IDLE for a, b in zip(before, after, strict=True)]
                daemon.end()
    print(
        f"from start to ready: median {statistics.median(ready):.2f} s, {min(ready):.2f} to {max(ready):.2f}"
    )
    print(f"of that in the daemon itself: {line['seconds']} s (the last one)")
    print(f"idle: {idle[0]:.2%} of a processor, {sum(idle):.2%} with its workers")


if __name__ == "__main__":
    main()
