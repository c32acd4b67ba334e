"""Three nodes on this machine, A - B - C: A sends to the mailboxes of B and C, whose workers die.

Run by ``make -C examples mesh``. A sends messages to C, over B, and a tenth as many to B, while the
workers of both are killed again and again. In the end each message is stored once and in order, and
A has a receipt for each. Then C's worker is killed once more, A is forgotten meanwhile, and nothing
of A is left there. Exits with 0 if all of that is so.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LIBRARY = HERE.parent / "mailbox" / "mailbox.so"
_SEALED_EVERY = 10
_PATIENCE = 60.0  # seconds until nodes know each other
_ORDER = "SELECT number, body, sealed FROM messages WHERE sender = ? ORDER BY id"


class Node:
    """A node in a process of its own.

    Attributes:
        peer: Its name for others.
        port: Where it listens.
    """

    def __init__(self, name: str, folder: Path) -> None:
        """Start it, and wait until it serves."""
        self.name, self.database = name, folder / "mailbox.db"
        folder.mkdir()
        command = [sys.executable, str(HERE / "node.py"), name, str(folder), str(LIBRARY)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        said = self._answer()
        self.port, self.peer = said["port"], bytes.fromhex(said["peer"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101 - for mypy
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"node {self.name} has ended: see its log")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def do(self, what: str, **arguments: object) -> dict[str, Any]:
        """Have it do something, and return its answer."""
        assert self._process.stdin is not None  # noqa: S101 - for mypy
        self._process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def forget(self, peer: str) -> str:
        """Kill its worker, have it forget a peer meanwhile; return what the worker was then."""
        self.do("forget", peer=peer)
        while not self.kill_worker():
            time.sleep(0.01)
        return str(self._answer()["state"])

    def kill_worker(self) -> bool:
        """Kill the worker of its mailbox; False if there is none now."""
        killed = False
        for children in Path(f"/proc/{self._process.pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                for child in children.read_text(encoding="ascii").split():
                    os.kill(int(child), signal.SIGKILL)
                    killed = True
        return killed

    def messages(self, sender: Node) -> list[tuple[int, bytes, int]]:
        """Return what its mailbox has of a sender, in the order of arrival."""
        with closing(sqlite3.connect(self.database)) as database:
            return database.execute(_ORDER, (sender.peer,)).fetchall()

    def close(self) -> int:
        """End it."""
        assert self._process.stdin is not None  # noqa: S101 - for mypy
        self._process.stdin.close()
        try:
            return self._process.wait(_PATIENCE)
        finally:
            self._process.kill()


@contextlib.contextmanager
def killing(nodes: list[Node], every: float) -> Iterator[list[int]]:
    """Kill the workers of these again and again; yields how often, so far."""
    end, kills = threading.Event(), [0]

    def kill() -> None:
        pause = every
        while not end.wait(pause):
            # Where a worker takes longer to start than it may live, it gets nothing done: it is
            # given a little more time after each kill.
            pause *= 1.05
            kills[0] += sum(node.kill_worker() for node in nodes)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield kills
    finally:
        end.set()
        killer.join()


def problems(node: Node, sender: Node, count: int) -> Iterator[str]:
    """Yield what is wrong with the messages of a sender that a node has."""
    found = node.messages(sender)
    numbers = [number for number, _, _ in found]
    if numbers != list(range(1, count + 1)):
        more = len(numbers) - len(set(numbers))
        is_sorted = numbers == sorted(numbers)
        yield f"{node.name}: {len(set(numbers))} of {count}, {more} twice, in order: {is_sorted}"
    if any(body != b"message %d" % number for number, body, _ in found):
        yield f"{node.name}: other messages than were sent"
    if any(sealed for _, _, sealed in found):
        yield f"{node.name}: boxes that were not opened"


def run(folder: Path, count: int, every: float) -> list[str]:
    """Run it all; return what is wrong."""
    wrong: list[str] = []
    few = max(1, count // 10)
    with ExitStack() as stack:
        a, b, c = (Node(name, folder / name) for name in "abc")
        for node in (a, b, c):
            stack.callback(node.close)
        for node in (a, c):
            node.do("connect", port=b.port)
        for node, other in ((a, "b"), (a, "c"), (c, "b"), (c, "a"), (b, "a"), (b, "c")):
            if not node.do("wait_for", peer=other, seconds=_PATIENCE)["known"]:
                return [f"{node.name} does not know {other}"]
        began = time.monotonic()
        with killing([b, c], every) as kills:
            for part in range(10):
                first, last = count * part // 10, count * (part + 1) // 10
                a.do("send", peer="c", first=first + 1, count=last - first,
                     sealed_every=_SEALED_EVERY)  # fmt: skip
                if part == 5:  # once in any case, however quick this machine is
                    kills[0] += sum(node.kill_worker() for node in (b, c))
                first, last = few * part // 10, few * (part + 1) // 10
                a.do("send", peer="b", first=first + 1, count=last - first,
                     sealed_every=_SEALED_EVERY)  # fmt: skip
            said = a.do("wait")
            took = time.monotonic() - began
        b.do("send", peer="c", first=1, count=few, sealed_every=_SEALED_EVERY)
        b.do("wait")
        for node in (b, c):
            wrong += [f"{node.name}: {n} events {how}" for how, n in node.do("flush").items() if n]
        wrong += [*problems(c, a, count), *problems(b, a, few), *problems(c, b, few)]
        print(
            f"{count + few:,} messages of a in {took:.1f} s, {(count + few) / took:,.0f} a second"
        )
        print(f"{kills[0]} workers killed")
        print(f"{said['receipts']:,} receipts, {said['again']:,} messages sent once more")
        state = c.forget("a")
        print(f"a was forgotten at c while its worker was {state}")
        if state == "running":
            wrong.append("c: the worker did not die")
        c.do("flush")
        if left := c.messages(a):
            wrong.append(f"c: {len(left)} messages of a peer that was forgotten")
        wrong += problems(c, b, few)
    return wrong


def main() -> int:
    """Run it in a folder of its own; return 0 if all is right."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--kill-every", type=float, default=1.0, metavar="SECONDS")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mesh-") as folder:
        wrong = run(Path(folder), arguments.messages, arguments.kill_every)
        if wrong:
            for log in sorted(Path(folder).glob("*/log")):
                print(f"-- {log.parent.name}", *log.read_text().splitlines()[-20:], sep="\n")
    print("OK" if not wrong else "\n".join(["NOT OK", *wrong]))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
