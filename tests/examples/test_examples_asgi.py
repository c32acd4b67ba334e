"""examples/host-asgi: an application of its own, with the admin surface mounted."""

from __future__ import annotations

import runpy
from pathlib import Path

from slipstream import PluginManager
from slipstream.server import Tokens
from support.gated import wait_until
from support.rest import Served

ROOT = Path(__file__).resolve().parents[2]


def test_the_application(examples, tmp_path: Path) -> None:
    make_app = runpy.run_path(str(ROOT / "examples" / "host-asgi" / "host.py"))["make_app"]
    config = examples / "tally" / "tally.json5"
    with PluginManager("thread", insecure_paths=True) as manager:
        manager.load_plugin(config)
        app = make_app(manager, [config], tmp_path)
        app.stop = lambda: None
        token = Tokens(tmp_path).issue("me")
        with Served(app, health="/admin/healthz") as served, served.client(token) as client:
            wait_until(lambda: client.get("/").json()["sent"] > 2, "no events")
            plugins = "/admin/mainnet/slipstream/plugins"
            assert client.get(plugins).json() == ["tally"]
            assert client.post(f"{plugins}/tally/flush").json() == {"flushed": "tally"}
            assert client.delete(f"{plugins}/tally").json() == {"unloaded": True}
            answer = client.post(plugins, json={"config_file": str(config)})
            assert answer.json() == {"loaded": "tally"}, answer.text
            assert client.post(plugins, json={"config_file": "/etc/x"}).status_code == 403
            assert "host_events_sent_total" in client.get("/admin/metrics").text
        assert (tmp_path / "audit.jsonl").read_text().count("\n") == 4
