"""Configs that are wrong, by mistake or on purpose: the class, the words, and no harm done."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from slipstream.config import MAX_CONFIG_BYTES, PluginConfig, load_config, parse_config
from slipstream.errors import (
    CannotOpenConfigFile,
    CannotReadConfigFile,
    ConfigError,
    InvalidConfigFileFormat,
    InvalidPluginPath,
    LibPathNotSet,
)
from support.process_tools import open_descriptors
from support.systems import only_posix, posix

FORMAT = InvalidConfigFileFormat
PATH = InvalidPluginPath
GENERAL = "correct the text at the mark"
NEXT_COMMA = "put a comma between two entries"


def lib(rest: str) -> str:
    """A config that is right but for the rest of its one line."""
    return f'{{libpath: "x.so", {rest}}}'


# The text, the error's class, where it is, what is wrong, and the next step.
HOSTILE: list[tuple[str, type[ConfigError], str, str, str]] = [
    # Not JSON5.
    ("", FORMAT, "", "the config is empty", "write at least { libpath:"),
    (" \n\t ", FORMAT, "", "the config is empty", "write at least { libpath:"),
    ("// only a comment", FORMAT, "1:18", "the text ends where a value should be", GENERAL),
    ("/* only a comment */", FORMAT, "1:21", "the text ends where a value should be", GENERAL),
    ("/* open", FORMAT, "1:1", "this comment is never closed", "close it with */"),
    ("{a: 1, /*/}", FORMAT, "1:8", "this comment is never closed", "close it with */"),
    ("# shell", FORMAT, "1:1", '"#" is not a value', "comments start with // in JSON5"),
    ("{libpath = 'x'}", FORMAT, "1:10", 'unexpected "=", expected a ":"', "write key: value"),
    ("{a: 1; b: 2}", FORMAT, "1:5", '"1;" is not a value', NEXT_COMMA),
    ("{a: 1 ; b: 2}", FORMAT, "1:7", 'unexpected ";", expected a "," or "}"', NEXT_COMMA),
    ("{a: 1 b: 2}", FORMAT, "1:7", 'unexpected "b", expected a "," or "}"', NEXT_COMMA),
    ('{a: "x" "y"}', FORMAT, "1:9", 'unexpected "y", expected a "," or "}"', NEXT_COMMA),
    ("{a: [1 2]}", FORMAT, "1:8", 'unexpected "2", expected a "," or "]"', NEXT_COMMA),
    ("{a: 1,, b: 2}", FORMAT, "1:7", 'unexpected ",", expected a key or "}"', GENERAL),
    ("{,}", FORMAT, "1:2", 'unexpected ",", expected a key or "}"', GENERAL),
    ("[,]", FORMAT, "1:2", 'unexpected ",", expected a value or "]"', GENERAL),
    ("{a:}", FORMAT, "1:4", 'unexpected "}", expected a value', GENERAL),
    ("{a}", FORMAT, "1:3", 'unexpected "}", expected a ":"', GENERAL),
    ("{a: 1]", FORMAT, "1:6", 'unexpected "]", expected a "," or "}"', GENERAL),
    ("{a: [1}", FORMAT, "1:7", 'unexpected "}", expected a "," or "]"', GENERAL),
    ("}", FORMAT, "1:1", 'unexpected "}", expected a value', GENERAL),
    ("{a: {b: 1}", FORMAT, "1:1", 'this "{" is never closed', 'add the missing "}"'),
    ("{a: [1,\n2", FORMAT, "1:5", 'this "[" is never closed', 'add the missing "]"'),
    ("{a: 1} {b: 2}", FORMAT, "1:8", 'unexpected "{", expected the end of the text', GENERAL),
    ('{"a": 1}\0', FORMAT, "1:9", r'unexpected "\x00", expected the end', GENERAL),
    ('{a: "x\ny"}', FORMAT, "1:5", "this string is not closed in its line", 'close it with "'),
    ("{a: 'x\"}", FORMAT, "1:5", "this string is never closed", "close it with '"),
    ('{a: "x\\"}', FORMAT, "1:5", "this string is never closed", 'close it with "'),
    (r'{a: "C:\xyz"}', FORMAT, "1:10", "this is not an escape of a string", r"\\ for a backslash"),
    (r'{a: "\u12"}', FORMAT, "1:10", "this is not an escape of a string", r"\\ for a backslash"),
    ("{\u201ca\u201d: 1}", FORMAT, "1:2", '\u201ca\u201d" is not a key', "straight quotes"),
    ("{a-b: 1}", FORMAT, "1:2", '"a-b" is not a key', 'put the key in quotes: "a-b"'),
    ("{1a: 1}", FORMAT, "1:2", '"1a" is not a key', 'put the key in quotes: "1a"'),
    ("{a: tru}", FORMAT, "1:5", '"tru" is not a value', "put text in quotes"),
    ("{a: undefined}", FORMAT, "1:5", '"undefined" is not a value', "put text in quotes"),
    ("{a: lib.so}", FORMAT, "1:5", '"lib.so" is not a value', "put text in quotes"),
    ("{a: 1/2}", FORMAT, "1:6", 'unexpected "/", expected a "," or "}"', GENERAL),
    ("{a: 0x}", FORMAT, "1:5", '"0x" is not a value', "put text in quotes"),
    ("{a: 010}", FORMAT, "1:5", '"010" is not a value', "put text in quotes"),
    ("{a: 1e}", FORMAT, "1:5", "a is not a number: 1e", "write it like 1, 0.5 or 1e6"),
    ("{a: .}", FORMAT, "1:5", "a is not a number: .", "write it like 1, 0.5 or 1e6"),
    # JSON5, but not what a config may hold.
    ("[1]", FORMAT, "1:1", "a config is one object with keys, not an array", "write { libpath:"),
    ("null", FORMAT, "1:1", "a config is one object with keys, not null", "write { libpath:"),
    ('"x"', FORMAT, "1:1", 'a config is one object with keys, not "x"', "write { libpath:"),
    (lib("a: NaN"), FORMAT, "1:22", "a is NaN, which JSON cannot hold", "a number or null"),
    (lib("a: -NaN"), FORMAT, "1:22", "a is -NaN, which JSON cannot hold", "a number or null"),
    (lib("a: [Infinity]"), FORMAT, "1:23", "a[0] is Infinity, which JSON", "a number or null"),
    (lib("a: {b: -Infinity}"), FORMAT, "1:26", "a.b is -Infinity, which", "a number or null"),
    (lib("a: 1e999"), FORMAT, "1:22", "a is infinite, or too large", "write a smaller number"),
    (lib("a: 18446744073709551616"), FORMAT, "1:22", "a is an integer outside of", "in quotes"),
    (lib("a: -9223372036854775809"), FORMAT, "1:22", "a is an integer outside of", "in quotes"),
    (lib("a: 0x10000000000000000"), FORMAT, "1:22", "a is an integer outside", "in quotes"),
    (lib("a: " + "9" * 9999), FORMAT, "1:22", "a is an integer outside of", "in quotes"),
    (lib(r'a: "\ud800"'), FORMAT, "1:22", "a holds half of a surrogate pair", "both halves"),
    (lib(r'"\udc00": 1'), FORMAT, "1:1", "the config has a key with half of a", "both halves"),
    (lib("a: 1, a: 2"), FORMAT, "1:25", "a is set twice, first in line 1", "keep one of the"),
    (lib('a: 1,\n"a": 2'), FORMAT, "2:1", "a is set twice, first in line 1", "keep one of"),
    (lib(r'a: [{b: 1, "\u0062": 1}]'), FORMAT, "1:30", "a[0].b is set twice", "keep one of"),
    ('{"libpath": "x", "libpath": "y"}', FORMAT, "1:18", "libpath is set twice", "keep one"),
    (lib("a: " + "[" * 24 + "]" * 24), FORMAT, "1:45", "more than 24 deep", "flatten"),
    ("[" * 30000, FORMAT, "1:25", "more than 24 deep", "flatten the config"),
    ('{"a":' * 10000, FORMAT, "1:121", "more than 24 deep", "flatten the config"),
    # The library.
    ("{}", LibPathNotSet, "", "libpath is not set", 'add libpath: "./libplugin.so"'),
    ("{name: 'x'}", LibPathNotSet, "", "libpath is not set", 'add libpath: "./libplugin.so"'),
    ("{library_path: 'x'}", LibPathNotSet, "", '"library_path" goes to the plugin', "add libpath"),
    ("{libpath: 5}", PATH, "1:11", "must be the path of a file, not 5", "./libplugin.so"),
    ("\ufeff{libpath: 5}", PATH, "1:11", "must be the path of a file, not 5", "./libplugin.so"),
    ("{libpath: null}", PATH, "1:11", "must be the path of a file, not null", "./libplugin.so"),
    ("{libpath: ['x']}", PATH, "1:11", "the path of a file, not an array", "./libplugin.so"),
    ("{libpath: ''}", PATH, "1:11", 'must be the path of a file, not ""', "./libplugin.so"),
    ("{libpath: '  '}", PATH, "1:11", 'must be the path of a file, not "  "', "./libplugin.so"),
    (r"{libpath: 'a\u0000b'}", PATH, "1:11", r'not "a\u0000b"', 'libpath: "./libplugin.so"'),
    # Values of the host's keys.
    (lib("libpaht: 'x'"), ConfigError, "1:19", 'did you mean "libpath"?', 'write "libpath"'),
    (lib("name: 'Big'"), ConfigError, "1:25", "name must be 1 to 63 of", 'name: "my-plugin"'),
    (lib("name: ''"), ConfigError, "1:25", "name must be 1 to 63 of", 'name: "my-plugin"'),
    (lib(f"name: '{'x' * 64}'"), ConfigError, "1:25", "name must be 1 to 63", "my-plugin"),
    (lib("name: 'x\\n'"), ConfigError, "1:25", r'not "x\n"', "my-plugin"),
    (lib("name: null"), ConfigError, "1:25", "not null", 'write for example name: "my-plugin"'),
    (lib("mode: 'Thread'"), ConfigError, "1:25", '"inline", "thread" or "process"', '"thread"'),
    (lib("mode: 1"), ConfigError, "1:25", 'mode must be "inline", "thread" or', 'mode: "inline"'),
    (lib("overflow: 'drop'"), ConfigError, "1:29", 'not "drop"', "overflow: "),
    (lib("overflow: 'drop_newst'"), ConfigError, "1:29", "overflow must be", '"drop_newest"'),
    (lib("reload: true"), ConfigError, "1:27", '"replace" or "overlap", not true', '"replace"'),
    (lib("ring_bytes: 1000000"), ConfigError, "1:31", "a power of two from 64 KiB", '"16MiB"'),
    (lib("ring_bytes: 32768"), ConfigError, "1:31", "64 KiB to 1 GiB", '"16MiB"'),
    (lib("ring_bytes: '2GiB'"), ConfigError, "1:31", 'not "2GiB"', '"16MiB"'),
    (lib("ring_bytes: '16MB'"), ConfigError, "1:31", "B, KiB, MiB or GiB", '"16MiB"'),
    (lib("ring_bytes: '-1B'"), ConfigError, "1:31", 'not "-1B"', '"16MiB"'),
    (lib("ring_bytes: true"), ConfigError, "1:31", "not true", '"16MiB"'),
    (lib("ring_bytes: 65536.0"), ConfigError, "1:31", "not 65536.0", '"16MiB"'),
    (lib("ring_bytes: 0"), ConfigError, "1:31", "not 0", '"16MiB"'),
    (lib("block_timeout: -1"), ConfigError, "1:34", "seconds from 0 to 3600, not -1", "5"),
    (lib("block_timeout: '5'"), ConfigError, "1:34", 'not "5"', "block_timeout: 5"),
    (lib("block_timeout: 1e300"), ConfigError, "1:34", "not 1e+300", "block_timeout: 5"),
    (lib("block_timeout: NaN"), FORMAT, "1:34", "block_timeout is NaN", "write a number"),
    (lib("callback_timeout: false"), ConfigError, "1:37", "0 (off) or a number", "30"),
    (lib("callback_timeout: 0.001"), ConfigError, "1:37", "0 (off) or a number", "30"),
    (lib("load_timeout: 0"), ConfigError, "1:33", "seconds from 0.1 to 3600", "load_timeout: 30"),
    (lib("unload_timeout: []"), ConfigError, "1:35", "not an array", "unload_timeout: 10"),
    (lib("flush_interval: 3601"), ConfigError, "1:35", "0.01 to 3600", "flush_interval: 1"),
    (lib("dead_letter: ''"), ConfigError, "1:32", "the path of a file", "failed.capture"),
    (lib("restart: 5"), ConfigError, "1:28", "restart must be an object, not 5", "max_crashes"),
    (lib("restart: []"), ConfigError, "1:28", "must be an object, not an array", "max_crashes"),
    (lib("restart: {max: 1}"), ConfigError, "1:29", "restart.max is not a key of", "its keys are"),
    (lib("restart: {maxdelay: 1}"), ConfigError, "1:29", "is not a key of restart", '"max_delay"'),
    (lib("restart: {max_crashes: -1}"), ConfigError, "1:42", "from 0 to 1000", "max_crashes: 5"),
    (lib("restart: {max_crashes: 1.5}"), ConfigError, "1:42", "a whole number", "max_crashes"),
    (lib("restart: {max_crashes: true}"), ConfigError, "1:42", "not true", "max_crashes: 5"),
    (
        lib("restart: {initial_delay: 31}"),
        ConfigError,
        "1:44",
        "than restart.max_delay (30 s)",
        "set restart.max_delay",
    ),
    (
        lib("limits: {memory: 1}"),
        ConfigError,
        "1:36",
        "limits.memory must be a number of bytes",
        '"512MiB"',
    ),
    (lib("limits: {open_files: 3}"), ConfigError, "1:40", "from 16 to 1048576", "open_files: 256"),
    (lib("limits: {openfiles: 64}"), ConfigError, "1:28", "not a key of limits", '"open_files"'),
    (
        lib("mode: 'inline', limits: {}"),
        ConfigError,
        "1:35",
        'no effect in mode "inline"',
        'mode: "process"',
    ),
    (
        lib("mode: 'thread', user: 'a'"),
        ConfigError,
        "1:35",
        'no effect in mode "thread"',
        "leave user out",
    ),
    (lib("user: 'a b'"), ConfigError, "1:25", "the name of a user", '"nobody"'),
    (lib("user: 0"), ConfigError, "1:25", "the name of a user on this machine, not 0", '"nobody"'),
    (lib("sha256: 'abc'"), ConfigError, "1:27", "the 64 hexadecimal digits", "sha256: "),
    (lib(f"sha256: '{'g' * 64}'"), ConfigError, "1:27", "the 64 hexadecimal digits", "sha256: "),
    (lib("enabled: 'no'"), ConfigError, "1:28", 'true or false, not "no"', "enabled: false"),
    (lib("enabled: 0"), ConfigError, "1:28", "true or false, not 0", "enabled: false"),
]


@pytest.mark.parametrize(
    ("text", "kind", "where", "what", "step"), HOSTILE, ids=[repr(row[0][:40]) for row in HOSTILE]
)
def test_hostile_text(
    text: str, kind: type[ConfigError], where: str, what: str, step: str, tmp_path: Path
) -> None:
    file = tmp_path / "p.json5"
    file.write_bytes(text.encode())
    before = open_descriptors()
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert type(caught.value) is kind
    assert caught.value.message.startswith(f"{file}:{where}: " if where else f"{file}: ")
    assert what in caught.value.message
    assert step in caught.value.hint
    assert open_descriptors() <= before  # of what others have left, some may go
    assert all(line.isprintable() for line in str(caught.value).splitlines())
    if where:
        line, mark = caught.value.message.splitlines()[1:]
        assert mark.endswith("^")
        assert len(mark) <= len(line) + 1


GOLDEN = [
    (
        '{\n  libpath: "./x.so",\n  ring_bytes: 1000, // too small\n}\n',
        """\
