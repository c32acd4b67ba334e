"""A stack that overflows is told like any other crash, on each thread that the core knows of."""

from __future__ import annotations

import signal

import pytest

from slipstream import Block
from support.gated import wait_until
from support.process_tools import run_python

# Overflows the stack of the thread that WHERE names, for its first event.
DEEP = """
#define _GNU_SOURCE
#include <slipstream.h>
#include <pthread.h>
#include <string.h>
__attribute__((noinline)) int overflow(int depth) {
    volatile char room[4096];
    memset((char *)room, depth, sizeof room);
    if (depth < 0)
        return 0;
    return overflow(depth + 1) + room[depth % 4096];
}
static void *own(void *unused) {
    pthread_setname_np(pthread_self(), "deep-thread");
    return overflow(0) == 1 ? unused : NULL;
}
static uint64_t subscribed_events(void *i) { (void)i; return ~(uint64_t)0; }
static int32_t on_broadcast(void *i, const slipstream_delivery *d, const uint8_t *f, size_t len) {
    pthread_t thread;
    (void)i, (void)d, (void)f, (void)len;
    if (strcmp(WHERE, "callback") == 0)
        return overflow(0);
    if (pthread_create(&thread, NULL, own, NULL) == 0)
        pthread_join(thread, NULL);
    return SLIPSTREAM_OK;
}
static void destroy(void *i) { (void)i; }
SLIPSTREAM_EXPORT const slipstream_plugin *
slipstream_create_plugin_v1(const slipstream_host *host) {
    static const slipstream_plugin table = {
        .struct_size = sizeof table, .abi_minor = SLIPSTREAM_ABI_MINOR, .name = "deep",
        .version = "1", .destroy = destroy, .subscribed_events = subscribed_events,
        .on_broadcast = on_broadcast};
    (void)host;
    return &table;
}
"""
FLAGS = ("-O0", "-fno-omit-frame-pointer")

pytestmark = pytest.mark.no_asan  # its own handlers come first


@pytest.mark.parametrize("where", ["callback", "thread"])
def test_a_worker_reports_it(manager, compile_plugin, where) -> None:
    library = compile_plugin(DEEP, *FLAGS, f'-DWHERE="{where}"')
    plugin = manager.load_plugin(
        {"libpath": str(library), "mode": "process", "host": {"restart": {"max_crashes": 1}}}
    )
    manager.broadcast(Block(b"b", 1))
    wait_until(lambda: plugin.last_crash is not None, "it fell")
    report = plugin.last_crash
    assert report.signal == signal.SIGSEGV
    assert report.thread.partition(" ")[2] == "deep-thread" or where == "callback"
    assert ".slipstream-copy" in report.module
    places = [offset for module, offset in report.backtrace if module == report.module]
    assert len(places) > 10  # the same call, again and again
    assert len(set(places[1:-2])) < 4


def test_a_crash_handler_names_the_plugin_in_mode_thread(compile_plugin) -> None:
    code = """
import sys
from slipstream import Block, PluginManager, enable_crash_handler
enable_crash_handler()
manager = PluginManager("thread", insecure_paths=True)
manager.load_plugin({"libpath": sys.argv[1]})
manager.broadcast(Block(b"b", 1))
manager.flush(60)
"""
    library = compile_plugin(DEEP, *FLAGS, '-DWHERE="callback"')
    done = run_python(code, str(library))
    assert done.returncode == -signal.SIGSEGV
    assert "signal 11 in on_broadcast of plugin deep, last ordinal 1, at " in done.stderr
