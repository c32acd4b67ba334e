"""The probe of conformance/, built, and what it has reported."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from support.making import ROOT, run_make

CONFORMANCE = ROOT / "conformance"
PROBES = ROOT / "build" / "conformance"
VARIANTS = ["probe", "probe-single", "probe-batch", "probe-ack"]


def build_probes() -> Path:
    """The folder of the variants, which are up to date.

    Returns:
        The folder; each variant is VARIANT.so in it.
    """
    done = run_make(CONFORMANCE, "-s")
    if done is None:
        pytest.skip("no make on this machine")
    assert done.returncode == 0, done.stderr
    return PROBES


class Probed:
    """A report, and what the config of a probe that writes it is made of."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "report"
        self.history = folder / "history"

    def config(self, variant: str, **more: object) -> dict[str, object]:
        return {
            "libpath": str(PROBES / f"{variant}.so"),
            "report": str(self.path),
            "history": str(self.history),
            **more,
        }

    @property
    def lines(self) -> list[dict]:
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def of(self, field: str) -> list[dict]:
        """The lines that have a field: violation, done, call, error, line."""
        return [line for line in self.lines if field in line]

    def calls(self, name: str) -> list[dict]:
        return [line for line in self.of("call") if line["call"] == name]

    def assert_kept(self, ended: int) -> list[dict]:
        """So many instances have ended, and the host has kept the contract with each.

        Returns:
            The last lines of all.
        """
        assert self.of("violation") == []
        done = self.of("done")
        assert len(done) == ended
        assert [line["violations"] for line in done] == [0] * ended
        return done

    def tried(self) -> set[str]:
        """The checks that were made, by one instance or another."""
        return set(check_ids()) - set.intersection(*(set(d["untried"]) for d in self.of("done")))


def check_ids() -> list[str]:
    """What the probe checks, in the order of conformance/checks.h."""
    return [one for one, _ in check_rules()]


def check_rules() -> list[tuple[str, str]]:
    """Ids and rules of the probe's checks."""
    text = (CONFORMANCE / "checks.h").read_text(encoding="utf-8").replace("\\\n", "")
    return re.findall(r'X\([A-Z_]+,\s*"([^"]+)",\s*"([^"]+)"\)', text)