/etc/p.json5:3:15: ring_bytes must be a power of two from 64 KiB to 1 GiB, as bytes or as text \
with B, KiB, MiB or GiB, not 1000
    3 |   ring_bytes: 1000, // too small
      |               ^
  next: write for example ring_bytes: "16MiB\"""",
    ),
    (
        '{"libpath": "./x.so",\r\n\t"a": 1\r\n\t"b": 2}',
        """\
/etc/p.json5:3:2: unexpected "b", expected a "," or "}"
    3 |  "b": 2}
      |  ^
  next: put a comma between two entries""",
    ),
    (
        '{libpath: "日本", e: "e\u0301", name: "Ä"}',
        """\
/etc/p.json5:1:32: name must be 1 to 63 of the characters a-z 0-9 . _ - and start with a letter \
or digit, not "Ä"
    1 | {libpath: "日本", e: "e\ufffd", name: "Ä"}
      |                                  ^
  next: write for example name: "my-plugin\"""",
    ),
    (
        "{" + "a: 1, " * 40 + "b: ?, " + "c: 1, " * 40 + "}",
        """\
/etc/p.json5:1:245: "?" is not a value
    1 | … a: 1, a: 1, a: 1, a: 1, a: 1, \
a: 1, a: 1, a: 1, a: 1, a: 1, b: ?, c: 1, c: 1, c: 1, c: 1, c: 1,…
      |                                                                  ^
  next: put text in quotes""",
    ),
]


