"""Files that pile up beside a node that runs for months: crash reports, undelivered events."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipstream import Block
from slipstream.delivery import crash_report
from support.gated import wait_until
from support.logs import capture_logs

FALLS = """
#include <slipstream.h>
#include <stdlib.h>
static uint64_t subscribed_events(void *i) { (void)i; return ~(uint64_t)0; }
static int32_t on_broadcast(void *i, const slipstream_delivery *d, const uint8_t *f, size_t len) {
    (void)i, (void)f, (void)len;
    if (d->attempt == 1)
        abort();
    return SLIPSTREAM_OK;
}
static void destroy(void *i) { (void)i; }
SLIPSTREAM_EXPORT const slipstream_plugin *
slipstream_create_plugin_v1(const slipstream_host *host) {
    static const slipstream_plugin table = {
        .struct_size = sizeof table, .abi_minor = SLIPSTREAM_ABI_MINOR, .name = "falls",
        .version = "1", .destroy = destroy, .subscribed_events = subscribed_events,
        .on_broadcast = on_broadcast};
    (void)host;
    return &table;
}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The plugin's folder, with 120 reports of before; the newest 60 name a library."""
    folder = tmp_path / "data" / "falls"
    folder.mkdir(parents=True)
    for number in range(1, 121):
        kept = folder / ("crash-new.so" if number > 60 else "crash-old.so")
        kept.write_bytes(bytes(1000))
        (folder / f"crash-falls-{number}.json").write_text(f'{{"library": "{kept}"}}')
    return folder


def crash(manager, library: Path, times: int) -> list[dict]:
    with capture_logs() as logs:
        plugin = manager.load_plugin(
            {"libpath": str(library), "mode": "process",
             "host": {"restart": {"initial_delay": 0, "max_delay": 0.001}}}
        )  # fmt: skip
        for number in range(times):
            manager.broadcast(Block(b"b", number))
            manager.flush(60)
            wait_until(lambda: plugin.restarts > number, "it fell")  # noqa: B023
        wait_until(lambda: len(plugin.delivery.reports) == times, "there are reports")
        newest = plugin.last_crash
        manager.unload_plugin("falls")
    assert newest.file.exists()
    assert Path(newest.library).exists()
    return [line for line in logs if "old crash reports" in line["event"]]


def test_the_newest_reports_are_kept(manager, compile_plugin, folder) -> None:
    said = crash(manager, compile_plugin(FALLS), 2)
    assert len(said) == 1
    assert said[0]["folder"] == str(folder)
    left = {path.name for path in folder.glob("crash-*.json")}
    assert len(left) == crash_report.MOST
    assert {f"crash-falls-{number}.json" for number in range(23, 121)} < left
    assert (folder / "crash-old.so").exists()  # some of them name it


def test_they_take_so_many_bytes_with_their_libraries(
    manager, compile_plugin, folder, monkeypatch
) -> None:
    library = compile_plugin(FALLS)
    size = library.stat().st_size
    monkeypatch.setattr(crash_report, "MOST_BYTES", size + 4500 + 1000)
    crash(manager, library, 1)
    left = sorted(path.name for path in folder.glob("crash-*"))
    assert "crash-old.so" not in left
    assert 2 <= len(left) < 70
    monkeypatch.setattr(crash_report, "MOST_BYTES", 0)
    crash(manager, library, 1)
    assert len(list(folder.glob("crash-*"))) == 2  # the last one and its library


def test_what_nobody_removes_is_told_of(manager, compile_plugin, folder) -> None:
    (folder / "undelivered-falls-1.slip").write_bytes(bytes(10))
    (folder / "dead-letters.damaged-1.slip").write_bytes(bytes(20))
    with capture_logs() as logs:
        manager.load_plugin({"libpath": str(compile_plugin(FALLS)), "mode": "thread"})
        manager.reload_plugin("falls")
    said = [line for line in logs if "redeliver or remove" in line["event"]]
    assert [(line["files"], line["bytes"], line["folder"]) for line in said] == [
        (2, 30, str(folder))
    ]
