"""Measures the way of an event and writes build/bench.json.

Run by ``make bench``. Figures and floor come from one run: the same Python loop, loop
included, rounds interleaved, medians taken. Absolute numbers belong to one machine; the
ratios are what counts.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import itertools
import json
import logging
import platform
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import delivery
import slipstream
from slipstream import EventKind, MappingUpdate, Meta, PluginManager, _native, frames
from slipstream._native import ffi, lib

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ROUNDS = 15
CALLS = 20_000
PROMPT_OFTEN = 2 | 4  # flags: PROMPT, MULTI_INSTANCE

PROGRAM = bytes.fromhex("076372656469747304616c656f")
MAPPING = bytes.fromhex("076163636f756e74")
KEY = bytes.fromhex("000000") + bytes(range(32))
VALUE = bytes.fromhex("0000000c00e1f5050000000000")
HEIGHT = 1_203_288

Case = Callable[[range], None]


def compile_c(source: Path, target: Path, *flags: str) -> Path:
    command = ["cc", "-std=gnu11", "-O2", "-fPIC", "-shared", "-I", slipstream.get_include()]
    subprocess.run([*command, *flags, "-o", str(target), str(source)], check=True)
    return target


def load_floor(folder: Path) -> ModuleType:
    path = compile_c(
        HERE / "floor.c", folder / "floor.so", "-I", sysconfig.get_paths()["include"], "-ldl"
    )
    spec = importlib.util.spec_from_file_location("floor", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def medians(cases: dict[str, tuple[Case, int, int]]) -> dict[str, float]:
    """Nanoseconds an event of each case: function, calls a round, events a call."""
    samples: dict[str, list[float]] = {name: [] for name in cases}
    for _round in range(ROUNDS):
        for name, (case, calls, events) in cases.items():
            loop = range(calls)
            start = time.perf_counter_ns()
            case(loop)
            samples[name].append((time.perf_counter_ns() - start) / calls / events)
    return {name: statistics.median(found) for name, found in samples.items()}


def frame(sequence: int, stream: int) -> bytes:
    meta = Meta(stream=stream, sequence=sequence, time_ns=1, flags=0) if stream else Meta()
    return frames.encode(MappingUpdate(PROGRAM, MAPPING, KEY, VALUE, HEIGHT, meta))


def calls(function: Callable[..., object], *arguments: object) -> Case:
    """A loop of calls with as many arguments; all cases use these same loops."""
    match arguments:
        case [a]:

            def run(loop: range) -> None:
                for _ in loop:
                    function(a)

        case [a, b, c, d, e]:

            def run(loop: range) -> None:
                for _ in loop:
                    function(a, b, c, d, e)

        case _:

            def run(loop: range) -> None:
                for _ in loop:
                    function(*arguments)

    return run


def ordinary_calls(core: object) -> dict[str, tuple[Case, int, int]]:
    """The values call made the ordinary way: through cffi, and through ctypes."""
    through_cffi = lib.ss_sequencer_mapping_update

    def cffi_case(loop: range) -> None:
        p, m, k, v, h = PROGRAM, MAPPING, KEY, VALUE, HEIGHT
        for _ in loop:
            through_cffi(core, p, len(p), m, len(m), k, len(k), v, len(v), h)

    pairs = [ctypes.c_char_p, ctypes.c_size_t]
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, *pairs * 4, ctypes.c_uint64)
    through_ctypes = prototype(_native.address(ffi.addressof(lib, "ss_sequencer_mapping_update")))
    address = _native.address(core)

    def ctypes_case(loop: range) -> None:
        p, m, k, v, h = PROGRAM, MAPPING, KEY, VALUE, HEIGHT
        for _ in loop:
            through_ctypes(address, p, len(p), m, len(m), k, len(k), v, len(v), h)

    return {"cffi_call_ns": (cffi_case, CALLS, 1), "ctypes_call_ns": (ctypes_case, CALLS, 1)}


def convoy(manager: PluginManager) -> float:
    """Single events a second beside one busy Python thread, over alone."""
    single = frame(0, 0)

    def rate(seconds: float) -> float:
        count = 0
        start = time.perf_counter()
        while (now := time.perf_counter()) - start < seconds:
            for _ in range(1000):
                manager.broadcast(single)
            count += 1000
        return count / (now - start)

    stop = threading.Event()

    def busy() -> None:
        number = 0
        while not stop.is_set():
            for _ in range(10_000):
                number += 1

    ratios = []
    for _round in range(3):
        alone = rate(0.5)
        stop.clear()
        thread = threading.Thread(target=busy)
        thread.start()
        beside = rate(1.0)
        stop.set()
        thread.join()
        ratios.append(beside / alone)
    return statistics.median(ratios)


def inline(folder: Path, floor: ModuleType) -> dict[str, float]:
    prompt = compile_c(HERE / "noop.c", folder / "prompt.so", "-DNOOP_FLAGS=2")
    blocking = compile_c(HERE / "noop.c", folder / "blocking.so", "-DNOOP_FLAGS=0")
    ready = frame(0, 0)
    thousand = [ready] * 1000
    packed = b"".join(frame(n + 1, 7) for n in range(100_000))
    options = {"insecure_paths": True}
    with (
        PluginManager(**options) as manager,
        PluginManager(**options) as slow,
        PluginManager(**options) as plain,
    ):
        manager.load_plugin({"libpath": str(prompt)})
        slow.load_plugin({"libpath": str(blocking)})
        plain.load_plugin({"libpath": str(prompt)})
        values = (PROGRAM, MAPPING, KEY, VALUE, HEIGHT)
        core = plain._sequencer.pointer
        cases: dict[str, tuple[Case, int, int]] = {
            "fastcall_floor_ns": (calls(floor.empty, *values), CALLS, 1),
            "values_ns": (calls(manager.mapping_update, *values), CALLS, 1),
            "single_ns": (calls(manager.broadcast, ready), CALLS, 1),
            "single_released_ns": (calls(slow.broadcast, ready), CALLS, 1),
            "many_ns": (calls(manager.broadcast_many, thousand), 50, 1000),
            "packed_ns": (calls(manager.broadcast_frames, packed), 3, 100_000),
            "has_subscribers_ns": (
                calls(manager.has_subscribers, EventKind.MAPPING_UPDATE),
                CALLS,
                1,
            ),
            **ordinary_calls(core),
        }
        loops: list[float] = []
        figures = medians(cases)
        # Beside the packed figure, and alternating with it, as both live on the memory.
        packed_samples: list[float] = []
        for _ in range(ROUNDS):
            loops.append(floor.loop(str(prompt), packed)[0])
            start = time.perf_counter_ns()
            manager.broadcast_frames(packed)
            packed_samples.append((time.perf_counter_ns() - start) / 100_000)
        figures["c_loop_ns"] = statistics.median(loops)
        figures["packed_ns"] = statistics.median(packed_samples)
        figures["convoy_ratio"] = convoy(manager)
    return figures


def ratios(figures: dict[str, float]) -> list[tuple[str, float, str]]:
    floor = figures["fastcall_floor_ns"]
    return [
        ("values / floor", figures["values_ns"] / floor, "at most 2.8"),
        ("single / floor", figures["single_ns"] / floor, "at most 1.9"),
        ("single, lock released / floor", figures["single_released_ns"] / floor, "at most 4"),
        ("many, ns", figures["many_ns"], "at most 25"),
        ("packed / C loop", figures["packed_ns"] / figures["c_loop_ns"], "at most 1.5"),
        ("has_subscribers, ns", figures["has_subscribers_ns"], "at most 60"),
        ("convoy ratio", figures["convoy_ratio"], "at least 0.4"),
        ("process, million events a second", figures["process_events_per_s"] / 1e6, "at least 40"),
        ("process single / floor", figures["process_single_ns"] / floor, "at most 3"),
        (
            "wake p50, us beyond 1.5 times half the futex round trip",
            figures["wake_us_p50"] - 0.75 * figures["futex_round_trip_us"],
            "at most 10",
        ),
        *(
            (
                f"{call} p50, futex round trips, {place}",
                figures[f"{call}_us_{place}"] / figures[f"futex_us_{place}"],
                f"at most {most}",
            )
            for call, most in (("send", 2), ("lookup", 6))
            for place in delivery.PLACES
        ),
        ("socket / process", figures["unix_socket_ns"] / figures["process_ns"], "at least 30"),
        ("restart, ms", figures["restart_ms_idle"], "at most 5"),
        ("restart beside two busy threads, ms", figures["restart_ms_busy"], "at most 20"),
        *(
            (
                f"fan-out to 64, {m}, of 64 times 1",
                figures[f"fanout_{m}_ns_64"] / figures[f"fanout_{m}_ns_1"] / 64,
                "at most 1.5",
            )
            for m in delivery.MODES
        ),
        (
            "large events, process / thread, the worst size",
            min(
                figures[f"sizes_process_gbps_{s}"] / figures[f"sizes_thread_gbps_{s}"]
                for s in delivery.SIZES
            ),
            "at least 0.9",
        ),
        ("cffi / values", figures["cffi_call_ns"] / figures["values_ns"], ""),
        ("ctypes / values", figures["ctypes_call_ns"] / figures["values_ns"], ""),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench.json")
    output: Path = parser.parse_args().output
    logging.getLogger("slipstream").setLevel(logging.CRITICAL)  # workers crash here by design
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        floor = load_floor(here)
        figures = inline(here, floor)
        noop = compile_c(HERE / "noop.c", here / "noop.so", f"-DNOOP_FLAGS={PROMPT_OFTEN}")
        probe = compile_c(HERE / "probe.c", here / "probe.so")
        across, lines = delivery.measure(floor, noop, probe, here)
        figures |= across
    compared = ratios(figures)
    for name, value in itertools.chain(figures.items(), ((n, v) for n, v, _ in compared)):
        note = next((t for n, _, t in compared if n == name), "")
        if name in lines:
            note = f"a cache line there and back: {lines[name]:.0f} ns"
        sys.stdout.write(f"{name:56} {value:14.2f}  {note}\n")
    machine = {"machine": platform.machine(), "python": platform.python_version()}
    rounded = {name: round(value, 3) for name, value in figures.items()}
    output.parent.mkdir(parents=True, exist_ok=True)
    shown = {"cache_line_ns": {name: round(value, 1) for name, value in lines.items()}}
    output.write_text(
        json.dumps({**rounded, **shown, **machine}, indent=2) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
