"""Systems that give less than usual: a sandbox, a chroot without /proc, a user namespace."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.process_tools import TESTS

EVERY_MODE = pytest.mark.parametrize("mode", ["inline", "thread", "process"])

LOAD = """
import json, sys
from slipstream import Block, PluginManager, SlipstreamError
library, mode, more, insecure = json.loads(sys.argv[1])
try:
    with PluginManager(mode, insecure_paths=insecure) as manager:
        plugin = manager.load_plugin({"libpath": library, "host": more})
        manager.broadcast(Block(b"b", 1))
        manager.reload_plugin(plugin.name)
        manager.broadcast(Block(b"b", 2))
        manager.flush(60)
        print("delivered", plugin.counters.delivered)
except SlipstreamError as error:
    print("refused:", error.message, "| next:", error.hint)
"""


def load(
    *before: str, library: Path, mode: str, refused: str = "", preload: str = "", **how
) -> str:
    """What a host prints that loads a plugin, sends it two events and reloads it in between."""
    given = json.dumps([str(library), mode, how.get("more", {}), how.get("insecure", True)])
    preloaded = " ".join([*os.environ.get("LD_PRELOAD", "").split(), preload])
    done = subprocess.run(
        [*before, sys.executable, "-c", LOAD, given],
        env={**os.environ, "LD_PRELOAD": preloaded, "REFUSED": refused},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    if done.returncode == 77 or "unshare:" in done.stderr:
        pytest.skip(f"not possible here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


# ---- A sandbox that refuses calls ----------------------------------------------------------------


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> str:
    library = tmp_path_factory.mktemp("sandbox") / "sandbox.so"
    source = TESTS / "support" / "refusing_system.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    return str(library)


@pytest.mark.parametrize("call", ["memfd_create", "fallocate"])
def test_a_ring_of_this_process_needs_no_memory_file(examples, sandbox, call) -> None:
    refused = f"{call}:{errno.EPERM}"
    library = examples / "tally" / "tally.so"
    said = load(library=library, mode="thread", refused=refused, preload=sandbox)
    assert "delivered 2" in said


@pytest.mark.parametrize(
    ("call", "number"),
    [
        ("memfd_create", errno.EPERM),
        ("memfd_create", errno.ENOSYS),
        ("fallocate", errno.EPERM),
        ("pidfd_open", errno.EACCES),
    ],
)
def test_a_refused_call_is_named_with_what_to_do(examples, sandbox, call, number) -> None:
    library, refused = examples / "tally" / "tally.so", f"{call}:{number}"
    said = load(library=library, mode="process", refused=refused, preload=sandbox)
    assert "refused: cannot" in said
    assert os.strerror(number) in said
    assert ("a pidfd" if call == "pidfd_open" else call) in said
    hint = said.partition("| next:")[2]
    assert "seccomp" in hint
    assert "use mode: 'thread'" in hint
    assert "ring_bytes" not in hint
    assert "ulimit" not in hint


@EVERY_MODE
def test_a_limit_on_the_size_of_files_is_named(examples, mode: str) -> None:
    """A library's private copy counts, and a ring of mode process."""
    library = examples / "tally" / "tally.so"
    size = library.stat().st_size // 512 + 8  # blocks of the shell's ulimit
    for blocks in {0, size} if mode == "process" else {0}:
        said = load("sh", "-c", f'ulimit -f {blocks}; exec "$0" "$@"', library=library, mode=mode)
        assert "refused: cannot make a" in said
        assert f": {os.strerror(errno.EFBIG)} | next:" in said
        assert "raise the limit on the size of files: ulimit -f" in said
        assert "seccomp" not in said


FEW_FILES = """
import os, resource, sys
from slipstream import Block, PluginManager, SlipstreamError
library, mode = sys.argv[1:]
limits = resource.getrlimit(resource.RLIMIT_NOFILE)

def tried(what, more):
    "Do it with so many files more than there are now; whether it could be done."
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + more, limits[1]))
    try:
        what()
    except SlipstreamError as error:
        print("refused:", error.message, "| next:", error.hint)
        return False
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    return True

config, more, loads, reloads = {"libpath": library}, 0, False, False
while not (loads and reloads):
    with PluginManager(mode, insecure_paths=True) as manager:
        loads = tried(lambda: manager.load_plugin(config), more)
        name = manager.list_plugins()[0] if loads else manager.load_plugin(config).name
        manager.broadcast(Block(b"b", 1))
        reloads = tried(lambda: manager.reload_plugin(name), more)
        manager.broadcast(Block(b"b", 2))
        manager.flush(60)
        counters = manager.plugins[name].counters
        assert (counters.delivered, counters.lost) == (2, 0), counters
    more += 1
"""


