"""The table of outcomes, as text or Markdown."""

from collections.abc import Sequence

from tests.crash.trial import Outcome

_HEAD = (
    "cause",
    "times",
    "published",
    "recorded",
    "lost",
    "doubled",
    "delivered as new",
    "sent twice",
    "recognised ≥",
    "s",
    "",
)

LEGEND = """\
published: acknowledged by the broker. lost: acknowledged and not recorded. doubled: recorded twice. delivered as new: recorded
twice because the broker was killed in between, came back with an older state and delivered it as a new message. sent twice: by
its publisher, which had no acknowledgement. recognised: redeliveries that the recorder left out, as far as it could report."""


def text(outcomes: Sequence[Outcome]) -> str:
    """Return the table with aligned columns, its legend and the notes."""
    rows = [_HEAD, *(_cells(each) for each in outcomes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [
        "  ".join(_aligned(cell, width, n) for n, (cell, width) in enumerate(zip(row, widths, strict=True))) for row in rows
    ]
    return "\n".join([*(each.rstrip() for each in lines), "", LEGEND, *_notes(outcomes)])


def markdown(outcomes: Sequence[Outcome]) -> str:
    """Return the table for docs/recording.md."""
    head = [f"| {' | '.join(_HEAD[:-1])} |", "|---" + "|--:" * (len(_HEAD) - 2) + "|"]
    return "\n".join([*head, *(f"| {' | '.join(_cells(each)[:-1])} |" for each in outcomes)])


def _cells(outcome: Outcome) -> tuple[str, ...]:
    seconds, count = f"{outcome.seconds:.0f}", outcome.count
    if count is None:
        return (outcome.cause.name, *["-"] * (len(_HEAD) - 3), seconds, "skipped" if outcome.skipped else "FAILED")
    numbers = (outcome.kills, count.published, count.recorded, count.lost, count.doubled, count.delivered_as_new)
    more = (count.sent_twice, count.recognised)
    return (outcome.cause.name, *(f"{each:,}" for each in (*numbers, *more)), seconds, _verdict(outcome))


def _verdict(outcome: Outcome) -> str:
    if outcome.failed:
        return "FAILED"
    return "exact" if outcome.count is not None and outcome.count.exact else "as expected"


def _notes(outcomes: Sequence[Outcome]) -> list[str]:
    notes = [f"{each.cause.name}: {note}" for each in outcomes for note in (*each.notes, *_age(each), *_unsound(each))]
    return ["", *notes] if notes else []


def _age(outcome: Outcome) -> list[str]:
    if outcome.count is None or outcome.count.oldest_lost_s is None:
        return []
    return [f"lost messages had been acknowledged at most {outcome.count.oldest_lost_s:.1f} s before the broker was killed"]


def _unsound(outcome: Outcome) -> list[str]:
    if outcome.count is None or outcome.count.sound:
        return []
    return [
        f"{outcome.count.unknown} recorded messages that were never sent, "
        f"{outcome.count.untyped} whose rows in the typed table differ in number from `messages`"
    ]


def _aligned(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column in (0, len(_HEAD) - 1) else cell.rjust(width)
