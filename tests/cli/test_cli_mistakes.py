"""Typical mistakes: each is answered with what is wrong, where, and the right next step."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from slipstream.cli import cli, main
from support.systems import only_posix

GOOD = 'libpath: "tally.so"'
CONFIGS = {
    "good": GOOD,
    "no-libpath": 'name: "x"',
    "typo": 'libpaht: "tally.so"',
    "short-typo": f'{GOOD}, mod: "inline"',
    "mode": f'{GOOD}, mode: "fork"',
    "type": "libpath: 7",
    "unquoted": "libpath: tally.so",
    "twice": f'{GOOD}, mode: "inline", mode: "thread"',
    "variable": f'{GOOD}, log_every: "env://NO_SUCH_VARIABLE"',
    "secret": f'{GOOD}, log_every: "file://nowhere"',
    "own-typo": f"{GOOD}, log_evry: 1",
    "own-range": f"{GOOD}, log_every: -1",
    "ring": f'{GOOD}, ring_bytes: "17MiB"',
    "seconds": f"{GOOD}, unload_timeout: -1",
    "user-inline": f'{GOOD}, mode: "inline", user: "nobody"',
    "user": f'{GOOD}, mode: "process", user: "no-such-user"',
    "digest": f'{GOOD}, sha256: "{"0" * 64}"',
    "off": f"{GOOD}, enabled: false",
    "name": f'{GOOD}, name: "My Plugin"',
    "restart": f"{GOOD}, restart: {{max_crash: 3}}",
    "overflow": f'{GOOD}, overflow: "drop"',
    "open-folder": 'libpath: "open/tally.so"',
}
# Libraries that are none, or not for this machine: a config of that name gives each to `run`.
LIBRARIES = {
    "missing": ("does not exist", "build it, or correct libpath"),
    "picture": ("is not a shared library", "the compiled plugin (.so), not its source"),
    "text": ("is not a shared library", "the compiled plugin (.so), not its source"),
    "python": ("is not a shared library", "the compiled plugin (.so), not its source"),
    "empty": ("is an empty file", "an interrupted build or copy"),
    "cut": ("is a damaged ELF file", "copy it again and compare the sizes"),
    "arm": ("is built for AArch64", "this host is", "use the plugin's build for"),
    "archive": ("is a static library (.a)", "cc -shared"),
    "object": ("is an object file (.o)", "link it: cc -shared"),
    "program": ("is a program, not a shared library", "link it with -shared"),
    "windows": ("is a Windows library (PE)", "use the plugin's build for Linux"),
    "mac": ("is a macOS library", "use the plugin's build for Linux"),
    "other": ("does not export slipstream_create_plugin_v1", "SLIPSTREAM_EXPORT"),
    "rust": ("a Rust-ABI plugin of snarkVM or Geyser", "give it slipstream_create_plugin_v1"),
    "dangling": ("does not exist", "build it, or correct libpath"),
    "folder": ("is a folder, not a file", "name a shared library"),
    "old": ("needs a host of ABI 1.99 or newer", "install a newer slipstream"),
}
RUN = "run --slipstream-config"
START = "start --data-dir state --client --network mainnet --check-config --slipstream-config"
# The command, what it exits with, and what its answer says, the next step among it.
MISTAKES: list[tuple[str, int, tuple[str, ...]]] = [
    # Commands and options, their order
    ("strat", 2, ("No such command 'strat'", "did you mean start?")),
    ("good.json5", 2, ("No such command", "run --slipstream-config good.json5 EVENTS")),
    ("tally.so", 2, ("No such command", "slipstream check tally.so")),
    ("--slipstream-config good.json5 run", 2, ("options come after their command",)),
    ("plugins relaod tally", 2, ("No such command 'relaod'", "eload")),
    ("run", 2, ("EVENTS", "slipstream run --help")),
    ("run events.jsonl", 2, ("--slipstream-config", "slipstream run --help")),
    (f"{RUN} good.json5", 2, ("Missing argument 'EVENTS'", "slipstream run --help")),
    ("run good.json5 events.jsonl", 2, ("by its option: --slipstream-config good.json5",)),
    (f"{RUN} good.json5 typo.json5 events.jsonl", 2, ("its option: --slipstream-config typo",)),
    ("start good.json5", 2, ("by its option: --slipstream-config good.json5", "start --help")),
    ("start --mainnet", 2, ("did you mean --network mainnet?",)),
    ("help run", 2, ("No such command 'help'", "slipstream --help")),
    ("show --kind Blok events.jsonl", 2, ("'Blok' is unknown; known: MappingUpdate",)),
    ("show --mapping a.b.c events.jsonl", 2, ("is not an identifier", "credits.aleo/account")),
    ("run --config good.json5 events.jsonl", 2, ("did you mean --slipstream-config?",)),
    (
        f"{RUN} good.json5 {RUN[4:]} good.json5 events.jsonl",
        2,
        ("is given twice", "another `name`"),
    ),
    ("--log-level loud run", 2, ("'loud' is not one of 'trace'",)),
    ("new tally --lang java", 2, ("'java' is not one of 'c'", "slipstream new --help")),
    ("completion tcsh", 2, ("'tcsh' is not one of 'bash'",)),
    ("config", 2, ("ask for --schema", "slipstream config --help")),
    ("check", 2, ("name a library, or a config file",)),
    ("check --skip ( tally.so", 2, ("'(' is not a regular expression", "slipstream check --help")),
    ("check --only nonsense tally.so", 2, ("no check matches", "slipstream checks lists them")),
    ("checks --explain events.overread", 2, ("did you mean events.over-read?",)),
    # Configs
    (
        f"{RUN} nowhere.json5 events.jsonl",
        3,
        ("nowhere.json5", "does not exist", "correct the path"),
    ),
    (f"{RUN} tally.so events.jsonl", 3, ("is a library, and not the config", "libpath:")),
    (f"{RUN} x.toml events.jsonl", 3, ("is written in TOML", "write it as JSON5")),
    (f"{RUN} x.yaml events.jsonl", 3, ("is written in YAML", "write it as JSON5")),
    (f"{RUN} picture.png events.jsonl", 3, ("is not text, and so not a config", "the JSON5 file")),
    (f"{RUN} folder.so events.jsonl", 3, ("folder", "JSON5 text file")),
    (f"{RUN} empty.json5 events.jsonl", 3, ("the config is empty", "write at least")),
    (f"{RUN} good.json5,x.json5 events.jsonl", 3, ("does not exist", "by an option of its own")),
    (f"{RUN}=~/good.json5 events.jsonl", 3, ("does not exist", "no shell has expanded")),
    (f"{RUN} comma.json5 events.jsonl", 3, ("comma.json5:3:3", "put a comma between")),
    (f"{RUN} array.json5 events.jsonl", 3, ("one object with keys, not an array",)),
    (f"{RUN} big.json5 events.jsonl", 3, ("is larger than 64 KiB",)),
    (f"{RUN} no-libpath.json5 events.jsonl", 3, ("libpath is not set", "add libpath")),
    (f"{RUN} typo.json5 events.jsonl", 3, ("typo.json5:1:2", 'did you mean "libpath"?')),
    (f"{RUN} short-typo.json5 events.jsonl", 3, ('unknown key "mod"', 'write "mode"')),
    (f"{RUN} mode.json5 events.jsonl", 3, ('"inline", "thread" or "process"', "write for example")),
    (f"{RUN} type.json5 events.jsonl", 3, ("must be the path of a file, not 7",)),
    (f"{RUN} unquoted.json5 events.jsonl", 3, ("is not a value", "put text in quotes")),
    (f"{RUN} twice.json5 events.jsonl", 3, ("mode is set twice", "keep one of the two")),
    (f"{RUN} variable.json5 events.jsonl", 3, ("NO_SUCH_VARIABLE is not set", "set NO_SUCH_")),
    (f"{RUN} secret.json5 events.jsonl", 3, ("the file nowhere does not exist", "put the secret")),
    (f"{RUN} own-typo.json5 events.jsonl", 3, ('did you mean "log_every"?', "slipstream inspect")),
    (f"{RUN} own-range.json5 events.jsonl", 3, ("must be at least 0", "slipstream inspect")),
    (f"{RUN} ring.json5 events.jsonl", 3, ("a power of two", 'ring_bytes: "16MiB"')),
    (f"{RUN} seconds.json5 events.jsonl", 3, ("a number of seconds from 0.1", "for example")),
    (f"{RUN} user-inline.json5 events.jsonl", 3, ("has no effect in mode", 'mode: "process"')),
    (f"{RUN} user.json5 events.jsonl", 3, ("there is no user no-such-user", "getent passwd")),
    (f"{RUN} digest.json5 events.jsonl", 3, ("has SHA-256", "update `sha256`")),
    (f"{RUN} off.json5 events.jsonl", 3, ("no plugin is left to run", "set enabled: true")),
    (f"{RUN} name.json5 events.jsonl", 3, ("1 to 63 of the characters", 'name: "my-plugin"')),
    (f"{RUN} restart.json5 events.jsonl", 3, ("not a key of restart", 'mean "max_crashes"?')),
    (f"{RUN} overflow.json5 events.jsonl", 3, ('not "drop"', 'overflow: "block"')),
    # Rights
    (f"{RUN} open-folder.json5 events.jsonl", 3, ("open", "chmod")),
    # Libraries
    *((f"{RUN} {name}-library.json5 events.jsonl", 3, words) for name, words in LIBRARIES.items()),
    ("inspect nowhere.so", 1, ("No such file or directory", "check the path")),
    ("inspect python.so", 1, ("is not a shared library", "not its source")),
    ("doctor nowhere.so", 1, ("does not exist", "build it, or correct libpath")),
    ("doctor typo.json5", 1, ('did you mean "libpath"?', 'write "libpath"')),
    ("config --schema nowhere.so", 3, ("No such file or directory", "check the path")),
    # Events
    (f"{RUN} good.json5 nowhere.jsonl", 4, ("No such file or directory", "name a capture")),
    (f"{RUN} good.json5 folder.so", 4, ("Is a directory", "name a capture")),
    (f"{RUN} good.json5 picture.png", 4, ("neither a capture nor JSON lines", "name a capture")),
    (f"{RUN} good.json5 tally.so", 4, ("neither a capture", "slipstream doctor FILE")),
    (f"{RUN} good.json5 good.json5", 4, ("a plugin's config, not an event", "--slipstream-config")),
    (f"{RUN} good.json5 empty.jsonl", 4, ("is empty", "whether its writer has run")),
    (
        "show good.json5",
        4,
        ("a plugin's config, not an event", "name a file of events; run, start"),
    ),
    ("show kind.jsonl", 4, ("the kind 'Nonsense' is unknown", "known: MappingUpdate")),
    ("show field.jsonl", 4, ("line 1: a Block needs block_hex", "examples/streams")),
    ("show hex.jsonl", 4, ("is not hexadecimal", "two digits for each byte")),
    ("show half.jsonl", 4, ("cut off inside of the line", "remove the line")),
    ("show events.jsonl --limit many", 2, ("'many' is not a valid integer",)),
    ("convert events.jsonl /nowhere/out.slip", 4, ("/nowhere/out.slip", "in a folder with room")),
    ("convert events.jsonl good.json5", 4, ("File exists", "a file that does not exist yet")),
    # Without a daemon, and daemons
    ("plugins list --url http://127.0.0.1:1", 1, ("no answer", "slipstream start")),
    (f"{START} good.json5 --rest nonsense", 2, ("'nonsense' is not an address", "HOST:PORT")),
    (f"{START} good.json5 --rest 3030", 2, ("'3030' is not an address", "such as 127.0.0.1:3030")),
    (f"{START} good.json5 --rest 0.0.0.0:80", 2, ("tokens would cross the network", "--tls-cert")),
    (f"{START} good.json5 --listen x.sock", 2, ("'x.sock' is not an address", "write unix:PATH")),
    (f"{START} good.json5 --events nowhere.jsonl", 2, ("cannot be read", "its path and mode")),
    (f"{START} typo.json5", 3, ("did you mean",)),
    (f"{START} missing-library.json5", 3, ("does not exist", "build it")),
    (f"{START.replace('mainnet', 'moonnet')} good.json5", 2, ("none of mainnet, testnet",)),
    (f"{START.replace('client', 'prover')} good.json5", 2, ("a prover finalizes no blocks",)),
    ("token list --data-dir nowhere", 2, ("'nowhere' does not exist",)),
    ("replay events.jsonl --to x.sock", 2, ("is not an address", "unix:PATH or tcp:HOST:PORT")),
    # Others
    ("new My-Plugin", 2, ("is not a valid name for a plugin", "a-z, 0-9")),
    ("new ../plugin", 2, ("is not a valid name for a plugin", "a-z, 0-9")),
    ("new folder.so", 1, ("is there already", "--folder")),
    ("symbolize nowhere.json", 1, ("No such file or directory", "check the path")),
    ("symbolize good.json5", 1, ("is not a crash report", "crash-NAME-TIME.json")),
    ("new my plugin", 2, ("unexpected extra argument (plugin)", "slipstream new --help")),
    ("package build nowhere", 2, ("'nowhere' does not exist",)),
    ("package install hello 1.0.0", 3, ("plugins.json does not exist", "by --plugins")),
    ("config cflags", 2, ("did you mean --cflags?", "slipstream config --help")),
    ("config --includes", 2, ("did you mean --include?",)),
    ("inspect folder.so", 1, ("it is a folder", "name the library in it")),
    ("doctor folder.so", 1, ("is a folder, not a file", "let libpath name a shared library")),
    ("bench a.c", 3, ("is not a shared library", "the compiled plugin (.so), not its source")),
]

OLD = """
#include <slipstream.h>
static void destroy(void *i) { (void)i; }
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    static const slipstream_plugin table = {.struct_size = sizeof table, .min_host_minor = 99,
                                            .name = "old", .version = "1", .destroy = destroy};
    (void)host;
    return &table;
}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, examples: Path, compile_plugin) -> Path:
    """A folder with everything that may be mistaken for something else."""
    folder = tmp_path_factory.mktemp("mistakes")
    tally = (examples / "tally" / "tally.so").read_bytes()
    lines = (examples / "streams" / "mainnet_derived_blocks_1_to_5.jsonl").read_bytes()
    picture = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1@"
    machine = struct.pack("<H", 62 if tally[18] == 183 else 183)
    files = {
        "tally.so": tally,
        "picture.png": picture,
        "picture.so": picture,
        "text.so": b"hello\n",
        "python.so": b"def f():\n    pass\n",
        "empty.so": b"",
        "cut.so": tally[:2000],
        "arm.so": tally[:18] + machine + tally[20:],
        "windows.so": b"MZ" + bytes(200),
        "mac.so": bytes.fromhex("cffaedfe0c000001") + bytes(200),
        "x.toml": b'libpath = "tally.so"\n',
        "x.yaml": b"libpath: tally.so\n",
        "empty.json5": b"",
        "comma.json5": b'{\n  libpath: "tally.so"\n  mode: "inline"\n}\n',
        "array.json5": b"[1]",
        "big.json5": b"// " + b"x" * 70_000 + b"\n{}",
        "events.jsonl": b"".join(lines.splitlines(keepends=True)[:3]),
        "empty.jsonl": b"",
        "kind.jsonl": b'{"kind":"Nonsense"}\n',
        "field.jsonl": b'{"kind":"Block"}\n',
        "hex.jsonl": b'{"kind":"Block","block_hex":"zz","block_height":1}\n',
        "half.jsonl": b'{"kind":"Block","block_hex":"00","block_hei',
        "a.c": b"int f(void);\nint f(void) { return 1; }\n",
        "r.c": b"void _create_plugin(void);\nvoid _create_plugin(void) {}\n",
    }
    configs = {f"{name}.json5": f"{{{text}}}" for name, text in CONFIGS.items()}
    configs |= {f"{name}-library.json5": f'{{libpath: "{name}.so"}}' for name in LIBRARIES}
    for name, content in (files | {n: t.encode() for n, t in configs.items()}).items():
        (folder / name).write_bytes(content)
    shutil.copy(shutil.which("true"), folder / "program.so")
    shutil.copy(compile_plugin(OLD), folder / "old.so")
    (folder / "dangling.so").symlink_to("nowhere")
    (folder / "folder.so").mkdir()
    (folder / "open").mkdir()
    shutil.copy(folder / "tally.so", folder / "open")
    (folder / "open").chmod(0o777)
    script = """cc -c a.c -o object.so && ar rc archive.so object.so
        cc -shared -fPIC a.c -o other.so && cc -shared -fPIC r.c -o rust.so"""
    subprocess.run(script, shell=True, cwd=folder, check=True, timeout=120)
    return folder


