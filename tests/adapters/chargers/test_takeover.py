"""One situation at a time; `test_takeover_model.py` combines them."""

from msgspec.structs import replace

from adapters.chargers.takeover import ELSEWHERE, MOST_REPEATS, REPEATED, RESTARTED, Connections
from broker.contract.charging.topics import ClientLink

REPLACED = "replaced by a newer connection of the same id"


class OneAdapter:
    """The connections of an adapter, and what it has published and dropped."""

    def __init__(self) -> None:
        self.published: list[ClientLink] = []
        self.dropped: list[tuple[str, str]] = []
        self.connections = Connections[str]("here", "b2", lambda _client, link: self.published.append(link), self._drop)

    def _drop(self, connection: str, why: str) -> None:
        self.dropped.append((connection, why))

    def connect(self, connection: str = "socket", confirmed: bool = True) -> ClientLink:
        self.connections.add("c", connection, "10.0.0.1:5")
        if confirmed:
            self.connections.on_link("c", self.published[-1])
        return self.published[-1]


def link(adapter: str = "there", connection: str = "b1-1", connected: bool = True, reason: str | None = None) -> ClientLink:
    return ClientLink(connected=connected, adapter=adapter, connection=connection, address="10.0.0.2:5", reason=reason)


def test_a_connection_and_its_end_are_published() -> None:
    adapter = OneAdapter()
    first = adapter.connect()
    assert first == ClientLink(connected=True, adapter="here", connection="b2-1", address="10.0.0.1:5")
    assert "c" in adapter.connections
    assert (len(adapter.connections), adapter.connections.get("c"), adapter.connections.get("d")) == (1, "socket", None)
    adapter.connections.remove("c", "socket", "lost")
    assert adapter.published[1:] == [replace(first, connected=False, reason="lost")]
    assert "c" not in adapter.connections
    assert adapter.dropped == []


def test_a_takeover_does_not_publish_the_end_of_the_first() -> None:
    adapter = OneAdapter()
    adapter.connect("first")
    adapter.connect("second")
    assert adapter.dropped == [("first", REPLACED)]
    adapter.connections.remove("c", "first", "lost")
    assert [(each.connected, each.connection) for each in adapter.published] == [(True, "b2-1"), (True, "b2-2")]
    assert adapter.connections.get("c") == "second"


def test_an_older_own_link_does_not_drop_the_connection() -> None:
    adapter = OneAdapter()
    first = adapter.connect("first")
    second = adapter.connect("second")
    adapter.dropped.clear()
    adapter.connections.on_link("c", first)  # a broker that was killed came back with it
    assert adapter.dropped == []
    assert adapter.published[-1] == replace(second, reason=REPEATED)


def test_a_link_received_before_the_own_one_is_ignored() -> None:
    adapter = OneAdapter()
    own = adapter.connect(confirmed=False)
    adapter.connections.on_link("c", link())
    adapter.connections.on_link("c", link(connected=False, reason="lost"))
    assert (adapter.published, adapter.dropped) == ([own], [])


def test_a_link_received_after_the_own_one_takes_over() -> None:
    adapter = OneAdapter()
    own = adapter.connect()
    adapter.connections.on_link("c", link())
    assert adapter.dropped == [("socket", ELSEWHERE)]
    adapter.connections.remove("c", "socket", "lost")
    assert adapter.published == [own], "without a word"


def test_the_end_of_an_older_connection_is_answered() -> None:
    adapter = OneAdapter()
    own = adapter.connect()
    adapter.connections.on_link("c", link(connected=False, reason="lost"))
    assert adapter.published == [own, replace(own, reason=REPEATED)]
    assert adapter.dropped == []


def test_a_repeated_link_of_an_older_connection_is_answered() -> None:
    adapter = OneAdapter()
    own = adapter.connect()
    adapter.connections.on_link("c", link(reason=REPEATED))
    assert adapter.published == [own, replace(own, reason=REPEATED)]
    assert adapter.dropped == []


def test_a_newer_connection_counts_during_a_repetition() -> None:
    adapter = OneAdapter()
    adapter.connect()
    adapter.connections.on_link("c", link(connected=False, reason="lost"))
    adapter.connections.on_link("c", link(connection="b1-2"))
    assert adapter.dropped == [("socket", ELSEWHERE)]
    adapter.connections.on_link("c", adapter.published[-1])
    adapter.connections.correct_stale()
    assert adapter.published[-1] == replace(adapter.published[0], connected=False, reason=ELSEWHERE), (
        "its repetition was the last"
    )


def test_repetitions_between_two_adapters_end() -> None:
    adapter = OneAdapter()
    adapter.connect()
    for _ in range(MOST_REPEATS + 1):
        adapter.connections.on_link("c", link(reason=REPEATED))
    assert len(adapter.published) == 1 + MOST_REPEATS
    assert adapter.dropped == [("socket", ELSEWHERE)]


def test_links_of_an_earlier_start_are_published_as_ended() -> None:
    adapter = OneAdapter()
    left = link("here", "b1-7")
    adapter.connections.on_link("c", left)
    adapter.connections.correct_stale()
    assert adapter.published == [replace(left, connected=False, reason=RESTARTED)]
    adapter.connections.correct_stale()
    assert len(adapter.published) == 1


def test_a_stale_link_that_is_replaced_is_not_corrected() -> None:
    for again in (link(), link("here", "b1-7", connected=False), None):
        adapter = OneAdapter()
        adapter.connections.on_link("c", link("here", "b1-7"))
        adapter.connect() if again is None else adapter.connections.on_link("c", again)
        adapter.connections.correct_stale()
        assert len(adapter.published) == (again is None)


def test_links_of_other_adapters_are_not_stale() -> None:
    adapter = OneAdapter()
    adapter.connections.on_link("c", link())
    adapter.connections.correct_stale()
    assert adapter.published == []


def test_connections_of_removed_ids_are_published_and_dropped() -> None:
    adapter = OneAdapter()
    own = adapter.connect()
    adapter.connections.add("d", "other", "10.0.0.1:6")
    adapter.connections.drop_unless({"d"}.__contains__, "unknown")
    assert adapter.published[-1] == replace(own, connected=False, reason="unknown")
    assert adapter.dropped == [("socket", "unknown")]
    adapter.connections.remove("c", "socket", "lost")
    assert len(adapter.published) == 3
    assert "d" in adapter.connections
