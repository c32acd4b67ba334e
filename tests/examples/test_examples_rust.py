"""The Rust plugin in the real host: the table of its C twin, its panic, its unmapping."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipstream import PluginManager, PluginState
from slipstream.streams import read_events
from support.logs import capture_logs

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
GENESIS = EXAMPLES / "streams" / "mainnet_genesis.jsonl"
RUST = sorted((EXAMPLES / "tally-rust").glob("*.so"))

needs_cargo = pytest.mark.skipif(not RUST, reason="tally-rust is not built: no cargo here")


def table_of(library: Path, **own: object) -> tuple[list[str], PluginState]:
    """What the plugin logs on the genesis stream, and its state before it is unloaded."""
    with capture_logs() as logs, PluginManager(insecure_paths=True) as manager:
        plugin = manager.load_plugin({"libpath": str(library), **own})
        manager.broadcast_many(list(read_events(str(GENESIS), on_warning=pytest.fail)))
        state = plugin.state
    return [line["event"] for line in logs if not line["event"].startswith("plugin ")], state


@needs_cargo
def test_it_logs_the_table_of_its_c_twin() -> None:
    ours = table_of(RUST[0])
    assert ours == table_of(EXAMPLES / "tally" / "tally.so")
    assert "397 events, 0 lost" in ours[0]


@needs_cargo
def test_it_is_really_unmapped() -> None:
    table_of(RUST[0])
    assert ".tally-rust." not in Path("/proc/self/maps").read_text(encoding="utf-8")


@needs_cargo
def test_a_panic_is_caught_at_the_boundary() -> None:
    lines, state = table_of(RUST[0], panic_at=5)
    assert state is PluginState.FAILED
    assert any("PANIC (-17)" in line and "panic: event 5" in line for line in lines)