@pytest.mark.parametrize(("text", "expected"), GOLDEN)
def test_the_whole_text_of_an_error(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, folder="/etc", source="/etc/p.json5")
    assert str(caught.value) == expected


def _nothing(folder: Path) -> Path:
    return folder / "none.json5"


def _no_folder(folder: Path) -> Path:
    return folder / "none" / "p.json5"


def _folder(folder: Path) -> Path:
    return folder


def _fifo(folder: Path) -> Path:
    os.mkfifo(folder / "fifo")
    return folder / "fifo"


def _link_to_fifo(folder: Path) -> Path:
    (folder / "link").symlink_to(_fifo(folder))
    return folder / "link"


def _socket(folder: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "s"))
    return folder / "s"


def _loop(folder: Path) -> Path:
    (folder / "loop").symlink_to("loop")
    return folder / "loop"


def _content(content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "p.json5").write_bytes(content)
        return folder / "p.json5"

    return make


def _fixed(path: str) -> Callable[[Path], Path]:
    return lambda _: Path(path)


FILES: list[tuple[Callable[[Path], Path], type[ConfigError], str, str]] = [
    (_nothing, CannotOpenConfigFile, "none.json5 does not exist", "correct the path"),
    posix(_no_folder, CannotOpenConfigFile, "none/p.json5 does not exist", "correct the path"),
    posix(_loop, CannotOpenConfigFile, "Too many levels of symbolic links", "correct the path"),
    (_fixed("a\0b"), CannotOpenConfigFile, r"a\x00b cannot be opened: its name", "correct"),
    posix(_fixed("\ud800"), CannotOpenConfigFile, r"\ud800 cannot be opened: its name", "correct"),
    posix(_fixed("x" * 5000), CannotOpenConfigFile, "File name too long", "correct the path"),
    posix(_fixed("line\nbreak"), CannotOpenConfigFile, r"line\nbreak does not exist", "correct"),
    (_folder, CannotReadConfigFile, "is a folder, not a file", "give a JSON5 text file"),
    posix(
        _fifo, CannotReadConfigFile, "fifo is a FIFO, not a regular file", "give a JSON5 text file"
    ),
    posix(_link_to_fifo, CannotReadConfigFile, "link is a FIFO, not a", "give a JSON5 text file"),
    posix(
        _socket, CannotReadConfigFile, "is a socket, not a regular file", "give a JSON5 text file"
    ),
    posix(
        _fixed("/dev/zero"), CannotReadConfigFile, "is a device, not a", "give a JSON5 text file"
    ),
    posix(_fixed("/proc/self/mem"), CannotReadConfigFile, "cannot be read: ", "give a JSON5 text"),
    (_content(b"{}" + b" " * 65535), CannotReadConfigFile, "larger than 64 KiB", "at most 64 KiB"),
    (
        _content(b"{libpath: '\xff'}"),
        CannotReadConfigFile,
        "is not UTF-8: byte 0xff at offset 11, in line 1",
        "save it as UTF-8",
    ),
    (
        _content(b"{\n\xed\xa0\x80}"),
        CannotReadConfigFile,
        "byte 0xed at offset 2, in line 2",
        "save it as UTF-8",
    ),
    (
        _content("{libpath: 'x'}".encode("utf-16")),
        CannotReadConfigFile,
        "byte 0xff at offset 0",
        "save it as UTF-8",
    ),
]


