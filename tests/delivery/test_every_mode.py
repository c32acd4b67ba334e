"""What every mode promises, held in every mode: by the same tests, with the same outcome."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slipstream import (
    Block,
    FlushTimeout,
    MappingUpdate,
    Meta,
    Payload,
    PluginStartError,
    SlipstreamError,
    frames,
)
from slipstream.status import Metric
from support.gated import wait_until
from support.letters import letters_in
from support.logs import capture_logs
from support.process_tools import Footprint, copies_in, native_threads
from support.recorded import BATCH, EXPLICIT_ACK, Recorder

MODES = ["inline", "thread", "process"]
FAULTS = {4, 5, 6, 7, 8, 11, 31}  # SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS
SECRET = "wanderer-of-the-heap-8472"

Load = Callable[..., Any]


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def recorder(compile_plugin: Callable[..., Path], tmp_path: Path) -> Recorder:
    return Recorder(compile_plugin, tmp_path)


def stamped(count: int) -> bytes:
    """Events that carry stream, sequence and time: the hottest loops take them as they are."""
    return b"".join(
        frames.encode(
            MappingUpdate(b"p", b"m", b"k", b"v", n, meta=Meta(stream=7, sequence=n, time_ns=5))
        )
        for n in range(1, count + 1)
    )


def blocks(count: int) -> bytes:
    return b"".join(frames.encode(Block(b"", height)) for height in range(1, count + 1))


def letters_of(tmp_path: Path, name: str = "recorder") -> list[tuple[int, int, int]]:
    """Ordinal, status and attempts of each dead letter."""
    letters = letters_in(tmp_path / "data" / name / "dead-letters.slip")
    return [(why["ordinal"], why["status"], why["attempts"]) for why, _, _ in letters]


# ---- Events --------------------------------------------------------------------------------------


def test_a_stream_of_stamped_updates(manager, recorder, tmp_path, mode) -> None:
    """Ordinals without a hole over more than one piece, with failures and one that is ignored."""
    statuses = [0] * 64
    statuses[1] = statuses[63] = -1
    statuses[2] = 2  # IGNORED
    plugin = manager.load_plugin(recorder.config(mode=mode, statuses=statuses))
    assert manager.broadcast_frames(stamped(200)) == 200
    assert manager.broadcast_frames(stamped(1)) == 1
    manager.flush(240)
    assert [(e["ordinal"], e["sequence"], e["stream"]) for e in recorder.events] == [
        *((n, n, 7) for n in range(1, 201)),
        (201, 1, 7),
    ]
    assert {(e["attempt"], e["count"], e["time"]) for e in recorder.events} == {(1, 1, 5)}
    counters = plugin.counters
    assert (counters.accepted, counters.delivered, counters.dead) == (201, 199, 2)
    assert (counters.dead_unkept, counters.acknowledged) == (0, 201)
    assert letters_of(tmp_path) == [(2, -1, 1), (64, -1, 1)]


def test_a_stream_of_stamped_updates_some_of_which_are_rejected(
    manager, compile_plugin, tmp_path, mode
) -> None:
    library = compile_plugin("settler.c", "-D_GNU_SOURCE", "-pthread", "-DFLAGS=0", name="settler")
    config = {"libpath": str(library), "log": str(tmp_path / "log"), "status": -3}
    plugin = manager.load_plugin(config | {"mode": mode, "rejects": [2, 70, 71]})
    manager.broadcast_frames(stamped(100))
    manager.flush(240)
    assert (plugin.counters.delivered, plugin.counters.dead) == (97, 3)
    assert letters_of(tmp_path, "settler") == [(n, -3, 1) for n in (2, 70, 71)]


@pytest.mark.parametrize("ends", [-16, -17], ids=["FATAL", "PANIC"])
def test_a_stream_whose_plugin_gives_up(manager, recorder, tmp_path, mode, ends) -> None:
    """After a PANIC nothing of the plugin is called any more but destroy."""
    statuses = [0, ends]
    plugin = manager.load_plugin(recorder.config(mode=mode, statuses=statuses))
    with capture_logs():
        manager.broadcast_frames(stamped(40))
        wait_until(lambda: str(plugin.state) == "failed", "it goes on")
        assert ("FATAL (-16)" if ends == -16 else "PANIC (-17)") in plugin.reason
        manager.unload_plugin("recorder")
    assert recorder.ordinals == [1, 2]
    assert ("unload" in recorder.calls) == (ends == -16)
    assert "flush" not in recorder.calls
    counters = plugin.counters
    assert (counters.accepted, counters.delivered) == (40 if mode != "inline" else 2, 1)


def test_a_refused_run(manager, compile_plugin, tmp_path, mode) -> None:
    """A run that is rejected is offered again one by one; what is rejected alone is dead."""
    recorder = Recorder(compile_plugin, tmp_path, flags=BATCH)
    plugin = manager.load_plugin(recorder.config(mode=mode, run_status=-3, statuses=[0, 0, -3]))
    if mode != "inline":
        manager.pause("recorder")  # so that they are one run
    manager.broadcast_frames(blocks(4))
    if mode != "inline":
        manager.resume("recorder")
    manager.flush(240)
    manager.broadcast_frames(blocks(1))
    manager.flush(240)
    told = [(e["ordinal"], e["attempt"], e["count"], e["status"]) for e in recorder.events]
    assert told == [
        *((n, 1, 4, -3) for n in range(1, 5)),
        *((n, 2, 1, -3 if n == 2 else 0) for n in range(1, 5)),
        (5, 1, 1, 0),
    ]
    counters = plugin.counters
    assert (counters.accepted, counters.delivered, counters.dead) == (5, 4, 1)
    assert (counters.dead_unkept, counters.acknowledged) == (0, 5)
    assert letters_of(tmp_path) == [(2, -3, 2)]


def test_both_payload_names_are_routed(manager, compile_plugin, tmp_path, mode) -> None:
    recorder = Recorder(compile_plugin, tmp_path, kinds="0")
    manager.load_plugin(recorder.config(mode=mode, claim="one", claim_2="two"))
    assert [manager.route(Payload(name, b"")) for name in (b"one", b"two", b"on")] == [
        True,
        True,
        False,
    ]
    manager.flush(240)
    assert recorder.ordinals == [1, 2]


@pytest.mark.parametrize(("limit", "has"), [(7.5, 7500), (0, 2**32 - 1)], ids=["a limit", "none"])
def test_flush_hears_how_long_it_has(manager, compile_plugin, tmp_path, mode, limit, has) -> None:
    """Inline that is what the caller gives it; elsewhere what any call has."""
    recorder = Recorder(compile_plugin, tmp_path, flags=EXPLICIT_ACK)
    config = recorder.config(mode=mode, callback_timeout=limit, flush_interval=600)
    plugin = manager.load_plugin(config)
    manager.broadcast_frames(blocks(2))
    manager.flush(240)
    assert plugin.counters.acknowledged == 2
    (told,) = [line["timeout"] for line in recorder.lines if line["call"] == "flush"]
    assert 230_000 < told <= 240_000 if mode == "inline" else told == has


FAILS = r"""
#include <slipstream.h>
static const slipstream_host *host;
static void destroy(void *instance) { (void)instance; }
static uint64_t subscribed_events(void *instance) { (void)instance; return ~(uint64_t)0; }
static int32_t on_broadcast(void *instance, const slipstream_delivery *delivery,
                            const uint8_t *frames, size_t len) {
    (void)instance, (void)frames, (void)len;
    return delivery->first_ordinal == 2 ? slipstream_fail(host, SLIPSTREAM_IO, SAYS)
                                        : SLIPSTREAM_OK;
}
static int32_t flush(void *instance, uint32_t timeout_ms) {
    static int calls;
    (void)instance, (void)timeout_ms;
    return calls++ == 0 ? slipstream_fail(host, SLIPSTREAM_RETRY, SAYS) : SLIPSTREAM_OK;
}
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *given) {
    static const slipstream_plugin table = {
        .struct_size = sizeof table, .name = "attic", .version = "1", .destroy = destroy,
        .flags = SLIPSTREAM_FLAG_EXPLICIT_ACK, .subscribed_events = subscribed_events,
        .on_broadcast = on_broadcast, .flush = flush};
    host = given;
    return &table;
}
"""


@pytest.mark.parametrize("says", ["the attic is full", "!"])
def test_what_it_says_when_something_fails(manager, compile_plugin, tmp_path, mode, says) -> None:
    library = compile_plugin(FAILS, f'-DSAYS="{says}"')
    with capture_logs() as logs:
        plugin = manager.load_plugin({"libpath": str(library), "mode": mode})
        manager.broadcast_frames(stamped(3))
        with pytest.raises(FlushTimeout, match=r"flush failed \(RETRY \(-2\)\)") as caught:
            manager.flush(240)
        manager.flush(240)
        wait_until(lambda: "on_broadcast returned" in str(logs), "no line")
    (line,) = (one for one in map(str, logs) if "on_broadcast returned" in one)
    assert "IO (-13) for MAPPING_UPDATE, ordinal 2, sequence 2" in line
    assert line.count(says) == 1
    flushed = caught.value.message if mode == "inline" else str(logs)
    assert re.search(rf"flush (failed|returned) .*RETRY \(-2\).*: {says}", flushed)
    letters = letters_in(tmp_path / "data" / "attic" / "dead-letters.slip")
    assert [(why["ordinal"], why["text"]) for why, _, _ in letters] == [(2, says)]
    assert plugin.counters.dead == 1


# ---- What a plugin says --------------------------------------------------------------------------


def test_metrics_have_their_values(manager, compile_plugin, mode) -> None:
    library = compile_plugin("talker.c", name="talker")
    plugin = manager.load_plugin({"libpath": str(library), "mode": mode})
    for command in (b"count", b"gauge"):
        for body in (b"%b_rows," % command, b"%b_rows,table=blocks" % command) * 2:
            manager.broadcast(Payload(command, body))
    manager.flush(240)
    expected = [
        Metric("count_rows", "", 6),
        Metric("count_rows", "table=blocks", 6),
        Metric("gauge_rows", "", -0.5),
        Metric("gauge_rows", "table=blocks", -0.5),
    ]
    wait_until(lambda: plugin.metrics == expected, f"{plugin.metrics}", 20)
    assert plugin.counters.dead == 0


# ---- The process around it -----------------------------------------------------------------------


def blocked_signals(pid: int, thread: str) -> set[int]:
    """The numbers of the signals that a thread of a process blocks."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == thread:
            mask = int(re.findall(r"SigBlk:\s(\w+)", (task / "status").read_text())[0], 16)
            return {number for number in range(1, 65) if mask >> (number - 1) & 1}
    raise AssertionError(thread)


