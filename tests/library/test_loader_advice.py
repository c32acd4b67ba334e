"""What the loader could not open, and the next step that fits."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from slipstream import PluginLoadError, PluginManager, Refusal
from support.hostile_libraries import source
from support.process_tools import run_python


def is_refused(manager: PluginManager, library: Path, says: str, hint: str) -> None:
    with pytest.raises(PluginLoadError) as caught:
        manager.load_plugin({"libpath": str(library)})
    assert caught.value.refusal is Refusal.CANNOT_OPEN
    assert says in caught.value.message
    assert hint in caught.value.hint


def test_thread_local_storage_that_has_no_room_is_named(manager, compile_plugin) -> None:
    more = 'static __thread char large[65536] __attribute__((tls_model("initial-exec")));'
    library = compile_plugin(
        source(more=f"{more} char *look(void); char *look(void) {{ return large; }}")
    )
    is_refused(manager, library, "static TLS", 'mode "process"')


@contextmanager
def mounted(*arguments: str) -> Iterator[None]:
    if subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode:
        pytest.skip("only root may mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", arguments[-1]], check=True)


def test_a_folder_where_nothing_may_be_executed_is_named(compile_plugin, tmp_path) -> None:
    """In a process of its own: the loader leaves a part of such a library mapped."""
    folder = tmp_path / "noexec"
    folder.mkdir()
    with mounted("-t", "tmpfs", "-o", "noexec", "tmpfs", str(folder)):
        library = folder / "p.so"
        shutil.copy(compile_plugin(source()), library)
        code = f"""
from slipstream import PluginLoadError, PluginManager
with PluginManager(insecure_paths=True) as manager:
    try:
        manager.load_plugin({{"libpath": {str(library)!r}, "mode": "thread"}})
    except PluginLoadError as error:
        print(error.refusal, error.message, error.hint)
"""
        done = run_python(code)
    assert "CANNOT_OPEN" in done.stdout or "cannot open" in done.stdout
    assert "failed to map" in done.stdout
    assert f"{folder}: that is mounted noexec" in done.stdout


def test_a_needed_library_beside_one_in_a_read_only_folder(
    manager, compile_plugin, tmp_path
) -> None:
    """The copy that is opened lies elsewhere, where $ORIGIN is another folder."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    make = ["cc", "-shared", "-x", "c", "/dev/null", "-o", folder / "libbeside.so"]
    subprocess.run(make, check=True)
    flags = ("-Wl,--no-as-needed", f"-L{folder}", "-lbeside", "-Wl,-rpath,$ORIGIN")
    library = folder / "needs.so"
    shutil.copy(compile_plugin(source(), *flags, name="needs"), library)
    with mounted("--bind", "-o", "ro", str(folder), str(folder)):
        is_refused(manager, library, "libbeside.so: cannot open shared", f"write into {folder}")
    manager.load_plugin({"libpath": str(library)})
    manager.unload()
