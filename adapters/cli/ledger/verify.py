"""The checks of `scaup verify`: publishers, message numbers, typed tables and archive, each with its differences."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from adapters.cli.ledger import sql
from adapters.cli.ledger.balance import CLAIMED, Balance, expired_text, joined, listed
from adapters.cli.ledger.ledger import Ledger, LedgerWindow, open_ledger, read_runs, settle, unchanged, window
from adapters.cli.ledger.numbers import Numbers, all_expired, messages_balance, read_numbers
from adapters.cli.ledger.queries import LedgerQueries
from adapters.cli.ledger.sequence import FindingKind, PublisherSequence, SequenceFinding
from adapters.cli.output.progress import StartSteps
from storage.schema.ledger import TypedTable, typed_tables


def verify(queries: LedgerQueries, since_at: datetime | None, start_steps: StartSteps) -> tuple[LedgerWindow, list[Balance]]:
    """Return the examined window and its balances.

    Raises:
        ClientError: the source cannot answer.
    """
    return unchanged(queries, lambda: _verify(queries, since_at, start_steps))


def _verify(queries: LedgerQueries, since_at: datetime | None, start_steps: StartSteps) -> tuple[LedgerWindow, list[Balance]]:
    tables = typed_tables()
    chosen = window(queries, since_at, tuple(table.name for table in tables))
    step = start_steps(len(chosen.pieces) * (2 + len(tables)))
    ledger = open_ledger(queries, chosen)
    numbers = Numbers(chosen.low)
    typed = {table.name: _TypedDifferences() for table in tables}
    for low, high in chosen.pieces:
        read_runs(queries, ledger, low, high)
        step()
        read_numbers(queries, numbers, low, high)
        step()
        for table in tables:
            _compare(queries, table, typed[table.name], low, high)
            step()
    settle(queries, ledger)
    numbers.end(chosen.high)
    lines = [
        *_publishers(ledger),
        messages_balance(chosen, numbers, all_expired(queries, chosen)),
        *(each.balance(name) for name, each in typed.items()),
        *_archive(queries, chosen),
    ]
    return chosen, lines


def publisher_balance(sequence: PublisherSequence, findings: list[SequenceFinding]) -> Balance:
    """Return the balance of one start of a publisher: published = recorded + expired + before the recording + missing."""
    counts = dict.fromkeys(FindingKind, 0)
    for finding in findings:
        counts[finding.kind] += finding.count
    missing, before = counts[FindingKind.MISSING], counts[FindingKind.BEFORE]
    expired = sequence.published - sequence.recorded - missing - before
    doubled = f"{sequence.doubled:,} recorded again" if sequence.doubled else ""
    lost = f"{missing:,} published but not recorded" if missing else ""
    fix = f"`scaup gaps {sequence.source}` shows which" if lost or doubled else ""
    earlier = f"{before:,} before the recording" if before else ""
    return Balance(
        check="publisher",
        name=sequence.source,
        boot=sequence.boot,
        expected=sequence.published,
        found=sequence.recorded,
        expired=expired,
        before=before,
        missing=missing,
        surplus=sequence.doubled,
        means=joined(lost, doubled, fix, earlier, expired_text(expired)),
    )


def _publishers(ledger: Ledger) -> Iterator[Balance]:
    for sequence, findings in ledger.findings():
        yield publisher_balance(sequence, findings)
    for sequence, findings in ledger.claims():
        line = publisher_balance(sequence, findings)
        means = joined(line.means, "anyone may publish there: not proven" if line.differs else "")
        yield replace(line, check=CLAIMED, means=means)


@dataclass(slots=True)
class _TypedDifferences:
    """The differences of one typed table, summed over the pieces."""

    wanted: int = 0
    found: int = 0
    missing: int = 0
    surplus: int = 0
    different: int = 0
    numbers: list[int] = field(default_factory=list)

    def add(self, row: dict[str, Any]) -> None:
        self.missing += row["missing"]
        self.surplus += row["surplus"]
        self.different += row["different"]
        self.numbers += row["numbers"] or []

    def balance(self, name: str) -> Balance:
        texts = [
            f"{self.missing:,} missing" if self.missing else "",
            f"{self.surplus:,} that no message gives, or duplicates" if self.surplus else "",
            f"{self.different:,} with other values" if self.different else "",
        ]
        if any(texts):
            texts += [
                f"messages {listed(self.numbers, self.missing + self.surplus + self.different)}",
                "changed by hand, or typed by an earlier release: `messages` counts",
            ]
        return Balance(
            check="typed",
            name=name,
            expected=self.wanted,
            found=self.found,
            missing=self.missing,
            surplus=self.surplus,
            different=self.different,
            means=joined(*texts),
        )


def _compare(queries: LedgerQueries, table: TypedTable, typed: _TypedDifferences, low: int, high: int) -> None:
    counts = list(queries.in_pieces(table.counts_sql, low, high))
    typed.wanted += sum(row["wanted"] for row in counts)
    typed.found += sum(row["found"] for row in counts)
    if any(row["differs"] or row["wanted"] != row["found"] for row in counts):
        for row in queries.in_pieces(table.differences_sql, low, high):
            typed.add(row)


def _archive(queries: LedgerQueries, chosen: LedgerWindow) -> Iterator[Balance]:
    for file in queries.rows(sql.ARCHIVED, low=chosen.low):
        first, last = file["first_number"], file["last_number"]
        found = sum(row["rows"] for row in queries.in_pieces(sql.IN_FILE, first, last, day=str(file["day"])))
        differs = found != file["rows"]
        yield Balance(
            check="archive",
            name=str(file["day"]),
            expected=file["rows"],
            found=found,
            missing=max(file["rows"] - found, 0),
            surplus=max(found - file["rows"], 0),
            means=f"archive/{file['path']} differs from what was written: restore a copy of it" if differs else "",
        )