@pytest.mark.parametrize(("make", "kind", "what", "step"), FILES)
def test_hostile_file(
    make: Callable[[Path], Path],
    kind: type[ConfigError],
    what: str,
    step: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = make(tmp_path)
    before = open_descriptors()
    caught: list[ConfigError] = []

    def load() -> None:
        try:
            load_config(path)
        except ConfigError as error:
            caught.append(error)

    # In a thread, so that a FIFO that is waited for fails the test and does not hang it.
    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    thread.join(240)
    assert [type(error) for error in caught] == [kind]
    assert what in caught[0].message
    assert step in caught[0].hint
    assert open_descriptors() <= before  # of what others have left, some may go
    str(caught[0]).encode()


@only_posix
def test_a_file_that_becomes_a_fifo_meanwhile_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo, regular = _fifo(tmp_path), tmp_path.with_name("regular")
    regular.touch()
    looked_like = os.stat(regular)
    monkeypatch.setattr(os, "stat", lambda _: looked_like)
    caught: list[str] = []

    def load() -> None:
        with pytest.raises(CannotReadConfigFile) as info:
            load_config(fifo)
        caught.append(info.value.message)

    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    thread.join(240)
    monkeypatch.undo()
    assert caught == [f"the config file {fifo} is a FIFO, not a regular file"]


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0, reason="only root can be somebody else"
)
def test_a_file_of_somebody_else_cannot_be_opened() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "p.json5")
        file.write_text("{libpath: 'x'}")
        file.chmod(0o600)
        Path(folder).chmod(0o711)
        os.seteuid(65534)
        try:
            with pytest.raises(CannotOpenConfigFile) as caught:
                load_config(file)
        finally:
            os.seteuid(0)
    assert str(caught.value) == (
        f"the config file {file} cannot be opened: Permission denied\n"
        "  next: correct the path, or let the user that runs the host read the file"
    )


