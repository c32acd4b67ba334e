"""The fixtures for pytest: a plugin that crashes or hangs fails its own test, and no other."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

CRASHER = r"""
#include <slipstream.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static slipstream_plugin table;
static const char *where = "";

static __attribute__((noinline)) void fall(const char *at) {
    if (strncmp(where, at, strlen(at)) != 0)
        return;
    if (strstr(where, " exits") != NULL)
        exit(3);
    while (strstr(where, " hangs") != NULL)
        pause();
    abort();
}
static int32_t on_load(void *i, const char *config, size_t len, uint32_t reason) {
    (void)i, (void)config, (void)len, (void)reason;
    fall("on_load");
    return SLIPSTREAM_OK;
}
static int32_t on_unload(void *i, uint32_t ms) {
    (void)i, (void)ms;
    fall("on_unload");
    return SLIPSTREAM_OK;
}
static uint64_t subscribed_events(void *i) {
    (void)i;
    fall("subscribed_events");
    return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK);
}
static int32_t on_broadcast(void *i, const slipstream_delivery *d, const uint8_t *f, size_t n) {
    (void)i, (void)d, (void)f, (void)n;
    if (strcmp(where, "on_broadcast") == 0)
        *(volatile int *)8 = 1;
    fall("on_broadcast");
    return SLIPSTREAM_OK;
}
static int32_t flush(void *i, uint32_t ms) {
    (void)i, (void)ms;
    fall("flush");
    return SLIPSTREAM_OK;
}
static void destroy(void *i) {
    (void)i;
    fall("destroy");
}
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    (void)host;
    where = getenv("WHERE") == NULL ? "" : getenv("WHERE");
    fall("slipstream_create_plugin_v1");
    table = (slipstream_plugin){
        .struct_size = sizeof table, .name = "crasher", .version = "1", .destroy = destroy,
        .flags = SLIPSTREAM_FLAG_EXPLICIT_ACK, .on_load = on_load, .on_unload = on_unload,
        .subscribed_events = subscribed_events, .on_broadcast = on_broadcast, .flush = flush};
    return &table;
}
"""
SESSION = r'''
import pytest
from pathlib import Path
from slipstream import Block
from slipstream.testing import PluginBuildError, PluginCrashed

WHERE = """slipstream_create_plugin_v1, on_load, subscribed_events, on_broadcast, flush, on_unload,
    destroy, on_broadcast exits, subscribed_events exits, on_broadcast hangs, destroy hangs"""


@pytest.fixture
def library(plugin_from_source):
    return plugin_from_source(Path(__file__).with_name("crasher.c"), name="crasher")


@pytest.mark.parametrize("where", [" ".join(part.split()) for part in WHERE.split(",")])
def test_falls(isolated_host, library, monkeypatch, where):
    monkeypatch.setenv("WHERE", where)
    host = isolated_host(library, timeout=0.5 if "hangs" in where else 20)
    assert host.deliver(Block(b"b", 1)).ok
    host.flush()


def test_goes_on(isolated_host, library, plugin_from_source):
    first, second = isolated_host(library), isolated_host(library)
    assert first.deliver(Block(b"b", 1), Block(b"c", 2)).ok
    first.flush()
    assert (first.acknowledged, second.acknowledged) == (2, 0)
    assert first.unload() == ""
    assert library == plugin_from_source(str(Path(__file__).with_name("crasher.c")), name="crasher")


def test_a_crash_that_is_expected(isolated_host, library, monkeypatch):
    monkeypatch.setenv("WHERE", "on_broadcast")
    host = isolated_host(library)
    with pytest.raises(PluginCrashed) as crash:
        host.deliver(Block(b"b", 1))
    assert (crash.value.plugin, crash.value.call) == ("crasher", "on_broadcast")
    assert (crash.value.signal, crash.value.function[:12]) == ("SIGSEGV", "on_broadcast")


def test_a_source_with_a_mistake(plugin_from_source):
    with pytest.raises(PluginBuildError, match="x. undeclared|undeclared identifier"):
        plugin_from_source("int f(void) {\n    return x;\n}\n")
    built = plugin_from_source("#include <vector>\nint f() {\n    return 1;\n}\n", lang="cpp")
    assert built.exists()
'''
# An editable install has a module that is imported before pytest is.
STRICT = ("-W", "error", "-W", "ignore::pytest.PytestAssertRewriteWarning")
EXPECTED = {
    "slipstream_create_plugin_v1": "crasher fell by SIGABRT in slipstream_create_plugin_v1",
    "on_load": "crasher fell by SIGABRT in on_load",
    "subscribed_events": "crasher fell by SIGABRT in subscribed_events",
    "on_broadcast": "crasher fell by SIGSEGV in on_broadcast, in on_broadcast at ",
    "flush": "crasher fell by SIGABRT in flush",
    "on_unload": "crasher fell by SIGABRT in on_unload",
    "destroy": "crasher fell by SIGABRT in destroy",
    "on_broadcast exits": "crasher has ended its process, with 3, in on_broadcast",
    "subscribed_events exits": "crasher has ended its process, with 3, in subscribed_events",
    "on_broadcast hangs": "crasher: on_broadcast did not return within 0.5 seconds",
    "destroy hangs": "crasher: destroy did not return within 0.5 seconds",
}


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_each_crash_is_a_failed_test_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "crasher.c").write_text(CRASHER)
    (tmp_path / "test_session.py").write_text(SESSION)
    done = run_pytest(tmp_path, "--junitxml=report.xml", *STRICT)
    assert "11 failed, 3 passed" in done.stdout, done.stdout + done.stderr
    assert "error" not in done.stdout.splitlines()[-1]
    found = {}
    for case in ET.parse(tmp_path / "report.xml").iter("testcase"):
        failure = case.find("failure")
        if failure is not None:
            found[case.get("name").partition("[")[2].rstrip("]")] = failure.get("message")
    assert found.keys() == EXPECTED.keys()
    for where, words in EXPECTED.items():
        assert words in found[where]
        assert "subscribed_events" not in found[where] or "subscribed_events" in where


def test_nothing_is_imported_in_a_session_that_does_not_use_it(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text(
        "import sys\n\n\ndef test_other():\n    assert 'slipstream_pytest' in sys.modules\n"
        "    assert not {'slipstream', 'cffi', 'numpy', '_cffi_backend'} & sys.modules.keys()\n"
    )
    done = run_pytest(tmp_path, *STRICT)
    assert done.returncode == 0, done.stdout + done.stderr
