"""Deletion of expired messages: files of the archive are rewritten without the messages that the policy no longer keeps.

A message and its typed rows are deleted together. Deleted messages are counted in `expired_message`, so that the ledger still
balances, and their means are stored in `message_mean` if the policy keeps them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import pyarrow as pa
from duckdb import DuckDBPyConnection, Error

from broker.log import Log
from storage.errors import ArchiveFailed, first_line
from storage.retention.archive import Report
from storage.retention.archive_files import ArchiveFile, ArchiveFiles, WrittenFile
from storage.retention.policy import Policy
from storage.schema.views import read_files

log = Log(__name__)

_NUMBER_TYPES = "('BIGINT', 'UBIGINT', 'HUGEINT', 'UHUGEINT', 'DOUBLE')"
_MEANS = f"""
WITH kept AS (
    SELECT received_at, coalesce(event_at, received_at) AS measured_at, topic,
        CASE WHEN json_valid(payload) THEN payload END AS payload
    FROM {{messages}} WHERE topic IN (SELECT topic FROM expired WHERE means)),
fields AS (
    SELECT received_at, measured_at, topic, '' AS field, payload AS text, json_type(payload) AS type FROM kept
    UNION ALL
    SELECT received_at, measured_at, topic, field, json_extract_string(payload, pointer), json_type(payload, pointer) FROM (
        SELECT *, '/' || replace(replace(field, '~', '~0'), '/', '~1') AS pointer
        FROM (SELECT *, unnest(json_keys(payload)) AS field FROM kept))),
numbers AS (SELECT *, TRY_CAST(text AS DOUBLE) AS value FROM fields WHERE type IN {_NUMBER_TYPES})
SELECT min(received_at) AS received_at, time_bucket(INTERVAL '15 minutes', measured_at) AS start_at, topic, field,
    avg(value) AS mean, min(value) AS minimum, max(value) AS maximum, count(*) AS samples
