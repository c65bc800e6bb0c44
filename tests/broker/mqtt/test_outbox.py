from hypothesis import given
from hypothesis import strategies as st

from broker.mqtt.outbox import Outbox


def test_sends_in_order_up_to_the_window() -> None:
    outbox: Outbox[str] = Outbox(10, 1_000, lambda _: 1)
    for item in "abc":
        outbox.put(item)
    for packet_id, expected in ((1, "a"), (2, "b")):
        assert outbox.take(window=2) == expected
        outbox.sent(packet_id, expected)
    assert outbox.take(window=2) is None
    assert outbox.acknowledged(1) == "a"
    assert outbox.take(window=2) == "c"


def test_publications_in_flight_are_resent_first() -> None:
    outbox: Outbox[str] = Outbox(10, 1_000, lambda _: 1)
    for packet_id, item in enumerate("abc"):
        outbox.put(item)
        taken = outbox.take(window=2)
        if taken:
            outbox.sent(packet_id, taken)
    outbox.connection_lost()
    assert [outbox.take(window=9) for _ in range(4)] == ["a", "b", "c", None]


def test_drops_and_counts_the_oldest_when_full() -> None:
    outbox: Outbox[int] = Outbox(2, 1_000, lambda _: 1)
    for item in range(5):
        outbox.put(item)
    assert outbox.dropped == 3
    assert [outbox.take(9), outbox.take(9), outbox.take(9)] == [3, 4, None]


def test_drops_the_oldest_until_the_bytes_fit() -> None:
    outbox: Outbox[bytes] = Outbox(10, 100, len)
    for item in (b"a" * 60, b"b" * 40, b"c" * 50):
        outbox.put(item)
    assert outbox.dropped == 1
    assert outbox.take(9) == b"b" * 40
    outbox.sent(1, b"b" * 40)
    outbox.connection_lost()
    outbox.put(b"d" * 200)
    assert outbox.dropped == 3
    assert [outbox.take(9), outbox.take(9)] == [b"d" * 200, None]
    outbox.put(b"e" * 100)
    assert outbox.dropped == 3


def test_an_unknown_acknowledgement_is_ignored() -> None:
    assert Outbox[int](1, 1, lambda _: 1).acknowledged(7) is None


@given(st.lists(st.sampled_from(["put", "take", "acknowledge", "lose"]), max_size=60))
def test_nothing_is_lost_or_reordered(events: list[str]) -> None:
    outbox: Outbox[int] = Outbox(1000, 10_000, lambda _: 1)
    put, packet_id = 0, 0
    in_flight: dict[int, int] = {}
    done: list[int] = []
    for event in events:
        if event == "put":
            outbox.put(put)
            put += 1
        elif event == "take" and (item := outbox.take(3)) is not None:
            outbox.sent(packet_id, item)
            in_flight[packet_id] = item
            packet_id += 1
        elif event == "acknowledge" and in_flight:
            first = next(iter(in_flight))
            done.append(in_flight.pop(first))
            outbox.acknowledged(first)
        elif event == "lose":
            outbox.connection_lost()
            in_flight.clear()
    outbox.connection_lost()
    while (item := outbox.take(10_000)) is not None:
        done.append(item)
    assert done == list(range(put))


def test_an_urgent_publication_is_sent_first() -> None:
    outbox: Outbox[str] = Outbox(10, 1_000, lambda _: 1)
    outbox.put("state")
    outbox.put("online", urgent=True)
    assert [outbox.take(9), outbox.take(9)] == ["online", "state"]
