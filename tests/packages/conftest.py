"""A plugin in a few versions, built once, and packages made of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

SOURCE = r"""
#include <slipstream.h>
#ifndef SAYS
#define SAYS "1.0.0"
#endif
static int32_t on_load(void *i, const char *config, size_t len, uint32_t reason) {
    (void)i, (void)config, (void)len, (void)reason;
#ifdef FAILS
    return SLIPSTREAM_FATAL;
#endif
    return SLIPSTREAM_OK;
}
static int32_t on_unload(void *i, uint32_t ms) { (void)i, (void)ms; return SLIPSTREAM_OK; }
static uint64_t events(void *i) { (void)i; return ~(uint64_t)0; }
static int32_t on_broadcast(void *i, const slipstream_delivery *d, const uint8_t *f, size_t n) {
    (void)i, (void)d, (void)f, (void)n;
    return SLIPSTREAM_OK;
}
static void destroy(void *i) { (void)i; }
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *h) {
    static const slipstream_plugin table = {
        sizeof table, SLIPSTREAM_ABI_MINOR, 0, 0, NULL, "hello", SAYS, destroy, on_load,
        on_unload, events, on_broadcast, NULL, NULL};
    (void)h;
    return &table;
}
"""

Libraries = Callable[..., Path]


@pytest.fixture(scope="session")
def library(compile_plugin) -> Libraries:
    """``library(version, fails=False)``: the plugin `hello`, which says that version."""

    def library(version: str = "1.0.0", *, fails: bool = False) -> Path:
        flags = [f'-DSAYS="{version}"', *(["-DFAILS"] if fails else [])]
        return compile_plugin(SOURCE, *flags, name="hello")

    return library
