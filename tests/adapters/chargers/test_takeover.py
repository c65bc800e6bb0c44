"""One situation at a time; `test_takeover_model.py` combines them."""

from msgspec.structs import replace

from adapters.chargers.takeover import ELSEWHERE, MOST_REPEATS, REPEATED, RESTARTED, Connections
from broker.contract.charging.topics import Link

REPLACED = "replaced by a newer connection of the same id"


class Told:
    """The connections of an adapter, and what it has published and dropped."""

    def __init__(self) -> None:
        self.said: list[Link] = []
        self.dropped: list[tuple[str, str]] = []
        self.connections = Connections[str]("here", "b2", lambda _client, link: self.said.append(link), self._drop)

    def _drop(self, connection: str, why: str) -> None:
        self.dropped.append((connection, why))

    def connect(self, connection: str = "socket", confirmed: bool = True) -> Link:
        self.connections.add("c", connection, "10.0.0.1:5")
        if confirmed:
            self.connections.on_link("c", self.said[-1])
        return self.said[-1]


def link(adapter: str = "there", connection: str = "b1-1", connected: bool = True, reason: str | None = None) -> Link:
    return Link(connected=connected, adapter=adapter, connection=connection, address="10.0.0.2:5", reason=reason)


def test_a_connection_and_its_end_are_published() -> None:
    told = Told()
    first = told.connect()
    assert first == Link(connected=True, adapter="here", connection="b2-1", address="10.0.0.1:5")
    assert "c" in told.connections
    assert (len(told.connections), told.connections.get("c"), told.connections.get("d")) == (1, "socket", None)
    told.connections.remove("c", "socket", "gone")
    assert told.said[1:] == [replace(first, connected=False, reason="gone")]
    assert "c" not in told.connections
    assert told.dropped == []


def test_a_takeover_does_not_publish_the_end_of_the_first() -> None:
    told = Told()
    told.connect("first")
    told.connect("second")
    assert told.dropped == [("first", REPLACED)]
    told.connections.remove("c", "first", "gone")
    assert [(each.connected, each.connection) for each in told.said] == [(True, "b2-1"), (True, "b2-2")]
    assert told.connections.get("c") == "second"


def test_an_older_own_link_does_not_drop_the_connection() -> None:
    told = Told()
    first = told.connect("first")
    second = told.connect("second")
    told.dropped.clear()
    told.connections.on_link("c", first)  # a broker that was killed came back with it
    assert told.dropped == []
    assert told.said[-1] == replace(second, reason=REPEATED)


def test_a_link_received_before_the_own_one_is_ignored() -> None:
    told = Told()
    own = told.connect(confirmed=False)
    told.connections.on_link("c", link())
    told.connections.on_link("c", link(connected=False, reason="gone"))
    assert (told.said, told.dropped) == ([own], [])


def test_a_link_received_after_the_own_one_takes_over() -> None:
    told = Told()
    own = told.connect()
    told.connections.on_link("c", link())
    assert told.dropped == [("socket", ELSEWHERE)]
    told.connections.remove("c", "socket", "gone")
    assert told.said == [own], "without a word"


def test_the_end_of_an_older_connection_is_answered() -> None:
    told = Told()
    own = told.connect()
    told.connections.on_link("c", link(connected=False, reason="gone"))
    assert told.said == [own, replace(own, reason=REPEATED)]
    assert told.dropped == []


def test_a_repeated_link_of_an_older_connection_is_answered() -> None:
    told = Told()
    own = told.connect()
    told.connections.on_link("c", link(reason=REPEATED))
    assert told.said == [own, replace(own, reason=REPEATED)]
    assert told.dropped == []


def test_a_newer_connection_counts_during_a_repetition() -> None:
    told = Told()
    told.connect()
    told.connections.on_link("c", link(connected=False, reason="gone"))
    told.connections.on_link("c", link(connection="b1-2"))
    assert told.dropped == [("socket", ELSEWHERE)]
    told.connections.on_link("c", told.said[-1])
    told.connections.correct_stale()
    assert told.said[-1] == replace(told.said[0], connected=False, reason=ELSEWHERE), "its repeated word was the last"


def test_repetitions_between_two_adapters_end() -> None:
    told = Told()
    told.connect()
    for _ in range(MOST_REPEATS + 1):
        told.connections.on_link("c", link(reason=REPEATED))
    assert len(told.said) == 1 + MOST_REPEATS
    assert told.dropped == [("socket", ELSEWHERE)]


def test_links_of_an_earlier_start_are_published_as_ended() -> None:
    told = Told()
    left = link("here", "b1-7")
    told.connections.on_link("c", left)
    told.connections.correct_stale()
    assert told.said == [replace(left, connected=False, reason=RESTARTED)]
    told.connections.correct_stale()
    assert len(told.said) == 1


def test_a_stale_link_that_is_replaced_is_not_corrected() -> None:
    for again in (link(), link("here", "b1-7", connected=False), None):
        told = Told()
        told.connections.on_link("c", link("here", "b1-7"))
        told.connect() if again is None else told.connections.on_link("c", again)
        told.connections.correct_stale()
        assert len(told.said) == (again is None)


def test_links_of_other_adapters_are_not_stale() -> None:
    told = Told()
    told.connections.on_link("c", link())
    told.connections.correct_stale()
    assert told.said == []


def test_connections_of_removed_ids_are_published_and_dropped() -> None:
    told = Told()
    own = told.connect()
    told.connections.add("d", "other", "10.0.0.1:6")
    told.connections.drop_unless({"d"}.__contains__, "unknown")
    assert told.said[-1] == replace(own, connected=False, reason="unknown")
    assert told.dropped == [("socket", "unknown")]
    told.connections.remove("c", "socket", "gone")
    assert len(told.said) == 3
    assert "d" in told.connections
