"""A daemon under load for as long as one likes, while its plugins are reloaded and crash."""

from __future__ import annotations

import os
import signal
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from slipstream.testing import build_plugin
from support.daemon import Daemon, config, until

ROOT = Path(__file__).resolve().parents[2]
EVENTS = ROOT / "examples" / "streams" / "mainnet_derived_blocks_1_to_5.jsonl"
RATE = 123_000  # three times what a node has at most
STATE = struct.Struct("<QQQQ")  # events, last sequence, holes, repeats that are not marked

# Sees to it that sequences have no hole, over crashes and reloads: what it knows is in a file.
CHAIN = r"""
#include <slipstream.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
SLIPSTREAM_INFO({"name": "chain", "version": "1.0.0", "abi": 1, "flags": ["BATCH"],
                 "kinds": ["MAPPING_UPDATE", "MAPPING_REMOVAL", "STAKING_REWARD", "BLOCK", "GAP"]});
typedef struct { slipstream_plugin table; const slipstream_host *host; uint64_t *state; } chain;
static uint64_t kinds(void *self) { (void)self; return 0x2f; }
static int32_t load(void *instance, const char *config, size_t len, uint32_t reason) {
    chain *self = instance;
    int fd = open(FILE_NAME, O_RDWR | O_CREAT, 0600);
    (void)config, (void)len, (void)reason;
    if (fd < 0 || ftruncate(fd, 32) != 0)
        return SLIPSTREAM_IO;
    self->state = mmap(NULL, 32, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return self->state == MAP_FAILED ? SLIPSTREAM_IO : SLIPSTREAM_OK;
}
static int32_t take(void *instance, const slipstream_delivery *d, const uint8_t *run, size_t len) {
    chain *self = instance;
    uint64_t *s = self->state;
    slipstream_frame f;
    size_t at = 0;
    while (slipstream_next_frame(run, len, &at, &f) == SLIPSTREAM_OK) {
        if (f.kind == SLIPSTREAM_KIND_GAP || f.sequence > s[1] + 1)
            s[2]++;
        else if (f.sequence <= s[1]) {
            s[3] += d->attempt < 2;
            continue;
        }
        s[0]++;
        s[1] = f.sequence;
    }
    return SLIPSTREAM_OK;
}
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    chain *self = calloc(1, sizeof *self);
    const slipstream_plugin t = {SLIPSTREAM_PLUGIN_HEAD, SLIPSTREAM_FLAG_BATCH, self, "chain",
                                 "1.0.0", free, load, NULL, kinds, take, NULL, NULL};
    self->table = t;
    self->host = host;
    return &self->table;
}
"""


@dataclass
class Figures:
    """What came of it."""

    seconds: float = 0.0
    events: int = 0
    last: int = 0
    holes: int = 0
    unmarked: int = 0
    reloads: int = 0
    crashes: int = 0
    exit_code: int = -1
    memory: list[tuple[int, int]] = field(default_factory=list)  # KiB: the daemon, its workers
    fullest: float = 0.0
    counters: dict[str, dict] = field(default_factory=dict)

    @property
    def growth(self) -> float:
        """Of the memory of all processes: the last quarter against the second."""
        sums = [sum(pair) for pair in self.memory]
        quarter = max(1, len(sums) // 4)
        second, last = sums[quarter : 2 * quarter], sums[-quarter:]
        return sum(last) / len(last) / (sum(second) / max(1, len(second))) if second else 1.0


def workers(pid: int) -> list[int]:
    """The workers of a daemon."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def resident(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return int(lines.get("RssAnon", "0 kB").split()[0])  # rings are shared, and full at times


def soak(folder: Path, seconds: float, every: float, say=print) -> Figures:
    """Let a daemon run so long; every so many seconds a plugin is reloaded, and one crashes."""
    figures = Figures()
    state = folder / "state"
    library = build_plugin(CHAIN, f'-DFILE_NAME="{state}"', folder=folder, name="chain")
    restart = {"initial_delay": 0.1, "max_crashes": 1000}
    chain = config(folder, library, restart=restart, block_timeout=60)
    tally = config(
        folder, ROOT / "examples" / "tally" / "tally.so", restart=restart, block_timeout=60
    )
    options = ("--slipstream-config", chain, "--slipstream-config", tally, "--stop-timeout", "120")
    source = ("--events", EVENTS, "--loop", "--speed", f"{RATE}/s")
    with Daemon(folder, *options, *source) as daemon:
        daemon.ready()
        began = time.monotonic()
        transport = httpx.HTTPTransport(uds=str(folder / "data" / "admin.sock"))
        with httpx.Client(transport=transport, base_url="http://daemon", timeout=60) as client:
            following = began + every
            names = ["chain", "tally"]
            while time.monotonic() < began + seconds:
                time.sleep(min(1.0, every / 4))
                assert daemon.process.poll() is None, daemon.log.read_text()[-4000:]
                pid = daemon.process.pid
                figures.memory.append((resident(pid), sum(map(resident, workers(pid)))))
                if time.monotonic() < following:
                    continue
                following += every
                crashing, reloaded = names
                names.reverse()
                status = client.get(f"/mainnet/slipstream/plugins/{crashing}").json()
                victims = workers(pid)
                os.kill(victims[figures.crashes % len(victims)], signal.SIGSEGV)
                figures.crashes += 1
                answer = client.put(f"/mainnet/slipstream/plugins/{reloaded}")
                if answer.status_code != 200:  # it was the one that has crashed
                    say(f"reload of {reloaded}: {answer.text}")
                figures.reloads += answer.status_code == 200
                say(f"{time.monotonic() - began:.0f} s: lag {status['counters']['lag']}")
            for name in names:
                figures.counters[name] = client.get(f"/mainnet/slipstream/plugins/{name}").json()[
                    "counters"
                ]
        figures.seconds = time.monotonic() - began
        figures.exit_code = daemon.end()
        until(lambda: daemon.said("ended"), "the last line")
    figures.events, figures.last, figures.holes, figures.unmarked = STATE.unpack(state.read_bytes())
    return figures
