"""Stream the Aleo mainnet's genesis block into SQLite, then ask the file whether it is right.

Run by ``make demo``. Exits with 0 if the supply is what the genesis block holds.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DATABASE = ROOT / "build" / "demo" / "ledger.sqlite"
STREAM = ROOT / "examples" / "streams" / "mainnet_genesis.jsonl"
# 1,500,000,000 credits less four private transfers of 1.25 and four fees of 0.026439 credits:
# what the block makes public, in microcredits. See examples/streams/README.md.
SUPPLY = 1_499_999_994_894_244
TOP = "SELECT address, credits FROM account_balances ORDER BY microcredits DESC, address LIMIT 10"


def stream() -> int:
    """Run the events through both plugins; return the command's exit code."""
    shutil.rmtree(DATABASE.parent, ignore_errors=True)
    DATABASE.parent.mkdir(parents=True)
    command = [str(Path(sys.executable).with_name("slipstream")), "run"]
    for name in ("tally", "ledger"):
        command += ["--slipstream-config", str(HERE / f"{name}.json5")]
    return subprocess.run([*command, str(STREAM)], check=False, timeout=300).returncode


def report(database: sqlite3.Connection, console: Console) -> bool:
    """Print the largest balances and the supply; return whether the supply is right."""
    table = Table(title="The ten largest public balances at genesis")
    table.add_column("address", no_wrap=True)
    table.add_column("credits", justify="right", no_wrap=True)
    for address, credits_text in database.execute(TOP):
        whole, _, decimals = credits_text.partition(".")
        table.add_row(address, f"{int(whole):,}.{decimals}")
    console.print(table)
    account, bonded, total = database.execute(
        "SELECT account, bonded, total FROM supply"
    ).fetchone()
    (lost,) = database.execute("SELECT coalesce(sum(count), 0) FROM gaps").fetchone()
    right = bool(total == SUPPLY and lost == 0)
    console.print(f"account {account:>25,} microcredits")
    console.print(f"bonded  {bonded:>25,}")
    console.print(f"sum     {total:>25,}")
    console.print(f"genesis {SUPPLY:>25,}")
    console.print(f"events lost: {lost}")
    console.print("[bold green]OK[/]" if right else "[bold red]NOT OK[/]: the supply is wrong")
    return right


def main() -> int:
    """Run the demo and return the exit code."""
    code = stream()
    if code != 0:
        sys.stderr.write(f"demo: slipstream run ended with {code}\n")
        return 1
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 100
    # Not read-only: the first reader may have to fold the write-ahead log into the file.
    with closing(sqlite3.connect(DATABASE)) as database:
        return 0 if report(database, console) else 1


if __name__ == "__main__":
    sys.exit(main())
