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
    assert ("no /proc to see whether threads of it" in said) == (mode != "process")


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
