"""Queries of the ledger: many in a row, to the recorder or to the database file, split where an answer exceeds a limit."""

from collections.abc import Iterator
from typing import Any

from adapters.client.answers import Source, arrow_request
from adapters.client.errors import Failed, Refused, WrongUsage

Row = dict[str, Any]
_FILE_TIMEOUT_S = 600.0


class LedgerQueries:
    """Runs queries at one source. `live` is True if messages may arrive meanwhile."""

    def __init__(self, source: Source) -> None:
        self._source, self.live = source, source.live

    def rows(self, sql: str, **parameters: Any) -> list[Row]:
        """Return all rows of a query.

        Raises:
            Refused: the answer exceeds a limit.
            Failed: the recorded data is damaged: the SQL is the ledger's own, so it fails only because of the data.
            ClientError: the source cannot answer.
        """
        request = arrow_request(sql, parameters, timeout_s=None if self.live else _FILE_TIMEOUT_S)
        try:
            return self._source.query(request).all_rows()
        except WrongUsage as error:
            reason = error.message.partition("\n")[0]
            raise Failed(f"the recorded data cannot be read: {reason}", "check the files of the archive for damage") from error

    def in_pieces(self, sql: str, low: int, high: int, **parameters: Any) -> Iterator[Row]:
        """Yield the rows for the message numbers from `$low` to `$high`; a range that exceeds a limit is halved.

        Raises:
            Refused: the answer for a single message exceeds a limit, or the recorder refuses every query.
            ClientError: the source cannot answer.
        """
        try:
            found = self.rows(sql, low=low, high=high, **parameters)
        except Refused:
            if low >= high:
                raise
            middle = (low + high) // 2
            yield from self.in_pieces(sql, low, middle, **parameters)
            yield from self.in_pieces(sql, middle + 1, high, **parameters)
        else:
            yield from found
