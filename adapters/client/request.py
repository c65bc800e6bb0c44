"""Asking the recorder to do something: archive, restore, create a view."""

import secrets
from collections.abc import Callable

from adapters.client.bus import Bus
from adapters.client.errors import Failed, NoRecorder, WrongUsage
from adapters.client.recorder import STATE_TOPIC, says_offline, silent
from adapters.client.session import Session
from broker.contract.storage.topics import ANSWER, JSON, REQUEST, Progress, RequestEnd, StorageRequest
from broker.exchange import FINAL
from broker.message import Publication, decode, encode

PATIENCE_S = 900.0
"""How long to wait for a word of the recorder: one step of its work can take minutes."""


def carry_out(session: Session, request: StorageRequest, on_progress: Callable[[Progress], None]) -> str:
    """Ask the recorder to do something, and return what it did, in words.

    Raises:
        NoRecorder: there is none, or it stopped in the middle: parts of a day may have moved, none is lost or in two places.
        WrongUsage: what is asked cannot be done as asked.
        Failed: it could not be done; everything is as before.
    """
    with session.recording_bus() as bus:
        end = _ask(bus, request, on_progress)
    if end.error is None:
        return end.done or ""
    if end.error.kind == "invalid":
        raise WrongUsage(end.error.message, "see --help")
    raise Failed(end.error.message, "nothing is lost; see `scaup logs recorder` and `scaup doctor`")


def _ask(bus: Bus, request: StorageRequest, on_progress: Callable[[Progress], None]) -> RequestEnd:
    response_topic, correlation_data = ANSWER.template.topic(client=bus.client_id), secrets.token_bytes(16)
    bus.subscribe(response_topic, STATE_TOPIC)
    topic, payload = REQUEST.template.topic(), encode(request)
    publication = Publication(topic=topic, payload=payload, correlation_data=correlation_data, content_type=JSON)
    if not bus.publish(publication, response_topic):
        raise NoRecorder("no recorder listens on storage/request", "start it with `make up`")
    while (received := bus.receive(PATIENCE_S)) is not None:
        if says_offline(received):
            raise NoRecorder(
                "the recorder stopped before it was done",
                "ask again when it is back: what was done stays, the rest is as before",
            )
        if received.topic == response_topic and received.correlation_data == correlation_data:
            if received.property(FINAL) == "true":
                return decode(received.payload, RequestEnd)
            on_progress(decode(received.payload, Progress))
    raise silent(PATIENCE_S)