def test_the_largest_file_is_read_and_one_byte_more_is_not(tmp_path: Path) -> None:
    file = tmp_path / "p.json5"
    start = b'{"libpath": "x"}'
    file.write_bytes(start.ljust(MAX_CONFIG_BYTES))
    assert load_config(file).libpath == tmp_path / "x"
    with pytest.raises(CannotReadConfigFile, match="larger than 64 KiB"):
        parse_config(start.decode().ljust(MAX_CONFIG_BYTES + 1), folder="/")


@pytest.mark.parametrize("text", ["{libpath: 'x', a: [[[[1]]]]}", '{"libpath": "x", "a": [[1]]}'])
def test_a_deep_stack_gives_a_config_or_an_error(text: str) -> None:
    outcomes = set()

    def dive(levels: int) -> None:
        if levels:
            dive(levels - 1)
            return
        try:
            parse_config(text, folder="/")
            outcomes.add("config")
        except InvalidConfigFileFormat as error:
            outcomes.add(error.message)

    room = sys.getrecursionlimit() - len(_frames())
    for levels in range(room - 300, room - 60, 7):
        dive(levels)
    assert outcomes <= {"config", "the interpreter's stack has no room left to read the config"}
    assert "config" in outcomes


def _frames() -> list[object]:
    frame, frames = sys._getframe(), list[object]()
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back  # type: ignore[assignment]
    return frames


