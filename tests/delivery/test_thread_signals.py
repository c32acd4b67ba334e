"""Thread mode: others run while a broadcast waits, and signals end the wait."""

from __future__ import annotations

import threading
import time

import pytest

from slipstream import GapReason
from support.gated import Gated, wait_until
from support.process_tools import run_python
from support.rings import HELD, THREAD, page


def test_others_run_while_a_broadcast_waits_for_room(manager, compile_plugin, tmp_path) -> None:
    gated = Gated(compile_plugin, tmp_path)
    gated.let_pass(0)
    plugin = manager.load_plugin(gated.config(**THREAD, block_timeout=240))
    sender = threading.Thread(
        target=manager.broadcast_many, args=([page(height) for height in range(40)],)
    )
    sender.start()
    gated.wait_at_gate()
    wait_until(lambda: plugin.counters.accepted >= HELD, "the ring is not full")
    count = 0
    while count < 1_000_000:  # it would hang here, until the sender had waited long enough
        count += 1
    assert sender.is_alive()
    gated.open()
    sender.join(240)
    manager.flush(240)
    assert gated.order == list(range(1, 41))


def test_a_large_event_is_copied_without_the_interpreter_lock(
    manager, compile_plugin, tmp_path
) -> None:
    """A plugin whose ring is full of one large event blocks nobody's Python."""
    gated = Gated(compile_plugin, tmp_path)
    gated.let_pass(0)
    manager.load_plugin(gated.config(mode="thread", ring_bytes=4 << 20, block_timeout=240))
    data = bytes(3 << 20)
    sender = threading.Thread(target=lambda: [manager.block(data, i) for i in range(4)])
    sender.start()
    gated.wait_at_gate()
    time.sleep(0.1)
    assert sender.is_alive()
    gated.open()
    sender.join(240)
    manager.flush(240)
    assert [event.height for event in gated.events] == [0, 1, 2, 3]


INTERRUPTED = """
import os, signal, sys, threading, time, traceback
from pathlib import Path
from slipstream import Block, PluginManager, frames
library, folder, how = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
gate = folder / "gate"
gate.write_text("0")
manager = PluginManager(insecure_paths=True, log_level="error")
plugin = manager.load_plugin({
    "libpath": library, "mode": "thread", "ring_bytes": 65536, "block_timeout": 240,
    "log": str(folder / "log"), "gate": str(gate), "waiting": str(folder / "waiting"),
})
page = lambda height: frames.encode(Block(bytes(4032), height))
def handler(number, frame):
    manager.broadcast(page(99))  # kept until the outer call has ended
    raise KeyboardInterrupt
if how == "handler":
    signal.signal(signal.SIGINT, handler)
when = []
def interrupt():
    while plugin.counters.accepted < 15:
        time.sleep(0.001)  # until its ring is full
    time.sleep(0.4)
    when.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
try:
    if how == "many":
        manager.broadcast_many([page(height) for height in range(1, 101)])
    elif how == "frames":
        manager.broadcast_frames(b"".join(page(height) for height in range(1, 101)))
    else:
        for one in [page(height) for height in range(1, 101)]:
            manager.broadcast(one)
except KeyboardInterrupt as error:
    late = time.monotonic() - when[0]
    if how == "handler":  # where it was raised is seen
        functions = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        assert functions[-1] == "handler", functions
gate.unlink()
manager.flush(240)
(folder / "result").write_text(f"{late} {plugin.state}")
manager.close()
"""


@pytest.mark.parametrize("how", ["single", "many", "frames", "handler"])
def test_ctrl_c_ends_the_wait_and_what_is_lost_is_told(compile_plugin, tmp_path, how) -> None:
    gated = Gated(compile_plugin, tmp_path)
    gated.log = tmp_path / "log"
    done = run_python(INTERRUPTED, gated.library, tmp_path, how)
    assert done.returncode == 0, done.stderr
    late, state = (tmp_path / "result").read_text().split()
    assert float(late) < 200, "it waited for room all the same"
    assert state == "running"
    assert done.stderr.count("when the broadcast was interrupted: events are lost") == 1
    last = {"single": 16, "many": 100, "frames": 100, "handler": 17}[how]
    gaps = gated.gaps
    assert [gap.first for gap in gaps] == [16]
    assert gaps[0].last == last
    assert gaps[0].reason == GapReason.BLOCK_TIMEOUT
    assert gated.order == [*range(1, 16), gaps[0]]


def test_a_signal_is_not_lost_by_another_thread_that_waits(compile_plugin, tmp_path) -> None:
    """SIGINT while another thread waits for room: the main thread gets it at once."""
    code = f"""
import os, signal, sys, threading, time
from slipstream import Block, PluginManager, frames
open({str(tmp_path / "g")!r}, "w").write("0")
manager = PluginManager(insecure_paths=True, log_level="error")
plugin = manager.load_plugin({{"libpath": sys.argv[1], "mode": "thread", "ring_bytes": 65536,
    "block_timeout": 240, "log": {str(tmp_path / "l")!r}, "gate": {str(tmp_path / "g")!r},
    "waiting": {str(tmp_path / "w")!r}}})
def send():
    for i in range(16):
        manager.block(bytes(4032), i)
threading.Thread(target=send).start()
while plugin.counters.accepted < 15 or not os.path.exists({str(tmp_path / "w")!r}):
    time.sleep(0.001)  # until its ring is full
start = time.monotonic()
try:
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    while True:
        manager.block(b"", 99)  # waits for the sequencer
except KeyboardInterrupt:
    print("interrupted", time.monotonic() - start < 200)
os.unlink({str(tmp_path / "g")!r})
manager.close()
"""
    gated = Gated(compile_plugin, tmp_path)
    done = run_python(code, gated.library)
    assert done.returncode == 0, done.stderr
    assert "interrupted True" in done.stdout
