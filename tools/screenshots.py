"""Take the pictures of the status page that the docs show, from a running daemon.

python tools/screenshots.py    writes docs/status-page.png and docs/status-page-phone.png
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from slipstream.testing import build_plugin

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.browser import (  # type: ignore[import-not-found]  # noqa: E402 - by that line
    Browser,
    Page,
    chromium,
)

DOCS = ROOT / "docs"
STREAM = ROOT / "examples" / "streams" / "mainnet_derived_blocks_1_to_5.jsonl"
SECONDS = 60.0
_FALLS = r"""
#include <slipstream.h>

static const slipstream_host *host;

static void destroy(void *i) { (void)i; }
static uint64_t subscribed_events(void *i) { (void)i; return ~(uint64_t)0; }

static int32_t on_broadcast(void *i, const slipstream_delivery *d, const uint8_t *f, size_t len) {
    (void)i, (void)f, (void)len;
    if (d->first_ordinal % 4000 == 0 && d->attempt == 1) {
        slipstream_log(host, SLIPSTREAM_LOG_WARN, "a price without a market");
        *(volatile int *)8 = 1;
    }
    return SLIPSTREAM_OK;
}

const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *given) {
    static const slipstream_plugin table = {
        sizeof table, SLIPSTREAM_ABI_MINOR, 0, 0, NULL, "prices", "0.9.2", destroy, NULL, NULL,
        subscribed_events, on_broadcast, NULL, NULL};
    host = given;
    return &table;
}
"""


@contextlib.contextmanager
def daemon(folder: Path) -> Iterator[str]:
    """Run a daemon with some plugins, one of which falls now and then; its address."""
    falls = build_plugin(_FALLS, folder=folder, name="prices")
    examples = ROOT / "examples"
    plugins: dict[str, dict[str, object]] = {
        "tally": {"libpath": str(examples / "tally" / "tally.so")},
        "ledger": {
            "libpath": str(examples / "ledger" / "ledger.so"),
            "database": str(folder / "ledger.sqlite"),
        },
        "prices": {"libpath": str(falls), "restart": {"initial_delay": 0.2, "max_crashes": 1000}},
        "archive": {"libpath": str(examples / "tally" / "tally.so"), "name": "archive"},
    }
    words: list[str] = []
    for name, keys in plugins.items():
        file = folder / f"{name}.json5"
        file.write_text(json.dumps(keys), encoding="utf-8")
        words += ["--slipstream-config", str(file)]
    command = [
        *(sys.executable, "-m", "slipstream.cli", "--log-format", "json", "start"),
        *("--data-dir", str(folder / "data"), "--rest", "127.0.0.1:0", "--nojwt"),
        *("--insecure-paths", "--rest-rps", "0"),
        *("--events", str(STREAM), "--loop", "--speed", "2000/s", *words),
    ]
    log = folder / "log"
    with log.open("wb") as file_of_log:
        process = subprocess.Popen(command, stderr=file_of_log, stdout=subprocess.DEVNULL)
    try:
        yield _ready(process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(SECONDS)


def _ready(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and process.poll() is None:
        for line in log.read_text(encoding="utf-8").splitlines():
            if line.startswith("{") and (said := json.loads(line)).get("event") == "ready":
                return str(said["rest"])
        time.sleep(0.05)
    sys.exit(f"the daemon does not come up:\n{log.read_text(encoding='utf-8')}")


def take(page: Page, file: Path) -> None:
    """Show the page with its chosen plugin for a while, and take a picture."""
    page.until("document.querySelectorAll('tbody tr').length === 4")
    page.run("document.querySelector('button[aria-label=\"Pause archive\"]').click()")
    page.run(
        "[...document.querySelectorAll('button.name')]"
        ".find(button => button.textContent === 'prices').click()"
    )
    page.until("!document.getElementById('crash').hidden")
    page.run("new Promise(done => setTimeout(done, 8000))")
    page.run("document.getElementById('message').textContent = ''; scrollTo(0, 0)")
    page.picture(file)
    page.run("document.querySelector('button[aria-label=\"Resume archive\"]').click()")
    sys.stdout.write(f"{file.relative_to(ROOT)}\n")


def main() -> None:
    """Take all pictures."""
    if chromium() is None:
        sys.exit("there is no chromium: sudo apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, daemon(Path(folder)) as url:
        browser = Browser()
        try:
            take(browser.page(url, width=1100, height=980), DOCS / "status-page.png")
            page = browser.page(width=390, height=844)
            page.size(390, 844, phone=True)
            page.dark(is_dark=True)
            page.go(url)
            take(page, DOCS / "status-page-phone.png")
        finally:
            browser.close()


if __name__ == "__main__":
    main()
