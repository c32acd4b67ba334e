"""What is said where the host itself falls: which plugin, on what, where; and the unread lines."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from support.process_tools import run_python

# Logs some lines and falls at the third event, or where it is told to.
FALLS = """
#define _GNU_SOURCE
#include <slipstream.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

static const slipstream_host *host;
static void *on_its_own(void *unused) { *(volatile int *)0x10 = 1; return unused; }
static void destroy(void *unused) { (void)unused; }
static uint64_t subscribed_events(void *unused) { (void)unused; return ~(uint64_t)0; }
__attribute__((noinline)) void where_it_falls(void) { *(volatile int *)0x10 = 1; }
/* Returns to where no code is, below which the stack says nothing either. */
__attribute__((noinline)) void smash(void) {
    uintptr_t *volatile frame = __builtin_frame_address(0);
    for (int i = 1; i < 4; i++)
        frame[i] = i == 1 ? 0x4141414141 : (uintptr_t)smash + 1; /* code, which calls nothing */
}
__attribute__((noinline)) void through(void (*volatile function)(void)) {
    function();
    function = NULL;
}
/* Where one piece of a file ends and another begins: at the first byte of the second. */
static void fall_between(void) {
    const int file = memfd_create("pieces", 0);
    char *at = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ftruncate(file, 32768) != 0 || pwrite(file, "\\x0f\\x0b", 2, 20480) != 2 ||
        mmap(at, 4096, PROT_READ, MAP_SHARED | MAP_FIXED, file, 0) != at ||
        mmap(at + 4096, 4096, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, file, 20480) !=
            at + 4096)
        exit(9);
    void (*function)(void);
    at += 4096;
    memcpy(&function, &at, sizeof function);
    function();
}
static int32_t on_load(void *unused, const char *config, size_t len, uint32_t reason) {
    (void)unused, (void)config, (void)len, (void)reason;
    if (strcmp(FALL, "load") == 0)
        where_it_falls();
    return SLIPSTREAM_OK;
}
static int32_t on_broadcast(void *unused, const slipstream_delivery *delivery,
                            const uint8_t *frames, size_t len) {
    pthread_t thread;
    (void)unused, (void)frames, (void)len;
    if (delivery->first_ordinal < 3 || strcmp(FALL, "flush") == 0)
        return SLIPSTREAM_OK;
    if (strcmp(FALL, "exit") == 0)
        exit(7);
    for (int i = 0; i < 500; i++)
        host->log(host->ctx, SLIPSTREAM_LOG_INFO, "about to fall", 13);
    if (strcmp(FALL, "abort") == 0)
        abort();
    if (strcmp(FALL, "between") == 0)
        fall_between();
    if (strcmp(FALL, "two") == 0 && pthread_create(&thread, NULL, on_its_own, NULL) == 0 &&
        pthread_create(&thread, NULL, on_its_own, NULL) == 0)
        pthread_join(thread, NULL);
    if (strcmp(FALL, "thread") == 0 && pthread_create(&thread, NULL, on_its_own, NULL) == 0)
        pthread_join(thread, NULL);
    if (strcmp(FALL, "smashed") == 0)
        smash();
    if (strcmp(FALL, "nowhere") == 0)
        through(NULL);
    where_it_falls();
    return SLIPSTREAM_OK;
}
static int32_t flush(void *unused, uint32_t timeout_ms) {
    (void)unused, (void)timeout_ms;
    where_it_falls();
    return SLIPSTREAM_OK;
}
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *given) {
    static slipstream_plugin table;
    table = (slipstream_plugin){
        .struct_size = sizeof table, .name = "falls", .version = "1", .destroy = destroy,
        .flags = strcmp(FALL, "flush") == 0 ? SLIPSTREAM_FLAG_EXPLICIT_ACK : 0,
        .on_load = on_load, .subscribed_events = subscribed_events,
        .on_broadcast = on_broadcast, .flush = flush};
    host = given;
    return &table;
}
"""
HOST = """
    import faulthandler, logging, sys
    from slipstream import AppEvent, PluginManager, enable_crash_handler
    faulthandler.enable(all_threads=False)  # it may fall itself over one that runs
    logging.basicConfig(level="INFO", format="read: %(message)s")
    library, mode = sys.argv[1:3]
    enable_crash_handler()
    enable_crash_handler()
    manager = PluginManager(insecure_paths=True)
    manager.load_plugin({"libpath": library, "mode": mode})
    for number in range(5):
        manager.broadcast(AppEvent(40, b"event", None))
    manager.flush(60)