def test_a_mapping_that_holds_itself_is_refused() -> None:
    loop: dict[str, object] = {"libpath": "x"}
    loop["loop"] = loop
    with pytest.raises(InvalidConfigFileFormat, match="more than 24 deep"):
        PluginConfig.from_mapping(loop, folder="/")


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (float("nan"), "own is NaN"),
        (float("inf"), "own is infinite"),
        (10**400, "own is an integer outside"),
        (-(2**63) - 1, "own is an integer outside"),
        (b"bytes", "own is a Python bytes"),
        ((1, 2), "own is a Python tuple"),
        ({1: 2}, "own has the key 1, which is not text"),
        ("\ud800", "own holds half of a surrogate pair"),
        ({"\udfff": 1}, "own has a key with half of a surrogate pair"),
        ([{"x": object()}], "own[0].x is a Python object"),
    ],
)
def test_a_mapping_with_what_json_cannot_hold_is_refused(value: object, what: str) -> None:
    with pytest.raises(InvalidConfigFileFormat, match=re.escape(what)):
        PluginConfig.from_mapping({"libpath": "x", "own": value}, folder="/")


SLOWEST = [
    '{libpath:"a",x:[' + "1," * 32000 + "?]}",
    '{libpath:"a",' + ",".join(f"k{at}:{at}" for at in range(5900)) + "}",
    '"' + '\\"' * 32000,
    '"' + "\\" * 65000,
    "/*" * 32000,
    "'\"" * 32000,
    "{a:" + "1" * 65000 + "}",
    "{a:0x" + "f" * 65000 + "}",
    "{" + "a" * 65000 + ":1}",
    "\n" * 65000 + "?",
    '{a:"' + "\\ud800" * 10000 + '"}',
]

