"""Process mode: what a worker has, what it prints, and what it cannot do."""

from __future__ import annotations

import contextlib
import os
import pty
import pwd
import resource
import shutil
import signal
import sys
import tempfile
import threading
from io import FileIO
from pathlib import Path

import pytest

from slipstream import AppEvent, ConfigError, PluginManager, PluginState, frames
from slipstream.testing import build_plugin
from support.hostile_libraries import source
from support.logs import capture_logs
from support.oracle import EXPLICIT_ACK, Oracle, command
from support.process_tools import run_python
from support.workers import Sender, one_report, wait


def test_a_worker_has_nothing_of_the_host(oracle, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "1")
    leaked = os.open("/dev/zero", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    old_pipe = signal.getsignal(signal.SIGPIPE)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        with capture_logs() as logs, PluginManager(insecure_paths=True) as manager:
            manager.load_plugin(oracle.config())
            manager.broadcast(command("list"))
            manager.flush(240)
    finally:
        os.close(leaked)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
    assert old_pipe is signal.SIG_IGN, "Python ignores it; the worker must not"
    lines = [line["event"] for line in logs]
    found = dict(line.split(maxsplit=2)[1:] for line in lines if line.startswith("fd "))
    assert found.pop("0") == "/dev/null"
    assert found.pop("1").startswith("pipe:")
    assert found.pop("2").startswith("pipe:")
    assert found.pop("3").startswith("socket:")
    assert "4" not in found, "the ring's descriptor is closed"
    assert "5" not in found, "the control area's descriptor is closed"
    assert "pidfd" in found.pop("6")
    rest = [v for v in found.values() if v != str(oracle.log) and "eventfd" not in v]
    assert rest == []
    environment = {line.removeprefix("env ") for line in lines if line.startswith("env ")}
    assert "SECRET_OF_THE_HOST" not in environment
    assert "PATH" in environment
    signals = [line for line in lines if line.startswith("blocked ")]
    assert signals == ["blocked 0, ignored 0, group 1, session 0, terminal 0"]


HOST_AT_A_TERMINAL = """
import logging, os, sys, time
from slipstream import AppEvent, ConfigError, PluginManager
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
assert os.open("/dev/tty", os.O_RDWR) >= 0
with PluginManager(insecure_paths=True) as manager:
    plugin = manager.load_plugin(eval(sys.argv[1]))
    manager.broadcast(AppEvent(41, b"<list 1>", None))
    manager.flush(60)
    before = plugin.pid
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        manager.broadcast(AppEvent(41, b"<list 1>", None))
        manager.flush(60)
        print("same worker" if plugin.pid == before else "another worker", flush=True)
"""


@pytest.mark.parametrize("mode", ["inline", "thread", "process"])
def test_a_program_that_a_plugin_starts_has_no_descriptor_of_ours(
    compile_plugin, tmp_path, mode
) -> None:
    listed = tmp_path / "descriptors"
    body = f'if (system("ls /proc/self/fd > {listed}") != 0) return NULL;'
    library = compile_plugin(source(body), name="starter")
    done = run_python(
        """
        import sys
        from slipstream import PluginManager
        with PluginManager(insecure_paths=True, data_dir=sys.argv[3]) as manager:
            plugin = manager.load_plugin({"libpath": sys.argv[1], "mode": sys.argv[2]})
            manager.reload_plugin(plugin.name)
        """,
        *(library, mode, tmp_path / "data"),
    )
    assert done.returncode == 0, done.stderr
    # Three, and the folder that `ls` reads.
    assert sorted(listed.read_text().split()) == ["0", "1", "2", "3"]


def test_a_terminal_is_the_hosts_alone(oracle) -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", HOST_AT_A_TERMINAL, repr(oracle.config())])
    shown = b""
    with open(terminal, "r+b", buffering=0) as file:
        while chunk := read_terminal(file):
            if b"ready" in chunk + shown[-8:] and b"ready" not in shown:
                file.write(b"\x03")
            shown += chunk
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, shown.decode()
    assert b"same worker" in shown
    assert shown.count(b"group 1, session 0, terminal 0") == 2, shown.decode()


def read_terminal(file: FileIO) -> bytes:
    try:
        return file.read(4096)
    except OSError:  # the last one that had it open has ended
        return b""


def test_the_ring_cannot_be_written_to(manager, oracle) -> None:
    plugin = manager.load_plugin(oracle.config())
    sender = Sender(manager)
    with capture_logs() as logs:
        sender.send(command("attack"))
        manager.flush(240)
        manager.unload_plugin("oracle")
    lines = [line["event"] for line in logs if ": " in line["event"]]
    said = dict(line.split(": ", 1) for line in lines)
    assert said["mprotect"] != "succeeded"
    if said["open"] == "succeeded":  # only root gets that far
        for what in ("mmap", "ftruncate", "pwrite", "punch"):
            assert said[what] != "succeeded", what
    assert plugin.counters.acknowledged == 1


def test_a_scribbled_control_area_is_noticed(manager, oracle) -> None:
    plugin = manager.load_plugin(oracle.config(callback_timeout=20))
    sender = Sender(manager)
    sender.many(100)
    manager.flush(240)
    # It hangs behind that, so that no honest word is written over the scribble.
    event = AppEvent(41, b"<scribble 1>", None)
    sender.send(event)
    manager.flush(240)
    sender.many(100)
    manager.flush(240)
    verdict = oracle.judge(sender.hashes)
    assert verdict.good, verdict
    assert plugin.counters.acknowledged == 201


def test_a_scribbled_control_area_leads_to_a_restart(manager, compile_plugin, tmp_path) -> None:
    oracle = Oracle(compile_plugin, tmp_path, "-DTHEN_HANG=1")
    plugin = manager.load_plugin(oracle.config(callback_timeout=60))
    sender = Sender(manager)
    sender.many(100)
    sender.send(command("scribble"))
    sender.many(100)
    manager.flush(240)
    report = one_report(manager, plugin)
    assert "its control area was written over" in report.reason
    verdict = oracle.judge(sender.hashes)
    assert verdict.good, verdict


def test_an_ack_of_what_was_not_delivered_is_not_believed(
    manager, compile_plugin, tmp_path
) -> None:
    oracle = Oracle(compile_plugin, tmp_path, flags=EXPLICIT_ACK)
    plugin = manager.load_plugin(oracle.config(flush_interval=60))
    sender = Sender(manager)
    with capture_logs() as logs:
        sender.many(10)
        sender.send(command("early"))
        sender.send(command("segv"))
        sender.many(5)
        wait(lambda: plugin.delivery.restarts == 1)
        wait(lambda: plugin.state is PluginState.RUNNING)
        manager.flush(240)
    assert any("ack of the future: Invalid argument" in line["event"] for line in logs)
    verdict = oracle.judge(sender.hashes)
    assert verdict.good, verdict
    assert verdict.repeats >= 11, "nothing was acknowledged before the crash"


@pytest.mark.no_asan  # it needs terabytes of address space
def test_limits_hold(manager, oracle) -> None:
    with capture_logs() as logs:
        manager.load_plugin(oracle.config(limits={"memory": "256MiB", "open_files": 32}))
        manager.broadcast(command("limits"))
        manager.flush(240)
        manager.unload_plugin("oracle")
    lines = [line["event"] for line in logs]
    assert "allocate: Cannot allocate memory" in lines
    opened = next(int(line.split()[1]) for line in lines if line.startswith("opened "))
    assert 10 < opened < 32


@pytest.mark.parametrize("wanted", [False, True])
def test_core_files_are_left_only_if_configured(manager, oracle, wanted) -> None:
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    plugin = manager.load_plugin(oracle.config(limits={"core_files": wanted}))
    limits = resource.prlimit(plugin.pid, resource.RLIMIT_CORE)
    assert limits == ((hard, hard) if wanted else (0, 0))


@pytest.mark.parametrize("what", ["garbage", "close", "unmap"])
def test_what_a_plugin_breaks_ends_its_worker_alone(manager, oracle, what) -> None:
    plugin = manager.load_plugin(oracle.config())
    sender = Sender(manager)
    for _ in range(3):
        sender.send(command(what))
        sender.many(20)
        manager.flush(240)
    wait(lambda: plugin.delivery.restarts >= 1, "it was not ended")
    verdict = oracle.judge(sender.hashes)
    assert verdict.good, verdict


def test_a_forged_refusal_confirms_no_other(manager, oracle) -> None:
    """Else the next one would be acknowledged before the host has heard of it."""
    plugin = manager.load_plugin(oracle.config())
    events = [command("forge"), command("refuse", 99), command("none")]
    for restarts in range(1, 6):
        manager.broadcast_frames(b"".join(map(frames.encode, events)))
        manager.flush(240)
        wait(lambda restarts=restarts: plugin.delivery.restarts >= restarts, "it was not ended")
    counters = plugin.counters
    assert (counters.delivered, counters.dead) == (10, 5)
    assert "makes no sense" in one_report(manager, plugin).reason


# ---- What a worker prints ------------------------------------------------------------------------


def test_what_is_printed_becomes_log_lines(manager, oracle) -> None:
    with capture_logs() as logs:
        manager.load_plugin(oracle.config())
        manager.broadcast(command("print"))
        manager.flush(240)
        wait(lambda: any(line["event"] == "to err" for line in logs))
        manager.unload_plugin("oracle")
    lines = {line["event"]: line for line in logs if line.get("plugin") == "oracle"}
    assert lines["to out"]["log_level"] == "info"
    assert lines["to err"]["log_level"] == "warning"
    assert r"bad \xff byte" in lines
    assert "no end" in lines, "a last line without its end is a line"
    cut = [text for text in lines if set(text) == {"x"}]
    assert cut
    assert max(map(len, cut)) <= 8192


def test_a_flood_is_held_back_and_blocks_nobody(manager, oracle) -> None:
    with capture_logs() as logs:
        plugin = manager.load_plugin(oracle.config(callback_timeout=240))
        manager.broadcast(command("flood"))
        manager.flush(240)
        wait(
            lambda: any("suppressed" in line["event"] for line in logs),
            "nobody said that lines were suppressed",
        )
    assert plugin.delivery.restarts == 0
    assert sum(line["event"].startswith("flood") for line in logs) < 50_000, "of 100,000"


KEEPER = """
#include <fcntl.h>
#include <slipstream.h>
#include <string.h>
#include <unistd.h>

static const slipstream_host *host;
static int32_t on_load(void *i, const char *text, size_t text_len, uint32_t reason) {
    const slipstream_config_v1 *config = slipstream_extension(host, SLIPSTREAM_EXT_CONFIG);
    char path[4096] = "";
    size_t len = sizeof path - 16;
    (void)i, (void)text, (void)text_len, (void)reason;
    if (config->data_dir(host->ctx, path, &len) != SLIPSTREAM_OK)
        return slipstream_fail(host, SLIPSTREAM_FATAL, "no data folder");
    strcat(path, "/kept");
    const int file = open(path, O_RDWR | O_CREAT, 0600);
    return file >= 0 && close(file) == 0 ? SLIPSTREAM_OK
                                         : slipstream_fail(host, SLIPSTREAM_FATAL, path);
}
static int32_t on_unload(void *i, uint32_t ms) { (void)i, (void)ms; return SLIPSTREAM_OK; }
static uint64_t events(void *i) { (void)i; return ~(uint64_t)0; }
static int32_t on_broadcast(void *i, const slipstream_delivery *d, const uint8_t *f, size_t n) {
    (void)i, (void)d, (void)f, (void)n;
    return SLIPSTREAM_OK;
}
static void destroy(void *i) { (void)i; }
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *given) {
    static const slipstream_plugin table = {
        sizeof table, SLIPSTREAM_ABI_MINOR, 0, 0, NULL, "keeper", "1.0.0", destroy, on_load,
        on_unload, events, on_broadcast, NULL, NULL};
    host = given;
    return &table;
}
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_another_user_has_a_folder_of_its_own(compile_plugin) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own are closed to others
        folder = Path(name)
        folder.chmod(0o711)
        data, library = folder / "data", folder / "keeper.so"
        shutil.copy(compile_plugin(KEEPER, name="keeper"), library)
        config = {"libpath": str(library), "user": "nobody", "mode": "process"}
        # Whatever lies there in place of the folder, no user is given what is another's.
        outside = folder / "outside"
        outside.mkdir(mode=0o700)
        with PluginManager(insecure_paths=True, data_dir=data) as manager:
            (data / "keeper").mkdir(mode=0o700, parents=True)
            (data / "keeper" / "user-nobody").symlink_to(outside)
            with pytest.raises(ConfigError, match="cannot make the data folder"):
                manager.load_plugin(config)
            (data / "keeper" / "user-nobody").unlink()
            folder.chmod(0o700)
            with pytest.raises(ConfigError, match=f"this user may not pass through {folder}"):
                manager.load_plugin(config)
            folder.chmod(0o711)
            manager.load_plugin(config)
            own = data / "keeper" / "user-nobody"
            uid = pwd.getpwnam("nobody").pw_uid
            assert [path.stat().st_uid for path in (own.parent, own, own / "kept")] == [0, uid, uid]
            manager.unload_plugin("keeper")
            manager.load_plugin({**config, "user": "root"})
            assert (data / "keeper" / "user-root" / "kept").stat().st_uid == 0
        assert outside.stat().st_uid == 0


SLOW_TO_LOAD = """
#include <slipstream.h>
#include <time.h>
static void destroy(void *instance) { (void)instance; }
static int32_t on_load(void *instance, const char *config, size_t len, uint32_t reason) {
    (void)instance, (void)config, (void)len, (void)reason;
    struct timespec left = {1, 500 * 1000 * 1000};
    while (nanosleep(&left, &left) != 0) {
    }
    return SLIPSTREAM_OK;
}
static const slipstream_plugin table = {
    SLIPSTREAM_PLUGIN_HEAD, .name = "slow", .version = "1.0", .destroy = destroy, .on_load = on_load};
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    return (void)host, &table;
}
"""


def workers_that_handle_hangups() -> list[int]:
    pids: list[str] = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            pids += (task / "children").read_text().split()
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{pid}/status").read_text()
            if int(status.partition("SigCgt:")[2].split()[0], 16) & 1:
                found.append(int(pid))
    return found


def test_a_worker_goes_on_under_many_hangups(tmp_path) -> None:
    """Also where it only looks whether its host lives, while a step of the plugin takes long."""
    library = build_plugin(SLOW_TO_LOAD, folder=tmp_path, name="slow")
    ended = threading.Event()

    def hang_up() -> None:
        while not ended.is_set():
            for pid in workers_that_handle_hangups():
                with contextlib.suppress(ProcessLookupError):
                    for _ in range(1000):
                        os.kill(pid, signal.SIGHUP)

    hanging = threading.Thread(target=hang_up)
    hanging.start()
    try:
        with PluginManager("process", insecure_paths=True) as manager:
            plugin = manager.load_plugin({"libpath": str(library), "load_timeout": 240})
            assert plugin.restarts == 0
    finally:
        ended.set()
        hanging.join(60)
