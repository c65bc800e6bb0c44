"""Lines of the balance, and how they are put into words."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

_MOST_NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the balance: what there should be, what there is, and what the difference means."""

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
        """Whether it adds up."""
        return not (self.missing or self.surplus or self.different)


def summed(lines: Iterable[Line]) -> Iterator[Line]:
    """Return the lines with those that are balanced in one for each publisher, and one for the archive."""
    for (_, name, balanced), group in groupby(sorted(lines, key=_sum_key), key=_sum_key):
        found = list(group)
        if balanced and len(found) > 1:
            yield _sum(name, found)
        else:
            yield from found


_CHECKS = ("publisher", "numbers", "typed", "archive")


def _sum_key(line: Line) -> tuple[int, str, bool]:
    return _CHECKS.index(line.check), "" if line.check == "archive" else line.name, line.balanced


def _sum(name: str, lines: list[Line]) -> Line:
    gone, before = sum(line.expired for line in lines), sum(line.before for line in lines)
    earlier = f"{before:,} before the recording" if before else ""
    many = f"{len(lines)} {'starts' if name else 'files'}"
    return Line(
        check=lines[0].check,
        name=name or f"{lines[0].name} to {lines[-1].name}",
        expected=sum(line.expected for line in lines),
        found=sum(line.found for line in lines),
        expired=gone,
        before=before,
        means=said(many, earlier, expired(gone)),
    )


def expired(count: int) -> str:
    """Say how many messages expired, if any did."""
    return f"{count:,} expired" if count else ""


def said(*texts: str) -> str:
    """Join what there is to say."""
    return "; ".join(text for text in texts if text)


def listed(each: Sequence[Any], total: int | None = None) -> str:
    """List the first ten of them, with a mark where there are more, or `total` is more."""
    shown = [str(one) for one in each[:_MOST_NAMED]]
    return ", ".join([*shown, *(["…"] if (total or len(each)) > len(shown) else [])])
