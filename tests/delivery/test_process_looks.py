"""What is known of a worker is the asker's own: nobody else's question changes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipstream import PluginLoadError, PluginManager, _native
from slipstream.delivery.supervisor import Supervised
from slipstream.testing import build_plugin

MINIMAL = Path(__file__).resolve().parents[2] / "examples" / "minimal" / "minimal.so"
REFUSES = """
#include <slipstream.h>
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    return slipstream_fail(host, 0, "the second one"), NULL;
}
"""


def test_what_was_told_stays_while_others_ask(tmp_path, monkeypatch) -> None:
    refuses = build_plugin(REFUSES, folder=tmp_path, name="refuses")
    workers: list[Supervised] = []

    def remember(self, *arguments) -> None:
        begin(self, *arguments)
        workers.append(self)

    begin = Supervised.__init__
    monkeypatch.setattr(Supervised, "__init__", remember)
    with PluginManager("process", insecure_paths=True) as manager:
        plugin = manager.load_plugin({"libpath": str(MINIMAL)})
        (worker,) = workers
        before = worker.info()
        with pytest.raises(PluginLoadError, match="the second one"):
            manager.reload_plugin(plugin.name, {"libpath": str(refuses)})
        after = worker.info()
        assert "the second one" in _native.text(after.text)
        assert _native.text(before.text) == ""
