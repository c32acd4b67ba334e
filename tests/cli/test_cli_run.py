"""``slipstream run`` through real processes."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slipstream import frames
from slipstream.capture import CaptureWriter
from slipstream.events import Block, Meta
from slipstream.streams import read_events
from support.letters import letters_in

COMMAND = str(Path(sys.executable).with_name("slipstream"))
STREAMS = Path(__file__).resolve().parents[2] / "examples" / "streams"
GENESIS = STREAMS / "mainnet_genesis.jsonl"
DEADLINE = 240


def config(path: Path) -> list[str]:
    return ["--slipstream-config", str(path)]


def unloads(stderr: str) -> list[str]:
    return re.findall(r"plugin unloaded\s.*plugin=(\S+)", stderr)


def test_genesis_into_tally(command, examples) -> None:
    done = command("run", *config(examples / "tally" / "tally.json5"), GENESIS, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert set(answer) == {"events", "seconds", "plugins", "left_out", "error"}
    assert answer["events"] == 397
    assert answer["error"] is None
    assert answer["seconds"] > 0
    (plugin,) = answer["plugins"]
    assert plugin.pop("callback_ns_mean") > 0
    assert plugin == {
        "name": "tally", "version": "1.0.0", "mode": "process", "state": "running", "reason": "",
        "accepted": 397, "delivered": 397, "dead": 0, "told": 0, "undelivered": 0, "waiting": 0,
        "dead_unkept": 0, "lost": 0, "acknowledged": 397, "retrying": 0,
        "restarts": 0, "gaps": 0, "last_crash": None,
    }  # fmt: skip
    assert "397 events, 0 lost" in done.stderr
    assert unloads(done.stderr) == ["tally"]


def test_plugins_load_in_order_and_unload_in_reverse(command, examples) -> None:
    done = command(
        "run",
        *config(examples / "tally" / "tally.json5"),
        *config(examples / "minimal" / "minimal.json5"),
        GENESIS,
    )
    assert done.returncode == 0, done.stderr
    loads = re.findall(r"plugin loaded\s.*plugin=(\S+)", done.stderr)
    assert loads == ["tally", "minimal"]
    assert unloads(done.stderr) == ["minimal", "tally"]
    assert "397 events in" in done.stdout
    rows = re.findall(r"(tally|minimal) +1\.0\.0 +process +running +(\d+)", done.stdout)
    assert rows == [("tally", "397"), ("minimal", "1")]


@pytest.mark.parametrize("form", ["jsonl", "capture"])
def test_standard_input(command, examples, tmp_path, form) -> None:
    content = GENESIS.read_bytes()
    if form == "capture":
        with CaptureWriter(tmp_path / "c") as writer:
            writer.write(b"".join(read_events(GENESIS, on_warning=print)))
        content = (tmp_path / "c").read_bytes()
    done = command("run", *config(examples / "tally" / "tally.json5"), "-", "--json", stdin=content)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["plugins"][0]["delivered"] == 397


def test_logs_as_json_and_by_level(command, examples) -> None:
    arguments = ("run", *config(examples / "tally" / "tally.json5"), GENESIS)
    done = command("--log-format", "json", *arguments)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert {"event", "level", "timestamp", "plugin"} <= set(lines[0])
    assert command("--log-level", "error", *arguments).stderr == ""


def test_no_progress_and_no_colour_without_a_terminal(command, examples) -> None:
    done = command("run", *config(examples / "minimal" / "minimal.json5"), GENESIS)
    assert "\x1b" not in done.stdout + done.stderr


def on_terminal(*arguments: object) -> str:
    """Run the command on a terminal of its own; returns what it shows."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(COMMAND, [COMMAND, *map(str, arguments)])
    shown = b""
    try:
        while chunk := os.read(terminal, 65536):
            shown += chunk
    except OSError:
        pass  # EIO is a terminal's end of file
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, shown.decode()
    return shown.decode()


def test_progress_on_a_terminal(examples) -> None:
    arguments = ("run", *config(examples / "tally" / "tally.json5"), GENESIS)
    shown = on_terminal(*arguments)
    assert "━━━" in shown
    assert "397 events" in shown
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l")  # the cursor is back
    for quiet in ("--no-progress", "--json"):
        assert "\x1b[?25l" not in on_terminal(*arguments, quiet)


# ---- Errors and exit codes -----------------------------------------------------------------------


def refused(command, code: int, *arguments: object) -> str:
    """The error of a command that fails: what, perhaps where, the next step; no traceback."""
    done = command(*arguments)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    error = done.stderr[done.stderr.index("error: ") :]
    assert re.fullmatch(r"error: .+\n(    .+\n)*  next: .+\n", error), error
    return error


