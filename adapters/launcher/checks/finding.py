"""One thing that was checked, and what came out."""

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was checked, how it came out, what was seen, and what to do about it."""

    check: str
    verdict: Verdict
    detail: str
    fix: str = ""


def ok(check: str, detail: str) -> Finding:
    """Return a finding that needs nothing."""
    return Finding(check, Verdict.OK, detail)


def warning(check: str, detail: str, fix: str) -> Finding:
    """Return a finding that somebody should look at."""
    return Finding(check, Verdict.WARNING, detail, fix)


def failed(check: str, detail: str, fix: str) -> Finding:
    """Return a finding that has to be corrected."""
    return Finding(check, Verdict.FAILED, detail, fix)
