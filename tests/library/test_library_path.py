"""Who may change a library, and whether it is the one that was meant."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from slipstream.errors import InvalidPluginPath, PluginLoadError, Refusal
from slipstream.library import check_library_path, verify_digest

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "plugins"
    folder.mkdir(mode=0o755)
    file = folder / "libx.so"
    file.write_bytes(b"\x7fELF")
    file.chmod(0o644)
    return file


def test_a_safe_library_passes(library: Path) -> None:
    assert check_library_path(library) == library


def test_links_are_followed_to_the_real_file(library: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(library.parent)
    link = tmp_path / "libcurrent.so"
    link.symlink_to("current/libx.so")
    assert check_library_path(link) == library
    library.chmod(0o666)
    with pytest.raises(InvalidPluginPath, match=f"the library {library} is writable"):
        check_library_path(link)


def test_a_relative_path_becomes_absolute(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(library.parent)
    assert check_library_path("libx.so") == library


def _missing(folder: Path) -> Path:
    return folder / "none" / "libx.so"


def _dangling(folder: Path) -> Path:
    (folder / "link.so").symlink_to("gone.so")
    return folder / "link.so"


def _loop(folder: Path) -> Path:
    (folder / "loop.so").symlink_to("loop.so")
    return folder / "loop.so"


def _folder(folder: Path) -> Path:
    return folder


def _fifo(folder: Path) -> Path:
    os.mkfifo(folder / "fifo")
    return folder / "fifo"


def _socket(folder: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "s"))
    return folder / "s"


def _below_a_file(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file" / "libx.so"


REFUSED: list[tuple[Callable[[Path], Path], str, str]] = [
    (_missing, "does not exist: there is no ", "build it, or correct libpath"),
    (_dangling, "link.so does not exist", "build it, or correct libpath"),
    (_loop, "cannot be found: Too many levels of symbolic links", "correct libpath"),
    (_folder, "is a folder, not a file", "let libpath name a shared library"),
    (_fifo, "is a FIFO, not a regular file", "let libpath name a shared library"),
    (_socket, "is a socket, not a regular file", "let libpath name a shared library"),
    (_below_a_file, "file/libx.so does not exist", "build it, or correct libpath"),
    (lambda _: Path("/dev/null"), "is a device, not a regular file", "let libpath name"),
    (lambda folder: folder / ("x" * 300), "File name too long", "correct libpath"),
    (lambda _: Path("a\0b"), "the name is not possible", "correct libpath"),
    (lambda _: Path("\ud800"), "the name is not possible", "correct libpath"),
]


@pytest.mark.parametrize(("make", "what", "step"), REFUSED)
@pytest.mark.parametrize("insecure", [False, True])
def test_what_is_no_library_file_is_refused(
    make: Callable[[Path], Path],
    what: str,
    step: str,
    insecure: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = make(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(InvalidPluginPath) as caught:
        check_library_path(path, insecure=insecure)
    assert what in caught.value.message
    assert step in caught.value.hint
    assert len(os.listdir("/proc/self/fd")) == before
    str(caught.value).encode()


def test_a_world_writable_library_is_refused(library: Path) -> None:
    library.chmod(0o646)
    with pytest.raises(InvalidPluginPath) as caught:
        check_library_path(library)
    assert caught.value.message == (
        f"the library {library} is writable for everybody (mode 0646), so anybody could replace "
        "the library"
    )
    assert caught.value.hint == (
        f"run: chmod o-w {library}, or accept the risk with --insecure-paths"
    )
    assert check_library_path(library, insecure=True) == library


def test_the_command_in_the_hint_repairs_it(library: Path) -> None:
    awkward = library.parent / "it's a lib.so"
    library.rename(awkward)
    awkward.chmod(0o666)
    with pytest.raises(InvalidPluginPath) as caught:
        check_library_path(awkward)
    command = caught.value.hint.removeprefix("run: ").split(", or accept")[0]
    assert os.system(command) == 0
    assert check_library_path(awkward) == awkward


def test_a_world_writable_folder_is_refused_unless_it_is_sticky(library: Path) -> None:
    folder = library.parent
    folder.chmod(0o777)
    with pytest.raises(InvalidPluginPath, match=f"the folder {folder} is writable.*mode 0777"):
        check_library_path(library)
    assert check_library_path(library, insecure=True) == library
    folder.chmod(0o1777)
    assert check_library_path(library) == library


def test_a_folder_further_up_counts_too(library: Path) -> None:
    library.parent.parent.chmod(0o777)
    with pytest.raises(InvalidPluginPath, match=f"the folder {library.parent.parent} is writ"):
        check_library_path(library)


@needs_root
@pytest.mark.parametrize("which", ["library", "folder"])
@pytest.mark.parametrize("user", [4242, 65534])  # nobody, as whom user namespaces show many
def test_what_belongs_to_another_user_is_refused(library: Path, which: str, user: int) -> None:
    path = library if which == "library" else library.parent
    os.chown(path, user, -1)
    with pytest.raises(InvalidPluginPath) as caught:
        check_library_path(library)
    assert f"the {which} {path} belongs to another user (uid {user})" in caught.value.message
    assert caught.value.hint.startswith(f"run: chown 0 {path}, or accept")
    assert check_library_path(library, insecure=True) == library


@pytest.mark.parametrize("length", [1, 3])
def test_a_link_in_a_folder_that_all_may_write_is_refused(library: Path, tmp_path, length) -> None:
    """Also in the middle of a chain: whoever may replace the link may replace the library."""
    shared = tmp_path / "open"
    shared.mkdir()
    shared.chmod(0o777)
    link = shared / "link.so"
    link.symlink_to(library)
    for number in range(length - 1):
        further = tmp_path / f"link{number}.so"
        further.symlink_to(os.path.relpath(link, further.parent))
        link = further
    with pytest.raises(InvalidPluginPath, match=f"the folder {shared} is writable for every"):
        check_library_path(link)
    assert check_library_path(link, insecure=True) == library
    shared.chmod(0o1777)
    assert check_library_path(link) == library


@needs_root
def test_a_link_of_another_user_is_refused(library: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.so"
    link.symlink_to(library)
    os.lchown(link, 4242, -1)
    with pytest.raises(InvalidPluginPath) as caught:
        check_library_path(link)
    assert f"the link {link} belongs to another user (uid 4242)" in caught.value.message
    command = caught.value.hint.removeprefix("run: ").split(", or accept")[0]
    assert os.system(command) == 0
    assert check_library_path(link) == library


def test_a_folder_beside_the_way_does_not_count(library: Path, tmp_path: Path) -> None:
    shared = tmp_path / "open"
    (shared / "below").mkdir(parents=True)
    link = tmp_path / "up.so"
    link.symlink_to("plugins/../plugins/libx.so")
    shared.chmod(0o777)
    assert check_library_path(link) == library


@needs_root
@pytest.mark.parametrize("which", ["library", "folder"])
def test_a_group_with_others_in_it_is_refused(library: Path, which: str) -> None:
    path = library if which == "library" else library.parent
    path.chmod(0o775)
    assert check_library_path(library) == library, "in the group of root is nobody else"
    other = next(user for user in pwd.getpwall() if user.pw_gid not in (0, os.getegid()))
    os.chown(path, -1, other.pw_gid)
    with pytest.raises(InvalidPluginPath) as caught:
        check_library_path(library)
    group = grp.getgrgid(other.pw_gid).gr_name
    assert f"the {which} {path} is writable for the group {group} (mode 0775)" in (
        caught.value.message
    )
    assert caught.value.hint.startswith(f"run: chmod g-w {path}, or accept")
    os.chown(path, -1, 54321)
    with pytest.raises(InvalidPluginPath, match="writable for the group 54321"):
        check_library_path(library)


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ([(2, 6, 4242)], "writable for the user 4242"),
        ([(8, 7, 54321)], "writable for the group 54321"),
        ([(2, 4, 4242)], None),
        ([(2, 6, 0)], None),
    ],
    ids=["user", "group", "a reader", "root"],
)
def test_an_access_list_that_lets_others_write_is_refused(library: Path, entries, found) -> None:
    none = 0xFFFFFFFF
    whole = sorted([(1, 6, none), (4, 4, none), (16, 7, none), (32, 4, none), *entries])
    data = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in whole)
    try:
        os.setxattr(library, "system.posix_acl_access", data)
    except OSError as error:
        pytest.skip(f"no access lists here: {error}")
    if found is None:
        assert check_library_path(library) == library
        return
    with pytest.raises(InvalidPluginPath, match=found) as caught:
        check_library_path(library)
    assert caught.value.hint.startswith(f"run: setfacl -b {library}, or accept")


def test_the_right_digest_passes_in_either_case(library: Path) -> None:
    digest = hashlib.sha256(b"\x7fELF").hexdigest()
    before = len(os.listdir("/proc/self/fd"))
    verify_digest(library, digest)
    verify_digest(library, digest.upper())
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_wrong_digest_names_both(library: Path) -> None:
    actual = hashlib.sha256(b"\x7fELF").hexdigest()
    with pytest.raises(PluginLoadError) as caught:
        verify_digest(library, "0" * 64)
    assert caught.value.refusal is Refusal.DIGEST_MISMATCH
    assert caught.value.message == (
        f"{library} has the SHA-256 digest {actual}, but the config expects {'0' * 64}"
    )
    assert f'set sha256: "{actual}"' in caught.value.hint


@pytest.mark.parametrize(
    ("make", "refusal"),
    [(_missing, Refusal.NOT_FOUND), (_folder, Refusal.CANNOT_OPEN), (_fifo, Refusal.CANNOT_OPEN)],
)
def test_a_digest_that_cannot_be_checked_is_refused(
    make: Callable[[Path], Path], refusal: Refusal, tmp_path: Path
) -> None:
    caught: list[PluginLoadError] = []

    def check() -> None:
        with pytest.raises(PluginLoadError, match="cannot be checked") as info:
            verify_digest(make(tmp_path), "0" * 64)
        caught.append(info.value)

    thread = threading.Thread(target=check, daemon=True)
    thread.start()
    thread.join(240)
    assert [error.refusal for error in caught] == [refusal]
