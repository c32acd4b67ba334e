"""Building, unpacking: the same bytes everywhere, whole or not at all."""

from __future__ import annotations

import json
import os
import time
import zipfile
from pathlib import Path

import pytest

from slipstream.errors import PackageError
from slipstream.packages.archive import Archive, sweep
from slipstream.packages.build import build
from slipstream.packages.names import PackageName, own_system, version_key


def folder_of(at: Path, library: Path) -> Path:
    at.mkdir(parents=True)
    (at / "hello.so").write_bytes(library.read_bytes())
    (at / "texts").mkdir()
    (at / "texts" / "es.txt").write_text("hola")
    (at / "texts" / "en.txt").write_text("hello")
    (at / ".hidden").write_text("not in it")
    meta = {"name": "hello", "version": "1.0.0", "entrypoint": "hello.so"}
    (at / "plugin-meta.json").write_text(json.dumps(meta))
    return at


def test_the_same_bytes_in_two_folders_on_two_days(tmp_path: Path, library) -> None:
    first = folder_of(tmp_path / "a", library())
    second = folder_of(tmp_path / "b" / "c", library())
    for path in second.rglob("*"):
        os.utime(path, (10**9, 10**9 + len(path.name)))
        path.chmod(0o700)
    os.environ["TZ"], before = "Asia/Tokyo", os.environ.get("TZ")
    time.tzset()
    try:
        one = build(first, tmp_path / "one")
    finally:
        os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
        time.tzset()
    two = build(second, tmp_path / "two")
    assert one.digest == two.digest
    name = f"hello-1.0.0-{'-'.join(own_system())}.zip"
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert {path.name for path in (tmp_path / "one").iterdir()} == {name}


def test_others_read_it_and_theirs_are_read(tmp_path: Path, library) -> None:
    source = folder_of(tmp_path / "a", library())
    made = build(source, tmp_path / "out", interfaces=("greeter",))
    path = next((tmp_path / "out").iterdir())
    with zipfile.ZipFile(path) as found:
        assert found.testzip() is None
        meta = json.loads(found.read("plugin-meta.json"))
        names = found.namelist()
    assert names == ["plugin-meta.json", "hello.so", "texts/en.txt", "texts/es.txt"]
    assert meta["abi"] == 1
    assert meta["interfaces"] == ["greeter"]
    assert set(meta["files"]) == set(names[1:])
    theirs = tmp_path / "theirs.zip"
    with zipfile.ZipFile(theirs, "w", zipfile.ZIP_DEFLATED) as file:
        for part in ("plugin-meta.json", "hello.so"):
            file.write(source / part, part)
        file.write(source / "texts", "texts/")
        with file.open("streamed.txt", "w") as inner:
            inner.write(b"x" * 1000)
    assert Archive.read(theirs).package == PackageName("hello", "1.0.0")
    assert made.package == PackageName("hello", "1.0.0", *own_system())


def test_a_library_alone(tmp_path: Path, library) -> None:
    with pytest.raises(PackageError, match="the name and version of .* are not known"):
        build(library(), tmp_path)
    made = build(library(), tmp_path, name="hello", version="1.0.0", anywhere=True)
    assert str(made.package) == "hello-1.0.0"
    assert (tmp_path / "hello-1.0.0.zip").exists()
    assert Archive.read(tmp_path / "hello-1.0.0.zip").digest == made.digest


def test_a_library_that_says_something_else(tmp_path: Path, compile_plugin) -> None:
    source = """#include <slipstream.h>
    SLIPSTREAM_INFO({"name": "said", "version": "2.0", "abi": 1});
    const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *h) {
        (void)h;
        return NULL;
    }
    """
    library = compile_plugin(source, name="said")
    assert str(build(library, tmp_path, anywhere=True).package) == "said-2.0"
    for name, version, text in (
        ("other", "2.0", "says name other, its library said"),
        ("said", "3.0", "says version 3.0, its library 2.0"),
    ):
        with pytest.raises(PackageError, match=text):
            build(library, tmp_path, name=name, version=version)


def test_it_is_laid_down_whole_and_looked_at_again(tmp_path: Path, library) -> None:
    made = build(folder_of(tmp_path / "a", library()), tmp_path)
    into = tmp_path / "into"
    path = made.unpack(into)
    assert path.read_bytes() == library().read_bytes()
    assert (path.parent / "texts" / "es.txt").read_text() == "hola"
    assert path.parent.stat().st_mode & 0o777 == 0o700
    at = path.stat().st_ino
    assert made.unpack(into) == path
    assert path.stat().st_ino == at  # nothing was done anew
    for change in ("changed", "removed", "added", "link"):
        text = path.parent / "texts" / "es.txt"
        text.parent.chmod(0o700)
        if change == "added":
            (path.parent / "more.so").write_text("x")
        else:
            text.unlink()
        if change == "changed":
            text.write_text("evil")
        elif change == "link":
            text.symlink_to("/etc/passwd")
        assert made.unpack(into) == path
        assert text.read_text() == "hola"
        assert not (path.parent / "more.so").exists()
    assert [entry.name for entry in into.iterdir()] == [path.parent.name]


def test_what_a_killed_run_left_is_never_believed(tmp_path: Path, library) -> None:
    made = build(library(), tmp_path, name="hello", version="1.0.0")
    half = tmp_path / "into" / ".new-0123"
    half.mkdir(parents=True)
    (half / "hello.so").write_text("half")
    path = made.unpack(tmp_path / "into")
    assert path.read_bytes() == library().read_bytes()
    sweep(tmp_path / "into", [made.digest])
    assert [entry.name for entry in (tmp_path / "into").iterdir()] == [path.parent.name]
    (tmp_path / "into" / "other").mkdir()
    sweep(tmp_path / "into", [])
    assert [entry.name for entry in (tmp_path / "into").iterdir()] == ["other"]


def test_names() -> None:
    package = PackageName("hello", "1.0.0")
    system, machine = own_system()
    assert package.fill("a/{{.Name}}/{{ .Version }}-{{.OS}}-{{.Arch}}.zip") == (
        f"a/hello/1.0.0-{system}-{machine}.zip"
    )
    with pytest.raises(PackageError, match="asks for '.Home'"):
        package.fill("{{.Home}}")
    for name, version in (("", "1"), ("a/b", "1"), ("a", "one"), ("..", "1"), ("a", "1..2")):
        with pytest.raises(PackageError):
            PackageName(name, version)
    order = ["0.9.0", "1.0.0-alpha", "1.0.0-rc1", "1.0.0-rc2", "1.0.0", "1.0.10", "1.2", "2.0"]
    assert sorted([*order[3:], *order[:3]], key=version_key) == order
