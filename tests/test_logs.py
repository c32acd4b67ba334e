"""Log lines, errors and numbers of plugins: what reaches logging, and in which form."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from slipstream import Payload, PluginManager
from slipstream._native import lib
from slipstream.logs import LogLine, LogPump
from slipstream.status import Metric
from support.logs import capture_logs
from support.recorded import EXPLICIT_ACK

MISBEHAVING = "plugin misbehaving"


class Talker:
    """The plugin tests/plugins/talker.c, told what to do by payloads."""

    def __init__(self, manager: PluginManager, library: object) -> None:
        self.manager = manager
        self.plugin = manager.load_plugin({"libpath": str(library)})

    def tell(self, command: str, body: bytes = b"") -> list[dict]:
        with capture_logs() as logs:
            self.manager.broadcast(Payload(command.encode(), body))
            self.manager.pause("ghost") if False else self.manager._pump.drain()
        return logs

    def answer(self, command: str, body: bytes = b"") -> str:
        """The status that the host function gave, by name; "OK" and "IGNORED" for success."""
        before = self.plugin.counters.dead
        logs = self.tell(command, body)
        if self.plugin.counters.dead == before:
            return "OK"
        return next(
            line["event"].split()[2] for line in logs if "on_broadcast returned" in line["event"]
        )


@pytest.fixture
def talker(manager, compile_plugin) -> Talker:
    return Talker(manager, compile_plugin("talker.c", name="talker"))


# ---- Lines -----------------------------------------------------------------------------------


def test_levels(talker) -> None:
    for number, name in enumerate(["debug", "debug", "info", "warning", "error"]):
        (line,) = talker.tell(f"log/{number}", b"hello")
        assert line == {"event": "hello", "log_level": name, "plugin": "talker"}
    (line,) = talker.tell("log/5", b"host lies")
    assert (line["log_level"], line["contract"]) == ("error", "host misbehaving")


@pytest.mark.parametrize("level", [6, 7, 100, 2**32 - 1])
def test_levels_that_are_not_the_plugin_s(talker, level) -> None:
    first, second = talker.tell(f"log/{level}", b"hello")
    assert first["contract"] == MISBEHAVING
    assert first["event"] == "log called with a level that a plugin may not use"
    assert (second["event"], second["log_level"]) == ("hello", "error")


def test_the_lowest_level(compile_plugin) -> None:
    library = compile_plugin("talker.c", name="talker")
    for at, level in enumerate(["trace", "debug", "info", "warning", "error"]):
        with PluginManager(log_level=level) as manager:
            talker = Talker(manager, library)
            kept = [n for n in range(6) if talker.tell(f"log/{n}", b"x")]
            assert kept == list(range(at, 6))
            enabled = []
            for n in range(7):
                before = talker.plugin.counters.delivered
                # IGNORED is "not enabled" here; both count as delivered, so ask the frame's log.
                talker.tell(f"enabled/{n}")
                assert talker.plugin.counters.delivered == before + 1
                enabled.append(bool(lib.ss_log_queue_wants(manager._pump.pointer, n)))
            assert enabled == [n >= at for n in range(7)]


ESCAPED = [
    (b"", ""),
    (b"plain text", "plain text"),
    (b"two\nlines\r\n\tand a tab", r"two\nlines\r\n\tand a tab"),
    (b"\x1b[31mred\x07\x00\x7f", r"\x1b[31mred\x07\x00\x7f"),
    ("ümläut € \U0001f600 ツ".encode(), "ümläut € \U0001f600 ツ"),
    (b"\xff\xfe\x80", r"\xff\xfe\x80"),
    (b"\xc0\xaf\xe0\x80\xaf", r"\xc0\xaf\xe0\x80\xaf"),  # overlong
    (b"\xed\xa0\x80", r"\xed\xa0\x80"),  # a surrogate
    (b"\xf4\x90\x80\x80", r"\xf4\x90\x80\x80"),  # beyond U+10FFFF
    (b"\xf4\x8f\xbf\xbf", "\U0010ffff"),
    (b"\xe2\x82", r"\xe2\x82"),  # cut off
    ("\x85\x9b next".encode(), r"\xc2\x85\xc2\x9b next"),  # C1 controls
    (b"back\\slash %s %n {x} [bold]", "back\\slash %s %n {x} [bold]"),
]


@pytest.mark.parametrize(("given", "shown"), ESCAPED, ids=lambda v: repr(v)[:30])
def test_texts_are_made_safe(talker, given, shown) -> None:
    (line,) = talker.tell("log/2", given)
    if b"\xc2" in given:
        assert all(c.isprintable() or c == " " for c in line["event"])
        assert line["event"].endswith(" next")
    else:
        assert line["event"] == shown
    (failed,) = talker.tell("fail", given)
    assert failed["event"].startswith("on_broadcast returned FAILED (-1) for PAYLOAD")
    assert failed["event"].endswith(": " + line["event"] if given else "sequence 2")


def test_long_lines_are_cut(talker) -> None:
    for given, shown in [
        (b"x" * 65536, "x" * 65536),
        (b"x" * 65537, "x" * 65536),
        (b"x" * 3_000_000, "x" * 65536),
        (b"\xff" * 65536, r"\xff" * 16384),
        ("€".encode() * 30000, "€" * 21845),
    ]:
        (line,) = talker.tell("log/2", given)
        is_cut = len(given) > 65536 or b"\xff" in given
        mark = f" [cut: it has {len(given)} bytes]" if is_cut else ""
        assert line["event"].replace(r"\xe2", "") == shown + mark
    (line,) = talker.tell("fail", b"y" * 100_000)
    mark = " [cut: it has 100000 bytes]"
    assert line["event"].endswith(": " + "y" * (4096 - len(mark)) + mark)


def not_said(logs: list[dict]) -> int:
    """How many lines the log says are missing."""
    found = [re.match(r"(?:suppressed )?(\d+) (?:log )?lines", line["event"]) for line in logs]
    return sum(int(match[1]) for match in found if match)


class Waiting(logging.Handler):
    """A log that is not written until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.go_on = threading.Event(), threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.entered.set()
        self.go_on.wait(240)

    @contextmanager
    def listening(self) -> Iterator[Waiting]:
        logging.getLogger("slipstream").addHandler(self)
        try:
            yield self
        finally:
            self.go_on.set()
            logging.getLogger("slipstream").removeHandler(self)


