"""What plugin authors test their own plugins with.

Build a plugin from C or C++ source inside of a test (`build_plugin`), drive a library step by
step and look at everything that it answers, logs and acknowledges (`FakeHost`), in a process of its
own if it may crash (`IsolatedHost`), or see what a host sends (`RecordingPlugin`). Works with any
test runner; pytest has fixtures for it, `plugin_from_source` and `isolated_host`::

    def test_commits_on_flush(tmp_path):
        library = build_plugin(Path("src/sink.c"), "-lsqlite3", folder=tmp_path)
        with FakeHost(library, {"path": str(tmp_path / "db")}) as host:
            assert host.deliver(Block(b"...", 7)).ok
            host.flush()
            assert host.acknowledged == 1
            assert not host.misbehaviour
"""

from __future__ import annotations

from slipstream.delivery.instance import LoadReason
from slipstream.delivery.instance import Mapping as Mapped
from slipstream.logs import LogLine
from slipstream.testing.build import PluginBuildError, build_plugin
from slipstream.testing.fake_host import Answer, FakeHost
from slipstream.testing.isolated import IsolatedHost, PluginCrashed
from slipstream.testing.recording import RecordingPlugin

__all__ = [
    "Answer",
    "FakeHost",
    "IsolatedHost",
    "LoadReason",
    "LogLine",
    "Mapped",
    "PluginBuildError",
    "PluginCrashed",
    "RecordingPlugin",
    "build_plugin",
]
