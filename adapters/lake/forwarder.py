"""The forwarder: takes ranges from the outbox and commits each to the lake exactly once.

What makes it exact is in the catalog (`catalog.sql`): a trigger moves the site's `upto` in the transaction of DuckLake's own
commit, and refuses it unless epoch and number fit. So a commit whose answer was lost, or one of a forwarder that was replaced,
cannot double a row. After any error the forwarder connects again, reads `upto` and goes on from there.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import psycopg
from duckdb import DuckDBPyConnection

from adapters.lake import ducklake
from adapters.lake.binding import Binding
from adapters.lake.catalog import Catalog, SiteRow
from adapters.lake.files import LakeFile
from adapters.lake.outbox import LARGEST_BATCH, Batch, Waiting
from broker.contract.outbox import MESSAGES
from broker.contract.sql import identifier, literal
from broker.errors import CannotStart, NotAllowedHere, TakenOver
from broker.log import Log

log = Log(__name__)

CHECK_S = 0.2
REPORT_S = 10.0
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
TRIGGER_PAUSE_S = 2.0
AUTHOR = "scaup-forward"

Report = Callable[[str, str | None], None]


@dataclass(slots=True)
class _Open:
    """An open connection to the catalog and one to the lake, and the site's row as it was last read."""

    catalog: Catalog
    lake: DuckDBPyConnection
    row: SiteRow

    def close(self) -> None:
        self.lake.close()
        self.catalog.close()