def test_signals_of_the_application_do_not_come_to_its_thread(manager, recorder, mode) -> None:
    before = set(native_threads())
    plugin = manager.load_plugin(recorder.config(mode=mode))
    pid = plugin.pid if mode == "process" else os.getpid()
    names = [
        name
        for task in Path(f"/proc/{pid}/task").iterdir()
        if re.fullmatch(r"slip-\d+", name := (task / "comm").read_text().strip())
    ]
    (own,) = set(names) - (before if mode != "process" else set())
    # Of those that can be blocked at all; 32 and 33 are the C library's, which blocks all for a
    # moment while a thread starts.
    wanted = set(range(1, 65)) - FAULTS - {9, 19, 32, 33}
    wait_until(lambda: blocked_signals(pid, own) == wanted, "it blocks others")


def failing(recorder: Recorder, folder: Path) -> dict[str, dict[str, Any]]:
    """Configs of loads that fail, by what they fail of."""
    text, letters = folder / "text.so", folder / "letters"
    text.write_text("no library\n")
    letters.write_bytes(b"no dead letters\n")
    return {
        "on_load": recorder.config(load_status=-13),
        "the file": {"libpath": str(text)},
        "dead letters": recorder.config(dead_letter=str(letters)),
        "no folder": recorder.config(dead_letter=str(folder / "nowhere" / "letters")),
        "too large a ring": recorder.config(ring_bytes="64TiB"),
    }


