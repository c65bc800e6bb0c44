"""Posts of files to the energy normalizer, one at a time, and its answers."""

import time
from collections.abc import Callable

from adapters.client.bus import Bus
from adapters.client.energy.files import FilePost
from adapters.client.errors import BrokenReply, Failed, NoReply, NotOnline
from adapters.client.requests import SAME_RELEASE, Requests, Responder
from broker.contract.energy.topics import ANSWER, RAW, Stored
from broker.contract.storage.topics import JSON
from broker.errors import InvalidTopic, Rejected
from broker.message import Publication, decode

PATIENCE_S = 120.0
"""Longest wait for an answer: the normalizer looks a new ship up in the recording first."""
NORMALIZER = Responder("energy normalizer", "energy", "see `scaup status` and `scaup logs energy`")
_RETRY = "repeat the import, which changes nothing that is stored; see `scaup status` and `scaup logs energy`"


class Poster:
    """Publishes posts on a bus; the answers go to this client only."""

    def __init__(self, bus: Bus, clock: Callable[[], float] = time.monotonic) -> None:
        """Subscribe to the answers.

        Raises:
            Unreachable: the energy normalizer is not online.
        """
        self._requests = Requests(bus, NORMALIZER, ANSWER.template.topic(client=bus.answer_name), clock)
        if not NORMALIZER.is_online(bus):
            raise NotOnline("the energy normalizer is not online", "start it with `make up`, see `scaup status energy`")
        self._requests.subscribe()

    def post(self, post: FilePost) -> Stored:
        """Post a piece and return the answer.

        Raises:
            Failed: its ship cannot be a topic level.
            Refused: the broker does not let this account post.
            Unreachable: the normalizer stopped or does not answer, or the connection was lost.
        """
        try:
            topic = RAW.template.topic(ship=str(post.ship))
        except InvalidTopic as error:
            raise Failed(f"{post.path.name}: {post.place}spaceship_id: {error}", "give another --ship") from error
        try:
            answer = self._requests.reply(Publication(topic=topic, payload=post.payload(), content_type=JSON), PATIENCE_S)
            return decode(answer.payload, Stored)
        except (NotOnline, NoReply, BrokenReply) as error:
            raise type(error)(f"{error.message}, at {post.where(0)}", _RETRY) from error
        except Rejected as error:
            raise BrokenReply(f"the energy normalizer sent an invalid answer: {error}", SAME_RELEASE) from error