FROM numbers WHERE isfinite(value) GROUP BY ALL
"""


class Purge:
    """Applies a retention policy to the files of one archive on one day.

    Messages with numbers above `forwarded` stay: the lake does not have them yet. None: nothing waits for a lake.
    """

    def __init__(self, files: ArchiveFiles, policy: Policy, today: date, forwarded: int | None = None) -> None:
        self._files, self._policy, self._today, self._forwarded = files, policy, today, forwarded

    def run(self, report: Report) -> int:
        """Delete what the policy no longer keeps; return the number of messages.

        Raises:
            ArchiveFailed: a file could not be rewritten; it is unchanged.
            StorageError: the database failed.
        """
        days = [day for day in self._files.days() if self._policy.has_expired(day, self._today)]
        deleted, failures = 0, list[ArchiveFailed]()
        for done, day in enumerate(days):
            report("deleting expired messages", done, len(days))
            try:
                deleted += self._purge_day(day, early=False)
            except ArchiveFailed as failure:  # a damaged file must not prevent all other deletions
                failures.append(failure)
        self._files.remove_obsolete()
        if failures:
            raise ArchiveFailed("; ".join(map(str, failures)))
        return deleted

    def enforce_floor(self, report: Report) -> int:
        """Delete early what may be deleted, oldest first, until free disk reaches the floor; return the number of messages.

        Raises:
            ArchiveFailed: a file could not be rewritten; it is unchanged.
            StorageError: the database failed.
        """
        deleted, days = 0, self._files.days()
        for done, day in enumerate(days):
            if self._files.database.free_bytes >= self._policy.floor_bytes:
                break
            report("freeing disk space", done, len(days))
            if count := self._purge_day(day, early=True):
                log.warning(
                    "messages-deleted-early",
                    "free disk is below the floor of the retention policy: deleted %(count)d messages of %(day)s early",
                    count=count,
                    day=day,
                )
            deleted += count
            if not self._files.remove_obsolete():
                break  # a query still reads deleted files: their space is not free yet, which is no reason to delete more
        return deleted

    def _purge_day(self, day: date, early: bool) -> int:
        deleted = 0
        for messages in self._files.of_day(day, "messages"):
            if self._forwarded is not None and messages.part.last > self._forwarded:
                continue
            expired = self._expired(messages, early)
            if expired.num_rows:
                same_part = [file for file in self._files.of_day(day) if file.part == messages.part and file != messages]
                deleted += self._rewrite(messages, same_part, expired)
        for means in self._files.of_day(day, "message_mean"):
            self._rewrite_means(means, early)
        return deleted

    def _expired(self, messages: ArchiveFile, early: bool) -> pa.Table:
        """Return the topics of a file that are no longer kept, and whether their means are kept."""
        topics = self._topics(messages)
        day = messages.part.day
        expired = [topic for topic in topics if self._policy.expired(topic, day, self._today, early)]
        means = [not self._policy.means_expired(topic, day, self._today, early) for topic in expired]
        return pa.table({"topic": pa.array(expired, pa.string()), "means": pa.array(means, pa.bool_())})

    def _rewrite(self, messages: ArchiveFile, typed: list[ArchiveFile], expired: pa.Table) -> int:
        files, source = self._files, self._source(messages)
        numbers = f"(SELECT number FROM {source} WHERE topic IN (SELECT topic FROM expired))"
        new = [(files.new_file(old.table, old.part, old.columns), old) for old in (messages, *typed)]
        with files.writing([file for file, _ in new]):
            with _reading(messages), files.database.cursor() as cursor:
                cursor.register("expired", expired)
                written = []
                for file, old in new:
                    rows_sql = f"SELECT * FROM {self._source(old)} WHERE number NOT IN {numbers}"
                    written.append(files.write(file, rows_sql, cursor))
                means = cursor.sql(_MEANS.format(messages=source)).to_arrow_table()
                counts = _counts(cursor, source)
            self._switch([messages, *typed], written, means, counts, messages.part.day)
        return sum(count for *_, count in counts)

    def _switch(
        self,
        old: list[ArchiveFile],
        written: list[WrittenFile | None],
        means: pa.Table,
        counts: list[tuple[Any, ...]],
        day: date,
    ) -> None:
        def count_deleted(connection: DuckDBPyConnection) -> None:
            for source, boot, count in counts:
                connection.execute("INSERT INTO expired_message VALUES (?, ?, ?, ?, now())", [day, source, boot, count])
            connection.register("means", means)
            connection.execute("INSERT INTO live.message_mean BY NAME SELECT * FROM means")
            connection.unregister("means")

        self._files.switch(old, [each for each in written if each is not None], count_deleted)

    def _rewrite_means(self, means: ArchiveFile, early: bool) -> None:
        files, source, day = self._files, self._source(means), means.part.day
        expired = [topic for topic in self._topics(means) if self._policy.means_expired(topic, day, self._today, early)]
        if not expired:
            return
        file = files.new_file(means.table, means.part, means.columns)
        with files.writing([file]):
            with files.database.cursor() as cursor:
                cursor.register("expired", pa.table({"topic": pa.array(expired, pa.string())}))
                kept = f"SELECT * FROM {source} WHERE topic NOT IN (SELECT topic FROM expired)"
                written = files.write(file, kept, cursor)
            files.switch([means], [written] if written is not None else [], lambda connection: None)

    def _source(self, file: ArchiveFile) -> str:
        return read_files([self._files.root / file.path])

    def _topics(self, file: ArchiveFile) -> list[str]:
        with _reading(file), self._files.database.cursor() as cursor:
            found = cursor.execute(f"SELECT DISTINCT topic FROM {self._source(file)}").fetchall()
        return [topic for (topic,) in found]


@contextmanager
def _reading(file: ArchiveFile) -> Iterator[None]:
    try:
        yield
    except Error as error:
        raise ArchiveFailed(f"{file.path} cannot be read, nothing in it was deleted: {first_line(error)}") from error


def _counts(cursor: DuckDBPyConnection, source: str) -> list[tuple[Any, ...]]:
    sql = f"SELECT source, boot, count(*) FROM {source} WHERE topic IN (SELECT topic FROM expired) GROUP BY ALL"
    return cursor.execute(sql).fetchall()