@pytest.mark.no_asan  # which ends a process that asks for so much
def test_a_load_that_fails_gives_everything_back(manager, recorder, tmp_path, mode) -> None:
    # What is there from the first load on stays: threads of the manager.
    manager.load_plugin(recorder.config(mode=mode, name="first"))
    manager.unload_plugin(manager.list_plugins()[0])
    before = Footprint.now()
    copies = copies_in(recorder.library.parent)  # of what other tests have let go of
    for what, config in failing(recorder, tmp_path).items():
        if mode == "inline" and what == "too large a ring":
            continue
        with pytest.raises(SlipstreamError) as raised:
            manager.load_plugin(config | {"mode": mode})
        assert raised.value.hint or isinstance(raised.value, PluginStartError), what
        after = Footprint.now()
        assert after == before, what
        assert copies_in(recorder.library.parent) == copies, what
        assert manager.list_plugins() == []
    manager.load_plugin(recorder.config(mode=mode))
    manager.unload_plugin("recorder")
    assert Footprint.now() == before


def written_memory(pid: int) -> bytes:
    """What another process has in memory that it can write to."""
    found = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as memory:
        for line in maps:
            if line.split()[1].startswith("rw"):
                start, end = (int(part, 16) for part in line.split()[0].split("-"))
                memory.seek(start)
                found.append(memory.read(end - start))
    return b"\0".join(found)


@pytest.mark.no_asan  # whose shadow is too large to be read
def test_a_worker_keeps_no_secret(manager, recorder, monkeypatch) -> None:
    """What on_load was given is wiped behind it, in the pieces that it came in, too."""
    monkeypatch.setenv("SLIP_TEST_SECRET", SECRET)
    padding = {f"key_{n}": "x" * 10_000 for n in range(12)}  # more than one message
    config = recorder.config(mode="process", password="env://SLIP_TEST_SECRET", **padding)
    plugin = manager.load_plugin(config)
    memory = written_memory(plugin.pid)
    assert b"recorder" in memory
    assert SECRET.encode() not in memory
