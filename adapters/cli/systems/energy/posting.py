"""Posts of files to the energy normalizer, one at a time, and its answers."""

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from adapters.cli.systems.energy.files import FilePost
from adapters.client.bus import Bus, Received
from adapters.client.errors import Failed, Unreachable
from broker.contract.components.topics import STATE, ComponentState, Presence
from broker.contract.energy.topics import ANSWER, RAW, Stored
from broker.errors import InvalidTopic, Rejected
from broker.message import Publication, decode

PATIENCE_S = 120.0
"""How long to wait for an answer: the normalizer looks a new ship up in the recording first."""
_NORMALIZER = STATE.template.topic(component="energy")
_ROW = re.compile(r"data\[(\d+)\]")
_RETRY = "repeat the import, which changes nothing that is stored; see `scaup status` and `scaup logs energy`"


@dataclass(slots=True)
class Outcome:
    """The outcome for a file: the number of values stored, and a text for each value skipped and each post refused."""

    stored: int = 0
    skipped: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def add(self, post: FilePost, answer: Stored) -> None:
        """Count the answer to a piece."""
        if answer.error is not None:
            self.refused.append(_placed(post, answer.error))
        self.stored += answer.stored
        self.skipped += [f"{post.where(each.index)}: {each.reason}" for each in answer.skipped]


class Poster:
    """Publishes posts on a bus; the answers go to this client only."""

    def __init__(self, bus: Bus, clock: Callable[[], float] = time.monotonic) -> None:
        """Subscribe to the answers.

        Raises:
            Unreachable: the energy normalizer is not online.
        """
        self._bus, self._clock = bus, clock
        self._answer_topic = ANSWER.template.topic(client=bus.client_id)
        state = bus.retained(_NORMALIZER).get(_NORMALIZER)
        if state is None or not _is(state, Presence.ONLINE):
            raise Unreachable("the energy normalizer is not online", "start it with `make up`, see `scaup status energy`")
        bus.subscribe(self._answer_topic, _NORMALIZER)

    def post(self, post: FilePost) -> Stored:
        """Post a piece and return the answer.

        Raises:
            Failed: its ship cannot be a topic level.
            Refused: the broker does not let this account post.
            Unreachable: the normalizer stopped or does not answer, or the connection was lost.
        """
        mark = secrets.token_bytes(16)
        try:
            topic = RAW.template.topic(ship=str(post.ship))
        except InvalidTopic as error:
            raise Failed(f"{post.path.name}: {post.place}spaceship_id: {error}", "give another --ship") from error
        publication = Publication(
            topic=topic,
            payload=post.payload(),
            response_topic=self._answer_topic,
            correlation_data=mark,
            content_type="application/json",
        )
        if not self._bus.publish(publication):
            raise Unreachable("no component is subscribed to energy data", "start everything with `make up`")
        return self._answer(post, mark)

    def _answer(self, post: FilePost, mark: bytes) -> Stored:
        until_s = self._clock() + PATIENCE_S
        while (left_s := until_s - self._clock()) > 0:
            received = self._bus.receive(left_s)
            if received is None:
                break
            if received.topic == _NORMALIZER and _is(received, Presence.OFFLINE):
                raise Unreachable(f"the energy normalizer stopped before it answered, at {post.where(0)}", _RETRY)
            if received.topic == self._answer_topic and received.correlation_data == mark:
                return _decoded(received)
        raise Unreachable(f"the energy normalizer did not answer within {PATIENCE_S:.0f} s, at {post.where(0)}", _RETRY)


def _placed(post: FilePost, error: str) -> str:
    """Return an error with the row of the file instead of the row of the piece."""
    text = _ROW.sub(lambda found: f"data[{post.first_row + int(found[1])}]", error) if post.rows == "row" else error
    found = _ROW.search(error)
    where = post.where(int(found[1])) if found else f"{post.path.name}, {post.place}from {post.rows} {post.first_row} on"
    return f"{where}: {text}"


def _is(received: Received, presence: Presence) -> bool:
    try:
        return decode(received.payload, ComponentState).state is presence
    except Rejected:
        return False


def _decoded(received: Received) -> Stored:
    try:
        return decode(received.payload, Stored)
    except Rejected as error:
        raise Unreachable(f"the energy normalizer sent an invalid answer: {error}", "use one release on both sides") from error
