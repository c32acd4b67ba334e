"""Where memory is short: rings are refused with the figures, and workers end with the reason."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from slipstream._platform import memory_left
from support.memory_group import memory_group, run_python_in

# Takes so much memory that the kernel ends it.
EATER = """
#include <slipstream.h>
#include <stdlib.h>
#include <string.h>

static void destroy(void *unused) { (void)unused; }
static uint64_t subscribed_events(void *unused) { (void)unused; return ~(uint64_t)0; }
static int32_t on_broadcast(void *unused, const slipstream_delivery *delivery,
                            const uint8_t *frames, size_t len) {
    (void)unused, (void)frames, (void)len;
    for (int i = 0; delivery->attempt == 1 && i < 1024; i++) {
        volatile char *piece = malloc(1 << 20);
        for (int k = 0; piece != NULL && k < 1 << 20; k += 4096)
            piece[k] = 1;
    }
    return SLIPSTREAM_OK;
}
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    static const slipstream_plugin table = {
        sizeof table, SLIPSTREAM_ABI_MINOR, 0, 0, NULL, "eater", "1", destroy, NULL, NULL,
        subscribed_events, on_broadcast, NULL, NULL};
    (void)host;
    return &table;
}
"""


@pytest.mark.no_asan
@pytest.mark.parametrize("mode", ["thread", "process"])
def test_a_ring_that_does_not_fit_is_refused_with_the_figures(examples, mode) -> None:
    with memory_group(160 << 20) as group:
        done = run_python_in(
            group,
            """
            import sys
            from slipstream import PluginLoadError, PluginManager
            with PluginManager() as manager:
                config = {"libpath": sys.argv[1], "mode": sys.argv[2]}
                try:
                    manager.load_plugin({**config, "ring_bytes": "256MiB"})
                except PluginLoadError as error:
                    print(error.message)
                manager.load_plugin({**config, "ring_bytes": "16MiB"})
                print("lives")
            """,
            examples / "minimal" / "minimal.so",
            mode,
        )
    assert done.returncode == 0, done.stderr
    refused, lives = done.stdout.splitlines()
    assert refused.startswith("a ring of 256 MiB does not fit into the memory that is left: ")
    assert f"by the limit {group}/memory." in refused
    assert lives == "lives"


def test_what_is_left_is_known() -> None:
    left = memory_left()
    assert left is not None
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    assert 1 << 20 < left[0] <= int(fields["MemTotal"].split()[0]) * 1024


def run_beside_an_eater(limit: int, code: str, library: Path) -> subprocess.CompletedProcess[str]:
    """Run a host whose worker eats more memory than there is.

    Now and then the kernel takes the host, too, before it has all of the worker's memory back.
    """
    for _ in range(3):
        with memory_group(limit) as group:
            done = run_python_in(group, code, library)
        if done.returncode != -signal.SIGKILL:
            break
    return done


@pytest.mark.no_asan
def test_a_worker_goes_before_a_larger_host(compile_plugin) -> None:
    done = run_beside_an_eater(
        384 << 20,
        """
        import sys
        from slipstream import AppEvent, PluginManager
        own = b"x" * (220 << 20)
        with PluginManager(insecure_paths=True) as manager:
            plugin = manager.load_plugin(
                {"libpath": sys.argv[1], "mode": "process", "ring_bytes": "1MiB"})
            manager.broadcast(AppEvent(40, b"event", None))
            manager.flush(60)
            print(plugin.restarts, plugin.counters.delivered)
        """,
        compile_plugin(EATER, name="eater"),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1 1\n"


@pytest.mark.no_asan
def test_a_kill_for_lack_of_memory_is_told_from_another(compile_plugin) -> None:
    done = run_beside_an_eater(
        192 << 20,
        """
        import os, signal, sys, time
        from slipstream import AppEvent, PluginManager
        with PluginManager(insecure_paths=True) as manager:
            plugin = manager.load_plugin(
                {"libpath": sys.argv[1], "mode": "process", "ring_bytes": "1MiB"})
            manager.broadcast(AppEvent(40, b"event", None))
            manager.flush(60)
            os.kill(plugin.pid, signal.SIGKILL)
            while len(plugin.delivery.reports) < 2:
                time.sleep(0.01)
            for report in plugin.delivery.reports:
                print(report.reason)
        """,
        compile_plugin(EATER, name="eater"),
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert "died of signal 9: killed by the kernel for lack of memory" in first
    assert second == "died of signal 9 (Killed)"


LIVES = """
import ctypes, gc, sys
from slipstream import Block, PluginManager, SlipstreamError
from slipstream.testing import FakeHost

NAMES = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in NAMES.split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info

def used():
    gc.collect()
    info = libc.mallinfo2()
    return info.uordblks + info.hblkhd

def live():
    if sys.argv[2] == "fake":
        config = {"log": "/dev/null", "rejects": list(range(1, 21)), "status": -3}
        with FakeHost(sys.argv[1], config) as host:
            host.deliver(*[Block(b"x" * 30, n) for n in range(20)], first_ordinal=1)
        return
    with PluginManager(sys.argv[2], insecure_paths=True) as manager:
        config = {"libpath": sys.argv[1], "name": "x", "ring_bytes": "1MiB"}
        manager.load_plugin(config)
        manager.broadcast_many([Block(b"x" * 30, n) for n in range(20)])
        manager.flush(30)
        manager.reload_plugin("x")
        manager.pause("x")
        manager.broadcast(Block(b"x", 1))
        manager.resume("x")
        for wrong in (config, {**config, "name": "y", "libpath": "/nowhere.so"}):
            try:
                manager.load_plugin(wrong)
            except SlipstreamError:
                pass
        manager.unload_plugin("x")

for _ in range(15):
    live()
before = used()
for _ in range(40):
    live()
print((used() - before) // 40)
"""


@pytest.mark.parametrize("mode", ["inline", "thread", "process", "fake"])
@pytest.mark.no_asan  # whose allocator counts otherwise
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="it is glibc's, from 2.33")
def test_a_life_gives_back_all_that_it_took(examples: Path, compile_plugin, mode: str) -> None:
    """Whatever is loaded, reloaded, paused, rejected and unloaded: no block of memory stays."""
    library = examples / "minimal" / "minimal.so"
    if mode == "fake":
        library = compile_plugin("settler.c", "-D_GNU_SOURCE", "-pthread", name="settler")
    done = subprocess.run(
        [sys.executable, "-c", LIVES, library, mode],
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 300  # bytes for each; a slot alone has a thousand
