"""The last readings of each machine from the recorder, so that a restarted controller continues with whole windows.

Sans-I/O. The query is sent as soon as a recorder is online, and repeated while there is no whole answer.
"""

from dataclasses import dataclass
from typing import Any

from broker.contract.components.topics import STATE, ComponentState, Presence
from broker.contract.machines.topics import READING
from broker.contract.storage.answers import AnswerError, AnswerTruncated, end, query, rows
from broker.contract.storage.topics import ANSWER, QueryRequest
from broker.errors import Rejected
from broker.exchange import Exchange, IncompleteReply, MalformedReply, Part
from broker.message import Message, Publication, decode_json
from broker.stamp import HISTORY
from controllers.moving_average.reading import check_reading

CLIENT = "moving-average"
ANSWER_TOPIC = ANSWER.template.topic(client=CLIENT)
RECORDER_TOPIC = STATE.template.topic(component="recorder")
PERIODS = ("1 DAY", "1 HOUR", "5 MINUTE")
"""How far to look back in each try: a day of thousands of machines may be more than the recorder reads in time."""
QUERY_TIMEOUT_S = 30.0
"""Wall seconds that the recorder may take for a query."""
PATIENCE_S = 35.0
"""Wall seconds without a message of the answer after which the query is repeated."""
PAUSE_S = 5.0
"""Wall seconds from an error to the next try."""
HOLD_S = 2.0
"""Wall seconds that averages wait for an answer, so that no average of a partly filled window is published."""

_SQL = """
SELECT topic, list_reverse(max_by(payload, number, {length})) AS payloads FROM messages
WHERE topic LIKE 'machines/%/reading' AND received_at > now() - INTERVAL {period} AND payload IS NOT NULL
    AND NOT coalesce(starts_with(boot, '{history}'), false) GROUP BY topic
"""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The last usable readings of one machine, in the order of arrival."""

    machine: str
    payloads: tuple[dict[str, Any], ...]


class WarmStart:
    """Queries to the recorder until one is answered.

    Args:
        length: number of readings per machine.
        time_scale: plant seconds per wall second.
        start: token of this start of the controller, see `Exchange`.
    """

    def __init__(self, length: int, time_scale: float, start: bytes) -> None:
        self._length, self._time_scale = length, time_scale
        self._exchange = Exchange(ANSWER_TOPIC, start)
        self._tries = 0
        self._answered = False
        self._retry_s: float | None = None
        self._held_until_s: float | None = None

    def holds(self, now_s: float) -> bool:
        """Return whether averages should wait: the query was sent a moment ago."""
        return self._held_until_s is not None and now_s < self._held_until_s

    def on_recorder(self, state: ComponentState, now_s: float) -> list[Publication]:
        """Take the state of the recorder; send the query if it is online and has not answered yet."""
        if self._answered or state.state is not Presence.ONLINE:
            return []
        self._tries = 0
        self._held_until_s = now_s + HOLD_S * self._time_scale
        return self._query(now_s)

    def tick(self, now_s: float) -> list[Publication]:
        """Repeat the query if no whole answer has come in time."""
        if self._retry_s is None or now_s < self._retry_s:
            return []
        return self._query(now_s)

    def take(self, message: Message, now_s: float) -> list[Recorded]:
        """Take a message of an answer, and return the machines in it.

        Each row is the whole window of one machine, so parts are usable before the answer is complete. An answer that turns out
        incomplete, cut or an error is requested again.

        Raises:
            Rejected: the message is not part of an answer of the recorder.
        """
        try:
            taken = self._exchange.take(message)
            if taken is None:
                return []
            if isinstance(taken, Part):
                self._retry_s = now_s + PATIENCE_S * self._time_scale
                return [found for row in rows(taken) if (found := _recorded(row)) is not None]
            end(taken, whole=True)
        except MalformedReply as error:
            self._fail(now_s)
            raise Rejected(str(error)) from error
        except (IncompleteReply, AnswerError, AnswerTruncated):
            self._fail(now_s)
        else:
            self._answered, self._retry_s, self._held_until_s = True, None, None
        return []

    def _fail(self, now_s: float) -> None:
        self._exchange.forget_all()
        self._held_until_s = None
        self._retry_s = now_s + PAUSE_S * self._time_scale

    def _query(self, now_s: float) -> list[Publication]:
        if self._tries >= len(PERIODS):
            self._retry_s = self._held_until_s = None
            return []
        sql = _SQL.format(length=self._length, period=PERIODS[self._tries], history=HISTORY)
        self._tries += 1
        self._retry_s = now_s + PATIENCE_S * self._time_scale
        self._exchange.forget_all()
        return [self._exchange.request(query(QueryRequest(sql=sql, timeout_s=QUERY_TIMEOUT_S)))]


def _recorded(row: dict[str, Any]) -> Recorded | None:
    """Read a row; unusable readings were rejected when they arrived first."""
    if not isinstance(row.get("payloads"), list):
        return None
    levels = READING.parse(str(row.get("topic")))
    if levels is None:
        return None
    usable = (_usable(levels["id"], text) for text in row["payloads"])
    return Recorded(levels["id"], tuple(each for each in usable if each is not None))


def _usable(machine: str, text: Any) -> dict[str, Any] | None:
    try:
        number, payload = check_reading(decode_json(str(text).encode()))
    except Rejected:
        return None
    return payload if str(number) == machine else None
