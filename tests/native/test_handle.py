"""The life of what is held: given back once, in order, by whoever comes first; never by a child."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time

import pytest

from slipstream import Block, ClosedError
from slipstream._native import lib
from slipstream._native.handle import Handle
from slipstream.config import PluginConfig, plugin_config
from slipstream.delivery.hurry import Hurry
from slipstream.delivery.instance import Instance, LoadReason
from slipstream.delivery.letters import Letters
from slipstream.delivery.queue import Queue
from slipstream.delivery.sequencer import Sequencer
from slipstream.delivery.supervisor import Supervised, Supervisor
from slipstream.library import PrivateCopy
from slipstream.logs import LogPump
from slipstream.testing import FakeHost
from support.process_tools import Footprint, copies_in, run_python, thread_names
from support.recorded import Recorder


def wait_for_footprint(wanted: Footprint) -> None:
    """What is dropped ends on threads of its own."""
    end = time.monotonic() + 10
    while Footprint.now() != wanted and time.monotonic() < end:
        time.sleep(0.01)
    assert Footprint.now() == wanted


def test_it_is_given_back_once() -> None:
    given: list[int] = []
    with Handle(7, given.append) as handle:
        assert handle.pointer == 7
        assert not handle.is_closed
    handle.close()
    assert given == [7]
    assert handle.is_closed
    with pytest.raises(ClosedError, match="is closed"):
        _ = handle.pointer
    with pytest.raises(AttributeError, match="'Handle' object has no attribute 'pointr'"):
        _ = handle.pointr
    Handle(8, given.append)  # nobody refers to it
    assert given == [7, 8]


def test_what_it_needs_goes_after_it() -> None:
    order: list[str] = []
    below = Handle("below", order.append)
    above = Handle("above", order.append, below)
    circle = [above, below]
    circle.append(circle)
    del above, below, circle
    assert order == []
    gc.collect()
    assert order == ["above", "below"]


def test_what_a_call_still_uses_stays_with_what_it_needs() -> None:
    given: list[str] = []
    below = Handle("below", given.append)
    above = Handle("above", lambda _: False, below)
    above.close()
    below.close()
    assert (above.is_closed, below.is_closed) == (True, True)
    assert given == []


def test_who_asks_holds_off_who_closes() -> None:
    handle = Handle(1, int)
    with handle.asking():
        closer = threading.Thread(target=handle.close)
        closer.start()
        time.sleep(0.05)
        assert handle.pointer == 1
    closer.join(240)
    assert handle.is_closed


@pytest.mark.no_asan  # see test_forks.py
def test_a_forked_child_gives_nothing_back_and_waits_for_nobody() -> None:
    reader, writer = os.pipe()
    handle = Handle(writer, lambda fd: os.write(fd, b"given back"))
    dropped = Handle(writer, lambda fd: os.write(fd, b"given back"))
    held = threading.Event()
    done = threading.Event()

    def hold() -> None:
        with handle.asking():
            held.set()
            done.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)
    child = os.fork()
    if child == 0:
        signal.alarm(10)  # rather than wait for ever
        del dropped
        handle.close()
        try:
            _ = handle.pointer
        except ClosedError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    done.set()
    holder.join(240)
    os.set_blocking(reader, False)
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)
    handle.close()
    assert os.read(reader, 100) == b"given back"
    del dropped
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("circle", [False, True], ids=["dropped", "in a circle"])
def test_nothing_is_left_of_what_is_dropped(compile_plugin, tmp_path, circle) -> None:
    native = Recorder(compile_plugin, tmp_path)
    config = PluginConfig.from_mapping(native.config(ring_bytes=65536), folder=tmp_path)
    LogPump("info").close()  # what only the first one brings
    before = Footprint.now()
    pump = LogPump("info")
    sequencer = Sequencer(pump, 1.0)
    queue = Queue(config, shared=True)
    supervisor = Supervisor(pump)
    letters = Letters(pump)
    supervised = Supervised(supervisor, queue, letters, Hurry())
    instance = Instance(pump, PrivateCopy(native.library), config, "mine")
    instance.load(plugin_config(config, "mine"), None, LoadReason.START)
    everything = [pump, sequencer, queue, supervisor, letters, supervised, instance]
    if circle:
        everything.append(everything)
    del pump, sequencer, queue, supervisor, letters, supervised, instance, everything
    gc.collect()
    wait_for_footprint(before)
    assert native.calls == ["load", "unload", "destroy"]
    assert copies_in(native.library.parent) == []
    assert [name for name in thread_names() if name.startswith("slip-")] == []


def test_a_fake_host_that_is_dropped_ends_itself(compile_plugin, tmp_path) -> None:
    native = Recorder(compile_plugin, tmp_path)
    before = Footprint.now()
    host = FakeHost(native.library, {"log": str(native.log)})
    host.load()
    assert host.deliver(Block(b"", 1)).ok
    del host
    assert native.calls == ["load", "event", "unload", "destroy"]
    assert copies_in(native.library.parent) == []
    wait_for_footprint(before)


@pytest.mark.no_asan  # see test_forks.py
def test_a_fake_host_after_its_end_and_at_the_end_of_the_process(compile_plugin, tmp_path) -> None:
    native = Recorder(compile_plugin, tmp_path)
    host = FakeHost(native.library, {"log": str(native.log)})
    host.load()
    host.close()
    for call in (lambda: host.deliver(Block(b"", 1)), host.flush, host.load, host.open):
        with pytest.raises(ClosedError):
            call()
    done = run_python(
        """
        import os, sys
        from slipstream import ClosedError
        from slipstream.testing import FakeHost
        host = FakeHost(sys.argv[1], {"log": sys.argv[2]})
        host.load()
        child = os.fork()
        if child == 0:
            try:
                host.flush()
            except ClosedError as error:
                assert "belongs to the parent process" in str(error)
                sys.exit(7)  # finalizers run
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """,
        native.library,
        native.log,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "7\n", "")
    assert native.calls == ["load", "unload", "destroy"] * 2
    assert copies_in(native.library.parent) == []
    assert lib.ss_os_process() == 1
