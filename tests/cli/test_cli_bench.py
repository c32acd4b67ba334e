"""``slipstream bench``: figures for each mode, and what is told of plugins that cannot be measured."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slipstream.cli import main

Compile = Callable[..., Path]

SLOW = """
#include <slipstream.h>
#include <time.h>
static uint64_t subscribed_events(void *instance) { (void)instance; return @KINDS@; }
static int32_t on_broadcast(void *instance, const slipstream_delivery *delivery,
                            const uint8_t *frames, size_t len) {
    struct timespec pause = {0, 100000};
    (void)instance, (void)delivery, (void)frames, (void)len;
    nanosleep(&pause, NULL);
    return @STATUS@;
}
static void destroy(void *instance) { (void)instance; }
static const slipstream_plugin table = {
    .struct_size = sizeof table, .name = "slow", .version = "1.0", .destroy = destroy,
    .subscribed_events = subscribed_events, .on_broadcast = on_broadcast};
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    return (void)host, &table;
}
"""


@pytest.fixture
def slow(compile_plugin: Compile) -> Callable[[str, str], Path]:
    def make(kinds: str, status: str) -> Path:
        source = SLOW.replace("@KINDS@", kinds).replace("@STATUS@", status)
        return compile_plugin(source, name="slow")

    return make


def bench(library: Path, *more: str) -> int:
    return main(["bench", str(library), "--insecure-paths", "--rounds", "2", *more])


def test_a_plugin_that_sleeps_costs_what_it_sleeps(
    slow: Callable[[str, str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    assert bench(slow("8", "0"), "--count", "256", "--json") == 0
    assert time.monotonic() - began < 60
    said = json.loads(capsys.readouterr().out)
    assert said["unit"] == "ns"
    assert [one["mode"] for one in said["modes"]] == ["inline", "thread", "process"]
    for one in said["modes"]:
        assert one["plugin"] > 100_000
        assert one["noop"] < one["plugin"] / 2
        assert one["own"] == pytest.approx(one["plugin"] - one["noop"])
        assert one["ratio"] == pytest.approx(one["plugin"] / one["noop"])


def test_the_table_fits_a_screen(
    examples: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    events = str(examples / "streams" / "mainnet_genesis.jsonl")
    tally = examples / "tally"
    config = ("--config", str(tally / "tally.json5"), "--events", events)
    assert bench(tally / "tally.so", "--mode", "inline", "--count", "397", *config) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["mode", "plugin", "no-op", "own", "ratio"]
    assert lines[2].split()[0] == "inline"
    assert max(map(len, lines)) <= 60


@pytest.mark.parametrize(
    ("kinds", "status", "told"),
    [
        ("0", "0", "slow subscribes to none of these events"),
        ("8", "-1", "slow did not take all events: 256 dead"),
    ],
)
def test_what_cannot_be_measured_is_told(
    slow: Callable[[str, str], Path],
    capsys: pytest.CaptureFixture[str],
    kinds: str,
    status: str,
    told: str,
) -> None:
    code = bench(slow(kinds, status), "--mode", "inline", "--count", "10")
    error = capsys.readouterr().err
    assert code in {1, 3}
    assert told in error
    assert "next: " in error
    assert "Traceback" not in error
