"""One situation at a time; `test_links_model.py` has all of them together."""

from msgspec.structs import replace

from adapters.chargers.links import ELSEWHERE, MOST_REPEATS, REPEATED, RESTARTED, Links
from broker.contract.charging.topics import Link

REPLACED = "replaced by a newer connection of the same id"


class Told:
    """Links of an adapter, and what it has said and dropped."""

    def __init__(self) -> None:
        self.said: list[Link] = []
        self.dropped: list[tuple[str, str]] = []
        self.links = Links[str]("here", "b2", lambda _client, link: self.said.append(link), self._drop)

    def _drop(self, connection: str, why: str) -> None:
        self.dropped.append((connection, why))

    def connect(self, connection: str = "socket", confirmed: bool = True) -> Link:
        self.links.connected("c", connection, "10.0.0.1:5")
        if confirmed:
            self.links.heard("c", self.said[-1])
        return self.said[-1]


def link(adapter: str = "there", connection: str = "b1-1", connected: bool = True, reason: str | None = None) -> Link:
    return Link(connected=connected, adapter=adapter, connection=connection, address="10.0.0.2:5", reason=reason)


def test_a_connection_is_told_and_its_end_too() -> None:
    told = Told()
    first = told.connect()
    assert first == Link(connected=True, adapter="here", connection="b2-1", address="10.0.0.1:5")
    assert "c" in told.links
    assert (len(told.links), told.links.get("c"), told.links.get("d")) == (1, "socket", None)
    told.links.lost("c", "socket", "gone")
    assert told.said[1:] == [replace(first, connected=False, reason="gone")]
    assert "c" not in told.links
    assert told.dropped == []


def test_a_second_connection_takes_over_and_the_end_of_the_first_is_not_told() -> None:
    told = Told()
    told.connect("first")
    told.connect("second")
    assert told.dropped == [("first", REPLACED)]
    told.links.lost("c", "first", "gone")
    assert [(each.connected, each.connection) for each in told.said] == [(True, "b2-1"), (True, "b2-2")]
    assert told.links.get("c") == "second"


def test_an_older_word_of_its_own_does_not_end_the_present_connection() -> None:
    told = Told()
    first = told.connect("first")
    second = told.connect("second")
    told.dropped.clear()
    told.links.heard("c", first)  # a broker that was killed came back with it
    assert told.dropped == []
    assert told.said[-1] == replace(second, reason=REPEATED)


def test_another_adapters_word_before_its_own_is_older() -> None:
    told = Told()
    own = told.connect(confirmed=False)
    told.links.heard("c", link())
    told.links.heard("c", link(connected=False, reason="gone"))
    assert (told.said, told.dropped) == ([own], [])


def test_another_adapters_word_after_its_own_is_newer() -> None:
    told = Told()
    own = told.connect()
    told.links.heard("c", link())
    assert told.dropped == [("socket", ELSEWHERE)]
    told.links.lost("c", "socket", "gone")
    assert told.said == [own], "without a word"


def test_the_end_of_an_older_connection_is_contradicted() -> None:
    told = Told()
    own = told.connect()
    told.links.heard("c", link(connected=False, reason="gone"))
    assert told.said == [own, replace(own, reason=REPEATED)]
    assert told.dropped == []


def test_a_repeated_word_of_an_older_connection_is_contradicted() -> None:
    told = Told()
    own = told.connect()
    told.links.heard("c", link(reason=REPEATED))
    assert told.said == [own, replace(own, reason=REPEATED)]
    assert told.dropped == []


def test_while_its_repeated_word_is_on_its_way_a_newer_connection_still_counts() -> None:
    told = Told()
    told.connect()
    told.links.heard("c", link(connected=False, reason="gone"))
    told.links.heard("c", link(connection="b1-2"))
    assert told.dropped == [("socket", ELSEWHERE)]
    told.links.heard("c", told.said[-1])
    told.links.tell_stale()
    assert told.said[-1] == replace(told.said[0], connected=False, reason=ELSEWHERE), "its repeated word was the last"


def test_two_adapters_that_missed_something_do_not_argue_for_ever() -> None:
    told = Told()
    told.connect()
    for _ in range(MOST_REPEATS + 1):
        told.links.heard("c", link(reason=REPEATED))
    assert len(told.said) == 1 + MOST_REPEATS
    assert told.dropped == [("socket", ELSEWHERE)]


def test_who_an_earlier_start_held_and_does_not_come_back_is_gone() -> None:
    told = Told()
    left = link("here", "b1-7")
    told.links.heard("c", left)
    told.links.tell_stale()
    assert told.said == [replace(left, connected=False, reason=RESTARTED)]
    told.links.tell_stale()
    assert len(told.said) == 1


def test_who_comes_back_or_is_spoken_of_again_is_not_gone() -> None:
    for again in (link(), link("here", "b1-7", connected=False), None):
        told = Told()
        told.links.heard("c", link("here", "b1-7"))
        told.connect() if again is None else told.links.heard("c", again)
        told.links.tell_stale()
        assert len(told.said) == (again is None)


def test_what_others_hold_is_not_stale() -> None:
    told = Told()
    told.links.heard("c", link())
    told.links.tell_stale()
    assert told.said == []


def test_who_is_not_known_any_more_is_told_and_dropped() -> None:
    told = Told()
    own = told.connect()
    told.links.connected("d", "other", "10.0.0.1:6")
    told.links.drop_unless({"d"}.__contains__, "unknown")
    assert told.said[-1] == replace(own, connected=False, reason="unknown")
    assert told.dropped == [("socket", "unknown")]
    told.links.lost("c", "socket", "gone")
    assert len(told.said) == 3
    assert "d" in told.links
