"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slipstream.check.catalogue import Check, Level


class Verdict(StrEnum):
    """How a check ended; ``pass`` and ``skip`` are no findings."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    CRASH = "crash"
    TIMEOUT = "timeout"
    WARN = "warn"
    NOTE = "note"
    SKIP = "skip"
    UNTRIED = "untried"
    """It could not be tried, and says nothing of the plugin; a skip is what was not to be tried."""
    BROKEN = "broken"
    """The checker failed, not the plugin."""


CONFORMANT, GOOD, EXCELLENT = "conformant", "good", "excellent"

_LEVELS: dict[Verdict, Level] = {
    Verdict.FAIL: "fail",
    Verdict.CRASH: "fail",
    Verdict.TIMEOUT: "fail",
    Verdict.WARN: "warn",
    Verdict.NOTE: "note",
}


@dataclass(frozen=True, slots=True)
class Result:
    """What one check found.

    Attributes:
        check: The check.
        verdict: How it ended.
        findings: What is wrong, a line each; of what was skipped or not tried why.
        seconds: How long it took.
        input: An event that was made up, and with which the plugin fell.
        repeat: The command that gives the plugin that event again, once it is kept in a file.
        said_retry: The plugin has answered RETRY: what it needs may have been in use.
    """

    check: Check
    verdict: Verdict
    findings: tuple[str, ...] = ()
    seconds: float = 0.0
    input: bytes = b""
    repeat: str = ""
    said_retry: bool = False

    @property
    def level(self) -> Level | None:
        """How much it weighs; None if nothing is wrong."""
        return _LEVELS.get(self.verdict)

    @property
    def others_may_be_why(self) -> bool:
        """Other checks that ran at the same time may have kept it from passing."""
        return self.verdict is Verdict.UNTRIED or (self.said_retry and self.level is not None)


NO_VERDICT = {Verdict.UNTRIED, Verdict.BROKEN}
"""How a check ends that should have told something, and could not."""


def level_of(results: list[Result]) -> str | None:
    """Return the level that a plugin has reached.

    Returns:
        "excellent" (nothing was found), "good" (notes), "conformant" (warnings), or None: it breaks
        the contract, or not all was tried that was to be tried.
    """
    found = {result.level for result in results}
    verdicts = {result.verdict for result in results}
    if "fail" in found or verdicts & NO_VERDICT or not verdicts - {Verdict.SKIP}:
        return None
    return CONFORMANT if "warn" in found else GOOD if "note" in found else EXCELLENT