@EVERY_MODE
def test_too_few_files_are_named_wherever_one_is_missing(examples, mode: str) -> None:
    """The limit is one higher each time, until a plugin can be loaded and reloaded."""
    library = examples / "tally" / "tally.so"
    done = subprocess.run(
        [sys.executable, "-c", FEW_FILES, library, mode],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    refusals = [line for line in done.stdout.splitlines() if line.startswith("refused: ")]
    assert len(refusals) > (20 if mode == "process" else 4)
    assert [line for line in refusals if "ulimit -n" not in line.partition("| next:")[2]] == []
    assert "Traceback" not in done.stderr


SHORTAGE = """
import os, resource, signal, sys, time
from slipstream import Block, PluginManager
library, = sys.argv[1:]
limits = resource.getrlimit(resource.RLIMIT_NOFILE)
restart = {"initial_delay": 0.01, "max_delay": 0.02, "max_crashes": 3}
with PluginManager("process", insecure_paths=True) as manager:
    plugin = manager.load_plugin({"libpath": library, "restart": restart})
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
    os.kill(plugin.pid, signal.SIGKILL)
    manager.broadcast_many([Block(b"b", n) for n in range(50)])
    end = time.monotonic() + 60
    while "it could not be started again" not in plugin.reason and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(1)  # some tries more than it may crash
    print(plugin.state, plugin.reason)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    manager.flush(60)
    print(plugin.state, plugin.counters.delivered, plugin.counters.lost)
"""


def test_a_worker_is_back_once_there_is_what_it_needs(examples) -> None:
    """However often that was missing: the plugin has not crashed."""
    done = subprocess.run(
        [sys.executable, "-c", SHORTAGE, examples / "tally" / "tally.so"],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    assert first.startswith("backoff it could not be started again: cannot start")
    assert last == "running 50 0"
    assert "quarantined" not in done.stderr
    assert done.stderr.count("could not be started again") > 3


# ---- No /proc ------------------------------------------------------------------------------------

WITHOUT_PROC = (
    "unshare", "-m", "sh", "-c",
    'mount -t tmpfs none /proc || { echo "unshare: no mounts here" >&2; exit 77; }; exec "$@"', "-",
)  # fmt: skip


@pytest.mark.no_asan  # which wants /proc itself
@EVERY_MODE
def test_without_proc_plugins_load_and_nothing_unseen_is_unmapped(examples, mode) -> None:
    said = load(*WITHOUT_PROC, library=examples / "tally" / "tally.so", mode=mode)
    assert "delivered 2" in said
    assert ("threads of it may still run, which cannot be seen" in said) == (mode != "process")


@pytest.mark.no_asan
def test_doctor_says_what_is_done_without_proc(examples) -> None:
    command = Path(sys.executable).with_name("slipstream")
    done = subprocess.run(
        [*WITHOUT_PROC, command, "doctor", "--json", examples / "tally" / "tally.so"],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    if done.returncode == 77 or "unshare:" in done.stderr:
        pytest.skip(f"not possible here: {done.stderr}")
    answer = json.loads(done.stdout)
    maps = next(f for f in answer["machine"] if f["name"] == "/proc/self/maps")
    assert (maps["state"], maps["detail"]) == ("fallback", "No such file or directory")
    assert "stay mapped" in maps["fallback"]
    assert all(step["ok"] for step in answer["file"]["steps"])
    assert done.returncode == 0


# ---- Another user, and a namespace that does not know it -----------------------------------------


def test_a_user_that_the_worker_may_not_become(examples) -> None:
    """Who is root in a user namespace has all capabilities there, and no other users."""
    library = examples / "tally" / "tally.so"
    said = load("unshare", "-Ur", library=library, mode="process", more={"user": "nobody"})
    assert "cannot become the user nobody: setgroups: " in said
    assert "user namespace" in said.partition("| next:")[2]


def test_a_user_that_there_is_not(examples) -> None:
    library = examples / "tally" / "tally.so"
    said = load(library=library, mode="process", more={"user": "no-such-user"})
    assert "there is no user no-such-user" in said
    assert "getent passwd" in said


def test_an_owner_whom_the_namespace_does_not_map(examples, tmp_path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    library = tmp_path / "tally.so"
    shutil.copy(examples / "tally" / "tally.so", library)
    os.chown(library, 4242, 4242)
    said = load("unshare", "-Ur", library=library, mode="thread", insecure=False)
    assert "whom this user namespace does not map" in said
    assert "next: map into the namespace" in said
    assert "chown" not in said
