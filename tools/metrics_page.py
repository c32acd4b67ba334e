"""Write docs/metrics.md, all that a host tells Prometheus, out of the code that tells it.

python tools/metrics_page.py

`tests/test_reference.py` holds the page against the code.
"""

from __future__ import annotations

import logging
import re
import tempfile
from pathlib import Path

from slipstream import PluginManager
from slipstream.peers import Services
from slipstream.server.exposition import Family
from slipstream.server.metrics import SOURCE, Metrics
from slipstream.testing import build_plugin

DOCS = Path(__file__).resolve().parents[1] / "docs"

_HEAD = """\
# Metrics

What `GET /metrics` of a host answers, for Prometheus or any other program that reads its format.
Counters have the ending `_total`, info metrics `_info`. [Running a daemon](running-a-daemon.md)
shows how Prometheus is set up; [alert rules](../contrib/slipstream-alerts.yml) and a
[Grafana dashboard](../contrib/slipstream-grafana.json) lie in `contrib/`. This page is made of the
code by `tools/metrics_page.py`.

| metric | type | meaning | labels |
|---|---|---|---|
"""
_TAIL = """
A plugin's own metrics are called `slipstream_custom_NAME`, with the label `plugin` and the one that
the plugin gives.
"""
_VALUES = {"state", "result", "reason"}  # labels whose values are known; others are names


_PLUGIN = """
#include <slipstream.h>
static void destroy(void *self) { (void)self; }
static const slipstream_plugin table = {.struct_size = sizeof table, .name = "one",
                                        .version = "1", .destroy = destroy};
const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
    return (void)host, &table;
}
"""


class _Peers:
    def public_key(self, _peer: bytes) -> bytes | None:
        return None

    def name(self, _peer: bytes) -> str | None:
        return None

    def peer_at(self, _index: int) -> bytes | None:
        return None


def _row(family: Family) -> str:
    values: dict[str, list[str]] = {}
    for _, where, _ in family.samples:
        for name, value in re.findall(r'(\w+)="([^"]*)"', where):
            known = values.setdefault(name, [])
            if name in _VALUES and value not in known:
                known.append(value)
    labels = [
        f"`{name}`" + (f": {', '.join(map('`{}`'.format, sorted(known)))}" if known else "")
        for name, known in values.items()
        if name != "le"
    ]
    ending = {"counter": "_total", "info": "_info"}.get(family.kind, "")
    return (
        f"| `{family.name}{ending}` | {family.kind} | {family.says} | {'; '.join(labels) or '-'} |"
    )


def page() -> str:
    """Return the page, of a host with a plugin that shows every label."""
    with (
        tempfile.TemporaryDirectory() as folder,
        PluginManager("thread", services=Services(peers=_Peers())) as manager,
    ):
        manager.load_plugin({"libpath": str(build_plugin(_PLUGIN, folder=Path(folder)))})
        metrics = Metrics(manager, figures=lambda: dict.fromkeys(SOURCE, 0))
        try:
            logging.getLogger("slipstream").warning("a line", extra={"plugin": "one"})
            families = metrics.families()
        finally:
            metrics.close()
    return _HEAD + "\n".join(map(_row, families)) + "\n" + _TAIL


def pages() -> dict[str, str]:
    """Return the pages, by their names."""
    return {"metrics.md": page()}


if __name__ == "__main__":
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