def test_a_full_queue_is_counted(manager, talker) -> None:
    with capture_logs() as logs:
        with Waiting().listening() as log:
            manager.broadcast(Payload(b"log/2", b"holds the reader up"))
            assert log.entered.wait(240)
            manager.broadcast(Payload(b"repeat/100", b"z" * 60_000))
        manager._pump.drain()
    lines = [line for line in logs if line["event"] == "z" * 60_000]
    (dropped,) = [line["event"] for line in logs if "were dropped" in line["event"]]
    assert dropped == f"{100 - len(lines)} log lines were dropped: the queue was full"
    assert len(lines) > 10
    (line,) = talker.tell("log/2", b"and on it goes")
    assert line["event"] == "and on it goes"


def test_a_source_has_a_rate(manager, talker) -> None:
    with capture_logs() as logs:
        manager.broadcast(Payload(b"repeat/30000", b"z" * 100))
        manager.close()
    lines = [line for line in logs if line["event"] == "z" * 100]
    assert len(lines) + not_said(logs) in {30000, 30001}, logs[-3:]  # what on_unload says, too
    assert len(lines) % 1000 == 0  # however many seconds that took
    (told,) = {line["event"] for line in logs if line["event"].startswith("suppressed")}
    assert re.fullmatch(r"suppressed \d+ lines: more than 1000 came in a second", told)
    (line,) = [line for line in logs if line["event"] == "plugin unloaded"]
    assert line["plugin"] == "talker"


def test_lines_of_several_threads(manager, talker) -> None:
    with capture_logs() as logs:
        manager.broadcast(Payload(b"log from threads", b"line"))
        manager.close()
    lines = sum(line["event"] == "line" for line in logs)
    assert lines + not_said(logs) in {4000, 4001}  # what on_unload says, too


@pytest.mark.parametrize("mode", ["inline", "thread", "process"])
def test_an_unread_log_holds_nothing_up(compile_plugin, mode) -> None:
    library = compile_plugin("talker.c", name="talker")
    with capture_logs(), Waiting().listening() as log:
        with PluginManager(mode) as manager:
            plugin = manager.load_plugin({"libpath": str(library)})
            assert log.entered.wait(60)
            for _ in range(50):
                manager.broadcast(Payload(b"log/4", b"hello"))
                manager.flush()
            manager.pause("talker")
            manager.resume("talker")
        assert plugin.counters.acknowledged == 50
        assert plugin.state == "unloaded"
        assert not log.go_on.is_set()


