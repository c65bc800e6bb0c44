"""The energy of every ship, from the recorder: asked after quarters have changed, so that it is exact after revisions too.

Sans-I/O. Home Assistant needs a meter reading that goes on; Scaup publishes quarters. The sum of all recorded ones is one.
"""

from typing import Any

from adapters.home_assistant.declaration import ANSWER_TOPIC
from broker.contract.components.topics import ComponentState, Presence
from broker.contract.energy import questions
from broker.contract.storage.answers import AnswerError, AnswerTruncated, end, query, rows
from broker.contract.storage.topics import QueryRequest
from broker.errors import Rejected
from broker.exchange import Exchange, IncompleteReply, MalformedReply, Part
from broker.message import Message, Publication

EVERY_S = 10.0
"""Wall seconds between two queries at least: quarters come in bursts."""
PATIENCE_S = 35.0
"""Wall seconds without a message of the answer after which the query is repeated."""
TIMEOUT_S = 30.0
_DECIMALS = 6


class Totals:
    """Queries to the recorder for the energy of all ships.

    Args:
        time_scale: plant seconds per wall second.
        start: token of this start of the component, see `Exchange`.
    """

    def __init__(self, time_scale: float, start: bytes) -> None:
        self._time_scale = time_scale
        self._exchange = Exchange(ANSWER_TOPIC, start)
        self._changed = False
        self._asked_s: float | None = None
        """When the query that is not answered yet was sent."""
        self._earliest_s = float("-inf")
        self._rows: list[dict[str, Any]] = []

    def on_recorder(self, state: ComponentState) -> None:
        """Take the state of the recorder: while it was offline, totals may have changed."""
        self._changed |= state.state is Presence.ONLINE

    def on_change(self) -> None:
        """Take note that a quarter has changed."""
        self._changed = True

    def tick(self, now_s: float) -> list[Publication]:
        """Send the query if something has changed, or if it was not answered."""
        if self._asked_s is not None and now_s >= self._asked_s + PATIENCE_S * self._time_scale:
            self._fail()
        if not self._changed or self._asked_s is not None or now_s < self._earliest_s:
            return []
        self._changed, self._asked_s, self._earliest_s = False, now_s, now_s + EVERY_S * self._time_scale
        self._rows = []
        statement = questions.ships()
        return [self._exchange.request(query(QueryRequest(statement.sql, statement.parameters, timeout_s=TIMEOUT_S)))]

    def take(self, message: Message, now_s: float) -> dict[str, float]:
        """Take a message of an answer; return the energy of every ship in kWh once the answer is whole, nothing before.

        Raises:
            Rejected: the message is not part of an answer of the recorder.
        """
        try:
            taken = self._exchange.take(message)
            if taken is None:
                return {}
            if isinstance(taken, Part):
                self._asked_s = now_s
                self._rows += rows(taken)
                return {}
            end(taken, whole=True)
        except MalformedReply as error:
            self._fail()
            raise Rejected(str(error)) from error
        except (IncompleteReply, AnswerError, AnswerTruncated):
            self._fail()
            return {}
        self._asked_s = None
        return {str(row["ship"]): round(float(row["kwh"]), _DECIMALS) for row in self._rows if row.get("kwh") is not None}

    def _fail(self) -> None:
        self._exchange.forget_all()
        self._changed, self._asked_s = True, None
