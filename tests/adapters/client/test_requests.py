"""Requests over a connection: replies, timeouts, and messages that are no reply."""

import pytest

from adapters.client.bus import Received
from adapters.client.errors import BrokenReply, NoReply, NotOnline
from adapters.client.requests import Requests, Responder, component_states
from broker.contract.components.topics import Presence
from broker.exchange import Final, Part
from broker.message import Publication
from tests.adapters.client.fakes import START_AT, FakeBus, FakeRecorder

TOPIC, STATE = "answer/me", "components/fridge/state"
OFFLINE = b'{"state":"offline","boot":"b","version":"1"}'
FRIDGE = Responder("fridge", "fridge", "open it")
REQUEST = Publication(topic="fridge/request", payload=b"cool")


class Clock:
    """Seconds that pass only while the bus is read."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class FridgeBus(FakeBus):
    """A bus on which `replies` arrive after the request, a second apart; each is a payload with its properties."""

    def __init__(self, clock: Clock, *replies: tuple[bytes, tuple[tuple[str, str], ...]]) -> None:
        super().__init__(FakeRecorder())
        self._clock, self._replies = clock, replies
        self.before_reply: list[tuple[str, bytes]] = []
        self.subscribed_to_requests = True

    def publish(self, publication: Publication, expiry_s: int | None = None) -> bool:
        self.published.append((publication, expiry_s))
        for topic, payload in self.before_reply:
            self.deliver(topic, payload)
        for payload, properties in self._replies:
            self.deliver(publication.response_topic or "", payload, publication.correlation_data, None, properties)
        return self.subscribed_to_requests

    def receive(self, timeout_s: float) -> Received | None:
        self._clock.now_s += 1.0 if self.inbox else timeout_s
        return super().receive(timeout_s)


def part(number: int) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    return b"%d" % number, (("part", str(number)),)


def final(parts: int) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    return b"end", (("final", "true"), ("parts", str(parts)))


@pytest.fixture
def clock() -> Clock:
    return Clock()


def requests_on(bus: FridgeBus, clock: Clock, responder: Responder = FRIDGE) -> Requests:
    requests = Requests(bus, responder, TOPIC, clock)
    requests.subscribe()
    bus.subscribe("other/#")
    return requests


def test_reply_of_one_message(clock: Clock) -> None:
    bus = FridgeBus(clock, (b"cold", ()))
    requests = requests_on(bus, clock)
    assert requests.reply(REQUEST, 5.0, expiry_s=7).payload == b"cold"
    ((sent, expiry_s),) = bus.published
    assert (sent.topic, sent.payload, sent.response_topic, expiry_s) == ("fridge/request", b"cool", TOPIC, 7)
    assert len(requests.exchange) == 0


def test_replies_end_with_the_final_message(clock: Clock) -> None:
    requests = requests_on(FridgeBus(clock, part(1), part(1), part(2), final(2)), clock)
    events = list(requests.replies(REQUEST, 5.0))
    assert [(type(each), each.message.payload) for each in events] == [(Part, b"1"), (Part, b"2"), (Final, b"end")]


def test_each_message_of_a_reply_has_its_own_time(clock: Clock) -> None:
    requests = requests_on(FridgeBus(clock, *map(part, range(1, 10)), final(9)), clock)
    assert len(list(requests.replies(REQUEST, 1.5))) == 10


def test_whole_reply_has_one_time_limit(clock: Clock) -> None:
    requests = requests_on(FridgeBus(clock, *map(part, range(1, 10)), final(9)), clock)
    with pytest.raises(NoReply, match="the fridge did not answer within 5 s"):
        requests.reply(REQUEST, 5.0)


@pytest.mark.parametrize("messages", [[part(2)], [part(1), final(3)], [(b"", (("part", "x"),))]])
def test_incomplete_or_malformed_reply_is_an_error(
    clock: Clock, messages: list[tuple[bytes, tuple[tuple[str, str], ...]]]
) -> None:
    requests = requests_on(FridgeBus(clock, *messages), clock)
    with pytest.raises(BrokenReply):
        list(requests.replies(REQUEST, 5.0))
    assert len(requests.exchange) == 0


def test_responder_that_stops_ends_the_wait(clock: Clock) -> None:
    bus = FridgeBus(clock)
    bus.before_reply = [(STATE, b"?"), (STATE, OFFLINE)]
    with pytest.raises(NotOnline, match="the fridge stopped"):
        requests_on(bus, clock).reply(REQUEST, 5.0)


def test_request_without_a_subscriber_is_an_error(clock: Clock) -> None:
    bus = FridgeBus(clock)
    bus.subscribed_to_requests = False
    with pytest.raises(NotOnline, match="no fridge listens on fridge/request"):
        requests_on(bus, clock).reply(REQUEST, 5.0)


def test_other_messages_keep_their_order(clock: Clock) -> None:
    bus = FridgeBus(clock, (b"cold", ()))
    bus.before_reply = [("other/1", b"1"), (STATE, b"?"), ("other/2", b"2")]
    requests = requests_on(bus, clock)
    requests.reply(REQUEST, 5.0)
    bus.deliver("other/3", b"3")
    assert [received.topic for _ in range(3) if (received := requests.receive(0.0))] == ["other/1", "other/2", "other/3"]
    assert requests.receive(0.0) is None


def test_waiting_returns_what_arrived_before_the_reply(clock: Clock) -> None:
    bus = FridgeBus(clock, (b"cold", ()))
    bus.before_reply = [("other/1", b"1")]
    requests = requests_on(bus, clock)
    requests.reply(REQUEST, 5.0)
    assert [each.topic for each in requests.waiting()] == ["other/1"]
    assert requests.waiting() == []


def test_late_reply_is_dropped(clock: Clock) -> None:
    bus = FridgeBus(clock)
    requests = requests_on(bus, clock)
    with pytest.raises(NoReply):
        requests.reply(REQUEST, 5.0)
    bus.deliver(TOPIC, b"cold", bus.published[0][0].correlation_data)
    bus.deliver("other/1", b"1")
    assert [requests.receive(0.0), requests.receive(0.0)] == [bus_message("other/1", b"1"), None]


def bus_message(topic: str, payload: bytes) -> Received:
    return Received(topic=topic, payload=payload, at=START_AT)


def test_state_is_not_watched_without_a_component(clock: Clock) -> None:
    bus = FridgeBus(clock, (b"cold", ()))
    bus.before_reply = [(STATE, OFFLINE)]
    requests = requests_on(bus, clock, Responder("fridge", None, "open it"))
    assert requests.topics == (TOPIC,)
    assert requests.reply(REQUEST, 5.0).payload == b"cold"


@pytest.mark.parametrize(
    ("payload", "online"), [('{"state":"online","boot":"b","version":"1"}', True), ("?", False), (None, False)]
)
def test_responder_is_online_when_its_state_is(clock: Clock, payload: str | None, online: bool) -> None:
    bus = FridgeBus(clock)
    if payload is not None:
        bus.retain(STATE, payload)
    assert FRIDGE.is_online(bus) is online


def test_component_states_leave_out_other_messages() -> None:
    found = component_states([bus_message(STATE, OFFLINE), bus_message("components/x/state", b"?"), bus_message("a", b"1")])
    assert {name: state.state for name, state in found.items()} == {"fridge": Presence.OFFLINE}
