"""What Prometheus gets: every number, in both formats, and what a scrape costs."""

from __future__ import annotations

import logging
import subprocess

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from slipstream import Payload
from slipstream.server import Metrics
from slipstream.server.metrics import LineCounts
from support.toolbox import promtool

PARSERS = {False: prometheus, True: openmetrics}


def samples(body: bytes, *, is_open: bool = False) -> dict[tuple[str, frozenset], float]:
    found = {}
    for family in PARSERS[is_open](body.decode()):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


def value(found: dict, name: str, **labels: str) -> float:
    return found[f"slipstream_{name}", frozenset(labels.items())]


@pytest.fixture
def scraped(manager, compile_plugin):
    """Plugins in each mode that have done things, and what collects of them."""
    library = compile_plugin("talker.c", name="talker")
    figures = {"events": 7, "bytes": 900, "repeated": 2, "bad": 1, "producers": 3, "streams": 4}
    metrics = Metrics(manager, network="canary", figures=lambda: figures)
    manager.load_plugin({"libpath": str(library), "mode": "thread"})
    for body in (b"rows,", b"rows,table=a", b"seen,plugin=x", b"sent_total,"):
        manager.broadcast(Payload(b"count", body))
    manager.broadcast(Payload(b"gauge", b"level,"))
    manager.flush(60)
    yield metrics
    metrics.close()


@pytest.mark.parametrize("is_open", [False, True])
def test_every_number_has_its_value(manager, scraped, is_open: bool) -> None:
    plugin = manager.plugins["talker"]
    body, kind = scraped(is_open)
    assert kind.startswith("application/openmetrics-text" if is_open else "text/plain")
    found = samples(body, is_open=is_open)
    me = {"plugin": "talker"}
    assert value(found, "accepted_events_total", **me) == 5
    assert value(found, "events_total", **me, result="delivered") == 5
    assert value(found, "events_total", **me, result="dead") == 0
    assert value(found, "lag_events", **me) == 0
    assert value(found, "restarts_total", **me) == 0
    assert value(found, "plugin_state", **me, state="running") == 1
    assert value(found, "plugin_state", **me, state="paused") == 0
    ring = (
        value(found, "ring_bytes", **me, state="used"),
        value(found, "ring_bytes", **me, state="free"),
    )
    assert sum(ring) == plugin.counters.ring_bytes
    assert ring[0] == 0
    assert value(found, "callback_seconds_count", **me) == plugin.counters.callbacks_timed
    buckets = [
        (float(dict(labels)["le"]), count)
        for (name, labels), count in found.items()
        if name == "slipstream_callback_seconds_bucket"
    ]
    assert len(buckets) == 16
    assert [count for _, count in sorted(buckets)] == sorted(count for _, count in buckets)
    assert value(found, "plugin_info", **me, mode="thread", version=plugin.version,
                 digest=plugin.digest) == 1  # fmt: skip
    assert value(found, "source_events_total") == 7
    assert value(found, "source_producers") == 3
    assert value(found, "custom_rows_total", **me) > 0
    assert value(found, "custom_rows_total", **me, table="a") > 0
    assert value(found, "custom_seen_total", **me, exported_plugin="x") > 0
    assert value(found, "custom_sent_total", **me) > 0
    assert value(found, "custom_level", **me) == -0.5
    ((_, build),) = [key for key in found if key[0] == "slipstream_build_info"]
    assert dict(build)["network"] == "canary"


def test_buckets_hold_what_the_core_has_counted(manager, scraped) -> None:
    counters = manager.plugins["talker"].counters
    found = samples(scraped()[0])
    for (name, labels), below in found.items():
        if name != "slipstream_callback_seconds_bucket":
            continue
        bound = float(dict(labels)["le"])
        counted = sum(n for i, n in enumerate(counters.callback_buckets) if 2**i / 1e9 <= bound)
        assert below == counted, bound


