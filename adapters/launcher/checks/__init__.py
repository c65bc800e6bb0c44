"""The checks of `scaup doctor`, and the finding that each of them returns."""

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """The outcome of a check."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check: `detail` is what was seen, `fix` what to do about it."""

    check: str
    verdict: Verdict
    detail: str
    fix: str = ""


def ok(check: str, detail: str) -> Finding:
    """Return a finding without a problem."""
    return Finding(check, Verdict.OK, detail)


def warning(check: str, detail: str, fix: str) -> Finding:
    """Return a finding that deserves a look."""
    return Finding(check, Verdict.WARNING, detail, fix)


def failed(check: str, detail: str, fix: str) -> Finding:
    """Return a finding that has to be corrected."""
    return Finding(check, Verdict.FAILED, detail, fix)
