"""Workers that do nothing any more, and what is told of where they are, or fell."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from slipstream import PluginState
from support.oracle import EXPLICIT_ACK, Oracle, command
from support.process_tools import TESTS, run_python
from support.recorded import Recorder
from support.workers import Sender, alive, block, one_report, wait

# Crashes on a thread of its own, in a function that is called by another.
THREADED = """
#include <slipstream.h>
#include <pthread.h>
#include <stddef.h>

__attribute__((noinline)) void innermost(volatile int *at) { *at = 1; }
__attribute__((noinline)) void in_between(volatile int *at) { innermost(at); at++; }
static int data;
__attribute__((noinline)) void through(void (*volatile function)(void)) { function(); data++; }
static void *run(void *unused) {
    pthread_setname_np(pthread_self(), "its-own");
#ifdef NOWHERE
    through((void (*)(void))NOWHERE);
#endif
    in_between((int *)0x10);
    return unused;
}
static void destroy(void *unused) { (void)unused; }
static uint64_t subscribed_events(void *unused) { (void)unused; return ~(uint64_t)0; }
static int32_t on_broadcast(void *unused, const slipstream_delivery *delivery,
                            const uint8_t *frames, size_t len) {
    pthread_t thread;
    (void)unused, (void)frames, (void)len;
    if (delivery->attempt > 1)
        return SLIPSTREAM_OK;
    pthread_create(&thread, NULL, run, NULL);
    pthread_join(thread, NULL);
    return SLIPSTREAM_OK;
}
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    static const slipstream_plugin table = {
        sizeof table, SLIPSTREAM_ABI_MINOR, 0, 0, NULL, "threaded", "1", destroy, NULL, NULL,
        subscribed_events, on_broadcast, NULL, NULL};
    (void)host;
    return &table;
}
"""


def functions_in(report, library: Path) -> list[str]:
    """The functions of the library in a report's backtrace."""
    tool = shutil.which("addr2line")
    assert tool is not None
    offsets = [hex(offset) for module, offset in report.backtrace if ".slipstream-copy" in module]
    # The code of these small libraries is mapped where it lies in the file.
    done = subprocess.run(
        [tool, "-f", "-e", str(library), *offsets], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[::2]


def test_a_report_tells_the_thread_and_the_calls(manager, compile_plugin) -> None:
    library = compile_plugin(THREADED, "-D_GNU_SOURCE", name="threaded")
    plugin = manager.load_plugin({"libpath": str(library), "mode": "process"})
    manager.broadcast(block(1))
    manager.flush(240)
    report = one_report(manager, plugin)
    number, _, name = report.thread.partition(" ")
    assert name == "its-own"
    assert int(number) > report.pid
    assert report.address == 0x10
    assert functions_in(report, library)[:3] == ["innermost", "in_between", "run"]
    assert report.backtrace[0] == (report.module, report.module_offset)
    assert all(module for module, _ in report.backtrace), report.backtrace


@pytest.mark.parametrize("nowhere", ["0", "8", "&data", "-4096"])
def test_a_call_that_leads_nowhere_is_told(manager, compile_plugin, nowhere) -> None:
    """Of a pointer that is NULL, or points at no code, it is told who called it."""
    flags = ("-D_GNU_SOURCE", f"-DNOWHERE={nowhere}", "-Wno-pedantic")
    library = compile_plugin(THREADED, *flags, name="threaded")
    plugin = manager.load_plugin({"libpath": str(library), "mode": "process"})
    manager.broadcast(block(1))
    manager.flush(240)
    report = one_report(manager, plugin)
    assert report.signal == signal.SIGSEGV
    assert report.pc == report.address
    assert functions_in(report, library)[:2] == ["through", "run"]
    assert all(module for module, _ in report.backtrace), report.backtrace


def test_a_hung_worker_s_report_names_the_function(manager, oracle) -> None:
    plugin = manager.load_plugin(oracle.config(callback_timeout=0.5))
    manager.broadcast(command("hang"))
    manager.flush(240)
    report = one_report(manager, plugin)
    assert "a callback took longer than 0.5 s (ordinal 1)" in report.reason
    assert report.signal == signal.SIGABRT
    assert report.thread.partition(" ")[2].startswith("slip-")
    assert "on_broadcast" in functions_in(report, oracle.library)


# Falls with a stack in memory whose first byte nobody ever brings: who reads of it hangs.
WITHOUT_STACK = """
#include <slipstream.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
enum { SIZE = 1 << 16 };
static void destroy(void *unused) { (void)unused; }
static uint64_t subscribed_events(void *unused) { (void)unused; return ~(uint64_t)0; }
static int32_t on_broadcast(void *unused, const slipstream_delivery *delivery,
                            const uint8_t *frames, size_t len) {
    const int pages = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    struct uffdio_api api = {.api = UFFD_API};
    char *area = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct uffdio_register these = {.range = {(uintptr_t)area, SIZE},
                                    .mode = UFFDIO_REGISTER_MODE_MISSING};
    (void)unused, (void)frames, (void)len;
    if (delivery->attempt > 1)
        return SLIPSTREAM_OK;
    if (pages < 0 || ioctl(pages, UFFDIO_API, &api) < 0 || ioctl(pages, UFFDIO_REGISTER, &these) < 0)
        return SLIPSTREAM_UNSUPPORTED;
    __asm__ volatile("mov %0, %%rsp\\n\\tmovl $1, 16" : : "r"(area + SIZE / 2) : "memory");
    return SLIPSTREAM_OK;
}
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    static const slipstream_plugin table = {
        sizeof table, SLIPSTREAM_ABI_MINOR, 0, 0, NULL, "stackless", "1", destroy, NULL, NULL,
        subscribed_events, on_broadcast, NULL, NULL};
    (void)host;
    return &table;
}
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="it falls in assembler")
def test_a_worker_that_hangs_while_it_notes_what_it_died_of(manager, compile_plugin) -> None:
    """It is killed, and the report has the signal by which it fell, not the one that ended it."""
    library = compile_plugin(WITHOUT_STACK, "-D_GNU_SOURCE", name="stackless")
    plugin = manager.load_plugin({"libpath": str(library), "mode": "process"})
    begin = time.monotonic()
    manager.broadcast(block(1))
    manager.flush(240)
    if plugin.counters.dead:
        pytest.skip("the kernel gives no userfaultfd")
    report = one_report(manager, plugin)
    assert time.monotonic() - begin > 1  # which it has for noting
    assert report.signal == signal.SIGSEGV
    assert report.address == 16


def test_a_hung_unload_s_report_names_the_function(manager, compile_plugin, tmp_path) -> None:
    hung = Oracle(compile_plugin, tmp_path, '-DON_UNLOAD="hang"')
    plugin = manager.load_plugin(hung.config(unload_timeout=0.5))
    manager.unload_plugin("oracle")
    assert "on_unload" in functions_in(plugin.delivery.reports[-1], hung.library)


@pytest.mark.parametrize("flags", [0, EXPLICIT_ACK], ids=["", "explicit"])
def test_a_worker_that_freezes_between_callbacks_is_killed(
    manager, compile_plugin, tmp_path, flags
) -> None:
    oracle = Oracle(compile_plugin, tmp_path, flags=flags)
    plugin = manager.load_plugin(oracle.config(callback_timeout=0.6))
    sender = Sender(manager)
    sender.many(10)
    manager.flush(240)
    frozen = plugin.pid
    os.kill(frozen, signal.SIGSTOP)
    time.sleep(1.5)
    assert plugin.delivery.restarts == 0, "nothing waits for it"
    sender.many(10)
    manager.flush(240)
    assert plugin.delivery.restarts == 1
    report = one_report(manager, plugin)
    assert "it took nothing for 0.6 s while events waited (after ordinal 10)" in report.reason
    assert report.ordinal == 0
    assert oracle.judge(sender.hashes).good


def test_who_waits_for_a_reason_is_not_frozen(manager, compile_plugin, tmp_path) -> None:
    """Paused; asked to be given an event again; nothing left but to acknowledge."""
    oracle = Oracle(compile_plugin, tmp_path, flags=EXPLICIT_ACK)
    plugin = manager.load_plugin(oracle.config(callback_timeout=0.4, flush_interval=60))
    sender = Sender(manager)
    sender.many(10)
    wait(lambda: len(oracle.events) == 10)
    time.sleep(1)
    manager.pause("oracle")
    sender.many(10)
    time.sleep(1)
    manager.resume("oracle")
    manager.flush(240)
    recorder = Recorder(compile_plugin, tmp_path)
    again = manager.load_plugin(
        recorder.config(
            mode="process",
            callback_timeout=0.4,
            statuses=[-2],
            retry={"initial_delay": 1.5, "max_delay": 1.5},
        )
    )
    manager.broadcast(block(1))
    wait(lambda: len(recorder.events) == 2)
    manager.flush(240)
    assert (plugin.delivery.restarts, again.delivery.restarts) == (0, 0)


@pytest.mark.parametrize("call", ["load", "event"])
def test_a_stopped_host_is_not_held_against_its_worker(compile_plugin, tmp_path, call) -> None:
    """The time in which it could not look counts neither for a load nor for a callback."""
    recorder = Recorder(compile_plugin, tmp_path)
    code = f"""
        from slipstream import PluginManager
        from support.workers import block
        with PluginManager() as manager:
            plugin = manager.load_plugin({recorder.held_config(mode="process")!r} | {{
                "load_timeout": 1.2, "callback_timeout": 1.2}})
            manager.broadcast(block(1))
            manager.flush(240)
            print(plugin.state, plugin.delivery.restarts, plugin.delivery.reports)
    """
    recorder.hold(call)
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    ) as host:
        recorder.wait_until_held(call)
        time.sleep(0.2)  # it has seen that call, and counts
        os.kill(host.pid, signal.SIGSTOP)
        time.sleep(1.8)
        os.kill(host.pid, signal.SIGCONT)
        time.sleep(0.2)
        recorder.release(call)
        assert host.communicate(timeout=240)[0] == "running 0 deque([], maxlen=16)\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_worker_that_may_not_be_signalled_is_left_and_told_of(oracle) -> None:
    done = run_python(
        """
        import logging, os, sys, time
        from slipstream import AppEvent, PluginManager
        from support.oracle import command
        logging.basicConfig(level="INFO", stream=sys.stdout, format="%(message)s")
        manager = PluginManager(insecure_paths=True)
        plugin = manager.load_plugin(
            {"libpath": sys.argv[1], "log": sys.argv[2], "mode": "process", "obeys": 1,
             "callback_timeout": 0.5, "load_timeout": 20, "unload_timeout": 1,
             "restart": {"initial_delay": 30}})
        pid = plugin.pid
        os.setresuid(65534, 65534, 0)
        manager.broadcast(command("hang"))
        end = time.monotonic() + 60
        while not plugin.delivery.reports and time.monotonic() < end:
            time.sleep(0.05)
        print("REASON", plugin.delivery.reports[-1].reason)
        print("STATE", plugin.state, plugin.pid)
        os.setresuid(0, 0, 0)
        manager.close()
        print("PID", pid)
        """,
        oracle.library,
        oracle.log,
    )
    assert done.returncode == 0, done.stderr
    assert "REASON left to itself, for it may not be signalled" in done.stdout
    assert f"STATE {PluginState.BACKOFF} None" in done.stdout
    pid = int(done.stdout.split("PID")[1])
    wait(lambda: not alive(pid))