def test_usage_errors_are_2(command, examples) -> None:
    minimal = config(examples / "minimal" / "minimal.json5")
    other = config(examples / "minimal" / ".." / "minimal" / "minimal.json5")
    assert "is given twice" in refused(command, 2, "run", *minimal, *other, GENESIS)
    assert "--slipstream-config" in refused(command, 2, "run", GENESIS)
    assert "EVENTS" in refused(command, 2, "run", *minimal)
    assert "frobnicate" in refused(command, 2, "frobnicate")
    assert "--log-level" in refused(command, 2, "--log-level", "loud", "doctor")
    assert command().returncode == 2


def test_config_and_load_errors_are_3(command, examples, tmp_path, build) -> None:
    def file(name: str, text: str) -> list[str]:
        (tmp_path / name).write_text(text)
        return config(tmp_path / name)

    missing = config(tmp_path / "missing.json5")
    assert "does not exist" in refused(command, 3, "run", *missing, GENESIS)
    for name, text, said in (
        ("syntax.json5", "{libpath", "syntax.json5"),
        ("nolib.json5", "{}", "libpath"),
        ("gone.json5", "{libpath: 'gone.so'}", "does not exist"),
        ("nolibrary.json5", "{libpath: 'nolib.json5'}", "nolib.json5"),
    ):
        assert said in refused(command, 3, "run", *file(name, text), GENESIS)
    start = build("start", ON_LOAD="return slipstream_fail(host,SLIPSTREAM_DENIED,NAME)")
    assert "start did not start" in refused(command, 3, "run", *config(start), GENESIS)
    shutil.copy(examples / "minimal" / "minimal.so", tmp_path / "one.so")
    twins = [*file("a.json5", "{libpath: 'one.so'}"), *file("b.json5", "{libpath: 'one.so'}")]
    assert "minimal is loaded already" in refused(command, 3, "run", *twins, GENESIS)


def test_a_failed_load_unloads_those_before_it(command, examples, build) -> None:
    bad = build("bad", ON_LOAD="return SLIPSTREAM_FAILED")
    tally = examples / "tally" / "tally.json5"
    done = command("run", *config(tally), *config(bad), GENESIS, "--json")
    assert done.returncode == 3
    assert unloads(done.stderr) == ["tally"]
    answer = json.loads(done.stdout)
    assert answer["events"] == 0
    assert answer["error"]["type"] == "PluginStartError"
    assert answer["error"]["exit_code"] == 3
    assert [plugin["name"] for plugin in answer["plugins"]] == ["tally"]


def test_a_disabled_plugin_is_left_out(command, examples, tmp_path) -> None:
    off = tmp_path / "off.json5"
    off.write_text("{libpath: 'gone.so', enabled: false}")
    minimal = config(examples / "minimal" / "minimal.json5")
    done = command("run", *minimal, *config(off), GENESIS, "--json")
    assert done.returncode == 0
    assert "enabled: false" in done.stderr
    assert json.loads(done.stdout)["left_out"] == [str(off)]
    assert "no plugin is left" in refused(command, 3, "run", *config(off), GENESIS)


def test_event_file_errors_are_4(command, examples, tmp_path) -> None:
    minimal = config(examples / "minimal" / "minimal.json5")
    (tmp_path / "junk").write_bytes(b"\x00junk")
    for path, said in ((tmp_path / "gone", "cannot open"), (tmp_path / "junk", "neither")):
        done = command("run", *minimal, path)
        assert done.returncode == 4
        assert said in done.stderr
        assert "plugin loaded" not in done.stderr  # nothing was started for it


def test_events_before_a_cut_are_delivered(command, examples, tmp_path) -> None:
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(GENESIS.read_bytes()[:-100])
    done = command("run", *config(examples / "tally" / "tally.json5"), cut, "--json")
    assert done.returncode == 4
    answer = json.loads(done.stdout)
    assert answer["events"] == 396
    assert answer["plugins"][0]["acknowledged"] == 396
    assert answer["error"]["type"] == "CaptureError"
    assert "line 397: cut off" in answer["error"]["message"]
    assert unloads(done.stderr) == ["tally"]


def test_events_before_a_bad_frame_are_delivered(command, examples, tmp_path) -> None:
    good = frames.encode(Block(b"good", 1, Meta(stream=1, sequence=1)))
    bad = bytearray(good)
    bad[12:16] = (1 << 30).to_bytes(4, "little")  # longer than the frame
    with CaptureWriter(tmp_path / "c") as writer:
        writer.write(good * 3 + bytes(bad) + good)
    tally = config(examples / "tally" / "tally.json5")
    done = command("run", *tally, tmp_path / "c", "--json")
    assert done.returncode == 4
    answer = json.loads(done.stdout)
    assert answer["events"] == 3
    assert answer["plugins"][0]["delivered"] == 3
    assert "event 3 cannot be sent" in answer["error"]["message"]


