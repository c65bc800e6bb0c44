"""What the recorder knows of a ship: asked for when the ship is first heard of after a start, so nothing has to be kept here.

Sans-I/O. An answer is some JSON arrays of rows, then an object that closes it (broker/contract/storage/topics.py); all have the
question's correlation data.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from broker.contract.energy.topics import RAW
from broker.contract.storage.topics import ANSWER, JSON, QUERY, QueryEnd, QueryRequest
from broker.errors import Rejected
from broker.message import Message, Publication, convert, decode_json, encode

CLIENT = "energy"
ANSWER_TOPIC = ANSWER.template.topic(client=CLIENT)
QUERY_TIMEOUT_S = 60.0
PATIENCE_S = 65.0
"""Wall seconds after which a question without an answer is asked again."""
RETRY_S = 1.0
"""Wall seconds after an answer that was an error."""
AT_ONCE = 8
"""Questions that the recorder has at a time: it lets no client ask many more."""

PAGE_POSTS, PAGE_BYTES = 20_000, 32 * 1024 * 1024
"""Posts of a ship that are asked for at once, at most: fewer where they are large, one at least."""

_POSTS = """
SELECT number, payload FROM (
    SELECT number, payload, sum(strlen(payload)) OVER (ORDER BY number) - strlen(payload) AS before
    FROM (SELECT number, payload FROM messages WHERE topic = $raw AND payload IS NOT NULL AND number > $after
          ORDER BY number LIMIT $posts))
WHERE before < $bytes
"""
_TOLD = """
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
    """A question that was answered: its rows, in no order. `after`: posts behind this number come next; None: no more."""

    ship: str | None
    rows: list[dict[str, Any]]
    after: int | None = None


@dataclass(slots=True)
class _Question:
    ship: str | None
    """None: which ships were posted about without an answer of the normalizer."""
    asked_s: float
    after: int | None = None
    """Which page of the ship's posts; None: what was told of the ship."""
    rows: list[dict[str, Any]] = field(default_factory=list)


class History:
    """Questions to the recorder, some at a time. `time_scale` is plant seconds per wall second.

    `start` names this start: an answer to what an earlier one had asked may have waited at the broker.
    """

    def __init__(self, time_scale: float, start: str) -> None:
        self._time_scale, self._start = time_scale, start
        self._asked: dict[bytes, _Question] = {}
        self._waiting: deque[tuple[str | None, int | None]] = deque()
        self._rests_until_s = -math.inf
        self._count = 0

    def ask(self, ship: str | None, now_s: float) -> list[Publication]:
        """Ask which ships were left behind; or what was told of a ship, then for its posts, page by page; each in its turn."""
        self._waiting.append((ship, None))
        return self.next(now_s)

    def next(self, now_s: float) -> list[Publication]:
        """Return the questions whose turn it is; call this after each answer."""
        publications = []
        while self._waiting and len(self._asked) < AT_ONCE and now_s >= self._rests_until_s:
            publications.append(self._question(*self._waiting.popleft(), now_s))
        return publications

    def tick(self, now_s: float) -> list[Publication]:
        """Ask again what nobody answered."""
        for mark in [mark for mark, each in self._asked.items() if now_s - each.asked_s > PATIENCE_S * self._time_scale]:
            overdue = self._asked.pop(mark)
            self._waiting.append((overdue.ship, overdue.after))
        return self.next(now_s)

    def again(self, now_s: float) -> list[Publication]:
        """Ask again what is not answered: the recorder has been started anew."""
        self._waiting.extendleft((each.ship, each.after) for each in self._asked.values())
        self._asked.clear()
        self._rests_until_s = -math.inf
        return self.next(now_s)

    def take(self, message: Message, now_s: float) -> Answered | None:
        """Take a message of an answer; return the answer when it is complete. One with an error is asked for again.

        Raises:
            Rejected: it is not what a recorder answers, or an error.
        """
        mark = message.correlation_data or b""
        question = self._asked.get(mark)
        if question is None:
            return None
        said = decode_json(message.payload)
        if isinstance(said, list):
            question.rows += said
            question.asked_s = now_s
            return None
        end = convert(said, QueryEnd)
        del self._asked[mark]
        if end.error is not None or end.truncated:
            self._waiting.append((question.ship, question.after))
            self._rests_until_s = now_s + RETRY_S * self._time_scale
            why = end.error.message if end.error is not None else "there is more than it answers at once"
            raise Rejected(f"the recorder cannot say what it knows of ship {question.ship}: {why}")
        if question.ship is None or (question.after is not None and not question.rows):
            return Answered(question.ship, question.rows)
        after = max((int(row["number"]) for row in question.rows), default=0) if question.after is not None else 0
        self._waiting.appendleft((question.ship, after))
        return Answered(question.ship, question.rows, after)

    def _question(self, ship: str | None, after: int | None, now_s: float) -> Publication:
        self._count += 1
        mark = f"{self._start}/{self._count}".encode()
        self._asked[mark] = _Question(ship, now_s, after)
        return Publication(
            topic=QUERY.template.topic(),
            payload=encode(_request(ship, after)),
            response_topic=ANSWER_TOPIC,
            correlation_data=mark,
            content_type=JSON,
        )


def _request(ship: str | None, after: int | None) -> QueryRequest:
    if ship is None:
        return QueryRequest(sql=_LEFT_BEHIND, timeout_s=QUERY_TIMEOUT_S)
    if after is None:
        return QueryRequest(sql=_TOLD, parameters={"ship": ship}, timeout_s=QUERY_TIMEOUT_S)
    parameters = {"raw": RAW.template.topic(ship=ship), "after": after, "posts": PAGE_POSTS, "bytes": PAGE_BYTES}
    return QueryRequest(sql=_POSTS, parameters=parameters, timeout_s=QUERY_TIMEOUT_S)
