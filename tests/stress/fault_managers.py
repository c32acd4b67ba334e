"""Two managers at once, libraries that a plugin needs and that are replaced, and logs that cannot
be written; part of faults.py, and alone:

    python tests/stress/fault_managers.py --loads 100000
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from slipstream import Block, PluginLoadError, PluginManager
from slipstream.testing import build_plugin
from support.outcomes import excess

# ---- Two managers at once ------------------------------------------------------------------------

_REFUSES = """
#include <slipstream.h>
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    return slipstream_fail(host, 0, TEXT), NULL;
}
"""


SAID_EACH = 5000


def run_managers(folder: Path, loads: int, end: float, *, mode: str = "process") -> dict:
    """Let two managers load plugins that refuse, each in its own words; whose words were heard."""
    wrong: list[str] = []
    counts = {"X": 0, "Y": 0}

    def load(letter: str) -> None:
        text = letter * 4000
        place = folder / letter
        place.mkdir(exist_ok=True)
        library = build_plugin(_REFUSES, f'-DTEXT="{text}"', folder=place, name="refuses")
        config = {"libpath": str(library), "load_timeout": 240}
        with PluginManager(mode, insecure_paths=True, log_level="error") as manager:
            while counts[letter] < loads // 2 and time.monotonic() < end and not wrong:
                try:
                    manager.load_plugin(config)
                    wrong.append(f"{letter} was loaded")
                except PluginLoadError as error:
                    if text not in error.message or "XY".replace(letter, "") * 9 in error.message:
                        wrong.append(f"{letter} heard: {error.message[:200]}")
                counts[letter] += 1
                if sum(counts.values()) % SAID_EACH == 0:
                    print(f"{sum(counts.values()):,} of {loads:,} loads", file=sys.stderr)

    threads = [threading.Thread(target=load, args=(letter,)) for letter in counts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"manager_loads": sum(counts.values()), "wrong_counters": wrong}


# ---- Libraries that are replaced together with a plugin -----------------------------------------

_NEEDS = """
#include <slipstream.h>
#include <stdio.h>
int needed(void);
static int seen;
static void destroy(void *unused) { (void)unused; }
static uint64_t subscribed_events(void *unused) { (void)unused; return ~(uint64_t)0; }
static int32_t on_broadcast(void *unused, const slipstream_delivery *delivery,
                            const uint8_t *frames, size_t len) {
    (void)unused, (void)delivery, (void)frames, (void)len;
    if (!seen) {
        FILE *file = fopen(OUT, "a");
        if (file == NULL)
            return SLIPSTREAM_FAILED;
        fprintf(file, "%d\\n", needed());
        fclose(file);
    }
    seen = 1;
    return SLIPSTREAM_OK;
}
SLIPSTREAM_EXPORT const slipstream_plugin *
slipstream_create_plugin_v1(const slipstream_host *host) {
    static const slipstream_plugin table = {
        .struct_size = sizeof table, .abi_minor = SLIPSTREAM_ABI_MINOR, .name = "needs",
        .version = "1", .destroy = destroy, .subscribed_events = subscribed_events,
        .on_broadcast = on_broadcast};
    (void)host;
    return &table;
}
"""


def run_replaced(folder: Path, mode: str, reloads: int, end: float) -> dict:
    """Replace what a plugin needs and reload it, again and again; which one each version used."""
    place = folder / f"replaced-{mode}"
    place.mkdir()
    out = place / "seen"
    source = place / "n.c"
    wrong: list[str] = []

    def replace(number: int) -> None:
        source.write_text(f"int needed(void) {{ return {number}; }}\n")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", place / "new", source], check=True)
        (place / "new").replace(place / "libneeded.so")

    replace(0)
    flags = (f"-L{place}", "-lneeded", "-Wl,-rpath,$ORIGIN", f'-DOUT="{out}"')
    library = build_plugin(_NEEDS, *flags, folder=place, name="needs")
    config = {"libpath": str(library), "host": {"mode": mode, "reload_close_first": True}}
    with PluginManager(insecure_paths=True, log_level="error") as manager:
        plugin = manager.load_plugin(config)
        done = 0
        for number in itertools.count():
            manager.broadcast(Block(b"b", number))
            manager.flush(240)
            if number == reloads or time.monotonic() > end:
                break
            replace(number + 1)
            manager.reload_plugin("needs")
            done += 1
        if plugin.counters.delivered != done + 1 or excess(plugin.counters):
            wrong.append(f"mode {mode}: {plugin.counters} after {done} reloads")
    seen = [int(line) for line in out.read_text().split()]
    if seen != list(range(done + 1)):
        wrong.append(f"mode {mode}: the versions used {seen}")
    return {"reloads": done, "wrong_counters": wrong}


# ---- Logs that cannot be written -----------------------------------------------------------------

_CHATTERS = """
#include <slipstream.h>
static const slipstream_host *host;
static void destroy(void *unused) { (void)unused; }
static uint64_t subscribed_events(void *unused) { (void)unused; return ~(uint64_t)0; }
static int32_t on_broadcast(void *unused, const slipstream_delivery *delivery,
                            const uint8_t *frames, size_t len) {
    (void)unused, (void)delivery, (void)frames, (void)len;
    for (int i = 0; i < 20; i++)
        host->log(host->ctx, SLIPSTREAM_LOG_ERROR, "a line that nobody reads", 24);
    return SLIPSTREAM_OK;
}
SLIPSTREAM_EXPORT const slipstream_plugin *
slipstream_create_plugin_v1(const slipstream_host *given) {
    static const slipstream_plugin table = {
        .struct_size = sizeof table, .abi_minor = SLIPSTREAM_ABI_MINOR, .name = "chatters",
        .version = "1", .destroy = destroy, .subscribed_events = subscribed_events,
        .on_broadcast = on_broadcast};
    host = given;
    return &table;
}
"""
_HOST = """
import os, sys
from slipstream import AppEvent, PluginManager, frames
library, mode, out = sys.argv[1:]
run = frames.encode(AppEvent(40, b"event", None)) * 100
with PluginManager(mode, insecure_paths=True) as manager:
    plugin = manager.load_plugin({"libpath": library})
    for _ in range(100):
        manager.broadcast_frames(run)
    manager.flush(240)
    manager.reload_plugin("chatters")
    manager.broadcast_frames(run)