def test_refused_events_are_1(command, build, tmp_path) -> None:
    bad = build("bad", {"dead_letter": "dead.capture"}, ON_EVENT="if(n<4)return SLIPSTREAM_FAILED")
    done = command("run", *config(bad), GENESIS, "--json")
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert answer["plugins"][0]["dead"] == 3
    assert answer["plugins"][0]["delivered"] == 394
    assert "bad: 3 dead" in answer["error"]["message"]
    letters = letters_in(tmp_path / "dead.capture")
    assert [letter.why["ordinal"] for letter in letters] == [1, 2, 3]


def test_a_failed_plugin_is_1(command, build) -> None:
    fatal = build("fatal", ON_EVENT="if(n==5)return SLIPSTREAM_FATAL")
    done = command("run", *config(fatal), GENESIS, "--json")
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert answer["plugins"][0]["state"] == "failed"
    assert "FATAL" in answer["plugins"][0]["reason"]
    assert "fatal (failed)" in answer["error"]["message"]


def test_debug_shows_the_traceback(command) -> None:
    done = command("--debug", "run", "--slipstream-config", "gone.json5", GENESIS)
    assert done.returncode == 3
    assert "Traceback" in done.stderr
    assert "CannotOpenConfigFile" in done.stderr


def test_data_dir_is_made_for_the_plugin(command, examples, tmp_path) -> None:
    minimal = config(examples / "minimal" / "minimal.json5")
    done = command("run", *minimal, "--data-dir", tmp_path / "data", GENESIS)
    assert done.returncode == 0
    assert list((tmp_path / "data").iterdir()) == [tmp_path / "data" / "minimal"]


