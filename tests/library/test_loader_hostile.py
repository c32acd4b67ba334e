"""Libraries that must be refused: each with its reason, its text and its next step, and with
nothing of it left in the process."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import slipstream.delivery.reload
from slipstream import (
    InvalidPluginPath,
    PluginAlreadyLoaded,
    PluginLoadError,
    PluginManager,
    PluginStartError,
    Refusal,
    SlipstreamError,
)
from slipstream.library import PrivateCopy
from support.gated import wait_until
from support.hostile_libraries import COMPILED, FILES, Case, FileCase, segments_end, source, write
from support.logs import capture_logs
from support.process_tools import Footprint, copies_in, mapped_copies, native_threads, run_python
from support.toolbox import require
from support.wrong_infos import INVALID, SCHEMAS

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the files are made of an x86-64 library's bytes"
)


@pytest.fixture(scope="module")
def host() -> Iterator[PluginManager]:
    """One manager for all refusals: each must leave it as it was."""
    with PluginManager(log_level="trace") as made:
        yield made


@pytest.fixture(scope="module")
def good(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good library in a folder where no other process puts its copies."""
    return Path(shutil.copy(examples / "minimal" / "minimal.so", tmp_path_factory.mktemp("good")))


@pytest.fixture
def unharmed(host: PluginManager, good: Path) -> Iterator[None]:
    """Nothing is left behind, and the next plugin works."""
    before = Footprint.now()
    yield
    assert Footprint.now() == before
    assert host.list_plugins() == []
    plugin = host.load_plugin({"libpath": str(good)})
    host.block(b"block", 1)
    assert plugin.counters.delivered == 1
    host.unload_plugin("minimal")
    assert Footprint.now() == before
    assert copies_in(good.parent) == []


def is_refused(
    host: PluginManager, path: Path, refusal: Refusal, says: str, hint: str, **config: object
) -> list[str]:
    """Check one refusal; returns the lines that the library has logged."""
    with capture_logs() as logs, pytest.raises(PluginLoadError) as caught:
        host.load_plugin({"libpath": str(path), **config})
    assert caught.value.refusal is refusal, str(caught.value)
    assert says in caught.value.message
    assert str(path) in caught.value.message
    assert hint in caught.value.hint
    assert f"{caught.value.message}\n  next: {caught.value.hint}" == str(caught.value)
    assert not any(c < " " for c in caught.value.message), "a control character in a message"
    assert copies_in(path.parent) == []
    return [line["event"] for line in logs]


@pytest.mark.parametrize("case", COMPILED, ids=lambda case: case.name)
@pytest.mark.usefixtures("unharmed")
def test_a_compiled_library_is_refused(host, compile_plugin, case: Case) -> None:
    library = compile_plugin(case.source, *case.flags)
    lines = is_refused(host, library, case.refusal, case.says, case.hint, **case.config)
    assert tuple(lines) == case.lines


@pytest.mark.parametrize("case", FILES, ids=lambda case: case.name)
@pytest.mark.usefixtures("unharmed")
def test_a_file_is_refused(host, good, tmp_path, case: FileCase) -> None:
    path = write(tmp_path, "made", case.make(good.read_bytes()))
    is_refused(host, path, case.refusal, case.says, case.hint)


@pytest.mark.usefixtures("unharmed")
def test_a_library_that_is_cut_off_anywhere_is_refused(host, good, tmp_path) -> None:
    whole = good.read_bytes()
    end = segments_end(whole)
    lengths = [*range(1, 200, 13), *range(200, end, 331), end - 8, end - 1]
    for length in lengths:
        path = write(tmp_path, f"cut-{length}", whole[:length])
        with pytest.raises(PluginLoadError) as caught:
            host.load_plugin({"libpath": str(path)})
        assert caught.value.refusal is Refusal.NOT_A_LIBRARY
    assert copies_in(tmp_path) == []
    host.load_plugin({"libpath": str(write(tmp_path, "no-sections", whole[:end]))})
    host.unload_plugin("minimal")


