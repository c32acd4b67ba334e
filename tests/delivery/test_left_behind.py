"""What leads into a library when it is unloaded, and what it has changed in the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from slipstream import PluginManager
from slipstream.testing import build_plugin
from support.logs import capture_logs

IN_THE_HOST = pytest.mark.parametrize("mode", ["inline", "thread"])

PLUGIN = """
#include <slipstream.h>
#include <signal.h>
#include <stdlib.h>
static const slipstream_host *kept;
{more}
static uint64_t subscribed_events(void *instance) {{
    (void)instance;
    return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK);
}}
static int32_t on_broadcast(void *instance, const slipstream_delivery *delivery,
                            const uint8_t *frames, size_t len) {{
    (void)instance, (void)delivery, (void)frames, (void)len;
    {on_broadcast}
    return SLIPSTREAM_OK;
}}
static int32_t on_load(void *instance, const char *config, size_t len, uint32_t reason) {{
    (void)instance, (void)config, (void)len, (void)reason;
    {on_load}
    return SLIPSTREAM_OK;
}}
static void destroy(void *instance) {{ (void)instance; {destroy} }}
SLIPSTREAM_EXPORT const slipstream_plugin *
slipstream_create_plugin_v1(const slipstream_host *host) {{
    static const slipstream_plugin table = {{
        .struct_size = sizeof table, .abi_minor = SLIPSTREAM_ABI_MINOR, .name = "left",
        .version = "1", .destroy = destroy, .on_load = on_load,
        .subscribed_events = subscribed_events, .on_broadcast = on_broadcast}};
    kept = host;
    return &table;
}}
"""


def build(folder, *flags: str, more: str = "", **calls: str):
    code = dict.fromkeys(("on_load", "on_broadcast", "destroy"), "") | calls
    text = PLUGIN.format(more=more, **code)
    return build_plugin(text, *flags, folder=folder, name="left")


def run(code: str, *arguments: object) -> str:
    """Run it in a process of its own, since it may crash; what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr[-3000:])
    return done.stdout + done.stderr


@pytest.mark.parametrize("reloads", [0, 10])
@IN_THE_HOST
def test_a_runtime_with_threads_that_came_with_a_library(tmp_path, mode, reloads) -> None:
    """Its threads wait in code of the runtime, which would go together with the library."""
    library = build(
        tmp_path,
        "-fopenmp",
        on_broadcast="""double x = 0;
#pragma omp parallel for reduction(+:x) num_threads(3)
        for (int i = 0; i < 2000; i++) x += i;
        if (x < 1) return SLIPSTREAM_FAILED;""",
    )
    code = """
import sys, time
from slipstream import Block, PluginManager
with PluginManager(sys.argv[2], insecure_paths=True) as manager:
    plugin = manager.load_plugin({"libpath": sys.argv[1]})
    for height in range(int(sys.argv[3])):
        manager.broadcast(Block(b"b", height))
        manager.flush(60)
        manager.reload_plugin("left")
    manager.broadcast(Block(b"b", 10))
    manager.flush(60)
    print("delivered", plugin.counters.delivered)
time.sleep(0.1)
print("closed")
"""
    printed = run(code, library, mode, reloads)
    assert f"delivered {reloads + 1}" in printed
    assert "closed" in printed
    if mode == "inline" and reloads == 0:  # in a thread of its own they end with it
        assert "threads of it, or of a library that came with it" in printed


@IN_THE_HOST
def test_a_signal_handler_keeps_its_library(tmp_path, mode) -> None:
    library = build(
        tmp_path,
        more="static volatile sig_atomic_t seen; static void note(int n) { (void)n; seen = 1; }",
        on_load="signal(SIGUSR1, note);",
    )
    code = """
import os, signal, sys
from slipstream import PluginManager
with PluginManager(sys.argv[2], insecure_paths=True) as manager:
    manager.load_plugin({"libpath": sys.argv[1]})
    manager.unload_plugin("left")
    os.kill(os.getpid(), signal.SIGUSR1)
print("lives")
"""
    printed = run(code, library, mode)
    assert "lives" in printed
    assert "one of its functions still handles a signal" in printed


KEY = """
#include <pthread.h>
static pthread_key_t key;
static int calls;
static void forget(void *data) { *(int *)data += 1; }
__attribute__((destructor)) static void end(void) { if (AT_THE_END) pthread_setspecific(key, &calls); }
"""


