"""The installed command, the example plugins, and plugins built for one test."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import slipstream

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
COMMAND = str(Path(sys.executable).with_name("slipstream"))
DEADLINE = 240

# A plugin in C whose functions do what -D says; it reports its life to the log.
SOURCE = r"""
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <slipstream.h>

#ifndef NAME
#define NAME "probe"
#endif
#ifndef FLAGS
#define FLAGS 0
#endif
#ifndef ON_CREATE
#define ON_CREATE
#endif
#ifndef ON_LOAD
#define ON_LOAD
#endif
#ifndef ON_EVENT
#define ON_EVENT
#endif
#ifndef ON_UNLOAD
#define ON_UNLOAD
#endif

static const slipstream_host *host;

static int32_t on_load(void *i, const char *config, size_t len, uint32_t reason) {
    (void)i, (void)config, (void)len, (void)reason;
    slipstream_log(host, SLIPSTREAM_LOG_INFO, NAME " loads");
    ON_LOAD;
    return SLIPSTREAM_OK;
}

static int32_t on_unload(void *i, uint32_t timeout_ms) {
    (void)i, (void)timeout_ms;
    ON_UNLOAD;
    slipstream_log(host, SLIPSTREAM_LOG_INFO, NAME " unloads");
    return SLIPSTREAM_OK;
}

static uint64_t subscribed_events(void *i) {
    (void)i;
    return ~(uint64_t)0;
}

static int32_t on_broadcast(void *i, const slipstream_delivery *d, const uint8_t *f, size_t len) {
    (void)i, (void)d, (void)f, (void)len;
    const uint64_t n = d->first_ordinal;
    (void)n;
    ON_EVENT;
    return SLIPSTREAM_OK;
}

static void destroy(void *i) {
    (void)i;
}

const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *h) {
    static const slipstream_plugin table = {
        sizeof table, SLIPSTREAM_ABI_MINOR, 0, FLAGS, NULL, NAME, "0.1", destroy, on_load,
        on_unload, subscribed_events, on_broadcast, NULL, NULL};
    host = h;
    ON_CREATE;
    return &table;
}
"""

Build = Callable[..., Path]


@pytest.fixture(scope="session")
def examples() -> Path:
    """The examples' folder with the C plugins built."""
    targets = [f"{name}/{name}.so" for name in ("minimal", "tally", "ledger")]
    if not all((EXAMPLES / target).exists() for target in targets):
        make = shutil.which("make")
        if make is None:
            pytest.skip("no make on this machine")
        subprocess.run([make, "-C", EXAMPLES, *targets], check=True, capture_output=True)
    return EXAMPLES


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Build a plugin; returns its config file. `host` are keys of the config."""

    def build(name: str, host: dict[str, object] | None = None, **macros: str) -> Path:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler on this machine")
        library, source = tmp_path / f"{name}.so", tmp_path / f"{name}.c"
        source.write_text(SOURCE)
        defines = [f"-D{key}={value}" for key, value in macros.items()]
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-I", slipstream.get_include(),
             f'-DNAME="{name}"', *defines, "-o", library, source],
            check=True,
        )  # fmt: skip
        config = tmp_path / f"{name}.json5"
        config.write_text(json.dumps({"libpath": f"{name}.so", **(host or {})}))
        return config

    return build


@pytest.fixture(scope="session")
def long_stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """500,000 events: some seconds of work."""
    path = tmp_path_factory.mktemp("streams") / "long.jsonl"
    lines = (EXAMPLES / "streams" / "mainnet_derived_blocks_1_to_5.jsonl").read_bytes()
    with path.open("wb") as file:
        for _ in range(400):
            file.write(lines)
    return path


def slipstream_command(
    *arguments: object, stdin: bytes | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the installed command to its end."""
    return subprocess.run(
        [COMMAND, *map(str, arguments)],
        input=None if stdin is None else stdin.decode("latin-1"),
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        encoding="latin-1" if stdin is not None else "utf-8",
        timeout=DEADLINE,
        check=False,
        env={**os.environ, "COLUMNS": "120", **environment},
    )


@pytest.fixture
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    return slipstream_command


@pytest.fixture(autouse=True)
def logging_untouched() -> Iterator[None]:
    """What a command run inside of this process has configured ends with the test."""
    yield
    logger = logging.getLogger("slipstream")
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)
