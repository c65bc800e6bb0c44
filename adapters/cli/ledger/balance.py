"""The balance of the ledger: publishers, message numbers, typed tables and archive, each with what does not add up."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from adapters.cli.ledger import sql
from adapters.cli.ledger.asking import Ask, Started, in_pieces
from adapters.cli.ledger.book import Book, Finding, Kind
from adapters.cli.ledger.line import Line, expired, listed, said
from adapters.cli.ledger.numbers import Numbers, all_expired, messages_line, read_numbers
from adapters.cli.ledger.reading import Ledger, Window, open_ledger, read_books, settle, unchanged, window
from storage.schema.ledger import TypedTable, typed_tables


def verify(ask: Ask, since_at: datetime | None, started: Started) -> tuple[Window, list[Line]]:
    """Return what was looked at and its balance.

    Raises:
        ClientError: nobody can answer.
    """
    return unchanged(ask, lambda: _verify(ask, since_at, started))


def _verify(ask: Ask, since_at: datetime | None, started: Started) -> tuple[Window, list[Line]]:
    tables = typed_tables()
    chosen = window(ask, since_at, tuple(table.name for table in tables))
    step = started(len(chosen.pieces) * (2 + len(tables)))
    ledger = open_ledger(ask, chosen)
    numbers = Numbers(chosen.low)
    typed = {table.name: _Typed() for table in tables}
    for low, high in chosen.pieces:
        read_books(ask, ledger, low, high)
        step()
        read_numbers(ask, numbers, low, high)
        step()
        for table in tables:
            _compare(ask, table, typed[table.name], low, high)
            step()
    settle(ask, ledger)
    numbers.end(chosen.high)
    lines = [
        *_publishers(ledger),
        messages_line(chosen, numbers, all_expired(ask, chosen)),
        *(each.line(name) for name, each in typed.items()),
        *_archive(ask, chosen),
    ]
    return chosen, lines


def publisher_line(book: Book, findings: list[Finding]) -> Line:
    """Return the balance of one start of a publisher: published = recorded + expired + before the recording + missing."""
    counts = dict.fromkeys(Kind, 0)
    for finding in findings:
        counts[finding.kind] += finding.count
    missing, before = counts[Kind.MISSING], counts[Kind.BEFORE]
    gone = book.published - book.recorded - missing - before
    doubled = f"{book.doubled:,} recorded again" if book.doubled else ""
    lost = f"{missing:,} published but not recorded" if missing else ""
    fix = f"`scaup gaps {book.source}` shows which" if lost or doubled else ""
    earlier = f"{before:,} before the recording" if before else ""
    return Line(
        check="publisher",
        name=book.source,
        boot=book.boot,
        expected=book.published,
        found=book.recorded,
        expired=gone,
        before=before,
        missing=missing,
        surplus=book.doubled,
        means=said(lost, doubled, fix, earlier, expired(gone)),
    )


def _publishers(ledger: Ledger) -> Iterator[Line]:
    for book, findings in ledger.findings():
        yield publisher_line(book, findings)


@dataclass(slots=True)
class _Typed:
    """The differences of one typed table, summed over the pieces."""

    wanted: int = 0
    found: int = 0
    missing: int = 0
    surplus: int = 0
    different: int = 0
    numbers: list[int] = field(default_factory=list)

    def differs(self, row: dict[str, Any]) -> None:
        self.missing += row["missing"]
        self.surplus += row["surplus"]
        self.different += row["different"]
        self.numbers += row["numbers"] or []

    def line(self, name: str) -> Line:
        texts = [
            f"{self.missing:,} missing" if self.missing else "",
            f"{self.surplus:,} that no message gives, or given again" if self.surplus else "",
            f"{self.different:,} with other values" if self.different else "",
        ]
        if any(texts):
            texts += [
                f"messages {listed(self.numbers, self.missing + self.surplus + self.different)}",
                "changed by hand, or typed by an earlier release: `messages` counts",
            ]
        return Line(
            check="typed",
            name=name,
            expected=self.wanted,
            found=self.found,
            missing=self.missing,
            surplus=self.surplus,
            different=self.different,
            means=said(*texts),
        )


def _compare(ask: Ask, table: TypedTable, typed: _Typed, low: int, high: int) -> None:
    counts = list(in_pieces(ask, table.counts_sql, low, high))
    typed.wanted += sum(row["wanted"] for row in counts)
    typed.found += sum(row["found"] for row in counts)
    if any(row["differs"] or row["wanted"] != row["found"] for row in counts):
        for row in in_pieces(ask, table.differences_sql, low, high):
            typed.differs(row)


def _archive(ask: Ask, chosen: Window) -> Iterator[Line]:
    for file in ask(sql.ARCHIVED, low=chosen.low):
        first, last = file["first_number"], file["last_number"]
        found = sum(row["rows"] for row in in_pieces(ask, sql.IN_FILE, first, last, day=str(file["day"])))
        differs = found != file["rows"]
        yield Line(
            check="archive",
            name=str(file["day"]),
            expected=file["rows"],
            found=found,
            missing=max(file["rows"] - found, 0),
            surplus=max(found - file["rows"], 0),
            means=f"archive/{file['path']} is not as it was written: restore a copy of it" if differs else "",
        )