@IN_THE_HOST
@pytest.mark.parametrize("deletes", [False, True])
def test_the_destructor_of_threads_own_data_keeps_its_library(tmp_path, mode, deletes) -> None:
    """A thread of the application that was in a callback ends after the unload."""
    library = build(
        tmp_path,
        "-DAT_THE_END=0",
        more=KEY,
        on_load="pthread_key_create(&key, forget);",
        on_broadcast="pthread_setspecific(key, &calls);",
        destroy="pthread_key_delete(key);" if deletes else "",
    )
    code = """
import sys, threading
from slipstream import Block, PluginManager
go_on, sent = threading.Event(), threading.Event()
with PluginManager(sys.argv[2], insecure_paths=True) as manager:
    manager.load_plugin({"libpath": sys.argv[1]})
    def broadcast():
        manager.broadcast(Block(b"b", 1))
        manager.flush(60)
        sent.set()
        go_on.wait(60)
    thread = threading.Thread(target=broadcast)
    thread.start()
    sent.wait(60)
    manager.unload_plugin("left")
    go_on.set()
    thread.join()
print("lives")
"""
    printed = run(code, library, mode)
    assert "lives" in printed
    assert ("that it destroys" in printed) == (mode == "inline" and not deletes)


def test_what_the_end_of_a_library_leaves_on_the_closing_thread(tmp_path) -> None:
    library = build(
        tmp_path, "-DAT_THE_END=1", more=KEY, on_load="pthread_key_create(&key, forget);"
    )
    code = """
import sys, time
from slipstream import PluginManager
with PluginManager("thread", insecure_paths=True) as manager:
    for _ in range(20):
        manager.load_plugin({"libpath": sys.argv[1]})
        manager.unload_plugin("left")
time.sleep(0.1)
print("lives")
"""
    printed = run(code, library)
    assert "lives" in printed
    assert "stays mapped" not in printed


@IN_THE_HOST
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_signals_that_end_a_program_stay_the_application_s(tmp_path, mode, number) -> None:
    library = build(
        tmp_path,
        more="static void ignore(int n) { (void)n; }",
        on_load=f"signal({int(number)}, ignore);",
    )
    heard = []
    before = signal.signal(number, lambda *_: heard.append(number))
    try:
        with capture_logs() as logs, PluginManager(mode, insecure_paths=True) as manager:
            manager.load_plugin({"libpath": str(library)})
            os.kill(os.getpid(), number)
    finally:
        signal.signal(number, before)
    assert heard == [number]
    named = [line for line in logs if f"handler of its own for {number.name}" in line["event"]]
    assert [line["plugin"] for line in named] == ["left"]


@IN_THE_HOST
@pytest.mark.parametrize("way", ["reload", "close first", "unload and load"])
def test_a_needed_library_that_was_replaced_is_said(tmp_path, mode, way) -> None:
    """The new version of the plugin would run with the old one, as long as that is open."""

    def make_needed(value: int) -> None:
        (tmp_path / "n.c").write_text(f"int needed(void) {{ return {value}; }}\n")
        command = ["cc", "-shared", "-fPIC", "-o", tmp_path / "new", tmp_path / "n.c"]
        subprocess.run(command, check=True)
        (tmp_path / "new").replace(tmp_path / "libneeded.so")

    make_needed(1)
    flags = (f"-L{tmp_path}", "-lneeded", "-Wl,-rpath,$ORIGIN")
    library = build(
        tmp_path,
        *flags,
        more="int needed(void);",
        on_load="char text[9]; text[0] = (char)(48 + needed()); text[1] = 0; "
        "slipstream_log(kept, SLIPSTREAM_LOG_INFO, text);",
    )
    config = {"libpath": str(library), "reload_close_first": way == "close first"}
    with capture_logs() as logs, PluginManager(mode, insecure_paths=True) as manager:
        manager.load_plugin(config)
        make_needed(2)
        if way != "unload and load":
            manager.reload_plugin("left")
        else:
            manager.unload_plugin("left")
            manager.load_plugin({"libpath": str(library)})
    said = [line for line in logs if "libneeded.so, whose file was replaced" in line["event"]]
    loaded = [line["event"] for line in logs if line["event"] in {"1", "2"}]
    assert loaded == (["1", "1"] if way == "reload" else ["1", "2"])
    assert len(said) == (way == "reload")


# A registry in which each name may stand once, as long as it is registered.
REGISTRY = """
#include <stdlib.h>
static int is_taken;
void add_name(void); void add_name(void) { if (is_taken++) abort(); }
void remove_name(void); void remove_name(void) { is_taken = 0; }
"""
REGISTERED = """
void add_name(void); void remove_name(void);
__attribute__((constructor)) static void begin(void) { add_name(); }
__attribute__((destructor)) static void end(void) { remove_name(); }
"""


