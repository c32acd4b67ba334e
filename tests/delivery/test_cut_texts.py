"""A plugin's error that is too long is cut at a character, and says so, in every mode."""

from __future__ import annotations

import pytest

from slipstream import Block, PluginStartError
from support.gated import wait_until
from support.logs import capture_logs

EVERY_MODE = pytest.mark.parametrize("mode", ["inline", "thread", "process"])

# "xy", then 3,000 characters of two bytes: where it is cut lies inside of one.
LONG = """
#include <slipstream.h>
#include <string.h>
static const slipstream_host *host;
static void fail(void) {
    char text[6002] = "xy";
    for (size_t i = 2; i < sizeof text; i += 2)
        memcpy(text + i, "\\xC3\\xBC", 2);
    host->set_error(host->ctx, text, sizeof text);
}
static int32_t on_load(void *i, const char *c, size_t len, uint32_t reason) {
    (void)i, (void)c, (void)len, (void)reason;
    if (!FAILS_TO_LOAD)
        return SLIPSTREAM_OK;
    fail();
    return SLIPSTREAM_FAILED;
}
static uint64_t subscribed_events(void *i) { (void)i; return ~(uint64_t)0; }
static int32_t on_broadcast(void *i, const slipstream_delivery *d, const uint8_t *f, size_t len) {
    (void)i, (void)d, (void)f, (void)len;
    fail();
    return SLIPSTREAM_FAILED;
}
static void on_unload(void *i) { (void)i; }
static void destroy(void *i) { (void)i; }
SLIPSTREAM_EXPORT const slipstream_plugin *
slipstream_create_plugin_v1(const slipstream_host *given) {
    static const slipstream_plugin table = {
        .struct_size = sizeof table, .abi_minor = SLIPSTREAM_ABI_MINOR, .name = "long",
        .version = "1", .destroy = destroy, .on_load = on_load,
        .subscribed_events = subscribed_events, .on_broadcast = on_broadcast};
    (void)on_unload;
    host = given;
    return &table;
}
"""
MARK = " [cut: it has 6002 bytes]"


def assert_is_cut(text: str) -> None:
    assert MARK in text
    before = text.partition(MARK)[0]
    kept = before[before.index("xyü") :]
    assert kept == "xy" + "ü" * (len(kept) - 2)
    assert len(kept.encode()) == 4096 - len(MARK) - 1
    assert "\\x" not in text


@EVERY_MODE
def test_why_it_did_not_start(manager, compile_plugin, mode) -> None:
    library = compile_plugin(LONG, "-DFAILS_TO_LOAD=1")
    with pytest.raises(PluginStartError) as caught:
        manager.load_plugin({"libpath": str(library), "mode": mode})
    assert_is_cut(caught.value.message)


@EVERY_MODE
def test_why_an_event_failed(manager, compile_plugin, tmp_path, mode) -> None:
    library = compile_plugin(LONG, "-DFAILS_TO_LOAD=0")
    with capture_logs() as logs:
        plugin = manager.load_plugin({"libpath": str(library), "mode": mode})
        manager.broadcast(Block(b"b", 1))
        wait_until(lambda: plugin.counters.dead == 1, "it failed")
        manager.unload_plugin("long")
    failed = [line["event"] for line in logs if "returned FAILED" in line["event"]]
    assert len(failed) == 1
    assert_is_cut(failed[0])
    letters = (tmp_path / "data" / "long" / "dead-letters.slip").read_bytes()
    assert MARK.encode() in letters