_SLOWEST_IN_A_PROCESS = """
import sys
from slipstream.config import parse_config
from slipstream.errors import ConfigError
try:
    parse_config(sys.stdin.read(), folder="/")
except ConfigError:
    pass
print("ended")
"""


@pytest.mark.parametrize("text", SLOWEST, ids=range(len(SLOWEST)))
def test_the_slowest_texts_end(text: str) -> None:
    # A process can be killed, so a text that takes for ever fails the test and does not hang it.
    assert len(text.encode()) <= MAX_CONFIG_BYTES
    done = subprocess.run(
        [sys.executable, "-c", _SLOWEST_IN_A_PROCESS],
        input=text,
        text=True,
        capture_output=True,
        timeout=600,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout == "ended\n"


TOKENS = st.sampled_from(
    [
        *"{}[]:,\"'\\/*#;=.+-\n\r\t \0\u2028\u00a0\ufeff",
        "//",
        "/*",
        "*/",
        "libpath",
        "name",
        "mode",
        "restart",
        "limits",
        "ring_bytes",
        "sha256",
        '"x"',
        "'y'",
        "1",
        "0x1F",
        "1e999",
        "NaN",
        "Infinity",
        "true",
        "null",
        "\\u0041",
        "\\ud800",
        '"env://A"',
        "é",
        "日",
        "a",
    ]
)
ANY_BYTES = (
    st.binary(max_size=200)
    | st.lists(TOKENS, max_size=30).map(lambda tokens: "".join(tokens).encode())
    | st.lists(TOKENS, max_size=10).map(
        lambda tokens: ('{libpath: "x", ' + " ".join(tokens) + "}").encode()
    )
)


@settings(
    max_examples=400,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(content=ANY_BYTES)
@example(content=b'\xef\xbb\xbf{"libpath": "x"}')
@example(content=b'{"libpath": "x", "a": 1e5, "b": -0}')
def test_any_bytes_give_a_config_or_a_config_error(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "p.json5"
    file.write_bytes(content)
    before = open_descriptors()
    try:
        config = load_config(file)
    except ConfigError as error:
        assert error.hint
        assert str(file) in error.message
        assert all(line.isprintable() for line in str(error).splitlines())
    else:
        assert config.libpath.is_absolute()
    assert open_descriptors() <= before  # of what others have left, some may go
