"""Results of a bench: figures compared with the targets of the spec, and the table of the recorder's peers."""

import operator
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_BEGAN_S = time.monotonic()


@dataclass(frozen=True, slots=True)
class Target:
    """A bound from the spec; `text` gives it with its unit."""

    text: str
    met: Callable[[float], bool]


def at_least(bound: float, unit: str = "") -> Target:
    """Require at least `bound`."""
    return Target(f"≥ {bound:,g} {unit}".rstrip(), lambda value: value >= bound)


def below(bound: float, unit: str = "") -> Target:
    """Require less than `bound`."""
    return Target(f"< {bound:,g} {unit}".rstrip(), lambda value: value < bound)


def exactly(bound: float) -> Target:
    """Require exactly `bound`."""
    return Target(f"= {bound:,g}", lambda value: operator.eq(value, bound))


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value, in the unit that `unit` names. Without a target it is printed for comparison only."""

    name: str
    value: float
    unit: str = ""
    target: Target | None = None

    @property
    def missed(self) -> bool:
        """Whether the target is not reached."""
        return self.target is not None and not self.target.met(self.value)

    @property
    def row(self) -> tuple[str, str, str, str]:
        """The cells figure, target, measured and reached."""
        reached = "" if self.target is None else "NO" if self.missed else "yes"
        return self.name, self.target.text if self.target else "", f"{number(self.value)} {self.unit}".rstrip(), reached


@dataclass(frozen=True, slots=True)
class Peer:
    """The rate at which one client drained its backlog: messages per second, and as a multiple of `mosquitto_sub`'s rate.

    Also the processor time per message that client and broker took, µs.
    """

    name: str
    does: str
    rate: float
    ratio: float
    client_us: float
    broker_us: float

    @property
    def row(self) -> tuple[str, ...]:
        """A cell for each of `PEER_COLUMNS`."""
        return self.name, self.does, f"{self.rate:,.0f}", f"{self.ratio:.2f}", f"{self.client_us:.1f}", f"{self.broker_us:.1f}"


PEER_COLUMNS = ("client", "does with each message", "msg/s", "× `mosquitto_sub`", "client, µs/msg", "broker, µs/msg")


def number(value: float) -> str:
    """Format with as many digits as a noisy machine justifies."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align columns for a terminal."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (header, *rows))


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of `values` lie; they need no order, n ≥ 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def progress(text: str) -> None:
    """Print progress on standard error."""
    print(f"[{time.monotonic() - _BEGAN_S:5.0f} s] {text}", file=sys.stderr, flush=True)