"""

pytestmark = pytest.mark.no_asan  # its own handlers come first


@pytest.mark.parametrize("mode", ["inline", "thread"])
@pytest.mark.parametrize(("fall", "number"), [("null", signal.SIGSEGV), ("abort", signal.SIGABRT)])
def test_a_fall_in_a_callback_names_the_plugin(compile_plugin, mode, fall, number) -> None:
    library = compile_plugin(FALLS, f'-DFALL="{fall}"', name="falls")
    done = run_python(HOST, library, mode)
    assert done.returncode == -number
    told = re.search(r"^slipstream: signal (\d+) in on_broadcast of plugin falls, last ordinal 3, at "
                     r"(\S+) \+ 0x([0-9a-f]+)$", done.stderr, re.MULTILINE)  # fmt: skip
    assert told, done.stderr
    assert int(told[1]) == number
    assert (".slipstream-copy" in told[2]) == (fall == "null")
    # Of the lines none is missing, but for some that were being read just then.
    assert done.stderr.count("read: about to fall") >= 500 - 32
    # Whoever wanted the signal before has it, too.
    assert "Fatal Python error" in done.stderr


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="its instruction is of another machine")
def test_a_fall_at_the_first_byte_of_a_mapping(compile_plugin) -> None:
    library = compile_plugin(FALLS, '-DFALL="between"', name="falls")
    done = run_python(HOST, library, "inline")
    assert done.returncode == -signal.SIGILL, done.stderr
    assert re.search(
        r"last ordinal 3, at \S*memfd:pieces\S*.* \+ 0x5000$", done.stderr, re.MULTILINE
    )


@pytest.mark.parametrize("mode", ["inline", "thread"])
def test_a_call_that_leads_nowhere(compile_plugin, mode) -> None:
    library = compile_plugin(FALLS, '-DFALL="nowhere"', name="falls")
    done = run_python(HOST, library, mode)
    assert done.returncode == -signal.SIGSEGV, done.stderr
    told = r"ordinal 3, at 0x0, which is not code, called at \S+falls\S+ \+ 0x([0-9a-f]+)$"
    found = re.search(told, done.stderr, re.MULTILINE)
    assert found, done.stderr
    command = ["addr2line", "-f", "-e", library, found[1]]
    functions = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert functions.startswith("through\n")


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="its stack is of another machine")
def test_a_stack_that_was_written_over_has_no_caller(compile_plugin) -> None:
    library = compile_plugin(FALLS, '-DFALL="smashed"', "-fno-stack-protector", name="falls")
    done = run_python(HOST, library, "inline")
    assert done.returncode == -signal.SIGSEGV, done.stderr
    assert re.search(r"ordinal 3, at 0x4141414141$", done.stderr, re.MULTILINE), done.stderr


@pytest.mark.parametrize("mode", ["inline", "thread"])
def test_a_fall_in_on_load_and_on_a_thread_of_the_plugin_s_own(compile_plugin, mode) -> None:
    done = run_python(HOST, compile_plugin(FALLS, '-DFALL="load"', name="falls"), mode)
    assert done.returncode == -signal.SIGSEGV
    assert "slipstream: signal 11 in on_load of plugin falls, at " in done.stderr
    library = compile_plugin(FALLS, '-DFALL="thread"', name="falls")
    done = run_python(HOST, library, mode)
    assert done.returncode == -signal.SIGSEGV
    told = r"slipstream: signal 11 outside of any plugin's call, at \S+falls\S+ \+ 0x"
    assert re.search(told, done.stderr), done.stderr


def test_a_fall_in_flush_and_an_exit(compile_plugin) -> None:
    for mode in ("inline", "thread"):
        done = run_python(HOST, compile_plugin(FALLS, '-DFALL="flush"', name="falls"), mode)
        assert done.returncode == -signal.SIGSEGV
        assert "slipstream: signal 11 in flush of plugin falls, last ordinal " in done.stderr
        done = run_python(HOST, compile_plugin(FALLS, '-DFALL="exit"', name="falls"), mode)
        assert done.returncode == 7
        told = "slipstream: exit was called in on_broadcast of plugin falls, last ordinal 3\n"
        assert told in done.stderr


def test_two_threads_fall_at_once(compile_plugin) -> None:
    """Another thread's fault does not end the process before all is told of the first."""
    library = compile_plugin(FALLS, '-DFALL="two"', name="falls")
    for _ in range(5):
        done = run_python(HOST, library, "thread")
        assert done.returncode == -signal.SIGSEGV
        assert done.stderr.count("slipstream: signal 11 outside of any plugin's call") == 1
        # Each line once: read, unread, or being read just then.
        told = re.findall(r"^(?:slipstream: un)?read: about to fall$", done.stderr, re.MULTILINE)
        assert 500 - 32 <= len(told) <= 500


def test_the_commands_have_it(compile_plugin, examples, tmp_path) -> None:
    library = compile_plugin(FALLS, '-DFALL="null"', name="falls")
    config = tmp_path / "falls.json"
    config.write_text(json.dumps({"libpath": str(library), "mode": "inline"}))
    events = examples / "streams" / "mainnet_genesis.jsonl"
    done = subprocess.run(
        [sys.executable, "-m", "slipstream.cli", "run", "--insecure-paths", "--slipstream-config",
         str(config), str(events)],
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == -signal.SIGSEGV, done.stderr
    assert "slipstream: signal 11 in on_broadcast of plugin falls, last ordinal 3" in done.stderr