def test_what_is_lost_is_counted_by_reason(manager, compile_plugin) -> None:
    library = compile_plugin("talker.c", name="talker")
    metrics = Metrics(manager)
    config = {"libpath": str(library), "ring_bytes": 65536}
    for mode, more in (
        ("inline", {}),
        ("thread", {}),
        ("process", {"overflow": "drop_newest"}),
        ("thread", {"overflow": "drop_oldest"}),
    ):
        plugin = manager.load_plugin({**config, "mode": mode, **more})
        manager.pause("talker")
        for _ in range(40):
            manager.broadcast(Payload(b"nothing", bytes(4000)))
        found = samples(metrics()[0])
        lost = {
            dict(labels)["reason"]: count
            for (name, labels), count in found.items()
            if name == "slipstream_gaps_total" and count
        }
        expected = more.get("overflow", "").replace("drop", "dropped") or "paused"
        assert lost == {expected: plugin.counters.lost}, mode
        assert plugin.counters.lost > 0
        if mode != "inline":
            assert value(found, "ring_bytes", plugin="talker", state="used") > 0
        manager.unload_plugin("talker", 1.0)
    handlers = logging.getLogger("slipstream").handlers
    assert [type(handler) for handler in handlers].count(LineCounts) == 1
    metrics.close()
    assert LineCounts not in map(type, handlers)


def test_log_lines_are_counted_by_level(manager, scraped) -> None:
    log = logging.getLogger("slipstream")
    log.setLevel(logging.INFO)
    try:
        manager.say(logging.WARNING, "one", {"plugin": "talker"})
        manager.say(logging.ERROR, "two", {})
        manager._pump.drain()
        found = samples(scraped()[0])
    finally:
        log.setLevel(logging.NOTSET)
    assert value(found, "log_lines_total", plugin="talker", level="warning") == 1
    assert value(found, "log_lines_total", plugin="", level="error") == 1


def test_a_registry_takes_it_beside_others(scraped) -> None:
    from prometheus_client import generate_latest

    registry = CollectorRegistry()
    registry.register(scraped)
    assert samples(generate_latest(registry)) == samples(scraped()[0])


def test_texts_cannot_break_out_of_their_labels() -> None:
    from slipstream.server.exposition import Family, labels, write

    family = Family("a", "gauge", "A.")
    family.add(labels(plugin='x"} 1\nb{c="\\'), 2.5)
    family.add(labels(plugin="other"), float("inf"))
    for is_open, parse in PARSERS.items():
        (parsed,) = parse(write([family], openmetrics=is_open).decode())
        assert [one.labels["plugin"] for one in parsed.samples] == ['x"} 1\nb{c="\\', "other"]
        assert [one.value for one in parsed.samples] == [2.5, float("inf")]


def test_a_plugin_that_calls_a_gauge_what_another_counts(manager, compile_plugin) -> None:
    from slipstream.server.metrics import _Families
    from slipstream.status import Metric

    made = _Families()
    for me, metric in (("a", Metric("rows", "", 3)), ("b", Metric("rows", "", 0.5))):
        made._add_custom(f'plugin="{me}"', metric)
    assert {family.kind for family in made.custom.values()} == {"counter", "gauge"}


def test_promtool_finds_nothing_to_say(scraped) -> None:
    done = subprocess.run(
        [promtool(), "check", "metrics"],
        input=scraped()[0],
        capture_output=True,
        timeout=120,
        check=False,
    )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    assert not said.strip()


def test_a_scrape_of_64_plugins(manager, compile_plugin) -> None:
    """What it costs is measured by tests/bench/daemon.py."""
    library = compile_plugin("talker.c", "-DFLAGS=SLIPSTREAM_FLAG_MULTI_INSTANCE", name="talker")
    for number in range(64):
        manager.load_plugin({"libpath": str(library), "name": f"talker{number}", "mode": "inline"})
    metrics = Metrics(manager)
    body, _ = metrics()
    metrics.close()
    assert len(samples(body)) > 64 * 40
