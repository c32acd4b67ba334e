"""Measures thread and process delivery; part of bench.py."""

from __future__ import annotations

import os
import statistics
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType

from slipstream import MappingUpdate, Meta, PluginManager, Services, frames

EVENT_BYTES = 128
RUN = 1000
GAP_S, CALLS = 0.002, 100
FANOUT, FANOUT_CALLS = (1, 4, 16, 64), 500
SIZES, SIZES_BYTES = (1024, 4096, 16384, 65536, 262144, 1048576), 64 * 1024 * 1024
MODES = ("thread", "process")
PLACES = ("together", "apart")  # host and worker on one processor, or on two
RECORD = struct.Struct("<qqq")


def quiet_manager(mode: str) -> PluginManager:
    return PluginManager(mode, insecure_paths=True, log_level="error")


def event(sequence: int) -> bytes:
    """One frame of 128 bytes that has stream, sequence and time."""
    meta = Meta(stream=7, sequence=sequence, time_ns=1)
    made = frames.encode(MappingUpdate(b"prog", b"map", b"key", b"0123456789abcdef", 1, meta))
    assert len(made) == EVENT_BYTES
    return made


def stream_ns(library: Path, mode: str, runs: int) -> float:
    """Nanoseconds an event, from the first broadcast until all are acknowledged."""
    run = b"".join(event(n + 1) for n in range(RUN))
    with quiet_manager(mode) as manager:
        manager.load_plugin({"libpath": str(library)})
        start = time.perf_counter_ns()
        for _ in range(runs):
            manager.broadcast_frames(run)
        manager.flush(60)
        return (time.perf_counter_ns() - start) / runs / RUN


def single_ns(library: Path, calls: int) -> float:
    """Nanoseconds a call that broadcasts one ready frame to one plugin in a process."""
    ready = event(0)[:16] + bytes(24) + event(0)[40:]
    with quiet_manager("process") as manager:
        manager.load_plugin({"libpath": str(library)})
        broadcast = manager.broadcast
        samples = []
        for _ in range(7):
            loop = range(calls)
            start = time.perf_counter_ns()
            for _ in loop:
                broadcast(ready)
            samples.append((time.perf_counter_ns() - start) / calls)
            manager.flush(30)
        return statistics.median(samples)


def fanout_ns(library: Path, mode: str, plugins: int) -> float:
    """Nanoseconds a broadcast of one ready frame to so many plugins, all asleep at first."""
    ready = event(0)[:16] + bytes(24) + event(0)[40:]
    with quiet_manager(mode) as manager:
        for number in range(plugins):
            config = {"libpath": str(library), "name": f"noop{number}", "ring_bytes": "1MiB"}
            manager.load_plugin(config)
        broadcast = manager.broadcast
        loop = range(FANOUT_CALLS)
        samples = []
        for _ in range(9):
            time.sleep(0.02)
            start = time.perf_counter_ns()
            for _ in loop:
                broadcast(ready)
            samples.append((time.perf_counter_ns() - start) / FANOUT_CALLS)
            manager.flush(60)
    return statistics.median(samples)


def size_gbps(library: Path, size: int) -> dict[str, float]:
    """Gigabytes a second of events of this size, until all are acknowledged, in each mode.

    The modes take turns: they are compared with each other, and a machine changes.
    """
    meta = Meta(stream=7, sequence=1, time_ns=1)
    one = frames.encode(MappingUpdate(b"prog", b"map", b"key", bytes(size), 1, meta))
    calls = SIZES_BYTES // size
    samples: dict[str, list[float]] = {mode: [] for mode in MODES}
    with ExitStack() as stack:
        managers = {mode: stack.enter_context(quiet_manager(mode)) for mode in MODES}
        for manager in managers.values():
            manager.load_plugin({"libpath": str(library)})
        for _ in range(9):
            for mode, manager in managers.items():
                broadcast = manager.broadcast
                start = time.perf_counter_ns()
                for _ in range(calls):
                    broadcast(one)
                manager.flush(60)
                samples[mode].append(calls * size / (time.perf_counter_ns() - start))
    return {mode: statistics.median(some) for mode, some in samples.items()}


def records(path: Path) -> list[tuple[int, int, int]]:
    return list(RECORD.iter_unpack(path.read_bytes()))


def wake_us(probe: Path, folder: Path, rounds: int) -> list[float]:
    """The times from a broadcast to its callback, after an idle gap; without the first few."""
    file = folder / "wake"
    file.unlink(missing_ok=True)
    with quiet_manager("process") as manager:
        manager.load_plugin({"libpath": str(probe), "file": str(file)})
        for _ in range(rounds):
            time.sleep(GAP_S)
            manager.block(b"ab", 1)
        manager.flush(10)
    return [latency / 1000 for latency, _, _ in records(file)[10:]]


class Network:
    """Answers at once."""

    def public_key(self, peer: bytes) -> bytes | None:
        return peer

    def name(self, peer: bytes) -> bytes:
        return peer

    def peer_at(self, index: int) -> bytes | None:
        return None

    def send_direct(self, peer: bytes, name: bytes, body: bytes) -> None:
        """Send nothing."""

    def send_routed(self, peer: bytes, name: bytes, body: bytes) -> None:
        """Send nothing."""


