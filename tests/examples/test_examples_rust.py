"""The Rust plugin in the real host: the counts of its C twin, its unmapping."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipstream import PluginManager
from slipstream.streams import read_events
from support.logs import capture_logs

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
GENESIS = EXAMPLES / "streams" / "mainnet_genesis.jsonl"
RUST = sorted((EXAMPLES / "tally-rust").glob("*.so"))

needs_cargo = pytest.mark.skipif(not RUST, reason="tally-rust is not built: no cargo here")


def table_of(library: Path) -> list[str]:
    """What the plugin logs on the genesis stream."""
    with capture_logs() as logs, PluginManager(insecure_paths=True) as manager:
        manager.load_plugin({"libpath": str(library)})
        manager.broadcast_many(list(read_events(str(GENESIS), on_warning=pytest.fail)))
    return [line["event"] for line in logs]


@needs_cargo
def test_it_counts_as_its_c_twin_does() -> None:
    ours = table_of(RUST[0])
    assert "397 events, 0 lost" in ours
    for line in table_of(EXAMPLES / "tally" / "tally.so"):
        words = line.split()
        if words and words[0] == "credits.aleo":
            assert f"{int(words[2]) + int(words[3])} credits.aleo/{words[1]}" in ours


@needs_cargo
def test_it_is_really_unmapped() -> None:
    table_of(RUST[0])
    assert ".tally-rust." not in Path("/proc/self/maps").read_text(encoding="utf-8")


def test_it_has_at_most_eighty_lines() -> None:
    source = (EXAMPLES / "tally-rust" / "src" / "lib.rs").read_text(encoding="utf-8")
    assert source.count("\n") <= 80
    assert "#![forbid(unsafe_code)]" in source
