"""The private copies of libraries."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import slipstream.library.private_copy as module
from slipstream import PluginLoadError, Refusal
from slipstream.library import PrivateCopy
from support.process_tools import copies_in, open_descriptors


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "plugin.so"
    path.write_bytes(os.urandom(3_000_000))
    return path


def test_a_copy(source) -> None:
    before = open_descriptors()
    first, second = PrivateCopy(source), PrivateCopy(source)
    assert first.path != second.path
    assert first.path.parent == source.parent
    assert first.path.read_bytes() == source.read_bytes()
    assert first.digest == hashlib.sha256(source.read_bytes()).hexdigest()
    assert first.path.stat().st_mode & 0o777 == 0o500
    again = PrivateCopy(source, first.digest, of=first.path)
    source.unlink()
    assert again.digest == first.digest
    assert again.original == source
    for copy in (first, second, again):
        copy.close()
        copy.close()
        assert not copy.path.exists()
    assert open_descriptors() <= before


def test_a_copy_in_another_folder(source, tmp_path, monkeypatch) -> None:
    """Where the library's own folder cannot be written to."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    new_file = module._new_file

    def refuse(folder: Path, stem: str) -> tuple[Path, int]:
        if folder == source.parent:
            raise OSError(errno.EROFS, "read-only")
        return new_file(folder, stem)

    monkeypatch.setattr(module, "_new_file", refuse)
    private = tmp_path / f"slipstream-{os.getuid()}"
    copy = PrivateCopy(source)
    assert copy.path.parent == private
    assert private.stat().st_mode & 0o777 == 0o700
    copy.close()
    for spoil in (lambda: private.chmod(0o777), lambda: (private.rmdir(), private.symlink_to("/"))):
        spoil()
        with pytest.raises(PluginLoadError, match="is not a folder of this user alone") as caught:
            PrivateCopy(source)
        assert caught.value.refusal is Refusal.CANNOT_OPEN


@pytest.mark.parametrize("spoil", ["gone", "fifo", "folder", "digest"])
def test_what_cannot_be_copied_leaves_nothing(source, spoil) -> None:
    before = open_descriptors()
    expected = None
    if spoil == "digest":
        expected = "0" * 64
    else:
        source.unlink()
    if spoil == "fifo":
        os.mkfifo(source)
    if spoil == "folder":
        source.mkdir()
    with pytest.raises(PluginLoadError) as caught:
        PrivateCopy(source, expected)
    assert str(source) in caught.value.message
    assert caught.value.hint
    assert copies_in(source.parent) == []
    assert list(source.parent.glob("*.new")) == []
    assert open_descriptors() <= before


def test_a_full_disk(source, monkeypatch) -> None:
    def full(_fd: int, _data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = open_descriptors()
    monkeypatch.setattr(module.os, "write", full)
    with pytest.raises(PluginLoadError, match="No space left"):
        PrivateCopy(source)
    assert copies_in(source.parent) == []
    assert open_descriptors() <= before


@pytest.mark.parametrize("stem", ["a b", "ü" * 120, "x" * 200, "line\nbreak", "..", "-rf", "ツ.1"])
def test_any_name(source, stem) -> None:
    path = source.with_name(f"{stem}.so")
    source.rename(path)
    copy = PrivateCopy(path)
    assert copy.path.name.isascii()
    assert " " not in copy.path.name
    assert len(copy.path.name) < 128
    copy.close()


def test_only_what_nobody_uses_is_swept(source, monkeypatch) -> None:
    folder = source.parent
    stale = folder / ".plugin.99-1.slipstream-copy"
    used = folder / ".plugin.98-1.slipstream-copy"
    for path in (stale, used):
        path.write_bytes(b"x")
    (folder / ".trap.slipstream-copy").symlink_to(source)
    os.mkfifo(folder / ".fifo.slipstream-copy")
    with used.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        monkeypatch.setattr(module, "_swept", set())
        PrivateCopy(source).close()
    assert copies_in(folder) == [".plugin.98-1.slipstream-copy", ".trap.slipstream-copy"]
    assert source.exists()


def test_a_killed_process_is_cleaned_up_after(source, monkeypatch) -> None:
    script = (
        "import os, sys; from pathlib import Path; from slipstream.library import PrivateCopy;"
        "copy = PrivateCopy(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, source], timeout=600, check=False)
    assert len(copies_in(source.parent)) == 1
    monkeypatch.setattr(module, "_swept", set())
    PrivateCopy(source).close()
    assert copies_in(source.parent) == []
