"""Builds plugins in Rust for tests: their crates are built once, by whoever comes first."""

from __future__ import annotations

import fcntl
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.toolbox import output_of

ROOT = Path(__file__).resolve().parents[2]
CRATE = ROOT / "sdk" / "rust" / "slipstream-plugin"
# Where `make examples` builds tally-rust, with the same crates and the same profile.
TARGET = ROOT / "build" / "cargo"
PLUGINS = ROOT / "tests" / "plugins"


def cargo(folder: Path, *arguments: str) -> None:
    """Run cargo, whose crates lie in `TARGET`."""
    done = subprocess.run(
        ["cargo", *arguments, "--target-dir", str(TARGET)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def keep_versions(place: Path) -> None:
    """Let a project of `new` take the crates that tally-rust was built with, which are there."""
    example = ROOT / "examples" / "tally-rust" / "Cargo.lock"
    name = re.search('name = "(.+)"', (place / "Cargo.toml").read_text())
    assert name is not None
    if example.exists():
        own = f'name = "{name[1]}"\nversion = "0.1.0"'
        lock = example.read_text().replace('name = "tally-rust"\nversion = "1.0.0"', own)
        (place / "Cargo.lock").write_text(lock)


def require_cargo() -> None:
    """Skip the test where there is no cargo that is new enough: Debian 12 has none."""
    needed = re.search('rust-version = "1\\.(\\d+)"', (CRATE / "Cargo.toml").read_text())
    assert needed is not None
    works, text = output_of("cargo", "--version")
    found = re.match(r"cargo 1\.(\d+)\.", text) if works else None
    if found is None or int(found[1]) < int(needed[1]):
        pytest.skip(f"no cargo 1.{needed[1]} or newer here: {text}")


def plugin_of_the_sdk(name: str, copied_to: Path) -> Path:
    """The library of tests/plugins/NAME.rs with NAME_config.rs, in a project of `new`."""
    require_cargo()
    folder = ROOT / "build" / "rust-plugins"
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / name
    library = TARGET / "release" / f"libplugin_{name}.so"
    with (folder / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not place.exists():
            made = (sys.executable, "-m", "slipstream.cli", "new", name, "--lang", "rust")
            works, text = output_of(*made, "--folder", str(place))
            assert works, text
            keep_versions(place)
        manifest = (place / "Cargo.toml").read_text()
        _write(place / "Cargo.toml", manifest.replace('"slipstream-plugin" }', f'"{CRATE}" }}'))
        _write(place / "src" / "lib.rs", (PLUGINS / f"{name}.rs").read_text())
        _write(place / "src" / "config.rs", (PLUGINS / f"{name}_config.rs").read_text())
        cargo(place, "build", "--release", "--quiet")
        # A file of its own: cargo may replace its own at any time.
        copy = copied_to / f"{name}.so"
        copy.write_bytes(library.read_bytes())
    return copy


def _write(path: Path, text: str) -> None:
    """Write a file, unless it is so already: cargo goes by times."""
    if path.read_text() != text:
        path.write_text(text)