@contextmanager
def kept_on(processor: int) -> Iterator[None]:
    """Keep this thread, and those that it starts, on one processor."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {processor})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def futex_us(floor: ModuleType, here: int, there: int) -> float:
    """The median of a round trip over a futex between processes on these processors."""
    with kept_on(here):
        return statistics.median(floor.futex(100, int(GAP_S * 1e6), there)) / 1000


def call_us(probe: Path, folder: Path, what: bytes, here: int, there: int) -> float:
    """The median time of a call of the application ("send" or "look"), after an idle gap.

    The host is on the one processor, the worker on the other: where they are is up to the system
    otherwise, and decides about more than all that is done for a call.
    """
    file = folder / what.decode()
    file.unlink(missing_ok=True)
    network = Network()
    services = Services(peers=network, control=network)
    with (
        kept_on(here),
        PluginManager(
            "process", insecure_paths=True, log_level="error", services=services
        ) as manager,
    ):
        config = {"libpath": str(probe), "file": str(file), "grants": ["send", "peers"]}
        for thread in Path(f"/proc/{manager.load_plugin(config).pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {there})
        for _ in range(CALLS):
            time.sleep(GAP_S)
            manager.block(what, 1)
        manager.flush(10)
    return statistics.median(took / 1000 for took, _, _ in records(file)[10:])


@contextmanager
def busy_threads(count: int) -> Iterator[None]:
    stop = threading.Event()

    def spin() -> None:
        number = 0
        while not stop.is_set():
            for _ in range(10_000):
                number += 1

    threads = [threading.Thread(target=spin) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def restart_ms(probe: Path, folder: Path, rounds: int, busy: int) -> float:
    """Median from a SIGSEGV in the callback to the first event that is delivered again."""
    file = folder / f"restart-{busy}"
    config = {
        "libpath": str(probe),
        "file": str(file),
        "restart": {"initial_delay": 0, "max_crashes": 0},
    }
    with quiet_manager("process") as manager:
        plugin = manager.load_plugin(config)
        with busy_threads(busy):
            for number in range(1, rounds + 1):
                manager.block(b"x", 1)
                end = time.monotonic() + 5
                while plugin.counters.acknowledged < number and time.monotonic() < end:
                    time.sleep(0.001)
                time.sleep(0.02)
    times: list[float] = []
    crashed = 0
    for _latency, clock, attempt in records(file):
        if attempt == 1:
            crashed = clock
        elif crashed:
            times.append((clock - crashed) / 1e6)
            crashed = 0
    return statistics.median(times)


# A cache line takes 50 ns to the other processor and back, or 300: a hypervisor moves them about.
NEAR_NS = 150
ENOUGH, ROUNDS_AT_MOST = 5, 25
Samples = dict[str, list[tuple[float, float]]]


def in_one_state(floor: ModuleType, cases: dict[str, Callable[[], float]]) -> Samples:
    """Measure all cases in turn until each has enough samples of one state of the machine.

    Args:
        floor: Has `ping_pong`, which tells the state before and after each sample.
        cases: What is compared with each other.

    Returns:
        For each case its samples with the time that a cache line took; all near, or all far.
    """
    near: Samples = {name: [] for name in cases}
    far: Samples = {name: [] for name in cases}

    def least(found: Samples) -> int:
        return min(map(len, found.values()))

    for _round in range(ROUNDS_AT_MOST):
        for name, case in cases.items():
            before = floor.ping_pong(50)
            value = case()
            after = floor.ping_pong(50)
            if (before < NEAR_NS) == (after < NEAR_NS):
                state = near if before < NEAR_NS else far
                state[name].append((value, (before + after) / 2))
        if max(least(near), least(far)) >= ENOUGH:
            break
    return near if least(near) >= least(far) else far


def measure(
    floor: ModuleType, noop: Path, probe: Path, folder: Path
) -> tuple[dict[str, float], dict[str, float]]:
    """All figures of thread and process delivery, and what they are compared with.

    Returns:
        The figures, and for each that crosses processors how long a cache line took.
    """
    woken: list[float] = []

    def wake() -> float:
        found = wake_us(probe, folder, 100)
        woken.extend(found)
        return statistics.median(found)

    processors = sorted(os.sched_getaffinity(0))
    calls: dict[str, Callable[[], float]] = {}
    for place, there in zip(PLACES, (processors[0], processors[-1]), strict=True):
        at = processors[0], there
        calls[f"futex_us_{place}"] = partial(futex_us, floor, *at)
        calls[f"send_us_{place}"] = partial(call_us, probe, folder, b"send", *at)
        calls[f"lookup_us_{place}"] = partial(call_us, probe, folder, b"look", *at)
    found = in_one_state(
        floor,
        {
            "process_ns": lambda: stream_ns(noop, "process", 4000),
            "process_single_ns": lambda: single_ns(noop, 20_000),
            "thread_ns": lambda: stream_ns(noop, "thread", 4000),
            "wake_us_p50": wake,
            "futex_round_trip_us": lambda: (
                statistics.median(floor.futex(100, int(GAP_S * 1e6), -1)) / 1000
            ),
            **calls,
            "unix_socket_ns": lambda: floor.socket_writes(100_000, EVENT_BYTES),
        },
    )
    figures = {name: statistics.median(v for v, _ in some) for name, some in found.items()}
    lines = {name: statistics.median(line for _, line in some) for name, some in found.items()}
    figures |= {
        "process_events_per_s": 1e9 / figures["process_ns"],
        "wake_us_p99": statistics.quantiles(woken, n=100)[98],
        "restart_ms_idle": restart_ms(probe, folder, 30, 0),
        "restart_ms_busy": restart_ms(probe, folder, 30, 2),
        **{f"fanout_{m}_ns_{n}": fanout_ns(noop, m, n) for m in MODES for n in FANOUT},
        **{
            f"sizes_{mode}_gbps_{size}": value
            for size in SIZES
            for mode, value in size_gbps(noop, size).items()
        },
    }
    return figures, lines
