"""Process mode: what loads, what is refused, and what is ended while it loads."""

from __future__ import annotations

import json
import re
import shutil
import threading

import pytest

from slipstream import (
    PluginLoadError,
    PluginManager,
    PluginStartError,
    PluginState,
    Refusal,
    SlipstreamError,
)
from slipstream.delivery import supervisor
from support.hostile_libraries import COMPILED
from support.logs import capture_logs
from support.oracle import LOADED, Oracle
from support.process_tools import Footprint, copies_in
from support.workers import block

REPRESENTATIVE = [
    case for case in COMPILED if case.refusal in {
        Refusal.NO_CONSTRUCTOR, Refusal.CONSTRUCTOR_REFUSED, Refusal.TABLE_UNREADABLE,
        Refusal.TABLE_TOO_SMALL, Refusal.FUNCTION_MISSING, Refusal.NAME_INVALID,
        Refusal.CANNOT_OPEN, Refusal.FLUSH_MISSING,
    }
]  # fmt: skip
REPRESENTATIVE = list({case.refusal: case for case in REPRESENTATIVE}.values())


@pytest.mark.parametrize("case", REPRESENTATIVE, ids=lambda case: case.name)
def test_a_library_is_refused_as_it_is_inline(manager, compile_plugin, case) -> None:
    library = compile_plugin(case.source, *case.flags)
    found = []
    for mode in ("inline", "process"):
        with pytest.raises(PluginLoadError) as caught:
            manager.load_plugin({"libpath": str(library), "mode": mode, **case.config})
        found.append((re.sub("0x[0-9a-f]+", "0x", caught.value.message), *caught.value.args[1:]))
    assert found[0] == found[1]
    assert found[1][2] is case.refusal
    assert manager.list_plugins() == []
    assert copies_in(library.parent) == []


def test_a_crash_in_the_constructor_is_a_load_error(manager, compile_plugin, tmp_path) -> None:
    bad = Oracle(compile_plugin, tmp_path, '-DON_CREATE="segv"', name="early")
    before = Footprint.now()
    with capture_logs() as logs, pytest.raises(PluginLoadError) as caught:
        manager.load_plugin(bad.config())
    assert caught.value.refusal is Refusal.CANNOT_OPEN
    assert "died of signal 11" in caught.value.message
    assert str(bad.library) in caught.value.message
    reports = list((tmp_path / "data").rglob("crash-early-*.json"))
    assert len(reports) == 1, logs
    report = json.loads(reports[0].read_text())
    assert (report["signal"], report["address"]) == (11, "0x10")
    assert [f for f in Footprint.now().descriptors - before.descriptors if "memfd" in f] == []
    assert copies_in(bad.library.parent) == []
    good = manager.load_plugin(Oracle(compile_plugin, tmp_path).config())
    manager.broadcast(block(1))
    manager.flush(240)
    assert good.counters.acknowledged == 1


@pytest.mark.parametrize(
    ("define", "config", "error"),
    [
        ('-DON_CREATE="hang"', {}, PluginLoadError),
        ("", {"on_load": "hang"}, PluginLoadError),
        ("", {"on_load": "segv"}, PluginLoadError),
        ("", {"on_load": "fail"}, PluginStartError),
    ],
)
def test_what_does_not_load_is_ended(
    manager, compile_plugin, tmp_path, define, config, error
) -> None:
    defines = [define] if define else []
    bad = Oracle(compile_plugin, tmp_path, *defines)
    hangs = "hang" in [*config.values(), define.partition('"')[2].rstrip('"')]
    with capture_logs() as logs, pytest.raises(error) as caught:
        manager.load_plugin(bad.config(load_timeout=1 if hangs else 60, **config))
    message = caught.value.message
    if error is PluginStartError:
        assert "told to fail in on_load" in message
        assert "FAILED (-1)" in message
        assert "destroyed" in [line["event"] for line in logs]
    elif hangs:
        assert caught.value.refusal is Refusal.TIMED_OUT
        assert "did not return within load_timeout" in message
    else:
        assert "died of signal 11" in message
    # It was tried once, not again and again.
    assert [r for r in bad.records if r.type == LOADED] == []
    assert not any("started again" in line["event"] for line in logs)
    assert manager.list_plugins() == []
    assert copies_in(bad.library.parent) == []


