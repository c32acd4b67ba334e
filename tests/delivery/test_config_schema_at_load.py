"""A plugin's own keys are checked before its library is opened, and reach it with their defaults."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipstream import ConfigError, PluginManager, PluginStartError
from slipstream.testing import FakeHost

SOURCE = """
#include <slipstream.h>
#include <fcntl.h>

__attribute__((constructor)) static void run(void) { creat(RAN, 0600); }

SLIPSTREAM_INFO({
    "name": "picky", "version": "1", "abi": 1, "flags": [], "kinds": [],
    "config_schema": {
        "properties": {
            "every": {"type": "integer", "default": 7},
            "server": {"properties": {"port": {"type": "integer", "default": 5432}}, "default": {}},
            "word": {"type": "string", "minLength": 20}
        },
        "additionalProperties": false
    }
});

static const slipstream_host *host;
static void destroy(void *i) { (void)i; }
static int32_t on_load(void *i, const char *config, size_t len, uint32_t reason) {
    (void)i, (void)reason;
    host->set_error(host->ctx, config, len);
    return SLIPSTREAM_FAILED;
}
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *given) {
    static const slipstream_plugin table = {sizeof table, SLIPSTREAM_ABI_MINOR, 0, 0, NULL, "picky",
                                            "1", destroy, on_load, NULL, NULL, NULL, NULL, NULL};
    host = given;
    return &table;
}
"""


@pytest.fixture
def picky(compile_plugin, tmp_path: Path) -> tuple[Path, Path]:
    """The library, and the file that is there once it was opened."""
    ran = tmp_path / "ran"
    return compile_plugin(SOURCE, f'-DRAN="{ran}"', name="picky"), ran


@pytest.mark.parametrize("mode", ["inline", "thread", "process"])
def test_wrong_keys_are_refused_before_anything_runs(picky, tmp_path: Path, mode) -> None:
    library, ran = picky
    config = tmp_path / "picky.json5"
    config.write_text(f"{{\n  libpath: '{library}', mode: '{mode}',\n  evry: 1,\n}}")
    with PluginManager(insecure_paths=True) as host:
        with pytest.raises(ConfigError) as caught:
            host.load_plugin(config)
        assert host.list_plugins() == []
    assert "picky.json5:3:3: evry is not a key of the plugin: did you mean" in caught.value.message
    assert not ran.exists()
    assert not list(library.parent.glob(".*slipstream*"))


@pytest.mark.parametrize("mode", ["inline", "thread", "process"])
def test_defaults_reach_the_plugin(picky, mode) -> None:
    library, ran = picky
    with PluginManager(insecure_paths=True) as host, pytest.raises(PluginStartError) as caught:
        host.load_plugin({"libpath": str(library), "mode": mode, "server": {}})
    assert '"every":7' in caught.value.message
    assert '"server":{"port":5432}' in caught.value.message
    assert ran.exists()


def test_a_secret_is_checked_and_not_shown(picky, monkeypatch) -> None:
    library, ran = picky
    monkeypatch.setenv("WORD", "short and secret")
    with PluginManager(insecure_paths=True) as host, pytest.raises(ConfigError) as caught:
        host.load_plugin({"libpath": str(library), "mode": "inline", "word": "env://WORD"})
    assert 'word must have at least 20 characters, not "env://WORD"' in caught.value.message
    assert "short" not in str(caught.value)
    assert not ran.exists()


def test_an_author_sees_the_same(picky) -> None:
    library, ran = picky
    with pytest.raises(ConfigError, match="every must be a whole number"):
        FakeHost(library, {"every": "1"}).open()
    assert not ran.exists()
    host = FakeHost(library, {})
    with pytest.raises(PluginStartError, match='"every":7'):
        host.load()
    host.close()