def test_insecure_paths(command, examples, tmp_path) -> None:
    library = tmp_path / "open.so"
    shutil.copy(examples / "minimal" / "minimal.so", library)
    library.chmod(0o777)
    (tmp_path / "open.json5").write_text("{libpath: 'open.so'}")
    arguments = ("run", *config(tmp_path / "open.json5"), GENESIS)
    assert "writable for everybody" in refused(command, 3, *arguments)
    assert command(*arguments, "--insecure-paths").returncode == 0


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="nothing that fails to be read")
def test_a_failing_disk(command, examples, tmp_path) -> None:
    """What opens and cannot be read (errno EIO) is named, with its name, wherever it is used."""
    broken = "/proc/self/mem"
    minimal = config(examples / "minimal" / "minimal.json5")
    what = f"{broken} cannot be read: Input/output error"
    assert what in refused(command, 3, "run", *config(broken), GENESIS)
    what = f"cannot read {broken} at byte 0: Input/output error"
    assert what in refused(command, 4, "run", *minimal, broken)
    assert what in refused(command, 4, "convert", broken, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    letters = tmp_path / "letters.json5"
    library = examples / "minimal" / "minimal.so"
    letters.write_text(f"{{libpath: '{library}', dead_letter: '{broken}'}}")
    error = refused(command, 4, "run", *config(letters), GENESIS)
    assert "cannot open " in error
    assert "Input/output error" in error


# ---- Signals -------------------------------------------------------------------------------------


IMPATIENT = """
import sys
import slipstream.cli.run
from slipstream.cli import main
slipstream.cli.run.STANDSTILL = 2
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("on_event", "delivered"), [("usleep(15000)", 397), ("if (n == 9) abort(); usleep(15000)", 8)]
)
def test_it_waits_as_long_as_there_is_headway(build, on_event, delivered) -> None:
    """A slow plugin needs much longer than the time without headway that is allowed."""
    slow = build("slow", {"restart": {"max_crashes": 1}}, ON_EVENT=on_event)
    done = subprocess.run(
        [sys.executable, "-c", IMPATIENT, "run", *config(slow), str(GENESIS), "--json"],
        capture_output=True, text=True, check=False, timeout=DEADLINE,
    )  # fmt: skip
    plugin = json.loads(done.stdout)["plugins"][0]
    assert plugin["delivered"] == plugin["acknowledged"] == delivered, done.stderr
    assert done.returncode == (0 if delivered == 397 else 1)
    assert "still delivering" in done.stderr or delivered != 397


def says(when: str, what: str) -> str:
    """Code of a plugin that logs something when a condition holds."""
    return f'if ({when}) slipstream_log(host, SLIPSTREAM_LOG_INFO, "{what}")'


class Running:
    """A command that was started."""

    def __init__(self, *arguments: object, stdin: int | None = subprocess.DEVNULL) -> None:
        self.process = subprocess.Popen(
            [COMMAND, *map(str, arguments)],
            stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.stderr = ""

    def wait_for(self, text: str) -> None:
        assert self.process.stderr is not None
        while text not in self.stderr:
            line = self.process.stderr.readline()
            assert line, f"{text!r} did not come: {self.stderr}"
            self.stderr += line

    def end(self) -> tuple[int, str, str]:
        try:
            out, err = self.process.communicate(timeout=DEADLINE)
        finally:
            self.process.kill()
        return self.process.returncode, out, self.stderr + err


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_in_the_middle_unloads_in_reverse(
    examples, build, long_stream, number, code
) -> None:
    # So slow that the stream does not end before the signal has come.
    slow = build(
        "slow", {"ring_bytes": "64KiB"}, ON_EVENT=says("n == 100", "under way") + "; usleep(100)"
    )
    run = Running(
        "run",
        *config(examples / "tally" / "tally.json5"),
        *config(slow),
        long_stream, "--json",
    )  # fmt: skip
    run.wait_for("under way")
    run.process.send_signal(number)
    returned, out, err = run.end()
    assert returned == code, err
    assert unloads(err) == ["slow", "tally"]
    assert "Traceback" not in err
    answer = json.loads(out)
    assert 0 < answer["events"] < 500_000
    assert answer["plugins"][0]["delivered"] == answer["events"]
    assert answer["error"]["type"] == number.name
    assert answer["error"]["exit_code"] == code
    assert f"{answer['events']} events, 0 lost" in err


def test_a_signal_while_waiting_for_input(examples, build) -> None:
    last = build("last", ON_EVENT=says("n == 397", "all are here"))
    configs = (*config(examples / "tally" / "tally.json5"), *config(last))
    run = Running("run", *configs, "-", stdin=subprocess.PIPE)
    run.wait_for("plugin loaded")
    assert run.process.stdin is not None
    run.process.stdin.write(GENESIS.read_text())
    run.process.stdin.flush()
    run.wait_for("all are here")
    run.process.send_signal(signal.SIGTERM)
    run.process.wait(DEADLINE)  # its input is still open
    returned, out, err = run.end()
    assert returned == 143
    assert "397 events, 0 lost" in err  # they did not wait for more input
    assert "397" in out


def test_a_signal_during_on_load(build) -> None:
    slow = build("slow", {"unload_timeout": 1}, ON_LOAD="sleep(600)")
    run = Running("run", *config(slow), GENESIS)
    run.wait_for("slow loads")
    run.process.send_signal(signal.SIGINT)
    returned, _, err = run.end()  # which does not wait as long as that `on_load` takes
    assert returned == 130, err


def test_one_signal_does_not_cut_an_unload_short(build, long_stream) -> None:
    slow = build("slow", ON_UNLOAD="usleep(1500000)")
    run = Running("run", *config(slow), long_stream)
    run.wait_for("plugin loaded")
    # At once, as if a wrapper passed it on; however busy the machine is, since both are waiting
    # when the process goes on.
    for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
        run.process.send_signal(number)
    returned, _, err = run.end()
    assert returned in {130, 143}, err  # which of the two is told first is the kernel's to say
    assert "stopping" in err
    assert "slow unloads" in err


def test_a_second_signal_ends_a_callback_that_hangs(build) -> None:
    hang = build("hang", ON_EVENT=says("1", "hangs now") + ";for(;;)pause()")
    run = Running("run", *config(hang), GENESIS)
    run.wait_for("hangs now")
    run.process.send_signal(signal.SIGINT)
    run.wait_for("stopping")
    time.sleep(0.7)
    assert run.process.poll() is None
    run.process.send_signal(signal.SIGINT)
    returned, out, err = run.end()
    assert returned == 130
    assert "ended by SIGINT: it came a second time" in err
    assert out == ""


def test_a_signal_that_the_parent_ignores_stays_ignored(examples, long_stream) -> None:
    tally = examples / "tally" / "tally.json5"
    run = Running.__new__(Running)
    run.stderr = ""
    run.process = subprocess.Popen(
        ["sh", "-c", f'trap "" HUP; exec "{COMMAND}" run --slipstream-config "{tally}" - --json'],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    run.wait_for("plugin loaded")
    run.process.send_signal(signal.SIGHUP)
    assert run.process.stdin is not None
    run.process.stdin.write(GENESIS.read_text())
    returned, out, _ = run.end()
    assert returned == 0
    assert json.loads(out)["events"] == 397


def test_a_closed_stdout_does_not_hide_a_failure(build) -> None:
    fatal = build("fatal", ON_EVENT="return SLIPSTREAM_FATAL")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [COMMAND, "run", *config(fatal), GENESIS],
        stdout=writer, stderr=subprocess.PIPE, text=True, timeout=DEADLINE, check=False,
    )  # fmt: skip
    os.close(writer)
    assert done.returncode == 1
    assert "Broken" not in done.stderr
    assert "fatal (failed)" in done.stderr
