"""Which files may be named over the network: every way out of the folder is refused alike."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys

import pytest

from slipstream.server.answers import Refused
from slipstream.server.folders import REFUSAL, Folders


@pytest.fixture
def place(tmp_path):
    """A folder with all sorts of things in it, and a file outside."""
    inside, outside = tmp_path / "configs", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "sub").mkdir()
    for file in (inside / "good.json5", inside / "sub" / "deep.json5", outside / "secret.json5"):
        file.write_text('{libpath: "x.so"}')
    shutil.copytree(inside, tmp_path / "configs-beside")
    for name, target in {
        "in.json5": "good.json5",
        "sub/up.json5": "../good.json5",
        "data": "sub",
        "twice.json5": "data/deep.json5",
        "out.json5": str(outside / "secret.json5"),
        "out-relative.json5": "../outside/secret.json5",
        "out-missing.json5": "../outside/missing.json5",
        "round.json5": "../configs/good.json5",
        "absolute.json5": str(inside / "good.json5"),
        "folder": str(outside),
        "loop": "loop",
        "loop-a": "loop-b",
        "loop-b": "loop-a",
        "self.json5": "/proc/self/fd/0",
        "null.json5": "/dev/null",
        "nowhere.json5": "nothing.json5",
    }.items():
        (inside / name).symlink_to(target)
    os.link(outside / "secret.json5", inside / "hard.json5")
    os.link(inside / "sub" / "deep.json5", inside / "hard-inside.json5")
    os.mkfifo(inside / "fifo.json5")
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX) as listening,
        contextlib.chdir(inside),
    ):
        listening.bind("socket.json5")
    with contextlib.suppress(PermissionError):
        os.mknod(inside / "device.json5", 0o600 | 0o020000, os.makedev(1, 3))
    return tmp_path


GOOD = ["good.json5", "./good.json5", "sub//../good.json5", "sub/up.json5", "in.json5"]
BAD = [
    # What leads out by its name: the second has the same name and is not there.
    *("../outside/secret.json5", "../outside/missing.json5"),
    *("sub/../../outside/secret.json5", "sub/../../outside/missing.json5"),
    *("./.././outside/secret.json5", "nothing/../../outside/secret.json5"),
    *("{outside}/secret.json5", "{outside}/missing.json5"),
    *("{inside}/../outside/secret.json5", "{inside}/../outside/missing.json5"),
    *("{inside}-beside/good.json5", "{inside}-beside/missing.json5", "/{inside}/good.json5"),
    *(
        "/etc/passwd",
        "/etc/missing",
        "/var/lib/x/.ssh/id_rsa",
        "/proc/self/environ",
        "/proc/self/nix",
    ),
    *("/proc/self/root", "/proc/self/cwd/good.json5", "/proc/self/fd/0", "/dev/fd/0"),
    *("/dev/null", "/dev/zero", "/dev/tty", "/dev/stdin", "/dev/missing", "/sys/kernel/notes"),
    # Links.
    *("out.json5", "out-relative.json5", "out-missing.json5", "round.json5", "absolute.json5"),
    *("folder/secret.json5", "folder/missing.json5", "loop", "loop-a", "loop/x", "nowhere.json5"),
    *("self.json5", "null.json5", "hard.json5"),
    # What is not a regular file, or no file at all.
    *("fifo.json5", "socket.json5", "device.json5", "sub", "sub/", ".", "..", "/", "", "missing"),
    *("good.json5/..", "good.json5/x", "good.json5/", "fifo.json5/x"),
    # What is no path.
    *("\0", "good.json5\0", "\0good.json5", "good\ud800.json5", "x" * 300, "a/" * 5000),
    *("file:///etc/passwd", "http://127.0.0.1/", "~/good.json5", "%2e%2e/outside/secret.json5"),
    *("..\\outside\\secret.json5", "$HOME/x", "GOOD.JSON5", "good.json5 ", " good.json5"),
]


def named(text: str, place) -> str:
    return text.replace("{inside}", str(place / "configs")).replace(
        "{outside}", str(place / "outside")
    )


def test_what_lies_in_the_folder(place) -> None:
    folders = Folders([place / "empty", place / "configs"])
    for text in [*GOOD, *(f"{{inside}}/{good}" for good in GOOD)]:
        config = folders.read(named(text, place))
        assert config.libpath.name == "x.so", text


def test_every_way_out_is_refused_alike(place) -> None:
    folders = Folders([place / "configs"])
    before = set(os.listdir("/proc/self/fd"))
    for text in [*BAD, "hard-inside.json5", *(f"{{inside}}/{bad}" for bad in BAD)]:
        with pytest.raises(Refused) as error:
            folders.read(named(text, place))
        refused = error.value
        assert (refused.code, refused.message) == (403, REFUSAL), text
        assert refused.chain == (f"folder: {place / 'configs'}",), text
    assert set(os.listdir("/proc/self/fd")) == before


def test_no_folder_no_file() -> None:
    with pytest.raises(Refused):
        Folders([]).read("/etc/passwd")


def test_over_http(make_host, place) -> None:
    host = make_host(config_dirs=[place / "configs"])
    texts = set()
    with host.client() as client:
        for text in [bad for bad in BAD if bad and "\ud800" not in bad]:
            answer = client.post(host.base, json={"config_file": named(text, place)})
            assert answer.status_code == 403, text
            texts.add(answer.text)
        escaped = b'{"config_file": "good\\ud800.json5"}'
        kind = {"Content-Type": "application/json"}
        texts.add(client.post(host.base, content=escaped, headers=kind).text)
    assert len(texts) == 1


SWAPPER = """
import os, sys
inside, outside = sys.argv[1:]
os.chdir(inside)
print("ready", flush=True)
while True:
    for target in ("sub", outside):
        os.symlink(target, "swap.new")
        os.rename("swap.new", "swap")
    for name in ("good.json5", outside + "/secret.json5"):
        os.symlink(name, "file.new")
        os.rename("file.new", "swapped.json5")
"""


def test_who_swaps_is_not_quicker(tmp_path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder, text in ((inside / "sub", "good"), (outside, "secret")):
        folder.mkdir(parents=True)
        (folder / "x.json5").write_text(f'{{libpath: "{text}.so"}}')
        (folder / "secret.json5").write_text(f'{{libpath: "{text}.so"}}')
    (inside / "good.json5").write_text('{libpath: "good.so"}')
    command = [sys.executable, "-c", SWAPPER, str(inside), str(outside)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as swapper:
        try:
            assert swapper.stdout.readline() == b"ready\n"
            folders = Folders([inside])
            read = refused = 0
            while (read < 100 or refused < 100) and read + refused < 20_000:
                for name in ("swap/x.json5", "swapped.json5"):
                    try:
                        config = folders.read(name)
                    except Refused:
                        refused += 1
                    else:
                        read += 1
                        assert config.libpath.name == "good.so"
            assert read
            assert refused
        finally:
            swapper.kill()