class Forwarder:
    """Forwards the outbox of one data directory, in the thread that calls `run`."""

    def __init__(self, lake: LakeFile, data_dir: Path, on_state: Report = lambda state, error: None) -> None:
        self._lake, self._site, self._on_state = lake, lake.site, on_state
        self._data_dir = data_dir
        self._waiting = Waiting(data_dir)
        self._epoch, self._largest = -1, LARGEST_BATCH
        self._open: _Open | None = None
        self._checked = False
        self._state, self._reported_s = "", 0.0

    def run(self, stop: threading.Event, drain_s: float = 0.0) -> None:
        """Forward until `stop`; then, for `drain_s` at most, forward what is left.

        Raises:
            TakenOver: a later forwarder took over.
            NotAllowedHere: this is a copy of the site's data directory.
            CannotStart: the site is not in the catalog.
        """
        pause_s, ends_s = SHORTEST_PAUSE_S, None
        try:
            while True:
                if stop.is_set():
                    ends_s = ends_s or time.monotonic() + drain_s
                    if time.monotonic() >= ends_s:
                        return
                try:
                    moved = self._step()
                    pause_s = SHORTEST_PAUSE_S
                except (psycopg.Error, duckdb.Error, OSError, MemoryError) as error:
                    if isinstance(error, (duckdb.OutOfMemoryException, MemoryError)):
                        self._largest = max(1, self._largest // 4)  # then range by range
                    self._note(f"waiting: {_first_line(error)}", error)
                    self._close()
                    if stop.is_set():
                        return  # the lake is away: what is left waits in the outbox
                    stop.wait(pause_s)
                    pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                else:
                    if stop.is_set() and not moved:
                        return
                    if not moved:
                        stop.wait(CHECK_S if self._state == "forwarding" else TRIGGER_PAUSE_S)
        finally:
            self._close()

    def _step(self) -> bool:
        """Forward one batch; return False if there was none."""
        opened = self._opened()
        incarnation, upto = opened.row.incarnation, opened.row.upto
        batch = self._waiting.next_batch(incarnation.partition("+")[0], upto, self._largest)
        if batch is None:
            return self._next_incarnation(opened) or self._idle(opened)
        opened.row = row = self._read(opened.catalog)
        if (row.incarnation, row.upto) != (incarnation, upto):
            return True
        if not row.has_trigger:
            self._note("trigger", None)
            self._checked = False
            return False
        if not self._checked:
            self._reconcile(opened)
            return True
        self._commit(opened, batch)
        opened.row = row = self._read(opened.catalog)
        if row.upto != batch.last:
            self._checked = False  # the trigger was not there: what was committed is found in the lake
            return True
        self._waiting.confirm(incarnation.partition("+")[0], row.upto)
        self._note("forwarding", None)
        self._report(opened)
        return True

    def _idle(self, opened: _Open) -> bool:
        if time.monotonic() - self._reported_s >= REPORT_S:
            opened.row = self._read(opened.catalog)
            self._note("forwarding" if opened.row.has_trigger else "trigger", None)
            self._report(opened)
        return False

    def _opened(self) -> _Open:
        if self._open is None:
            catalog = Catalog(self._lake)
            try:
                row = self._admitted(catalog)
                lake = ducklake.connect(self._lake, spill=self._waiting.spill)
            except BaseException:
                catalog.close()
                raise
            self._open = _Open(catalog, lake, row)
            self._checked = False
            if row.has_trigger:
                self._reconcile(self._open)
                self._note("forwarding", None)
            else:
                self._note("trigger", None)
        return self._open

    def _admitted(self, catalog: Catalog) -> SiteRow:
        """Read the site's row; at the first time, and after the catalog was restored, raise its epoch."""
        row = self._bound(catalog)
        if row.epoch < self._epoch:
            log.warning("lake-restored", "the catalog was restored to an older state: forwarding what it lacks")
            self._epoch = -1
        if self._epoch < 0:
            catalog.claim(self._site)
            row = self._bound(catalog)
            self._epoch = row.epoch
            log.info("lake-claimed", "site %(site)s, epoch %(epoch)d", site=self._site, epoch=row.epoch)
        return self._fence(row)

    def _read(self, catalog: Catalog) -> SiteRow:
        return self._fence(self._bound(catalog))

    def _fence(self, row: SiteRow) -> SiteRow:
        if row.epoch > self._epoch:
            raise TakenOver(
                f"another lake-forwarder of site {self._site} took over (epoch {row.epoch}, this one has {self._epoch})"
            )
        return row

    def _bound(self, catalog: Catalog) -> SiteRow:
        row = catalog.row(self._site)
        if row is None or row.binding is None:
            raise CannotStart(f"site {self._site} is not in the lake: join it again (`scaup lake join`)")
        if row.binding != Binding.of(self._data_dir):
            raise NotAllowedHere(
                f"{self._data_dir.resolve()} is a copy of site {self._site}'s data directory, which is {row.binding.place}: "
                "nothing is forwarded from here. Remove lake.toml here, or join under another name; if the original is gone, "
                f"`scaup lake join site.toml --site {self._site} --takeover`"
            )
        return row

    def _reconcile(self, opened: _Open) -> None:
        """Move `upto` to what the lake has: without the trigger a commit did not move it."""
        row = opened.row
        found = opened.lake.execute(
            f"SELECT max(number) FROM lake.main.{MESSAGES} WHERE site = ? AND incarnation = ? AND number > ?",
            [self._site, row.incarnation, row.upto],
        ).fetchall()
        highest = found[0][0]
        if highest is not None:
            log.warning("lake-ahead", "the lake has messages up to %(number)d already: going on from there", number=highest)
            opened.catalog.begin(self._site, self._epoch, row.incarnation, highest)
            opened.row = row = self._read(opened.catalog)
        if row.incarnation:
            self._waiting.confirm(row.incarnation.partition("+")[0], row.upto)
        self._checked = True

    def _next_incarnation(self, opened: _Open) -> bool:
        """Go on with another database file, when nothing of the present one waits; return whether there is one."""
        present = opened.row.incarnation
        database = present.partition("+")[0]
        if present and self._waiting.has_ranges(database):
            return False  # a gap: the recorder writes what is missing
        for each in self._waiting.incarnations():
            wanted = self._lake.name_of(each)
            if wanted == present or (present and not self._waiting.has_ranges(each)):
                continue
            upto = max(self._highest(opened.lake, wanted), self._lake.first_of(each))
            log.info("lake-incarnation", "forwarding database %(name)s from message %(first)d on", name=wanted, first=upto + 1)
            if not opened.catalog.begin(self._site, self._epoch, wanted, upto):
                self._read(opened.catalog)
            opened.row = self._read(opened.catalog)
            self._waiting.confirm(each, upto)
            if database and database != each:
                self._waiting.remove(database)
            return True
        return False

    def _highest(self, lake: DuckDBPyConnection, incarnation: str) -> int:
        sql = f"SELECT max(number) FROM lake.main.{MESSAGES} WHERE site = ? AND incarnation = ?"
        return int(lake.execute(sql, [self._site, incarnation]).fetchall()[0][0] or 0)

    def _commit(self, opened: _Open, batch: Batch) -> None:
        if MESSAGES not in batch.files:
            opened.catalog.skip(self._site, self._epoch, opened.row.incarnation, batch.first, batch.last)
            return
        lake = opened.lake
        self._make_tables(lake, batch)
        lake.execute("BEGIN")
        for table, files in batch.files.items():
            identity = f"{literal(self._site)} AS site, {literal(opened.row.incarnation)} AS incarnation"
            known = {name for name, _ in self._described(lake, files)}
            lake.execute(
                f"INSERT INTO lake.main.{identifier(table)} BY NAME SELECT {identity}, * FROM {_source(files)} "
                f"WHERE number >= {batch.first} ORDER BY {', '.join(ducklake.order_of(known))}"
            )
        self._sign(lake, {"incarnation": opened.row.incarnation, "first": batch.first, "last": batch.last})
        lake.execute("COMMIT")

    def _make_tables(self, lake: DuckDBPyConnection, batch: Batch) -> None:
        """Add tables and columns that no site had before, in a commit of their own."""
        wanted = {
            table: ducklake.forwarded_columns(table, self._described(lake, files)) for table, files in batch.files.items()
        }
        known = ducklake.known_columns(lake)
        if all(columns.keys() <= known.get(table, set()) for table, columns in wanted.items()):
            return
        lake.execute("BEGIN")
        ducklake.make_tables(lake, wanted)
        self._sign(lake, {})
        lake.execute("COMMIT")

    def _sign(self, lake: DuckDBPyConnection, batch: dict[str, object]) -> None:
        """Put into the transaction what the trigger checks."""
        signed = json.dumps({"site": self._site, "epoch": self._epoch, **batch})
        lake.execute(f"CALL lake.set_commit_message({literal(AUTHOR)}, {literal(self._site)}, extra_info => {literal(signed)})")

    @staticmethod
    def _described(lake: DuckDBPyConnection, files: list[Path]) -> list[tuple[str, str]]:
        return [(row[0], row[1]) for row in lake.execute(f"DESCRIBE SELECT * FROM {_source(files)}").fetchall()]

    def _report(self, opened: _Open) -> None:
        """Write into the catalog how far behind it is, at most every few seconds."""
        if time.monotonic() - self._reported_s < REPORT_S:
            return
        recorded = self._waiting.recorded(opened.row.incarnation.partition("+")[0])
        opened.catalog.report(self._site, self._epoch, max(0, recorded - opened.row.upto), self._state)
        self._reported_s = time.monotonic()

    def _note(self, state: str, error: BaseException | None) -> None:
        """Report a change of state, once."""
        if state == self._state:
            return
        self._state = state
        self._on_state(state, None if error is None else _first_line(error))
        if state == "trigger":
            log.error(
                "lake-trigger",
                "the trigger scaup_forward is missing in the catalog: nothing is forwarded; `scaup lake init` makes it again",
            )
        elif error is not None:
            log.warning("lake-unreachable", "%(error)s: trying again; nothing is lost", error=_first_line(error))
        else:
            log.info("lake-forwarding", "forwarding")

    def _close(self) -> None:
        if self._open is not None:
            opened, self._open = self._open, None
            opened.close()


def _source(files: list[Path]) -> str:
    names = ", ".join(literal(str(each)) for each in files)
    return f"read_parquet([{names}], union_by_name = true, hive_partitioning = false)"


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
