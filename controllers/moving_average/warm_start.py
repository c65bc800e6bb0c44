"""Asking the recorder for the last readings of each machine, so that a restarted controller goes on with whole windows.

Sans-I/O. It asks as soon as a recorder says that it is online, and again while there is no answer. An answer is some JSON
arrays of rows, then an object that closes it (broker/contract/storage/topics.py); all have the question's correlation data.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from broker.contract.components.topics import STATE, ComponentState, Presence
from broker.contract.machines.topics import READING
from broker.contract.storage.topics import ANSWER, JSON, QUERY, QueryEnd, QueryRequest
from broker.errors import Rejected
from broker.message import Message, Publication, convert, decode_json, encode
from controllers.moving_average.reading import check_reading

CLIENT = "moving-average"
ANSWER_TOPIC = ANSWER.template.topic(client=CLIENT)
RECORDER_TOPIC = STATE.template.topic(component="recorder")
PERIODS = ("1 DAY", "1 HOUR", "5 MINUTE")
"""How far back to look, one try after the other: a day of thousands of machines may be more than the recorder reads in time."""
QUERY_TIMEOUT_S = 30.0
"""Wall seconds that the recorder may take."""
PATIENCE_S = 35.0
"""Wall seconds without a part of an answer after which it is asked again."""
PAUSE_S = 5.0
"""Wall seconds from an error to the next try."""
HOLD_S = 2.0
"""Wall seconds for which averages wait for an answer: so long, nobody sees a window that is only begun."""

_SQL = """
SELECT topic, list_reverse(max_by(payload, number, {length})) AS payloads FROM messages
WHERE topic LIKE 'machines/%/reading' AND received_at > now() - INTERVAL {period} AND payload IS NOT NULL GROUP BY topic
"""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was recorded of one machine: its last readings that can be used, oldest arrival first."""

    machine: str
    payloads: tuple[dict[str, Any], ...]


class WarmStart:
    """One conversation with the recorder. `length`: readings to ask for; `time_scale`: plant seconds per wall second."""

    def __init__(self, length: int, time_scale: float) -> None:
        self._length, self._time_scale = length, time_scale
        self._tries = 0
        self._answered = False
        self._ask_again_s: float | None = None
        self._held_until_s: float | None = None

    def holds(self, now_s: float) -> bool:
        """Tell whether averages should wait: the recorder was asked a moment ago."""
        return self._held_until_s is not None and now_s < self._held_until_s

    def heard(self, state: ComponentState, now_s: float) -> list[Publication]:
        """Take what the recorder says of itself: online, it is asked, unless it has answered before."""
        if self._answered or state.state is not Presence.ONLINE:
            return []
        self._tries = 0
        self._held_until_s = now_s + HOLD_S * self._time_scale
        return self._ask(now_s)

    def tick(self, now_s: float) -> list[Publication]:
        """Ask again where no answer has come."""
        if self._ask_again_s is None or now_s < self._ask_again_s:
            return []
        return self._ask(now_s)

    def take(self, message: Message, now_s: float) -> Iterator[Recorded]:
        """Take a message of an answer, and return what it says of machines.

        Raises:
            Rejected: it is not what a recorder answers.
        """
        if message.correlation_data != self._correlation_data:
            return iter(())
        said = decode_json(message.payload)
        if isinstance(said, list):
            self._ask_again_s = now_s + PATIENCE_S * self._time_scale
            return (found for row in said if (found := _recorded(row)) is not None)
        self._close(convert(said, QueryEnd), now_s)
        return iter(())

    @property
    def _correlation_data(self) -> bytes:
        return b"warm start %d" % self._tries

    def _ask(self, now_s: float) -> list[Publication]:
        if self._tries >= len(PERIODS):
            self._ask_again_s = self._held_until_s = None
            return []
        sql = _SQL.format(length=self._length, period=PERIODS[self._tries])
        self._tries += 1
        self._ask_again_s = now_s + PATIENCE_S * self._time_scale
        return [
            Publication(
                topic=QUERY.template.topic(),
                payload=encode(QueryRequest(sql=sql, timeout_s=QUERY_TIMEOUT_S)),
                response_topic=ANSWER_TOPIC,
                correlation_data=self._correlation_data,
                content_type=JSON,
            )
        ]

    def _close(self, end: QueryEnd, now_s: float) -> None:
        self._held_until_s = None
        self._answered = end.error is None
        self._ask_again_s = None if self._answered else now_s + PAUSE_S * self._time_scale


def _recorded(row: Any) -> Recorded | None:
    """Read a row; what cannot be used was rejected when it was new."""
    if not isinstance(row, dict) or not isinstance(row.get("payloads"), list):
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
