"""The core with musl instead of glibc: in C, and as the workers of this Python, which has glibc.
No Python for musl is to be had here.

`make test-musl` runs this; elsewhere it is skipped, for the core is built once more for it. The
programs are those of tests/native, by zig's clang and without sanitizers, which musl has not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from elsewhere_tools import FLAGS, ROOT, STREAM, digest_here, fill
from slipstream import Block, PluginManager
from slipstream.delivery import supervisor
from slipstream.streams import EventFile

BUILD = ROOT / "build" / "musl" / "native"
LOADER = Path("/lib/ld-musl-x86_64.so.1")
WITNESSES = ("witness0.so", "witness8.so", "witness24.so")
# Each with its arguments, and a word of what it says when all is well.
PROGRAMS = {
    "log_queue": ((20_000,), "lines of 4 writers"),
    "sequencer": ((2_000,), "rounds of slots"),
    "ring_process": (("attack", 1, 1), ""),
    "hatch": ((100,), "questions answered by a hostile host"),
    "table": ((20_000,), "taken"),
    "blame": ((), "blamed"),
    "step": ((), "standings"),
    "outcomes": ((30,), "one run of a thousand"),
    "text": ((200_000,), "random texts"),
    "usual": ((1_000_000,), "well formed"),
    "losses": ((), "losses told of"),
    "watch": ((3,), "rounds watched"),
}

OTHERS = ("platform", "loader", "threads")

pytestmark = [pytest.mark.no_asan, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def wanted() -> None:
    if not os.environ.get("SLIPSTREAM_LONG"):
        pytest.skip("make test-musl runs it")


@pytest.fixture(scope="module")
def compiler(wanted: None) -> list[str]:
    ziglang = pytest.importorskip("ziglang")
    assert LOADER.exists(), "apt-get install musl"
    zig = str(Path(ziglang.__file__).parent / "zig")
    return [zig, "cc", "-target", "x86_64-linux-musl", "-dynamic"]


@pytest.fixture(scope="module")
def built(compiler: list[str]) -> Path:
    """The folder of the programs: the Makefile's kind of their own, with warnings as errors."""
    names = [*PROGRAMS, *OTHERS]
    made = BUILD / "musl"
    wanted = [str(made / name) for name in (*names, *WITNESSES)]
    subprocess.run(
        [
            *("make", "-s", "-j2", "-C", str(ROOT / "tests" / "native"), f"BUILD={BUILD}"),
            *(f"CC={' '.join(compiler)}", "kinds=musl", "musl=-O1 -Wno-missing-field-initializers"),
            *(f"musl_tests={' '.join(names)}", *wanted),
        ],
        check=True,
        timeout=1500,
        env={**os.environ, "ZIG_LOCAL_CACHE_DIR": str(ROOT / "build" / "cross" / "zig-cache")},
    )
    return made


def run(program: Path, *arguments: object) -> str:
    done = subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-6000:]
    assert done.stderr == ""
    return done.stdout


def test_each_program_is_there() -> None:
    """Nobody notices otherwise, but who runs the rest."""
    for name in (*PROGRAMS, *OTHERS):
        assert (ROOT / "tests" / "native" / f"test_{name}.c").is_file(), name


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(built, name) -> None:
    arguments, says = PROGRAMS[name]
    assert says in run(built / name, *arguments)


def test_the_platform(built, tmp_path) -> None:
    """What platform.h asks of a port; the library that it closes has to be there still."""
    where = tmp_path / "files"
    where.mkdir()
    shutil.copy(built / "witness0.so", where / "witness.so")
    assert "all that it promises" in run(built / "platform", where, where / "witness.so")


def test_thread_mode(built, tmp_path) -> None:
    """Reloads, too: each leaves a copy of the library mapped, which the host is told."""
    for name in WITNESSES:
        shutil.copy(built / name, tmp_path)
    witnesses = [tmp_path / name for name in ("witness8.so", "witness24.so", "witness0.so")]
    assert "generations" in run(built / "threads", 4, 1, *witnesses)