@pytest.mark.parametrize("size", [70_000, 900_000])
def test_a_large_config_arrives_whole(manager, oracle, size) -> None:
    plugin = manager.load_plugin(oracle.config(padding="x" * size, expect_len=size))
    assert plugin.state is PluginState.RUNNING


REFUSES = """
#include <slipstream.h>
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    return slipstream_fail(host, 0, TEXT), NULL;
}
"""


def test_two_managers_do_not_hear_each_others_messages(compile_plugin) -> None:
    """Each supervisor looks at a message in memory of its own."""
    heard: dict[str, list[str]] = {}

    def refuse(letter: str) -> None:
        library = compile_plugin(REFUSES, f'-DTEXT="{letter * 4000}"', name=f"refuses-{letter}")
        with PluginManager("process", insecure_paths=True) as manager:
            for _ in range(60):
                with pytest.raises(PluginLoadError) as caught:
                    manager.load_plugin({"libpath": str(library), "load_timeout": 240})
                heard.setdefault(letter, []).append(caught.value.message)

    threads = [threading.Thread(target=refuse, args=(letter,)) for letter in "XYZ"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert sorted(heard) == ["X", "Y", "Z"]
    for letter, messages in heard.items():
        assert len(messages) == 60
        others = set("XYZ") - {letter}
        assert [
            m for m in messages if letter * 4000 not in m or any(o * 9 in m for o in others)
        ] == []


# ---- What is said of a worker that falls while it loads ------------------------------------------

ABORTS = """
#include <slipstream.h>
#include <stdio.h>
#include <stdlib.h>

static void destroy(void *unused) { (void)unused; }
static uint64_t subscribed_events(void *unused) { (void)unused; return 0; }
static int32_t on_load(void *unused, const char *config, size_t len, uint32_t reason) {
    (void)unused, (void)config, (void)len, (void)reason;
    fprintf(stderr, "terminate called after throwing\\n  what():  no such table: blocks\\n");
    abort();
}
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    static const slipstream_plugin table = {
        sizeof table, SLIPSTREAM_ABI_MINOR, 0, 0, NULL, "aborts", "1", destroy, on_load, NULL,
        subscribed_events, NULL, NULL, NULL};
    (void)host;
    return &table;
}
"""


def test_what_a_plugin_prints_before_it_aborts_is_in_the_error(compile_plugin, tmp_path) -> None:
    library = compile_plugin(ABORTS, name="aborts")
    config = {"libpath": str(library), "mode": "process"}
    with (
        PluginManager(insecure_paths=True) as manager,
        pytest.raises(PluginLoadError) as caught,
    ):
        manager.load_plugin(config)
    assert "died of signal 6 (Aborted) while it was loaded" in caught.value.message
    assert "it said last: terminate called" in caught.value.message
    assert "what():  no such table: blocks" in caught.value.message
    assert caught.value.hint == "run it in a debugger"  # there is no report to look at
    with (
        PluginManager(insecure_paths=True, data_dir=tmp_path / "data") as manager,
        pytest.raises(PluginLoadError) as caught,
    ):
        manager.load_plugin(config)
    (report,) = (tmp_path / "data" / "aborts").glob("crash-*.json")
    assert caught.value.hint == f"see its crash report {report}, and run it in a debugger"


@pytest.mark.parametrize(
    ("kind", "next_step"),
    [
        ("not-executable", "that file has to be executable"),
        ("foreign-loader", "that file is missing, or the loader that it names"),
        ("no-program", "that file is no program for this system"),
        ("missing", "install slipstream again; process mode needs it"),
    ],
)
def test_a_worker_that_does_not_start_says_why(
    manager, compile_plugin, tmp_path, monkeypatch, kind, next_step
) -> None:
    program = tmp_path / "slipstream-worker"
    shutil.copy(supervisor.PROGRAM, program)
    if kind == "not-executable":
        program.chmod(0o644)
    elif kind == "foreign-loader":
        program.write_text("#!/nowhere/loader\n")
    elif kind == "no-program":
        program.write_bytes(b"\x7fELF of another kind")
    else:
        program.unlink()
    monkeypatch.setattr(supervisor, "PROGRAM", program)
    library = compile_plugin("talker.c", name="talker")
    with pytest.raises(SlipstreamError, match="slipstream-worker") as refused:
        manager.load_plugin({"libpath": str(library), "mode": "process"})
    assert next_step in refused.value.hint
    assert not manager.plugins
