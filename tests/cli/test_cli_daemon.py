"""`slipstream plugins`, `top` and completion, against a running daemon."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest

from support.daemon import COMMAND, SECONDS, Operated, until
from support.soak import workers
from support.toolbox import is_not_here


@pytest.fixture(scope="module")
def library(compile_plugin):
    return compile_plugin("talker.c", "-DFLAGS=SLIPSTREAM_FLAG_MULTI_INSTANCE", name="talker")


@pytest.fixture(scope="module")
def daemon(library, tmp_path_factory):
    folder = tmp_path_factory.mktemp("daemon")
    with Operated(folder, library, names=("talker", "other")) as made:
        yield made
        assert made.end() == 0


def state(daemon: Operated, name: str) -> str:
    return daemon.json("plugins", "status", name)["state"]


def test_list_and_status_say_what_rest_says(daemon) -> None:
    found = daemon.json("plugins", "list")
    assert [one["name"] for one in found["plugins"]] == ["talker", "other"]
    assert found["network"] == "mainnet"
    text = daemon.run("plugins", "list").stdout
    assert re.search(r"^ *talker +running +1 +process", text, re.MULTILINE), text
    text = daemon.run("plugins", "status", "other").stdout
    assert re.search(r"^package +-$", text, re.MULTILINE), text
    assert "None" not in text
    assert re.search(r"^state +running$", text, re.MULTILINE), text
    assert re.search(r"^config libpath ", text, re.MULTILINE), text


def test_pause_resume_flush_and_reload(daemon) -> None:
    assert daemon.json("plugins", "pause", "other") == {"paused": "other"}
    assert state(daemon, "other") == "paused"
    assert daemon.run("plugins", "resume", "other").stdout == "other goes on\n"
    assert state(daemon, "other") == "running"
    assert daemon.run("plugins", "flush", "other").stdout == "other has acknowledged everything\n"
    done = daemon.json("plugins", "reload", "other")
    assert done == {"reloaded": "other", "version": "1", "previous_version": "1"}


def test_load_and_unload(daemon, library) -> None:
    config = daemon.config("third", library)
    assert daemon.json("plugins", "load", config) == {"loaded": "third"}
    done = daemon.run("plugins", "load", config)
    assert done.returncode == 3
    assert "third is loaded already" in done.stderr
    assert daemon.run("plugins", "unload", "third").stdout == "third is unloaded\n"
    done = daemon.run("plugins", "unload", "third", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["message"] == "no plugin third is loaded"
    assert "loaded: talker, other" in done.stderr


@pytest.mark.parametrize("command", [["load"], ["reload", "other"]])
def test_a_config_that_may_not_be_loaded_is_named(daemon, command: list[str], tmp_path) -> None:
    done = daemon.run("plugins", *command, tmp_path / "nix.json5")
    assert done.returncode == 3
    assert f"error: {tmp_path}/nix.json5 is not a regular file below a folder" in done.stderr
    assert f"next: folder: {daemon.configs}; correct the path, or name its" in done.stderr
    assert "token" not in done.stderr


def test_a_config_that_is_gone_is_named(daemon, library) -> None:
    config = daemon.config("fourth", library)
    daemon.json("plugins", "load", config)
    assert daemon.run("plugins", "dead-letters", "fourth").stdout == "fourth has no dead letters\n"
    config.unlink()
    done = daemon.run("plugins", "reload", "fourth")
    daemon.json("plugins", "unload", "fourth")
    assert done.returncode == 3
    assert "error: the config of fourth is not a regular file below a folder" in done.stderr


def test_logs_crashes_and_dead_letters(daemon) -> None:
    daemon.tell("log/3", "here I am")
    daemon.tell("no such command")

    def said() -> bool:
        return "here I am" in daemon.run("plugins", "logs", "talker").stdout

    until(said, "the line is there")
    follower = subprocess.Popen(
        [COMMAND, "plugins", "logs", "talker", "--follow", "--json", "--data-dir", daemon.data],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        seen = [json.loads(follower.stdout.readline())]
        while "here I am" not in seen[-1]["text"]:
            seen.append(json.loads(follower.stdout.readline()))
        daemon.tell("log/3", "and still")
        while "and still" not in seen[-1]["text"]:
            seen.append(json.loads(follower.stdout.readline()))
    finally:
        follower.terminate()
        follower.wait(SECONDS)
        follower.stdout.close()
    letters = until(
        lambda: daemon.run("plugins", "dead-letters", "talker", "--json").stdout, "a dead letter"
    )
    letter = json.loads(letters.splitlines()[0])
    assert letter["event"]["name"] == "no such command"
    assert "Payload" in daemon.run("plugins", "dead-letters", "talker").stdout
    assert daemon.run("plugins", "crashes", "talker").stdout == "talker has not crashed\n"
    daemon.tell("log and abort", "the last words")
    until(lambda: daemon.json("plugins", "crashes", "talker")["crashes"], "a crash report")
    text = daemon.run("plugins", "crashes", "talker").stdout
    assert "died of signal 6" in text
    assert "the last words" in text
    assert re.search(r"in \S+ \+ 0x", text), text
    assert "last crash" in daemon.run("plugins", "status", "talker").stdout


def test_over_rest_with_a_token(daemon, tmp_path) -> None:
    token = tmp_path / "token"
    token.write_text(daemon.token + "\n")
    where = ("--url", daemon.url, "--network", "mainnet")
    done = daemon.run("plugins", "list", *where, "--token-file", token)
    assert done.returncode == 0, done.stderr
    assert "talker" in done.stdout
    done = daemon.run("plugins", "list", *where)
    assert done.returncode == 1
    assert "--token-file" in done.stderr


def test_a_worker_that_falls_between_events(daemon, library) -> None:
    daemon.json("plugins", "load", daemon.config("idle", library))
    os.kill(daemon.json("plugins", "status", "idle")["pid"], signal.SIGKILL)
    until(lambda: daemon.json("plugins", "crashes", "idle")["crashes"], "a crash report")
    text = daemon.run("plugins", "crashes", "idle").stdout
    daemon.json("plugins", "unload", "idle")
    assert "\n  no event was under way, acknowledged 0\n" in text


def test_what_comes_from_no_package_has_no_other_version(daemon) -> None:
    done = daemon.run("plugins", "rollback", "other")
    assert done.returncode == 3
    assert "error: other does not come from a package" in done.stderr
    assert "next: replace its library, and then: slipstream plugins reload other" in done.stderr


# As below.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_https_where_there_is_none(daemon) -> None:
    done = daemon.run("plugins", "list", "--url", daemon.url.replace("http:", "https:"))
    gc.collect()
    assert "next: it does not speak TLS: write http://" in done.stderr


def test_the_network_of_another_daemon(daemon) -> None:
    done = daemon.run("plugins", "list", "--network", "testnet")
    assert done.returncode == 1
    assert done.stderr == (
        "error: this host serves mainnet, not testnet\n"
        "  next: name the network mainnet, or ask the host of the other\n"
    )


# httpcore leaves a socket that could not connect to the collector of garbage.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_where_no_daemon_is(tmp_path, daemon) -> None:
    done = daemon.run("plugins", "list", "--data-dir", tmp_path / "nowhere")
    gc.collect()
    assert done.returncode == 1
    assert "no answer from" in done.stderr
    assert "next: is it running? slipstream start" in done.stderr


def test_top_writes_looks(daemon) -> None:
    done = daemon.run("top", "--count", 2, "--interval", "0.1", "--json")
    looks = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(looks) == 2
    assert [row["name"] for row in looks[1]["plugins"]] == ["talker", "other"]
    assert looks[0]["plugins"][1]["state"] == "running"
    assert "other" in daemon.run("top", "--count", 1).stdout


def test_top_in_a_terminal_of_80_by_24(daemon) -> None:
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(TERM="xterm", LC_ALL="C.UTF-8", COLUMNS="", LINES="")
        os.execv(COMMAND, [COMMAND, "top", "--data-dir", str(daemon.data), "--interval", "0.2"])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    shown = b""

    def read_until(text: str, since: int = 0) -> None:
        nonlocal shown
        end = time.monotonic() + SECONDS
        while text.encode() not in shown[since:]:
            assert time.monotonic() < end, shown
            if select.select([terminal], [], [], 0.2)[0]:
                shown += os.read(terminal, 65536)

    try:
        read_until("talker")
        read_until("\x1b[J")
        daemon.run("plugins", "pause", "other")
        read_until("paused", len(shown))
        for number in range(50):
            daemon.tell("log/1", str(number))
        read_until("█")
        frame = shown.decode(errors="replace").split("\x1b[H")[-2]
        lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in frame.split("\r\n")]
        assert len(lines) <= 24
        assert all(len(line) <= 80 for line in lines), lines
        assert lines[1].split()[:3] == ["plugin", "state", "ev/s"]
        os.write(terminal, b"q")
        read_until("\x1b[?1049l")
        _, status = os.waitpid(process, 0)
        process = 0
        assert os.waitstatus_to_exitcode(status) == 0
        assert shown.startswith(b"\x1b[?1049h\x1b[?25l") or b"\x1b[?1049h\x1b[?25l" in shown[:200]
    finally:
        daemon.run("plugins", "resume", "other")
        if process:
            os.kill(process, 9)
            os.waitpid(process, 0)
        os.close(terminal)


def test_ps_shows_whose_worker_it_is(daemon) -> None:
    def shown() -> set[tuple[str, str]]:
        found = set()
        for pid in workers(daemon.process.pid):
            with contextlib.suppress(OSError):  # it has just ended
                name = Path(f"/proc/{pid}/comm").read_text().strip()
                last = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[2].decode()
                found.add((name, last))
        return found

    wanted = {("slip-talker", "talker"), ("slip-other", "other")}
    until(lambda: shown() == wanted, "the names of the workers")


def test_bash_completes_commands_options_and_plugins(daemon) -> None:
    script = daemon.run("completion", "bash").stdout
    if shutil.which("bash") is None:
        is_not_here("there is no bash")

    def completed(*words: str) -> list[str]:
        text = (
            f"{script}\nCOMP_WORDS=(slipstream {' '.join(words)} '')\n"
            f"COMP_CWORD={len(words) + 1}\n_slipstream_completion slipstream\n"
            'printf "%s\\n" "${COMPREPLY[@]}"\n'
        )
        done = subprocess.run(
            ["bash", "--norc"], input=text, capture_output=True, text=True, timeout=SECONDS, check=False,
            env={**os.environ, "SLIPSTREAM_DATA_DIR": str(daemon.data),
                 "PATH": f"{os.path.dirname(COMMAND)}:{os.environ['PATH']}"},
        )  # fmt: skip
        return done.stdout.split()

    assert "plugins" in completed()
    assert "dead-letters" in completed("plugins")
    assert completed("plugins", "pause") == ["talker", "other"]
    assert completed("plugins", "pause", "--data-dir", "/nowhere") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_take_the_script(daemon, shell: str) -> None:
    script = daemon.run("completion", shell).stdout
    assert "_SLIPSTREAM_COMPLETE" in script
    program = shutil.which(shell)
    if program is None:
        is_not_here(f"there is no {shell}")
    done = subprocess.run(
        [program, "-n"], input=script, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