with open(out, "w") as file:
    print(plugin.counters.delivered, file=file)
"""
LOGS = {"full": ">/dev/full 2>/dev/full", "closed": ">&- 2>&-", "one": "2>/dev/full"}


def run_logs(folder: Path, hosts: int, end: float) -> dict:
    """Let plugins chatter in hosts whose log goes nowhere; whether all was delivered."""
    library = build_plugin(_CHATTERS, folder=folder, name="chatters")
    wrong: list[str] = []
    number = 0
    ways = itertools.cycle(itertools.product(("inline", "thread", "process"), LOGS))
    while number < hosts and time.monotonic() < end and not wrong:
        mode, log = next(ways)
        out = folder / "delivered"
        out.unlink(missing_ok=True)
        command = f'exec "$0" "$@" {LOGS[log]}'
        done = subprocess.run(
            ["sh", "-c", command, sys.executable, "-c", _HOST, library, mode, out],
            timeout=600,
            check=False,
        )
        delivered = out.read_text().strip() if out.exists() else "nothing"
        if done.returncode != 0 or delivered != "10100":
            wrong.append(f"{mode}, log {log}: exit code {done.returncode}, delivered {delivered}")
        number += 1
    return {"mute_hosts": number, "wrong_counters": wrong}


def main() -> int:
    parser = argparse.ArgumentParser(description="Two managers load at once.")
    parser.add_argument("--loads", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=3600)
    options = parser.parse_args()
    begin = time.monotonic()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="slipstream-managers-") as name:
        figures = run_managers(Path(name), options.loads, begin + options.seconds)
    wrong += figures["wrong_counters"]
    print(f"{figures['manager_loads']} loads by two managers, {time.monotonic() - begin:.0f} s")
    print("\n".join(wrong) or "each heard its own words")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