class Raising(logging.Handler):
    """A log whose disk is full, as badly as can be."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def emit(self, record: logging.LogRecord) -> None:
        raise self.error


@pytest.mark.parametrize("error", [RuntimeError("full"), SystemExit(3), KeyboardInterrupt()])
def test_a_log_that_raises_changes_nothing(compile_plugin, error) -> None:
    library = compile_plugin("talker.c", name="talker")
    handler = Raising(error)
    logging.getLogger("slipstream").addHandler(handler)
    ended = []

    class Python:
        name = "python"

        def subscribed_events(self) -> list[int]:
            return [4]

        def on_broadcast(self, _event: object) -> None:
            raise ValueError("the plugin's own")

        def on_unload(self) -> None:
            ended.append(self)

    try:
        with PluginManager() as manager:
            manager.install(Python())
            plugin = manager.load_plugin({"libpath": str(library)})
            manager.broadcast(Payload(b"log/4", b"hello"))
            manager.reload_plugin("talker")
            assert manager.list_plugins() == ["python", "talker"]
        assert plugin.state == "unloaded"
        assert len(ended) == 1
        assert plugin.counters.acknowledged == 1
    finally:
        logging.getLogger("slipstream").removeHandler(handler)


def test_lines_carry_the_time_at_which_they_were_made(manager, talker) -> None:
    records: list[logging.LogRecord] = []
    keeper = logging.Handler()
    keeper.emit = records.append
    with capture_logs(), Waiting().listening() as log:
        logging.getLogger("slipstream").addHandler(keeper)
        manager.broadcast(Payload(b"log/2", b"first"))
        assert log.entered.wait(240)
        manager.broadcast(Payload(b"log/2", b"second"))
        manager._pump.say(logging.INFO, "third", {})
        manager.broadcast(Payload(b"log/2", b"fourth"))
        between = time.time()
        log.go_on.set()
        manager._pump.drain()
        logging.getLogger("slipstream").removeHandler(keeper)
    told = [record.getMessage() for record in records]
    assert told == ["first", "second", "third", "fourth"]
    assert all(record.created <= between for record in records)
    assert [record.created for record in records] == sorted(r.created for r in records)


def test_lines_around_a_crash_stand_in_their_order(compile_plugin) -> None:
    library = compile_plugin("talker.c", name="talker")
    restart = {"initial_delay": 0.01, "max_delay": 0.01}
    with capture_logs() as logs, PluginManager("process") as manager:
        plugin = manager.load_plugin({"libpath": str(library), "restart": restart})
        manager.broadcast(Payload(b"log and abort", b"last words"))
        manager.flush(60)
        assert plugin.counters.dead == 1
        manager._pump.drain()
    told = [line["event"].partition(":")[0] for line in logs]
    told = [line for line in told if not line.startswith(("stopping", "restarted"))]
    assert told[:10] == [
        "plugin loaded",
        *["last words", "worker crashed"] * 3,
        "an event crashed it three times",
        "the events that it refuses or crashes on are counted and not kept",
        "1 event was not delivered (ordinals 1 to 1); the plugin is told by a GAP",
    ]


def test_a_broken_log_breaks_nothing(talker, capsys) -> None:
    class Exploding(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("the log's disk is full")

    handler = Exploding()
    logging.getLogger("slipstream").addHandler(handler)
    try:
        talker.manager.broadcast(Payload(b"log/4", b"hello"))
        talker.manager.flush()
    finally:
        logging.getLogger("slipstream").removeHandler(handler)
    assert "the log's disk is full" in capsys.readouterr().err
    (line,) = talker.tell("log/2", b"works again")
    assert line["event"] == "works again"
    assert talker.manager._pump._thread.is_alive()


def test_a_pump_hands_lines_to_whoever_asks() -> None:
    lines: list[LogLine] = []
    arrived = threading.Event()

    def keep(line: LogLine) -> None:
        lines.append(line)
        arrived.set()

    pump = LogPump("info", keep)
    pump.names[7] = "seven"
    lib.ss_log_queue_put(pump.pointer, lib.SLIPSTREAM_LOG_DEBUG, 7, b"not wanted", 10)
    lib.ss_log_queue_put(pump.pointer, lib.SLIPSTREAM_LOG_INFO, 7, b"wanted", 6)
    assert arrived.wait(240)  # the thread has brought it, nobody drained
    assert lines == [LogLine(lib.SLIPSTREAM_LOG_INFO, 7, "wanted")]
    lib.ss_log_queue_put(pump.pointer, lib.SLIPSTREAM_LOG_INFO, 7, b"last", 4)
    pump.close()
    pump.close()
    pump.drain()
    assert lines[-1].text == "last"


# ---- set_error -------------------------------------------------------------------------------


def test_set_error_where_it_does_not_belong(talker) -> None:
    (line,) = talker.tell("set_error from a thread", b"lost\n" + b"w" * 2000)
    assert line["contract"] == MISBEHAVING
    before, cut, mark = line["event"].partition(" [cut: it has 2005 bytes]")
    assert before.rstrip("w") == r"set_error called outside of a call of the host: lost\n"
    assert (bool(cut), mark) == (True, "")
    (line,) = talker.tell("set_error NULL")
    assert line["event"] == "set_error called with a text that is NULL"
    (line,) = talker.tell("log NULL")
    assert line["event"] == "log called with a text that is NULL"


def test_the_text_belongs_to_one_call(talker) -> None:
    talker.tell("fail", b"the first")
    (line,) = talker.tell("status", b"-4")
    assert "the first" not in line["event"]
    assert "UNSUPPORTED (-4)" in line["event"]


# ---- ack -------------------------------------------------------------------------------------


def test_ack_rules(manager, compile_plugin) -> None:
    library = compile_plugin("talker.c", f"-DFLAGS={EXPLICIT_ACK}", name="talker")
    with capture_logs() as logs:
        talker = Talker(manager, library)
        plugin = talker.plugin
        for _ in range(3):
            talker.tell("log/0", b"")
        assert (plugin.counters.acknowledged, plugin.counters.lag) == (0, 3)
        assert talker.answer("ack", b"2") == "OK"
        assert plugin.counters.acknowledged == 2
        assert talker.answer("ack", b"1") == "OK"  # lower: no effect
        assert talker.answer("ack", b"0") == "OK"
        assert plugin.counters.acknowledged == 2
        assert talker.answer("ack", b"7") == "OK"  # this very event
        assert plugin.counters.acknowledged == 7
        logs_of_the_next = talker.tell("ack", b"9")
        assert logs_of_the_next[0]["contract"] == MISBEHAVING
        assert logs_of_the_next[0]["event"] == "ack of ordinal 9, but the last delivered one is 8"
        assert talker.answer("ack", str(2**64 - 1).encode()) == "INVALID_ARGUMENT"
        assert plugin.counters.acknowledged == 7
        manager.unload_plugin("talker")
    assert "ack in a wrong state" not in str(logs)


def test_ack_without_the_flag(talker) -> None:
    first, second = talker.tell("ack", b"1")
    assert first["event"] == "ack called without SLIPSTREAM_FLAG_EXPLICIT_ACK"
    assert first["contract"] == MISBEHAVING
    assert "INVALID_ARGUMENT (-5)" in second["event"]


# ---- Extensions --------------------------------------------------------------------------------


def test_extensions(talker) -> None:
    for name in (b"slipstream.config/1", b"slipstream.metrics/1"):
        assert talker.answer("extension", name) == "OK"
    for name in (b"", b"slipstream.config/2", b"slipstream.payload/1", b"x" * 5000):
        assert talker.answer("extension", name) == "NOT_FOUND"
    assert talker.answer("config") == "WRONG_STATE"


def test_metrics(talker) -> None:
    assert talker.plugin.metrics == []
    assert talker.answer("count", b"rows_written,") == "OK"
    assert talker.answer("count", b"rows_written,") == "OK"
    assert talker.answer("count", b"rows_written,table=blocks") == "OK"
    for name in (b"rows_written,table=blocks", b"rows_written,", b"rows_written,other=1"):
        assert talker.answer("gauge", name) == "INVALID_ARGUMENT"  # it is a counter
    assert talker.answer("gauge", b"lag,") == "OK"
    assert talker.answer("count", b"lag,") == "INVALID_ARGUMENT"
    assert talker.answer("count", b"_,a=") == "OK"
    assert talker.plugin.metrics == [
        Metric("rows_written", "", 6),
        Metric("rows_written", "table=blocks", 3),
        Metric("lag", "", -0.5),
        Metric("_", "a=", 3),
    ]
    longest = b"n" * 63 + b"," + b"k" * 63 + b"=" + b"v" * 63
    assert talker.answer("count", longest) == "OK"
    for bad in (
        b",",
        b"Upper,",
        b"1st,",
        b"sp ace,",
        b"n" * 64 + b",",
        b"ok,novalue",
        b"ok,=x",
        b"ok,1k=v",
        b"ok,K=v",
        b"ok," + b"k" * 64 + b"=v",
        b"ok,k=" + b"v" * 64,
        b"ok,k=\x01",
        b"ok,k=\xc3\xbc",
        b"ok," + b"k=v" * 1000,
    ):
        assert talker.answer("count", bad) == "INVALID_ARGUMENT"
    assert talker.answer("count NULL") == "INVALID_ARGUMENT"
    assert len(talker.plugin.metrics) == 5
    for i in range(200):
        answer = talker.answer("count", b"many,i=%d" % i)
        assert answer == ("OK" if i < 123 else "TOO_LARGE")
    assert len(talker.plugin.metrics) == 128
    assert talker.answer("count", b"rows_written,") == "OK"
    assert talker.plugin.metrics[0].value == 9
    assert sys.getrefcount(talker) > 0


@pytest.mark.parametrize("mode", ["inline", "thread", "process"])
def test_each_failure_is_told_once_and_alike(compile_plugin, tmp_path, mode) -> None:
    options = ["-DFLAGS=SLIPSTREAM_FLAG_BATCH", "-DUNLOAD_ERROR=LONG"]
    long = "e" * 4096
    library = compile_plugin("talker.c", *options, f'-DLONG="{long}"', name="talker")
    with capture_logs() as logs, PluginManager(mode, data_dir=tmp_path) as manager:
        plugin = manager.load_plugin({"libpath": str(library)})
        manager.broadcast_many([Payload(b"fail", b"no %d" % i) for i in range(2)])
        if mode != "inline":
            manager.flush()
            manager.pause("talker")  # so that the next ones are one run
        manager.broadcast_many([Payload(b"status", b"-16")] * 3)
        manager.resume("talker")
        deadline = time.monotonic() + 60
        while plugin.state != "failed" and time.monotonic() < deadline:
            time.sleep(0.01)
    told = [line["event"] for line in logs if "on_broadcast" in line["event"]]
    assert told == [
        "on_broadcast returned FAILED (-1) for PAYLOAD, ordinal 1, sequence 1: no 0",
        "on_broadcast returned FAILED (-1) for PAYLOAD, ordinal 2, sequence 2: no 1",
        (
            "on_broadcast returned FATAL (-16) for PAYLOAD, ordinal 3, sequence 3, and 2 events "
            "after it; the plugin gets nothing more"
        ),
    ]
    (unloaded,) = [line for line in logs if long in str(line)]
    assert unloaded["event"] == "plugin unloaded, but not cleanly"
    assert unloaded["problem"].startswith(f"on_unload failed (FAILED (-1)): {long}")


@pytest.mark.parametrize("mode", ["inline", "thread", "process"])
def test_a_line_is_as_long_in_every_mode(compile_plugin, mode) -> None:
    library = compile_plugin("talker.c", name="talker")
    with capture_logs() as logs, PluginManager(mode) as manager:
        manager.load_plugin({"libpath": str(library)})
        manager.broadcast(Payload(b"log/2", b"x" * 65_536))
        manager.broadcast(Payload(b"log/2", b"y" * 100_000))
        manager.flush()
    whole, cut = [line["event"] for line in logs if line["event"][0] in "xy"]
    assert whole == "x" * 65_536
    assert cut == "y" * 65_536 + " [cut: it has 100000 bytes]"


def test_on_unload_is_told_that_the_host_stops(talker) -> None:
    with capture_logs() as logs:
        talker.manager.unload_plugin("talker")
    assert logs[0]["event"] == "stopping"


def test_a_child_writes_although_a_thread_held_the_lock_when_it_was_forked() -> None:
    code = """if True:
        import os, signal, threading
        from slipstream.logs import standard_error
        held, over = threading.Event(), threading.Event()
        def hold():
            with standard_error._lock:
                held.set()
                over.wait()
        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            standard_error.write("a line\\n")
            os._exit(0)
        print(os.waitpid(child, 0)[1])
        over.set()
        thread.join()
    """
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("0\n", "a line\n")
