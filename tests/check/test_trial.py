"""What was not tried does not pass, and what came late is not overlooked."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from slipstream._native import ffi, lib
from slipstream.check import play, suite, trial
from slipstream.check.catalogue import catalogue
from slipstream.check.subject import Subject
from slipstream.check.suite import explore, run_checks
from slipstream.check.trial import run
from slipstream.check.verdict import level_of

pytestmark = pytest.mark.no_asan  # what is checked runs in a program of its own

# A usual plugin that behaves in another way where the environment says so.
MOODY = r"""
#include <fcntl.h>
#include <signal.h>
#include <slipstream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/time.h>
#include <unistd.h>

static const slipstream_host *host;
static unsigned calls; /* of on_broadcast */

static int is(const char *mood) {
    const char *now = getenv("MOOD");
    return now != NULL && strcmp(now, mood) == 0;
}

static int is_held_back(int number) {
    sigset_t now;
    sigemptyset(&now);
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    return sigismember(&now, number);
}

static int32_t on_load(void *i, const char *config, size_t len, uint32_t reason) {
    (void)i, (void)config, (void)len, (void)reason;
    if (is("late child") && fork() == 0)
        usleep(400000);
    if (is("alone") && flock(open(getenv("LOCK"), O_RDWR | O_CREAT, 0600), LOCK_EX | LOCK_NB) != 0)
        return slipstream_fail(host, SLIPSTREAM_RETRY, "in use by another one");
    if (is("alone"))
        usleep(100000);
    if (is("ticking"))
        setitimer(ITIMER_VIRTUAL, &(struct itimerval){{0, 0}, {0, 900000}}, NULL);
    if (is("open") && system("for f in /proc/self/fd/*; do readlink $f || :; done >\"$SEEN\"") != 0)
        return slipstream_fail(host, SLIPSTREAM_FAILED, "no shell");
    if (is("watchful") && (is_held_back(SIGSEGV) || !is_held_back(SIGUSR1)))
        return slipstream_fail(host, SLIPSTREAM_FAILED, "a signal would come to me");
    return is("refusing") ? slipstream_fail(host, SLIPSTREAM_FAILED, "not today") : SLIPSTREAM_OK;
}

static __attribute__((noinline)) void call(void (*volatile function)(void)) {
    function();
    function = NULL;
}

static int32_t on_broadcast(void *i, const slipstream_delivery *d, const uint8_t *data, size_t len) {
    static volatile int *volatile nowhere = (volatile int *)16;
    (void)i, (void)d, (void)data, (void)len;
    calls++;
    if (is("never"))
        return SLIPSTREAM_RETRY;
    if (is("lost"))
        call(NULL);
    if (is("slow"))
        usleep(30000);
    if (is("tired") && host->is_stopping(host->ctx))
        *nowhere = 1;
    return is("final") ? SLIPSTREAM_FATAL : SLIPSTREAM_OK;
}

static uint64_t subscribed_events(void *i) {
    (void)i;
    return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK);
}

static void destroy(void *i) {
    (void)i;
    if (is("never"))
        dprintf(open(getenv("SEEN"), O_WRONLY | O_CREAT, 0600), "%u", calls);
    if (is("rude"))
        host->log(host->ctx, SLIPSTREAM_LOG_INFO, NULL, 5);
}

