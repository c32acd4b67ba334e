"""Every rogue against every check: its own finds it, and no other.

python tests/rogues/matrix.py [--repeat N] [PATTERN ...]

A check that needs the rogue's own is skipped, and that is right. With --repeat only the rogue's own
check runs, so many times, and has to say the same each time. What is not as it should be is printed;
the exit code is how many rogues that are, at most 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import track

from slipstream.check.catalogue import catalogue
from slipstream.check.subject import Subject, file_of
from slipstream.check.suite import explore, run_checks
from slipstream.check.trial import run
from slipstream.check.verdict import NO_VERDICT, Result

sys.path.insert(0, str(Path(__file__).parent))

from rogues import Rogue, build_all, gallery


def subject_of(rogue: Rogue, library: Path) -> Subject:
    """A rogue as the checker sees it, explored."""
    _, info = file_of(library)
    own = (info.sample_config if info is not None else None) or {}
    quirks = {rogue.quirk: "it is a rogue"} if rogue.quirk else {}
    subject = Subject(library, dict(own), quirks)
    explore(subject)
    return subject


def misses(rogue: Rogue, results: Iterable[Result]) -> Iterator[str]:
    """What the checks say of a rogue that they should not, or do not and should."""
    found = {r.check.id: r for r in results if r.level is not None or r.verdict in NO_VERDICT}
    if rogue.check not in found:
        yield f"{rogue.check} does not find it"
    for name, result in found.items():
        if name != rogue.check:
            yield f"{name} finds it, too: {'; '.join(result.findings)}"


def repeated(rogue: Rogue, subject: Subject, times: int, seconds: float) -> Iterator[Result]:
    """What the rogue's own check says, again and again, but no longer than that."""
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        for number in range(times):
            if number > 1 and time.monotonic() > end:
                return
            place = Path(folder) / str(number)
            place.mkdir()
            yield run(subject, rogue.check, place)


def main() -> int:
    """Play them all; return 1 if one is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("patterns", nargs="*", help="parts of the names of rogues")
    parser.add_argument("--repeat", type=int, default=0)
    arguments = parser.parse_args()
    patterns = arguments.patterns or [""]
    rogues = [r for r in gallery() if any(pattern in r.name for pattern in patterns)]
    console = Console(stderr=True)
    bad = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        libraries = build_all(rogues, Path(folder))
        for rogue in track(rogues, "rogues", console=console, transient=True):
            subject = subject_of(rogue, libraries[rogue.name])
            if arguments.repeat:
                results = enumerate(repeated(rogue, subject, arguments.repeat, 3600), 1)
                wrong = [
                    f"time {number}: {result.verdict}: {'; '.join(result.findings)}"
                    for number, result in results
                    if result.level is None
                ]
            else:
                wrong = list(misses(rogue, run_checks(subject, list(catalogue()), jobs=2)))
            bad += bool(wrong)
            for line in wrong:
                print(f"{rogue.name}: {line}", flush=True)
    took = time.monotonic() - began
    print(
        f"{len(rogues)} rogues, {len(catalogue())} checks, {bad} not as they should be, {took:.0f} s"
    )
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