@IN_THE_HOST
@pytest.mark.parametrize("new", ["good", "fails", "no plugin"])
def test_a_version_that_is_closed_before_the_next_is_opened(tmp_path, mode, new) -> None:
    (tmp_path / "r.c").write_text(REGISTRY)
    command = ["cc", "-shared", "-fPIC", "-o", tmp_path / "libregistry.so", tmp_path / "r.c"]
    subprocess.run(command, check=True)
    flags = (f"-L{tmp_path}", "-lregistry", f"-Wl,-rpath,{tmp_path}")
    library = build(tmp_path, *flags, more=REGISTERED)
    (tmp_path / "new").mkdir()
    fails = "return SLIPSTREAM_FAILED;" if new == "fails" else ""
    newer = build(tmp_path / "new", *flags, more=REGISTERED, on_load=fails)
    if new == "no plugin":
        newer.write_bytes(b"nothing")
    code = """
import shutil, sys, ctypes
from slipstream import Block, PluginManager, SlipstreamError
library, newer, registry, mode = sys.argv[1:]
kept = ctypes.CDLL(registry)  # it outlives each version
with PluginManager(mode, insecure_paths=True) as manager:
    plugin = manager.load_plugin({"libpath": library, "host": {"reload_close_first": True}})
    manager.broadcast(Block(b"b", 1))
    shutil.copy(newer, library + ".new")
    shutil.move(library + ".new", library)
    try:
        manager.reload_plugin("left")
        print("reloaded")
    except SlipstreamError as error:
        print("refused", error.message)
    print(plugin.state)
    manager.broadcast(Block(b"b", 2))
    manager.flush(60)
    print("delivered", plugin.counters.delivered)
"""
    printed = run(code, library, newer, tmp_path / "libregistry.so", mode)
    assert ("reloaded" in printed) == (new == "good")
    assert "running" in printed
    assert "delivered 2" in printed
    assert "stays mapped" not in printed


SPIN = """
#include <pthread.h>
#include <unistd.h>
#include <sys/syscall.h>
static int ends[2];
static void *spin(void *unused) {
    volatile unsigned long n = 0;
    for (;;) n++;
    return unused;
}
static void *wait(void *unused) { /* in the library itself: the C library is not asked */
    long got = 0; /* read */
    char byte;
    __asm__ volatile("syscall" : "+a"(got) : "D"((long)ends[0]), "S"(&byte), "d"(1L)
                     : "rcx", "r11", "memory");
    return unused;
}
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="one of its threads is in assembler")
@pytest.mark.parametrize("files", [0, 1000])
@pytest.mark.parametrize("function", ["spin", "wait"])
@IN_THE_HOST
def test_a_thread_that_is_in_the_library_keeps_it(tmp_path, mode, function, files) -> None:
    """Under a name of its own; it never waits, or waits without a call that leaves the library.

    It is looked at while so many files more may be opened.
    """
    start = f'pthread_t t; pthread_create(&t, 0, {function}, 0); pthread_setname_np(t, "own");'
    library = build(
        tmp_path,
        *("-D_GNU_SOURCE", "-Wno-unused-function"),
        more=SPIN,
        on_load=f"if (pipe(ends)) {{ return SLIPSTREAM_FAILED; }} {start}",
    )
    printed = run(
        """if True:
        import os, resource, sys, time
        from slipstream import PluginManager
        with PluginManager(insecure_paths=True) as manager:
            manager.load_plugin({"libpath": sys.argv[1], "mode": sys.argv[2]})
            time.sleep(0.2)
            last = max(map(int, os.listdir("/proc/self/fd")))
            while last > (free := os.dup(0)):
                pass  # no number below is free
            os.close(free)
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (free + int(sys.argv[3]), most))
            if int(sys.argv[3]):
                manager.reload_plugin("left")  # which is told as a warning, too
            manager.unload_plugin("left")
            time.sleep(0.5)
        print("alive")
        """,
        library,
        mode,
        files,
    )
    assert "alive" in printed
    assert printed.count("stays mapped") == (2 if files else 1)


@IN_THE_HOST
def test_busy_threads_of_the_application_keep_nothing(tmp_path, mode) -> None:
    """One that computes all the time, in native code: it was not there before the plugin."""
    busy = tmp_path / "busy.c"
    busy.write_text("void spin(volatile int *go) { while (*go) {} }")
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", tmp_path / "busy.so", busy], check=True)
    printed = run(
        """if True:
        import ctypes, sys, threading
        from slipstream import PluginManager
        busy, go = ctypes.CDLL(sys.argv[3]), ctypes.c_int(1)
        with PluginManager(insecure_paths=True) as manager:
            manager.load_plugin({"libpath": sys.argv[1], "mode": sys.argv[2]})
            thread = threading.Thread(target=busy.spin, args=(ctypes.byref(go),))
            thread.start()
            manager.unload_plugin("left")
            maps = open("/proc/self/maps").read()
            print("mapped" if "left.so" in maps else "gone")
            go.value = 0
            thread.join()
        """,
        build(tmp_path),
        mode,
        tmp_path / "busy.so",
    )
    assert printed == "gone\n"
