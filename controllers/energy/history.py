"""Recorded data of ships, queried when a ship is first seen after a start, so that the normalizer needs no state of its own.

Sans-I/O. A query that fails, or whose answer is incomplete, is sent again.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from broker.contract.energy.topics import RAW
from broker.contract.storage.answers import AnswerError, AnswerTruncated, end, query, rows
from broker.contract.storage.topics import ANSWER, QueryRequest
from broker.errors import Rejected
from broker.exchange import Exchange, Part, ReplyError
from broker.message import Message, Publication

CLIENT = "energy"
ANSWER_TOPIC = ANSWER.template.topic(client=CLIENT)
QUERY_TIMEOUT_S = 60.0
PATIENCE_S = 65.0
"""Wall seconds without a message of an answer after which a query is sent again."""
RETRY_S = 1.0
"""Wall seconds from an error to the next query."""
AT_ONCE = 8
"""Queries at the same time. The recorder accepts few more from one client."""

PAGE_POSTS, PAGE_BYTES = 20_000, 32 * 1024 * 1024
"""Most posts of a ship in one answer: fewer if they are large, but at least one."""

_POSTS = """
SELECT number, payload FROM (
    SELECT number, payload, sum(strlen(payload)) OVER (ORDER BY number) - strlen(payload) AS before
    FROM (SELECT number, payload FROM messages WHERE topic = $raw AND payload IS NOT NULL AND number > $after
          ORDER BY number LIMIT $posts))
WHERE before < $bytes
"""
_PUBLISHED = """
SELECT epoch_us(start_at) AS start_us, kwh, coverage, quality, negative, NULL AS kind FROM energy_interval WHERE ship = $ship
UNION ALL
SELECT DISTINCT epoch_us(start_at), NULL, NULL, NULL, NULL, kind FROM energy_anomaly
WHERE ship = $ship AND kind IS NOT NULL AND start_at IS NOT NULL
"""
_LEFT_BEHIND = """
SELECT split_part(topic, '/', 2) AS ship FROM messages WHERE topic LIKE 'energy/%/raw' OR topic LIKE 'energy/%/interval'
GROUP BY ship HAVING max(number) FILTER (topic LIKE '%/raw') > coalesce(max(number) FILTER (topic LIKE '%/interval'), 0)
"""


@dataclass(frozen=True, slots=True)
class Answered:
    """The rows of an answer, in no order. `after`: posts with higher numbers will follow; None: nothing follows."""

    ship: str | None
    rows: list[dict[str, Any]]
    after: int | None = None


@dataclass(slots=True)
class _Query:
    ship: str | None
    """None: the query finds ships with posts that the normalizer has not processed."""
    active_s: float
    """Plant time of the query, or of the latest part of its answer."""
    after: int | None = None
    """The query is for posts with higher numbers; None: for the published quarters and anomalies of the ship."""
    rows: list[dict[str, Any]] = field(default_factory=list)


class History:
    """Queries to the recorder, a few at a time.

    Args:
        time_scale: plant seconds per wall second.
        start: token of this start of the normalizer, see `Exchange`.
    """

    def __init__(self, time_scale: float, start: bytes) -> None:
        self._time_scale = time_scale
        self._exchange = Exchange(ANSWER_TOPIC, start)
        self._running: dict[bytes, _Query] = {}
        self._waiting: deque[tuple[str | None, int | None]] = deque()
        self._rests_until_s = -math.inf

    def request(self, ship: str | None, now_s: float) -> list[Publication]:
        """Request the published data of a ship, then its posts, page by page; or with None, the ships left behind."""
        self._waiting.append((ship, None))
        return self.next(now_s)

    def next(self, now_s: float) -> list[Publication]:
        """Return the queries whose turn it is; call this after each answer."""
        publications = []
        while self._waiting and len(self._running) < AT_ONCE and now_s >= self._rests_until_s:
            publications.append(self._query(*self._waiting.popleft(), now_s))
        return publications

    def tick(self, now_s: float) -> list[Publication]:
        """Repeat queries that have not been answered in time."""
        oldest_s = now_s - PATIENCE_S * self._time_scale
        for correlation_data in [each for each, running in self._running.items() if running.active_s < oldest_s]:
            self._exchange.forget(correlation_data)
            self._put_back(correlation_data)
        return self.next(now_s)

    def restart(self, now_s: float) -> list[Publication]:
        """Repeat all queries that are not answered, because the recorder has been restarted."""
        self._waiting.extendleft((each.ship, each.after) for each in self._running.values())
        self._running.clear()
        self._exchange.forget_all()
        self._rests_until_s = -math.inf
        return self.next(now_s)

    def take(self, message: Message, now_s: float) -> Answered | None:
        """Take a message of an answer, and return the answer when it is complete.

        Raises:
            Rejected: the recorder reports an error, or the answer is incomplete, cut or unreadable. The query will be repeated.
        """
        try:
            taken = self._exchange.take(message)
            if taken is None:
                return None
            running = self._running[taken.correlation_data]
            if isinstance(taken, Part):
                running.rows += rows(taken)
                running.active_s = now_s
                return None
            end(taken, whole=True)
        except (ReplyError, AnswerError, AnswerTruncated) as error:
            raise self._failed(message.correlation_data or b"", error, now_s) from error
        del self._running[taken.correlation_data]
        return self._answered(running)

    def _failed(self, correlation_data: bytes, error: Exception, now_s: float) -> Rejected:
        self._exchange.forget(correlation_data)
        ship = self._put_back(correlation_data)
        self._rests_until_s = now_s + RETRY_S * self._time_scale
        what = "which ships have new posts" if ship is None else f"the data of ship {ship}"
        return Rejected(f"the recorder does not report {what}: {error}")

    def _answered(self, done: _Query) -> Answered:
        if done.ship is None or (done.after is not None and not done.rows):
            return Answered(done.ship, done.rows)
        after = max((int(row["number"]) for row in done.rows), default=0) if done.after is not None else 0
        self._waiting.appendleft((done.ship, after))
        return Answered(done.ship, done.rows, after)

    def _put_back(self, correlation_data: bytes) -> str | None:
        """Queue a running query once more; return its ship."""
        stopped = self._running.pop(correlation_data)
        self._waiting.append((stopped.ship, stopped.after))
        return stopped.ship

    def _query(self, ship: str | None, after: int | None, now_s: float) -> Publication:
        publication = self._exchange.request(query(_request(ship, after)))
        self._running[publication.correlation_data or b""] = _Query(ship, now_s, after)
        return publication


def _request(ship: str | None, after: int | None) -> QueryRequest:
    if ship is None:
        return QueryRequest(sql=_LEFT_BEHIND, timeout_s=QUERY_TIMEOUT_S)
    if after is None:
        return QueryRequest(sql=_PUBLISHED, parameters={"ship": ship}, timeout_s=QUERY_TIMEOUT_S)
    parameters = {"raw": RAW.template.topic(ship=ship), "after": after, "posts": PAGE_POSTS, "bytes": PAGE_BYTES}
    return QueryRequest(sql=_POSTS, parameters=parameters, timeout_s=QUERY_TIMEOUT_S)