def test_the_loader_tells_that_nothing_is_unmapped(built, compiler, tmp_path) -> None:
    """It would fail if the mapping of what was closed were told as gone, or as pinned by it."""
    (tmp_path / "text.so").write_text("no library\n")
    (tmp_path / "empty.c").write_text("int x;\n")
    for made, text in (("empty.so", "empty.c"), ("first.so", "recorder.c"), ("second.so", "")):
        where = tmp_path / text if text == "empty.c" else ROOT / "tests" / "plugins" / "recorder.c"
        command = [*compiler, *FLAGS, "-D_GNU_SOURCE", "-DFLAGS=0", "-o", tmp_path / made, where]
        subprocess.run(command, check=True, timeout=300)
    refused = [tmp_path / "text.so", tmp_path / "nowhere.so", "/dev/null", tmp_path / "empty.so"]
    arguments = (24, tmp_path / "first.so", tmp_path / "second.so", tmp_path, *refused)
    assert "rounds" in run(built / "loader", *arguments)


@pytest.fixture(scope="module")
def stage(wanted: None) -> Path:
    """Worker and checker as they lie in the wheel."""
    command = [sys.executable, str(ROOT / "tools" / "cross.py"), "musl-x86_64"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1500)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.split(": ")[1].strip()) / "slipstream"


@pytest.mark.parametrize("name", ["slipstream-worker", "slipstream-check"])
def test_the_programs_need_nothing_but_musl(stage, name, tmp_path) -> None:
    command = ["readelf", "-dl", str(stage / name)]
    parts = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert str(LOADER) in parts
    needed = [line.split("[")[1] for line in parts.splitlines() if "NEEDED" in line]
    assert needed == ["libc.so]"]
    done = subprocess.run([stage / name], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert f"{name} is started by" in done.stderr


@pytest.fixture
def with_musl(stage, compiler, tmp_path, monkeypatch) -> Path:
    """A folder of plugins for musl, while this Python's workers are those for musl."""
    fill(tmp_path, compiler)
    monkeypatch.setattr(supervisor, "PROGRAM", stage / "slipstream-worker")
    return tmp_path


def test_a_worker_streams_the_genesis_as_with_glibc(with_musl, caplog) -> None:
    here = digest_here(with_musl / "foreign.so", caplog)
    caplog.clear()
    with PluginManager(log_level="info") as manager:
        config = {"libpath": str(with_musl / "digest.so"), "mode": "process"}
        plugin = manager.load_plugin(config)
        with EventFile(STREAM, on_warning=print) as file:
            for event in file:
                manager.broadcast(event)
        manager.flush(120)
        assert plugin.counters.delivered == 397
        manager.reload_plugin("digest")
        manager.broadcast(Block(b"a block", 1))
        manager.unload_plugin("digest")
    assert here in [text.split(" {")[0] for text in caplog.messages]
    assert not [text for text in caplog.messages if "misbehav" in text or "crash" in text]


def test_a_worker_that_crashes_is_started_again(with_musl, caplog) -> None:
    caplog.set_level("INFO", "slipstream")
    with PluginManager(log_level="info") as manager:
        plugin = manager.load_plugin({"libpath": str(with_musl / "crash.so"), "mode": "process"})
        for height in (1, 13, 14):
            manager.broadcast(Block(b"a block", height))
        manager.flush(120)
        assert (plugin.counters.delivered, plugin.counters.dead) == (2, 1)
        assert str(plugin.state) == "running"
    crashes = [record for record in caplog.records if record.getMessage() == "worker crashed"]
    assert [vars(record)["reason"] for record in crashes] == [
        "died of signal 11 (Segmentation fault)"
    ] * 3
    assert all(".crash." in vars(record)["crashed_in"] for record in crashes)
