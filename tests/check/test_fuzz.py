"""The fuzzer finds what is planted, and what it has found crashes again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from slipstream.check import fuzz, play
from slipstream.check.given import subject_of
from slipstream.check.subject import Subject
from slipstream.check.suite import explore
from slipstream.errors import SlipstreamError

# Crashes at one length of a block and one height; with FATAL it also wants to end now and then.
PLANTED = """
#include <slipstream.h>
#include <stdio.h>

static int32_t on_broadcast(void *i, const slipstream_delivery *d, const uint8_t *data, size_t len) {
    slipstream_frame frame;
    slipstream_block block;
    static unsigned calls;
    static volatile int *volatile nowhere = (volatile int *)16;
    (void)i, (void)d;
    if (slipstream_read_frame(data, len, &frame) != SLIPSTREAM_OK ||
        frame.kind != SLIPSTREAM_KIND_BLOCK ||
        slipstream_read_block(&frame, &block) != SLIPSTREAM_OK)
        return SLIPSTREAM_MALFORMED;
    if (block.block.len == 37 && frame.height == HEIGHT)
        *nowhere = 1;
    IN_BROADCAST
    return ++calls % 500 == 0 ? ANSWER : SLIPSTREAM_OK;
}

static uint64_t subscribed_events(void *i) {
    (void)i;
    return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK);
}

static void destroy(void *i) { (void)i; }

const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    static const slipstream_plugin table = {
        .struct_size = sizeof table, .abi_minor = SLIPSTREAM_ABI_MINOR, .name = "planted",
        .version = "1", .destroy = destroy, .subscribed_events = subscribed_events,
        .on_broadcast = on_broadcast};
    (void)host;
#ifdef ONLY_ONCE
    static int made;
    if (made++ != 0)
        return NULL;
#endif
    return &table;
}
"""
# What compilers tell of where the code goes, each by functions of its own.
TOLD = [
    ("gcc", "trace-pc,trace-cmp"),
    ("clang", "inline-8bit-counters,trace-cmp"),
    ("clang", "trace-pc-guard,trace-cmp"),
]
SECONDS = 60  # at most; it is found within one


@pytest.fixture
def planted(compile_plugin):
    def build(*flags: str, height: int = 4242, answer: str = "OK", code: str = "") -> Subject:
        own = f"-DIN_BROADCAST={code}"
        defines = (f"-DHEIGHT={height}u", f"-DANSWER=SLIPSTREAM_{answer}", own)
        subject = subject_of(compile_plugin(PLANTED, *flags, *defines))
        explore(subject)
        return subject

    return build


def test_a_planted_bug_is_found_and_crashes_again(planted, tmp_path: Path) -> None:
    subject = planted("-O2")
    found = fuzz.fuzz(subject, SECONDS, 1)
    assert "on_broadcast, BLOCK, fuzzed (seed 1)" in found.finding
    assert "SIGSEGV: wrote at 0x10" in found.finding
    assert found.edges is None
    path = fuzz.save(found.input, subject, tmp_path)
    assert path.name.startswith("check-crash-")
    library, data = fuzz.load(path)
    assert (library, data) == (subject.path, found.input)
    assert not fuzz.repeat(subject, data).is_whole
    assert fuzz.fuzz(subject, SECONDS, 1).input == data  # the same seed, the same event


@pytest.mark.parametrize(("compiler", "told"), TOLD)
def test_it_is_led_by_what_the_plugin_tells(planted, monkeypatch, compiler, told) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} on this machine")
    plain = fuzz.fuzz(planted("-O0"), SECONDS, 2)
    monkeypatch.setenv("CC", compiler)
    led = fuzz.fuzz(planted("-O0", f"-fsanitize-coverage={told}"), SECONDS, 2)
    assert "SIGSEGV" in plain.finding
    assert "SIGSEGV" in led.finding
    assert led.tried < plain.tried
    whole = planted("-O0", f"-fsanitize-coverage={told}", height=2**63 + 12345)
    found = fuzz.fuzz(whole, SECONDS, 2, limit=3000)
    assert (found.edges > 5, found.kept > 2, found.finding) == (True, True, ""), found


def test_a_plugin_that_ends_itself_is_started_anew(planted) -> None:
    for answer in ("FATAL", "PANIC"):
        found = fuzz.fuzz(planted(answer=answer, height=2**63 + 12345), 10, 1, limit=3000)
        assert found.finding == ""
        assert found.tried == 3000


def test_a_plugin_that_loads_once_is_not_tried_for_the_rest(planted) -> None:
    once = planted("-DONLY_ONCE", answer="FATAL", height=2**63 + 12345)
    with pytest.raises(
        SlipstreamError, match=r"itself after \d{3,4} events, and did not load again"
    ):
        fuzz.fuzz(once, SECONDS, 1)


def test_a_plugin_that_hangs_is_ended(planted) -> None:
    subject = planted(code="while (calls == 300) continue;")
    subject.slow = 0.05
    found = fuzz.fuzz(subject, SECONDS, 1)
    assert found.timed_out
    assert "on_broadcast, BLOCK, fuzzed (seed 1), time " in found.finding
    assert found.finding.endswith("did not return in time")
    assert found.input


# A megabyte with each call, into files that are not too large each.
FILLS = """{
    static char data[1 << 20];
    char name[32];
    snprintf(name, sizeof name, "f%u", calls / 64);
    FILE *file = fopen(name, "a");
    if (file != NULL) {
        (void)!fwrite(data, 1, sizeof data, file);
        fclose(file);
    }
}"""


def test_a_plugin_that_fills_the_disk_is_ended(planted, monkeypatch) -> None:
    monkeypatch.setattr(play, "_DISK", 64 << 20)
    found = fuzz.fuzz(planted(code=" ".join(FILLS.split())), SECONDS, 1)
    assert "vanished from the disk; it was ended" in found.finding
    assert not found.timed_out


def test_another_who_fills_the_disk_is_not_the_plugin(planted, monkeypatch) -> None:
    monkeypatch.setattr(play, "_written", lambda _process: 0)
    monkeypatch.setattr(play, "_DISK", 64 << 20)
    monkeypatch.setattr(play, "_ROOM", 1 << 60)
    with pytest.raises(play.CannotPlayError, match="something else"):
        fuzz.fuzz(planted(code=" ".join(FILLS.split())), SECONDS, 1)


def test_what_is_no_input_is_said(tmp_path: Path, examples) -> None:
    for name, data in (("short", b"x"), ("cut", fuzz._MAGIC), ("wrong", fuzz._MAGIC + b"[]\nabc")):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(SlipstreamError, match=name):
            fuzz.load(path)
    (tmp_path / "bare").write_bytes(bytes(48))
    library, data = fuzz.load(tmp_path / "bare")
    assert (library, data) == (None, bytes(48))
    subject = subject_of(examples / "minimal" / "minimal.so")
    assert fuzz.repeat(subject, data).is_whole  # it answers MALFORMED
    with pytest.raises(SlipstreamError, match="no kind of event"):
        fuzz.fuzz(subject, 1, 1)  # not explored: it is not known what it takes
    about = {"library": "/x/y.so"}
    (tmp_path / "good").write_bytes(fuzz._MAGIC + json.dumps(about).encode() + b"\n" + bytes(48))
    assert fuzz.load(tmp_path / "good")[0] == Path("/x/y.so")
