"""The balance of one part of the recording, and its explanation in words."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

_MOST_NAMED = 10
CLAIMED = "claimed"
"""The check about numbers that anyone can have written: its lines never fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """One line of `scaup verify`: expected and found messages or rows, and an explanation of the difference."""

    check: str
    name: str
    boot: str | None = None
    expected: int
    found: int
    expired: int = 0
    before: int = 0
    missing: int = 0
    surplus: int = 0
    different: int = 0
    means: str = ""

    @property
    def balanced(self) -> bool:
        """Whether nothing is missing, surplus or different, or that is claimed only."""
        return self.check == CLAIMED or not self.differs

    @property
    def differs(self) -> bool:
        """Whether anything is missing, surplus or different."""
        return bool(self.missing or self.surplus or self.different)


def summed(lines: Iterable[Balance]) -> Iterator[Balance]:
    """Yield the lines, with the balanced ones of each publisher in one, and those of the archive in one."""
    for (_, name, equal), group in groupby(sorted(lines, key=_sum_key), key=_sum_key):
        found = list(group)
        if equal and len(found) > 1:
            yield _sum(name, found)
        else:
            yield from found


_CHECKS = ("publisher", CLAIMED, "numbers", "typed", "archive")


def _sum_key(line: Balance) -> tuple[int, str, bool]:
    return _CHECKS.index(line.check), "" if line.check == "archive" else line.name, not line.differs


def _sum(name: str, lines: list[Balance]) -> Balance:
    expired, before = sum(line.expired for line in lines), sum(line.before for line in lines)
    earlier = f"{before:,} before the recording" if before else ""
    many = f"{len(lines)} {'starts' if name else 'files'}"
    return Balance(
        check=lines[0].check,
        name=name or f"{lines[0].name} to {lines[-1].name}",
        expected=sum(line.expected for line in lines),
        found=sum(line.found for line in lines),
        expired=expired,
        before=before,
        means=joined(many, earlier, expired_text(expired)),
    )


def expired_text(count: int) -> str:
    """Return how many messages expired, in words; empty for none."""
    return f"{count:,} expired" if count else ""


def joined(*texts: str) -> str:
    """Join the texts that are not empty."""
    return "; ".join(text for text in texts if text)


def listed(each: Sequence[Any], total: int | None = None) -> str:
    """List the first ten, followed by … if there are more, or if `total` is larger."""
    shown = [str(one) for one in each[:_MOST_NAMED]]
    return ", ".join([*shown, *(["…"] if (total or len(each)) > len(shown) else [])])