def answer(words: str, folder: Path) -> tuple[int, str]:
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv("COLUMNS", "200")
        stack.enter_context(contextlib.chdir(folder))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(out))
        code = main(words.split())
    return code, out.getvalue()


@pytest.mark.parametrize(("words", "code", "said"), MISTAKES, ids=[one[0] for one in MISTAKES])
def test_a_mistake_has_its_next_step(words: str, code: int, said, place: Path) -> None:
    found, text = answer(words, place)
    for part in said:
        assert part in text
    assert found == code
    assert "next: " in text
    assert "Traceback" not in text
    assert "internal error" not in text


# What this user may not read: who reads it says so, and not the command line.
UNREADABLE = [
    ("show x.jsonl", 4, "cannot open x.jsonl: Permission denied"),
    ("convert x.jsonl out.slip", 4, "cannot open x.jsonl: Permission denied"),
    ("record x.jsonl out.slip", 4, "cannot open x.jsonl: Permission denied"),
    ("redeliver x.jsonl --slipstream-config x.json5", 3, "x.json5 cannot be opened: Permission"),
    (f"{RUN} x.json5 good.jsonl", 3, "x.json5 cannot be opened: Permission denied"),
    ("bench x.json5", 3, "x.json5 cannot be opened: Permission denied"),
    ("config --schema x.so", 3, "cannot read x.so: Permission denied"),
    ("inspect x.json5", 1, "x.json5 cannot be opened: Permission denied"),
    ("symbolize x.json5", 1, "cannot read x.json5: Permission denied"),
    ("token list --data-dir x", 3, "cannot write tokens in x: Permission denied"),
    ("package build x", 3, "x cannot be opened: Permission denied"),
    ("package build x.so", 3, "x.so cannot be opened: Permission denied"),
    ("package verify x.zip --key x.pub", 3, "x.zip cannot be opened: Permission denied"),
    ("package list --plugins x.json5", 3, "x.json5 cannot be opened: Permission denied"),
    ("start --check-config --data-dir s --slipstream-config x.json5", 3, "opened: Permission"),
    ("start --check-config --data-dir s --config x.json5", 3, "x.json5 cannot be opened: Perm"),
]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.skipif(
    not all(folder.stat().st_mode & 1 for folder in Path(__file__).resolve().parents),
    reason="somebody else cannot reach this folder",
)
@pytest.mark.parametrize(("words", "code", "said"), UNREADABLE, ids=[one[0] for one in UNREADABLE])
def test_a_file_of_somebody_else(words: str, code: int, said: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        (folder / "x").mkdir(mode=0o700)
        for file in ("x.jsonl", "x.json5", "x.so", "x.zip", "x.pub"):
            (folder / file).write_text("{}")
            (folder / file).chmod(0o600)
        (folder / "s").mkdir()
        (folder / "s").chmod(0o777)
        (folder / "good.jsonl").write_text('{"kind":"Payload"}')
        answer(words, folder)  # imports what somebody else may not read
        for made in folder.glob("out*"):
            made.unlink()
        folder.chmod(0o777)
        os.setresuid(65534, 65534, 0)
        try:
            found, text = answer(words, folder)
        finally:
            os.setresuid(0, 0, 0)
    assert (found, said in text, "next: " in text) == (code, True, True), text


def test_no_path_is_refused_by_its_mode_alone() -> None:
    def below(command: click.Command) -> Iterator[click.Command]:
        yield command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                yield from below(command.get_command(context, name))

    for command in below(cli):
        for one in command.params:
            assert not getattr(one.type, "readable", False), (command.name, one.name)


@pytest.mark.parametrize("command", ["symbolize", "inspect", "show"])
def test_an_empty_path_is_not_this_folder(command: str, capsys) -> None:
    assert main([command, ""]) == 2
    assert "the path is empty; check what it comes from" in capsys.readouterr().err


def test_standard_input_has_no_name_to_check(command) -> None:
    done = command("show", "-", stdin=b"")
    assert done.returncode == 4
    assert "next: check the program that writes to it, or name a file" in done.stderr


def test_no_event_is_not_counted(place: Path) -> None:
    assert "before it" not in answer("show kind.jsonl", place)[1]


def test_there_are_many() -> None:
    assert len({words for words, _, _ in MISTAKES}) == len(MISTAKES) >= 60


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full disk on this machine")
def test_a_full_disk(place: Path) -> None:
    command = "exec slipstream show events.jsonl --json > /dev/full"
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        command,
        check=False,
        shell=True,
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0
    assert "No space left on device" in done.stderr
    assert "next: make room" in done.stderr


@only_posix
@pytest.mark.parametrize("what", ["run", "check"])
def test_too_few_files_are_named_and_nothing_else_is(what: str, examples: Path, tmp_path) -> None:
    library, events = examples / "tally" / "tally.so", tmp_path / "events.jsonl"
    events.write_text('{"kind": "Payload", "source": "", "name": "x", "body": "00"}\n')
    (tmp_path / "c.json5").write_text(json.dumps({"libpath": str(library), "mode": "process"}))
    run = f"run --insecure-paths --slipstream-config {tmp_path}/c.json5 {events}"
    words = run if what == "run" else f"check {library} --only entry.constructor"
    for most in (5, 7, 9, 11):
        done = subprocess.run(
            ["sh", "-c", f'ulimit -n {most}; exec "$0" -m slipstream.cli {words}', sys.executable],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode in {1, 3, 4}, done.stderr
        assert "oo many open files" in done.stderr or "cannot start a thread" in done.stderr
        assert "ulimit -n" in done.stderr.partition("next: ")[2]
        assert "Traceback" not in done.stderr
