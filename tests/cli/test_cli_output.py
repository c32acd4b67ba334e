"""Standard output and error of the commands: broken, unread, and used by plugins, too."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).with_name("slipstream"))
STREAMS = Path(__file__).resolve().parents[2] / "examples" / "streams"
GENESIS = STREAMS / "mainnet_genesis.jsonl"
MODES = ["inline", "thread", "process"]
DEADLINE = 240

COUNTS = 'FILE *file = fopen(OUT, "a"); fputs("event\\n", file); fclose(file); '
LOGS = "for (int k = 0; k < 20; k++) slipstream_log(host, SLIPSTREAM_LOG_INFO, NAME); "
ENDS = 'FILE *file = fopen(OUT, "a"); fputs("unload\\n", file); fclose(file)'
PRINTS = 'printf("on standard output\\n"); fflush(stdout); printf("left in a buffer\\n")'


def chatty(build, tmp_path: Path, mode: str, name: str, *, prints: str = "") -> tuple[Path, Path]:
    """A plugin that logs, and what it writes of its events and its end: config and file."""
    out = tmp_path / f"{name}.out"
    config = build(
        name,
        {"mode": mode},
        OUT=f'"{out}"',
        ON_EVENT=f"{COUNTS}{LOGS}{prints}",
        ON_UNLOAD=ENDS,
    )
    return config, out


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("redirected", "codes"),
    [
        ("2>/dev/full >/dev/null", {0}),
        ("2>&- >/dev/null", {0}),
        ("2>&1 >/dev/null | head -n 1 >/dev/null", {0}),
        ("2>&1 >/dev/null | (exec <&-; sleep 3)", {0}),
        ("<&- >&- 2>&-", {0}),
        (">/dev/full 2>/dev/null", {1}),  # the result itself is lost
    ],
)
def test_a_log_that_cannot_be_written(build, tmp_path, mode, redirected, codes) -> None:
    first, first_out = chatty(build, tmp_path, mode, "first")
    last, last_out = chatty(build, tmp_path, mode, "last")
    options = f"--slipstream-config {first} --slipstream-config {last}"
    script = f"set -o pipefail; {COMMAND} run {options} {GENESIS} {redirected}"
    done = subprocess.run(["bash", "-c", script], timeout=DEADLINE, check=False)
    assert done.returncode in codes
    for out in (first_out, last_out):
        assert out.read_text().splitlines() == ["event"] * 397 + ["unload"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("code", [0, 3])
def test_a_log_that_nobody_reads(build, tmp_path, mode, code) -> None:
    config, out = chatty(build, tmp_path, mode, "first")
    bad = build("bad", {"mode": mode}, ON_LOAD="return SLIPSTREAM_FAILED") if code else config
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 512)
    except BlockingIOError:
        os.set_blocking(writer, True)  # full from the first line on
    configs = ["--slipstream-config", config, *(["--slipstream-config", bad] if code else [])]
    try:
        done = subprocess.run(
            [COMMAND, "run", "--json", *configs, GENESIS],
            stdout=subprocess.PIPE, stderr=writer, timeout=DEADLINE, check=False,
        )  # fmt: skip
    finally:
        os.close(reader)
        os.close(writer)
    assert done.returncode == code
    assert (json.loads(done.stdout)["error"] is None) == (code == 0)
    assert out.read_text().splitlines() == ["event"] * (0 if code else 397) + ["unload"]


@pytest.mark.parametrize("mode", MODES)
def test_standard_output_belongs_to_the_result(build, tmp_path, command, mode) -> None:
    config, _ = chatty(build, tmp_path, mode, "first", prints=PRINTS)
    done = command("run", "--json", "--slipstream-config", config, GENESIS)
    assert json.loads(done.stdout)["plugins"][0]["acknowledged"] == 397
    assert "on standard output" in done.stderr
    assert "left in a buffer" in done.stderr
    table = command("run", "--slipstream-config", config, GENESIS)
    assert "standard output" not in table.stdout
    assert "397" in table.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--json"],
        ["run", "--json", "--no-such-option", "x"],
        ["run", "--json", "--slipstream-config", "a", "--slipstream-config", "a", "b"],
        ["run", "--json", "--slipstream-config", "no-such-config.json5", "no-such-events"],
        ["inspect", "--json", "--nonsense"],
        ["doctor", "--json", "--nonsense"],
        ["redeliver", "--json"],
    ],
)
def test_one_object_after_an_error_too(command, arguments) -> None:
    done = command(*arguments)
    answer = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert answer["error"]["exit_code"] == done.returncode != 0
    assert answer["error"]["message"] in done.stderr


def test_no_object_where_lines_are_wanted(command) -> None:
    done = command("show", "--json", "--nonsense")
    assert (done.returncode, done.stdout) == (2, "")


def test_restarts_are_shown(build, tmp_path, command) -> None:
    config = build(
        "crasher",
        {"restart": {"initial_delay": 0.01, "max_delay": 0.01}},
        ON_EVENT="if (n == 3 && slipstream_load_u16(f + 6) != SLIPSTREAM_KIND_GAP) abort()",
    )
    options = ["--data-dir", tmp_path / "data", "--slipstream-config", config, GENESIS]
    done = command("run", "--json", *options)
    (plugin,) = json.loads(done.stdout)["plugins"]
    assert (plugin["restarts"], plugin["gaps"], plugin["dead"]) == (3, 0, 1)
    crash = plugin["last_crash"]
    assert (crash["ordinal"], crash["reason"]) == (3, "died of signal 6 (Aborted)")
    assert json.loads(Path(crash["report"]).read_text())["ordinal"] == 3
    table = command("run", *options).stdout
    assert "restarts" in table
    assert "last crash of crasher: died of signal 6 (Aborted): /" in table


@pytest.mark.parametrize("arguments", [["run"], ["redeliver"]])
def test_a_fifo_without_a_writer_can_be_stopped(build, tmp_path, arguments) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = subprocess.Popen(
        [COMMAND, *arguments, "--slipstream-config", build("first"), fifo],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        try:
            # Once the thread is there that watches for signals, it is about to open the file.
            tasks = Path(f"/proc/{process.pid}/task")
            deadline = time.monotonic() + DEADLINE
            while len(list(tasks.iterdir())) < 2 and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
    assert process.returncode == 143
    assert "stopped by SIGTERM" in said


NO_THREAD = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

static int left = -1;

int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*run)(void *), void *argument) {
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    if (left < 0)
        left = atoi(getenv("THREADS"));
    return left-- > 0 ? real(t, a, run, argument) : EAGAIN;
}
"""


@pytest.mark.parametrize("mode", MODES)
def test_no_thread_to_be_had(build, tmp_path, command, mode) -> None:
    (tmp_path / "no_thread.c").write_text(NO_THREAD)
    library = tmp_path / "no_thread.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-o", library, tmp_path / "no_thread.c", "-ldl"], check=True
    )
    config, _ = chatty(build, tmp_path, mode, "first")
    for threads in range(8):
        done = command(
            "run", "--json", "--slipstream-config", config, GENESIS,
            LD_PRELOAD=str(library), THREADS=str(threads),
        )  # fmt: skip
        answer = json.loads(done.stdout)
        if done.returncode == 0:
            break
        assert done.returncode in {1, 3}
        assert re.search("no thread|cannot start a thread", answer["error"]["message"]), answer
        assert "ulimit -u" in answer["error"]["hint"]
    assert done.returncode == 0
    assert threads >= 3


@pytest.mark.parametrize(("columns", "width"), [(None, 160), ("100", 100), ("5", 20), ("x", 160)])
def test_how_wide_it_is_without_a_terminal(columns, width) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    code = "from slipstream.cli._tables import screen_width; print(screen_width())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment if columns is None else environment | {"COLUMNS": columns},
    )
    assert int(done.stdout) == width