const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *given) {
    static const slipstream_plugin table = {
        .struct_size = sizeof table, .abi_minor = SLIPSTREAM_ABI_MINOR, .name = "moody",
        .version = "1", .destroy = destroy, .on_load = on_load,
        .subscribed_events = subscribed_events, .on_broadcast = on_broadcast};
    host = given;
    return &table;
}
"""
# What says something of a plugin that refuses to load.
WITHOUT_LOADING = {
    "entry.loads", "entry.quiet-load", "entry.constructor", "entry.constructor-again",
    "entry.cheap", "entry.twenty", "entry.bare-host", "entry.refusal-text", "entry.starts-nothing",
    "lifecycle.wrong-config", "lifecycle.refused-clean", "lifecycle.config-empty",
    "lifecycle.config-bytes", "lifecycle.config-huge", "lifecycle.config-deep",
    "subscriptions.known", "contract.null-text",
}  # fmt: skip


@pytest.fixture
def moody(compile_plugin) -> Subject:
    """The plugin, in a usual mood when it was looked at."""
    subject = Subject(compile_plugin(MOODY), {})
    explore(subject)
    assert not subject.unexplored
    return subject


def test_nothing_passes_of_a_plugin_that_does_not_load(moody, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MOOD", "refusing")
    quick = {name for name, check in catalogue().items() if check.quick}
    for name in sorted(quick - WITHOUT_LOADING):
        if name.startswith(("binary.", "table.")):
            continue
        folder = tmp_path / name
        folder.mkdir()
        assert run(moody, name, folder).verdict != "pass", name
    result = run(moody, "events.over-read", tmp_path)
    assert result.verdict == "untried"
    (finding,) = result.findings
    assert finding == (
        "subscribed_events could not be tried: it is not loaded; on_load returned FAILED (-1): "
        "not today"
    )


def test_what_a_plugin_takes_has_to_be_known(compile_plugin, tmp_path: Path, monkeypatch) -> None:
    subject = Subject(compile_plugin(MOODY), {})
    with monkeypatch.context() as mood:
        mood.setenv("MOOD", "refusing")
        explore(subject)
    result = run(subject, "events.over-read", tmp_path)
    assert (result.verdict, "could not be found out" in result.findings[0]) == ("untried", True)


def test_who_lacks_a_service_has_no_level(compile_plugin, monkeypatch) -> None:
    monkeypatch.setenv("MOOD", "refusing")
    subject = Subject(compile_plugin(MOODY), {}, {"needs-service": "a database"})
    explore(subject)
    names = ["entry.constructor", "lifecycle.load-unload", "lifecycle.one-event"]
    results = list(run_checks(subject, names, jobs=2))
    assert [result.verdict for result in results] == ["pass", "untried", "skip"]
    assert "quirk needs-service (a database): on_load returned FAILED" in results[1].findings[0]
    assert level_of(results) is None


def test_what_stands_in_each_others_way_is_tried_alone(moody, tmp_path: Path, monkeypatch) -> None:
    """As at a database that only one may open: no fault of the plugin, nor of the machine."""
    monkeypatch.setenv("MOOD", "alone")
    monkeypatch.setenv("LOCK", str(tmp_path / "lock"))
    names = [
        *("lifecycle.load-unload", "lifecycle.one-event", "subscriptions.accepted"),
        *("entry.newer-host", "entry.host-table", "peers.absent", "threads.foreign"),
    ]
    for _ in range(2):
        verdicts = {r.check.id: r.verdict for r in run_checks(moody, names, jobs=2)}
        assert verdicts == dict.fromkeys(names, "pass")
    # The lock is kept until the process ends: of a second life nothing can be said.
    (result,) = run_checks(moody, ["subscriptions.stable"], jobs=2)
    assert (result.verdict, "in use by another one" in result.findings[0]) == ("untried", True)
    result = run(moody, "unload.two-copies", tmp_path)
    assert (result.verdict, "only one can run at a time" in result.findings[0]) == ("skip", True)


def test_what_the_machine_refuses_is_not_the_plugins_fault(
    moody, tmp_path: Path, monkeypatch
) -> None:
    with monkeypatch.context() as small:
        small.setattr(play, "_memory", lambda: 8 << 20)
        result = run(moody, "events.large", tmp_path)
        assert (result.verdict, "no memory" in result.findings[0]) == ("untried", True)
    for at in range(700):
        monkeypatch.setenv(f"LONG_{at}", "x" * 150)
    assert run(moody, "hygiene.environment", tmp_path).verdict == "untried"
    result = suite._tried(moody, "entry.loads", tmp_path / "no" / "folder")
    assert (result.verdict, "No such file" in result.findings[0]) == ("untried", True)


def test_who_never_takes_an_event_is_asked_often_for_one(
    moody, tmp_path: Path, monkeypatch
) -> None:
    """The others would not be taken either: each is offered once, or the checker would never end."""
    monkeypatch.setenv("MOOD", "never")
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    subject_trial = trial.Trial(moody, catalogue()["lifecycle.one-event"], tmp_path)
    script = subject_trial.loaded()
    for at in (1, 2, 3):
        script.deliver(next(moody.samples()), ordinal=at)
    subject_trial.end(script)
    assert subject_trial.play(script).is_whole
    assert (tmp_path / "seen").read_text() == str(200 + 1 + 1 + 1)


def test_what_was_cut_off_is_not_heard(tmp_path: Path) -> None:
    """As by a SIGKILL in the middle of what it says; and nothing behind what is not ours."""
    with ExitStack() as stack:
        player = play._Player(trial.Script(), (1, 1), 0, tmp_path, stack)
        head = {"nonce": player._nonce, "step": 1, "what": lib.SS_PLAYED_LINE, "len": 5}
        one = bytes(ffi.buffer(ffi.new("ss_played *", head))) + b"abcde"
        other = bytes(ffi.buffer(ffi.new("ss_played *", head | {"nonce": 1}))) + b"abcde"
        for data, heard in ((one * 2, 2), (one * 2 + one[:-1], 2), (one + one[:-6], 1), (b"", 0)):
            assert [said.text for said in player._records(data)] == [b"abcde"] * heard
        assert len(list(player._records(one + other + one))) == 1


def test_who_is_slow_does_not_hang(moody, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MOOD", "slow")
    monkeypatch.setattr(trial, "_SLOW_MACHINE", 0.015)
    result = run(moody, "events.alignment", tmp_path)
    assert result.verdict == "untried"
    assert result.findings == ("it took too long in all, although no call of the plugin did",)


def test_a_play_that_fell_is_not_overlooked(moody, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MOOD", "tired")
    result = run(moody, "contract.stopping", tmp_path)
    assert (result.verdict, "SIGSEGV" in result.findings[0]) == ("crash", True)


def test_a_call_that_leads_nowhere(moody, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MOOD", "lost")
    (finding,) = run(moody, "lifecycle.one-event", tmp_path).findings
    assert "on_broadcast, BLOCK: crashed with SIGSEGV: called 0x0, where no code is (in" in finding
    assert "call" in finding.rpartition("(in ")[2]


def test_the_last_call_is_watched_too(moody, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MOOD", "rude")
    (finding,) = run(moody, "contract.host-calls", tmp_path).findings
    assert "log" in finding


def test_threads_get_the_signals_that_a_host_s_get(moody, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MOOD", "watchful")
    assert run(moody, "threads.foreign", tmp_path).verdict == "pass"


def test_a_program_that_a_plugin_starts_gets_nothing_of_ours(
    moody, tmp_path: Path, monkeypatch
) -> None:
    """With what it could write into, it could say what has come of another step."""
    monkeypatch.setenv("MOOD", "open")
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    assert run(moody, "lifecycle.load-unload", tmp_path).verdict == "pass"
    seen = (tmp_path / "seen").read_text()
    assert "/dev/null" in seen
    assert [line for line in seen.splitlines() if "pipe:" in line or "memfd:" in line] == []


def test_a_timer_of_less_than_a_second_runs(moody, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MOOD", "ticking")
    (finding,) = run(moody, "hygiene.timers", tmp_path).findings
    assert "ITIMER_VIRTUAL is running" in finding


def test_a_child_may_come_back_late(moody, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MOOD", "late child")
    result = run(moody, "contract.fork", tmp_path)
    assert result.findings == ("on_load returned a second time, in a child process",)


def test_who_ends_itself_is_given_the_rest(moody, tmp_path: Path, monkeypatch) -> None:
    firsts = []
    usual = trial.Script.mutate
    monkeypatch.setattr(
        trial.Script, "mutate",
        lambda *args, first, **more: firsts.append(first) or usual(*args, first=first, **more),
    )  # fmt: skip
    assert run(moody, "hostile.mutations", tmp_path).verdict == "pass"
    assert firsts == [1]
    monkeypatch.setenv("MOOD", "final")
    assert run(moody, "hostile.mutations", tmp_path).verdict == "pass"
    assert firsts == [1, *range(1, 21)]


def test_a_table_is_read_as_it_is(compile_plugin) -> None:
    usual = ".abi_minor = SLIPSTREAM_ABI_MINOR"
    own = ".abi_minor = 7, .min_host_minor = 2, .flags = SLIPSTREAM_FLAG_BATCH"
    assert usual in MOODY
    subject = Subject(compile_plugin(MOODY.replace(usual, own)), {})
    explore(subject)
    table = subject.table
    assert table is not None
    assert (table.name, table.version) == ("moody", "1")
    assert (table.abi_minor, table.min_host_minor, table.flags) == (7, 2, lib.SLIPSTREAM_FLAG_BATCH)
    assert table.functions == {"destroy", "on_load", "subscribed_events", "on_broadcast"}
    assert table.outside == set()
    assert table.struct_size == ffi.sizeof("slipstream_plugin")