@pytest.mark.parametrize(
    ("flags", "says", "hint"),
    [
        (("-c",), "is an object file (.o)", "cc -shared"),
        (("-pie",), "is a program, not a shared library", "link it with -shared"),
        (("-no-pie",), "is a program, not a shared library", "link it with -shared"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("unharmed")
def test_other_output_of_a_linker_is_refused(host, tmp_path, flags, says, hint) -> None:
    (tmp_path / "p.c").write_text("int main(void) { return 0; }\n")
    path = tmp_path / "p.so"
    subprocess.run(["cc", *flags, "-o", path, tmp_path / "p.c"], check=True)
    is_refused(host, path, Refusal.NOT_A_LIBRARY, says, hint)


@pytest.mark.usefixtures("unharmed")
def test_a_missing_needed_library_is_named(host, compile_plugin, tmp_path) -> None:
    subprocess.run(
        ["cc", "-shared", "-x", "c", "/dev/null", "-o", tmp_path / "libgone.so"], check=True
    )
    flags = ("-Wl,--no-as-needed", f"-L{tmp_path}", "-lgone")
    library = compile_plugin(source(), *flags, name="needs")
    (tmp_path / "libgone.so").unlink()
    is_refused(host, library, Refusal.CANNOT_OPEN, "libgone.so: cannot open shared", "ldd -r")


@pytest.mark.parametrize("style", ["gnu", "sysv", "both"])
def test_the_constructor_is_found_by_either_hash(host, compile_plugin, style) -> None:
    library = compile_plugin(source(), f"-Wl,--hash-style={style}")
    assert host.load_plugin({"libpath": str(library)}).name == "hostile"
    host.unload()


def test_a_larger_table_is_a_newer_plugin(host, compile_plugin) -> None:
    library = compile_plugin(source("table.struct_size = UINT32_MAX; table.abi_minor = 9;"))
    assert host.load_plugin({"libpath": str(library)}).version == "1.0"
    host.unload()


# ---- Files that are no regular files, and paths that others could change -----------------


@pytest.mark.usefixtures("unharmed")
def test_what_is_no_regular_file_is_refused(host, tmp_path) -> None:
    os.mkfifo(tmp_path / "fifo.so")
    (tmp_path / "folder.so").mkdir()
    (tmp_path / "loop.so").symlink_to(tmp_path / "loop.so")
    for path, says in [
        (tmp_path / "fifo.so", "is a FIFO"),
        (tmp_path / "folder.so", "is a folder"),
        (tmp_path / "loop.so", "cannot be found"),
        (tmp_path / "nothing.so", "does not exist"),
        (Path("/dev/null"), "is a device"),
        (Path("/dev/zero"), "is a device"),
    ]:
        with pytest.raises(InvalidPluginPath) as caught:
            host.load_plugin({"libpath": str(path)})
        assert says in caught.value.message
        assert caught.value.hint


@pytest.mark.usefixtures("unharmed")
def test_what_others_could_replace_is_refused(host, good, tmp_path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    path = write(folder, "copied", good.read_bytes())
    path.chmod(0o777)
    with pytest.raises(InvalidPluginPath, match="writable for everybody") as caught:
        host.load_plugin({"libpath": str(path)})
    assert "chmod o-w" in caught.value.hint
    path.chmod(0o755)
    folder.chmod(0o777)
    with pytest.raises(InvalidPluginPath, match="the folder .* is writable for everybody"):
        host.load_plugin({"libpath": str(path)})
    with PluginManager(insecure_paths=True) as careless:
        careless.load_plugin({"libpath": str(path)})


@pytest.mark.usefixtures("unharmed")
def test_a_wrong_digest_is_refused(host, good) -> None:
    digest = hashlib.sha256(good.read_bytes()).hexdigest()
    is_refused(
        host, good, Refusal.DIGEST_MISMATCH, f"has SHA-256 {digest}", "sha256", sha256="ab" * 32
    )
    plugin = host.load_plugin({"libpath": str(good), "sha256": digest.upper()})
    assert plugin.digest == digest
    host.unload()


@pytest.mark.usefixtures("unharmed")
def test_a_library_replaced_after_the_copy_does_not_matter(
    host, good, tmp_path, monkeypatch
) -> None:
    path = write(tmp_path, "swapped", good.read_bytes())

    def copy_and_swap(source: Path, *rest: object, **more: object) -> PrivateCopy:
        copy = PrivateCopy(source, *rest, **more)
        path.write_bytes(b"something else")
        return copy

    monkeypatch.setattr(slipstream.delivery.reload, "PrivateCopy", copy_and_swap)
    plugin = host.load_plugin({"libpath": str(path)})
    assert plugin.digest == hashlib.sha256(good.read_bytes()).hexdigest()
    host.block(b"", 1)
    assert plugin.counters.delivered == 1
    host.unload()


def test_the_copy_is_private_and_short_lived(host, good, tmp_path) -> None:
    folder = tmp_path / "name with ümlauts\nand a line break"
    folder.mkdir()
    path = write(folder, "ü" * 100, good.read_bytes())
    host.load_plugin({"libpath": str(path)})
    (copy,) = folder.glob(".*.slipstream-copy")
    assert copy.stat().st_mode & 0o777 == 0o500
    assert copy.name.isascii()
    host.unload()
    assert copies_in(folder) == []


def test_a_folder_that_cannot_be_written_to_is_no_obstacle(host, good, tmp_path) -> None:
    if os.geteuid() == 0 and not Path("/proc/self/mem").exists():
        pytest.skip("no way to make a folder read-only for root")
    path = Path("/proc/self/fd")  # a folder in which nobody can make a file
    descriptor = os.open(good, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with pytest.raises(PluginLoadError, match="cannot make a private copy"):
            PrivateCopy(path / str(descriptor))
    finally:
        os.close(descriptor)


def test_copies_of_killed_processes_are_removed(good, tmp_path) -> None:
    write(tmp_path, "p", good.read_bytes())
    stale = tmp_path / ".p.1-1.slipstream-copy"
    stale.write_bytes(b"left")
    copy = PrivateCopy(tmp_path / "p.so")
    assert not stale.exists()
    assert copy.path.exists()
    copy.close()
    copy.close()
    assert copies_in(tmp_path) == []


# ---- The same one twice ------------------------------------------------------------------


def test_the_same_library_and_the_same_name_twice(host, compile_plugin, good, tmp_path) -> None:
    single = compile_plugin(source())
    host.load_plugin({"libpath": str(single)})
    before = Footprint.now()
    link = tmp_path / "link.so"
    link.symlink_to(single)
    for path in (single, link):
        with pytest.raises(PluginAlreadyLoaded, match="is loaded already, as plugin hostile"):
            host.load_plugin({"libpath": str(path), "name": "other"})
    other = write(tmp_path, "other", single.read_bytes())
    with (
        capture_logs() as logs,
        pytest.raises(PluginAlreadyLoaded, match="a plugin of the name hostile is loaded"),
    ):
        host.load_plugin({"libpath": str(other)})
    assert [line["event"] for line in logs] == ["destroy was called"]
    with pytest.raises(PluginAlreadyLoaded, match="a plugin of the name hostile"):
        host.load_plugin({"libpath": str(good), "name": "hostile"})
    assert Footprint.now() == before
    assert host.list_plugins() == ["hostile"]
    host.unload()


def test_multi_instance_twice(host, good) -> None:
    first = host.load_plugin({"libpath": str(good)})
    second = host.load_plugin({"libpath": str(good), "name": "second"})
    assert len(mapped_copies()) == 2
    host.block(b"", None)
    assert [p.counters.delivered for p in (first, second)] == [1, 1]
    host.unload()
    assert mapped_copies() == set()


# ---- on_load that fails --------------------------------------------------------------------

STATUSES = [*range(-1, -18, -1), 1, 2, 3, 77, -18, -1000, -(2**31), 2**31 - 1]


@pytest.mark.parametrize("text", [True, False], ids=["with a text", "without"])
@pytest.mark.usefixtures("unharmed")
def test_on_load_fails_with_every_status(host, compile_plugin, text) -> None:
    say = 'slipstream_fail(host, 0, "no \\xff database");' if text else ""
    more = f"""
static int32_t on_load(void *i, const char *json, size_t len, uint32_t reason) {{
    const slipstream_config_v1 *config = slipstream_extension(host, SLIPSTREAM_EXT_CONFIG);
    int64_t status = 0;
    (void)i; (void)json; (void)len; (void)reason;
    config->get_i64(host->ctx, "/status", &status);
    {say}
    return (int32_t)status;
}}
"""
    library = compile_plugin(source("table.on_load = on_load; table.on_unload = on_unload;", more))
    for status in STATUSES:
        with capture_logs() as logs, pytest.raises(PluginStartError) as caught:
            host.load_plugin({"libpath": str(library), "status": status})
        message = caught.value.message
        assert f"({status})" in message
        known = -18 < status < 3
        assert ("unknown status" in message) == (not known), message
        assert (r"no \xff database" if text else "gave no text") in message
        told = [f"on_load returned {status}, which is not one of its answers"] if status > 0 else []
        assert [line["event"] for line in logs] == [*told, "destroy was called"]
    assert copies_in(library.parent) == []


def test_the_text_of_a_call_that_succeeds_is_dropped(host, compile_plugin) -> None:
    more = """
static int32_t on_load(void *i, const char *json, size_t len, uint32_t reason) {
    (void)i; (void)json; (void)len; (void)reason;
    return slipstream_fail(host, SLIPSTREAM_OK, "not meant");
}
"""
    library = compile_plugin(source("table.on_load = on_load;", more))
    with capture_logs() as logs:
        host.load_plugin({"libpath": str(library)})
        host.unload()
    assert "not meant" not in str(logs)


@pytest.mark.usefixtures("unharmed")
def test_a_payload_table_that_cannot_be_used_is_reported(host, compile_plugin) -> None:
    for value in ("(void *)8", "&data_word", "unmapped()", "&bad"):
        more = f"""
static const void *extension(void *i, const char *id) {{
    static slipstream_payload_v1 bad = {{sizeof bad, 0, NULL}};
    uintptr_t address = 0x4141;
    memcpy(&bad.name_at, &address, sizeof address);
    (void)i; (void)id; (void)bad;
    return {value};
}}
"""
        library = compile_plugin(source("table.get_extension = extension;", more))
        with capture_logs() as logs:
            host.load_plugin({"libpath": str(library)})
            host.unload()
        (line,) = [line for line in logs if line.get("contract") == "plugin misbehaving"]
        assert "slipstream.payload/1" in line["event"]


# ---- Calls that do not return: in processes of their own, which have to end ----------------

HANG = "for (;;) pause();"
HANGING = {
    "constructor": source(HANG),
    "on_load": source(
        "table.on_load = on_load;",
        "static int32_t on_load(void *i, const char *j, size_t l, uint32_t r)\n"
        f"{{ (void)i; (void)j; (void)l; (void)r; {HANG} return 0; }}",
    ),
    "on_unload": source(
        "table.on_unload = hanging;",
        f"static int32_t hanging(void *i, uint32_t t) {{ (void)i; (void)t; {HANG} return 0; }}",
    ),
    "destroy": source(
        "table.destroy = hanging;", f"static void hanging(void *i) {{ (void)i; {HANG} }}"
    ),
    "static constructor": source(
        "", f"__attribute__((constructor)) static void first(void) {{ {HANG} }}"
    ),
    "static destructor": source(
        "", f"__attribute__((destructor)) static void last(void) {{ {HANG} }}"
    ),
}


HANG_SCRIPT = """
import sys
from slipstream import PluginManager, PluginLoadError
from slipstream.testing import RecordingPlugin
path, good, early = sys.argv[1], sys.argv[2], sys.argv[3] == "early"
with PluginManager() as manager:
    recorder = RecordingPlugin()
    manager.install(recorder)
    config = {"libpath": path, "load_timeout": 0.3, "unload_timeout": 0.3}
    try:
        plugin = manager.load_plugin(config)
    except PluginLoadError as error:
        assert early, error
        assert error.refusal == "timed out", error
        assert "did not return within 0.3 seconds" in error.message, error
        assert "load_timeout" in error.hint
    else:
        assert not early
        manager.unload_plugin(plugin.name, timeout=0.3)
        assert plugin.state == "unloaded"
    manager.block(b"", 1)
    assert len(recorder.events) == 1
    if "static" not in sys.argv[4]:
        manager.load_plugin(good)
        manager.block(b"", 1)
        assert manager.plugins["minimal"].counters.delivered == 1
print("done")
"""


@pytest.mark.parametrize("where", HANGING)
def test_a_hang_is_reported_and_does_not_keep_the_process(
    compile_plugin, examples, tmp_path, where
) -> None:
    library = compile_plugin(HANGING[where], name="hangs")
    config = examples / "minimal" / "minimal.json5"
    early = where in {"constructor", "on_load", "static constructor"}
    done = run_python(HANG_SCRIPT, library, config, "early" if early else "late", where)
    assert done.returncode == 0, done.stderr
    assert "done" in done.stdout
    if not early:
        assert "stays mapped: a call into it did not return" in done.stderr
    assert copies_in(library.parent) == []


def test_an_on_load_that_returns_late_is_undone(host, compile_plugin) -> None:
    more = """
static int32_t on_load(void *i, const char *json, size_t len, uint32_t reason) {
    (void)i; (void)json; (void)len; (void)reason;
    while (!slipstream_is_stopping(host))
        usleep(1000);
    return SLIPSTREAM_OK;
}
"""
    body = "table.on_load = on_load; table.on_unload = on_unload;"
    library = compile_plugin(source(body, more), name="late")
    before = mapped_copies()
    with capture_logs() as logs:
        with pytest.raises(PluginLoadError) as caught:
            host.load_plugin({"libpath": str(library), "load_timeout": 0.2})
        assert caught.value.refusal is Refusal.TIMED_OUT
        wait_until(lambda: not native_threads() and mapped_copies() == before, "it is not undone")
        host.flush()  # drains the log
    assert native_threads() == []
    assert mapped_copies() == before
    lines = [line["event"] for line in logs]
    assert lines == ["on_unload was called", "destroy was called"]


# ---- Crashes: an inline plugin takes its host down, as documented --------------------------

CRASHING = {
    "a fault in the constructor": (source("raise(SIGSEGV);", "#include <signal.h>"), "SIGSEGV"),
    "a bad pointer in the constructor": (
        source("*(volatile int *)8 = 1;").replace("int data_word", "volatile int data_word"),
        "SIGSEGV",
    ),
    "abort in the constructor": (source("abort();"), "SIGABRT"),
    "exit in on_load": (
        source(
            "table.on_load = on_load;",
            "static int32_t on_load(void *i, const char *j, size_t l, uint32_t r)\n"
            "{ (void)i; (void)j; (void)l; (void)r; exit(3); }",
        ),
        3,
    ),
}


@pytest.mark.no_asan
@pytest.mark.parametrize("case", CRASHING)
def test_a_crash_ends_the_process(compile_plugin, tmp_path, case) -> None:
    text, end = CRASHING[case]
    library = compile_plugin(text, "-Wno-array-bounds", name="crashes")
    done = run_python(
        "import sys; from slipstream import PluginManager\n"
        "PluginManager().load_plugin({'libpath': sys.argv[1]})",
        library,
    )
    assert done.returncode == (end if isinstance(end, int) else -signal.Signals[end])
    if end == "SIGSEGV":
        assert "Fatal Python error: Segmentation fault" in done.stderr  # faulthandler has seen it
    for copy in library.parent.glob(".*.slipstream-copy"):
        copy.unlink()


@pytest.mark.no_asan
def test_an_exception_that_leaves_a_function_ends_the_process(compile_plugin) -> None:
    require("c++")
    library = compile_plugin(
        """
#include <slipstream.h>
#include <stdexcept>
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *) {
    throw std::runtime_error("out");
}
""",
        lang="cpp",
    )
    done = run_python(
        "import sys; from slipstream import PluginManager\n"
        "PluginManager().load_plugin({'libpath': sys.argv[1]})",
        library,
    )
    assert done.returncode == -signal.SIGABRT


# ---- Many at once --------------------------------------------------------------------------


def test_refusals_on_many_threads(host, compile_plugin, good, tmp_path) -> None:
    bad = compile_plugin(source("return NULL;"))
    text = write(tmp_path, "text", b"no library")
    before = Footprint.now()
    wrong: list[BaseException] = []

    def load(path: Path) -> None:
        for _ in range(10):
            try:
                host.load_plugin({"libpath": str(path)})
            except PluginLoadError:
                continue
            except BaseException as error:  # noqa: BLE001 - shown below
                wrong.append(error)
            else:
                wrong.append(AssertionError("loaded"))

    threads = [threading.Thread(target=load, args=(path,)) for path in (bad, text) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert wrong == []
    assert Footprint.now() == before


def test_every_refusal_is_tested() -> None:
    tested = {case.refusal for case in (*COMPILED, *FILES)}
    tested |= {Refusal.DIGEST_MISMATCH, Refusal.TIMED_OUT}
    tested |= {case.refusal for case in (*INVALID, *SCHEMAS)}
    # In test_info.py, with libraries of their own.
    tested |= {Refusal.INFO_MISPLACED, Refusal.INFO_UNREADABLE, Refusal.INFO_DISAGREES}
    # These come from the config's check of the path, as InvalidPluginPath, or are kept for
    # other modes.
    elsewhere = {Refusal.NOT_FOUND, Refusal.UNSAFE_PATH, Refusal.FILE_CHANGED}
    assert tested | elsewhere == set(Refusal)
    assert issubclass(PluginLoadError, SlipstreamError)
