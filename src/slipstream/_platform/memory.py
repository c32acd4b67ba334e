"""How much memory is left, as far as the system says."""

from __future__ import annotations

from pathlib import Path

_UNLIMITED = 1 << 60  # what the first version of cgroups says where there is no limit
# Where the two versions of cgroups keep limit and usage, and what of that can be given back.
_VERSIONS = (
    (
        Path("/sys/fs/cgroup"),
        "memory.max",
        "memory.current",
        ("inactive_file", "active_file"),
    ),
    (
        Path("/sys/fs/cgroup/memory"),
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        ("total_inactive_file", "total_active_file"),
    ),
)


def memory_left() -> tuple[int, str] | None:
    """Return how many bytes can still be had, and what limits them; None where it is not known."""
    found = [*_machine(), *_groups()]
    return min(found) if found else None


def _fields(path: Path) -> dict[str, int]:
    """Return the numbers of a file with a name and a number in each line; none if it is missing."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {line[0].rstrip(":"): int(line[1]) for line in lines if len(line) > 1}


def _machine() -> list[tuple[int, str]]:
    memory = _fields(Path("/proc/meminfo"))
    if "MemAvailable" not in memory:
        return []
    return [(memory["MemAvailable"] * 1024, "MemAvailable of /proc/meminfo")]


def _groups() -> list[tuple[int, str]]:
    """Return what the limits of this process's cgroup leave, and of those above it."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found: list[tuple[int, str]] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root, limit, usage, given_back = _VERSIONS[1 if controllers else 0]
        folder = root / path.lstrip("/")
        while folder.is_relative_to(root):
            left = _left(folder, limit, usage, given_back)
            if left is not None:
                found.append((left, f"the limit {folder / limit}"))
            folder = folder.parent
    return found


def _left(folder: Path, limit: str, usage: str, given_back: tuple[str, str]) -> int | None:
    try:
        most = int((folder / limit).read_text())
        used = int((folder / usage).read_text())
    except (OSError, ValueError):  # there is none: "max"
        return None
    if most >= _UNLIMITED:
        return None
    kept = _fields(folder / "memory.stat")
    return max(0, most - used + sum(kept.get(name, 0) for name in given_back))
