"""Asking the recorder over MQTT."""

from collections.abc import Generator
from datetime import UTC, datetime

from adapters.client.bus import Bus, Received
from adapters.client.errors import CommandError, Failed, NoRecorder, Refused, Stalled, Unreachable, WrongUsage
from adapters.client.question import Part, Question
from broker.contract.components.topics import STATE, ComponentState, Presence
from broker.contract.storage.topics import STATS, QueryEnd, QueryError, RecorderStats
from broker.errors import Rejected
from broker.message import decode

PATIENCE_S = 65.0
"""How long to wait for the first part of an answer, and between two: longer than the recorder's own longest query."""
_GRACE_S = 5.0
_STALLED_S = 10.0

STATS_TOPIC = STATS.template.topic()
STATE_TOPIC = STATE.template.topic(component="recorder")
_LOOK = "see `scaup logs recorder` and `scaup doctor`"


def is_online(bus: Bus) -> bool:
    """Tell whether a recorder says that it is online."""
    retained = bus.retained(STATE_TOPIC).get(STATE_TOPIC)
    return retained is not None and _presence(retained) is Presence.ONLINE


def refuse_stalled(bus: Bus) -> None:
    """Tell apart a recorder that is away from one that runs and cannot commit: it says why, every second.

    Raises:
        Stalled: it said so just now.
    """
    retained = bus.retained(STATS_TOPIC).get(STATS_TOPIC)
    if retained is None:
        return
    try:
        stats = decode(retained.payload, RecorderStats)
    except Rejected:
        return
    age_s = (datetime.now(UTC) - stats.at).total_seconds()
    if stats.last_error is not None and age_s < _STALLED_S:
        raise Stalled(
            f"the recorder cannot commit now, and answers when it can: {stats.last_error}",
            "nothing is lost meanwhile: it is not acknowledged, so the broker keeps it; `scaup doctor` looks further",
        )


def put(bus: Bus, question: Question, patience_s: float | None = None) -> float:
    """Publish a question whose response topic is subscribed; return how long to wait for each part of the answer.

    Raises:
        Refused: the broker does not let this account ask.
        NoRecorder: nobody listens.
    """
    if patience_s is None:
        patience_s = PATIENCE_S if question.request.timeout_s is None else question.request.timeout_s + _GRACE_S
    heard = bus.publish(question.publication, question.response_topic, expiry_s=max(1, round(patience_s)))
    if not heard:
        raise NoRecorder("no recorder listens on storage/query", f"start it with `make up`, or {_LOOK}")
    return patience_s


def answer(bus: Bus, question: Question, patience_s: float | None = None) -> Generator[Part, None, QueryEnd]:
    """Ask and return the parts of the answer as they come; the iterator's value is the `QueryEnd`.

    Raises:
        NoRecorder: there is none, or it stopped in the middle.
        Unreachable: it does not answer in time, or a part was lost.
        CommandError: the recorder's own error, as `query_error` says.
    """
    bus.subscribe(question.response_topic, STATE_TOPIC)
    patience_s = put(bus, question, patience_s)
    while True:
        received = bus.receive(patience_s)
        if received is None:
            raise silent(patience_s)
        event = take(question, received)
        if isinstance(event, QueryEnd):
            return event
        if event is not None:
            yield event


def take(question: Question, received: Received) -> Part | QueryEnd | None:
    """Take any message while waiting for an answer; None for one that brings nothing.

    Raises:
        NoRecorder: the recorder says that it stops.
        CommandError: the answer is an error.
    """
    if says_offline(received):
        raise NoRecorder("the recorder stopped before it had answered", f"ask again when it is back; {_LOOK}")
    if not question.is_answer(received):
        return None
    event = question.take(received)
    if isinstance(event, QueryEnd) and event.error is not None:
        raise query_error(event.error, question.request.sql)
    return event


def says_offline(received: Received) -> bool:
    """Tell whether this is the recorder's word that it stops."""
    return received.topic == STATE_TOPIC and _presence(received) is Presence.OFFLINE


def silent(patience_s: float) -> Unreachable:
    """Return the error for a recorder that is online but does not answer."""
    return Unreachable(f"the recorder is online but did not answer within {patience_s:.0f} s", f"{_LOOK}, or ask for less")


def query_error(error: QueryError, sql: str) -> CommandError:
    """Return the command's error for one of the recorder, with the place in the SQL where that is known."""
    if error.kind == "refused":
        return Refused(error.message, "only one read-only SELECT statement can be asked")
    if error.kind == "limit":
        return Refused(
            error.message, "narrow it with WHERE or LIMIT; --timeout and --max-rows cannot exceed the recorder's own"
        )
    if error.kind == "invalid":
        return WrongUsage(_pointed(error, sql), "correct the SQL; `scaup tables` lists tables and columns")
    return Failed(error.message, _LOOK)


def _pointed(error: QueryError, sql: str) -> str:
    if error.position is None or not 0 <= error.position <= len(sql):
        return error.message
    start = sql.rfind("\n", 0, error.position) + 1
    line, column = sql[start:].split("\n", 1)[0], error.position - start
    cut = max(0, column - 60)
    shown = line[cut : cut + 100].replace("\t", " ")
    message = error.message.split("\n\nLINE ", 1)[0].split("\nLINE ", 1)[0].rstrip()
    return f"{message}\n  {shown}\n  {' ' * (column - cut)}^"


def _presence(received: Received) -> Presence | None:
    try:
        return decode(received.payload, ComponentState).state
    except Rejected:
        return None
