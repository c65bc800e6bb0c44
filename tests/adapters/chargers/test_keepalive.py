from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from adapters.chargers.keepalive import ANSWER_S, HANDSHAKE_S, MOST_PINGS, SILENT_S, Keepalive


def silent_since_start(*clients: str, at_s: float = 0.0) -> Keepalive[str]:
    keepalive = Keepalive[str]()
    for each in clients:
        keepalive.add(each, at_s)
        keepalive.active(each, at_s)
    return keepalive


def test_a_client_silent_for_the_limit_is_pinged_once() -> None:
    keepalive = silent_since_start("a")
    assert keepalive.to_ping(SILENT_S - 0.001) == []
    assert keepalive.to_ping(SILENT_S) == ["a"]
    assert keepalive.to_ping(SILENT_S + 5) == []


def test_a_client_without_an_answer_in_time_is_dropped() -> None:
    keepalive = silent_since_start("a")
    keepalive.to_ping(SILENT_S)
    assert keepalive.unanswered(SILENT_S + ANSWER_S - 0.001) == []
    assert keepalive.unanswered(SILENT_S + ANSWER_S) == ["a"]
    assert len(keepalive) == 0


def test_a_dead_client_is_noticed_within_30_s() -> None:
    assert SILENT_S + ANSWER_S < 30


def test_an_answer_restarts_the_timer() -> None:
    keepalive = silent_since_start("a")
    keepalive.to_ping(SILENT_S)
    keepalive.active("a", SILENT_S + 1)
    assert keepalive.unanswered(1_000) == []
    assert keepalive.to_ping(2 * SILENT_S + 0.999) == []
    assert keepalive.to_ping(2 * SILENT_S + 1) == ["a"]


def test_the_longest_silent_are_pinged_first_in_limited_numbers() -> None:
    names = [str(each) for each in range(MOST_PINGS + 5)]
    keepalive = silent_since_start(*names)
    keepalive.active("0", 0.0)
    assert keepalive.to_ping(SILENT_S) == names[1 : MOST_PINGS + 1]
    assert keepalive.to_ping(SILENT_S) == [*names[MOST_PINGS + 1 :], "0"]


def test_a_slow_handshake_is_overdue() -> None:
    keepalive = Keepalive[str]()
    keepalive.add("a", 1.0)
    assert keepalive.to_ping(1_000) == []
    assert keepalive.unanswered(1_000) == []
    assert keepalive.overdue_handshakes(HANDSHAKE_S + 0.999) == []
    assert keepalive.overdue_handshakes(HANDSHAKE_S + 1) == ["a"]
    assert len(keepalive) == 0


def test_removed_connections_are_in_no_queue() -> None:
    keepalive = silent_since_start("active", "pinged")
    keepalive.to_ping(0.0)
    keepalive.to_ping(SILENT_S)
    keepalive.active("active", SILENT_S)
    keepalive.add("handshake", 0.0)
    for each in ("active", "pinged", "handshake", "unknown"):
        keepalive.remove(each)
    assert len(keepalive) == 0
    assert keepalive.to_ping(1_000) == keepalive.unanswered(1_000) == keepalive.overdue_handshakes(1_000) == []


@given(st.lists(st.floats(0, SILENT_S - 0.01), max_size=50), st.floats(0, 0.01))
def test_an_active_client_is_never_pinged(waits_s: list[float], sweep_s: float) -> None:
    keepalive, now_s = silent_since_start("a"), 0.0
    for wait_s in waits_s:
        assert keepalive.to_ping(now_s + min(wait_s, sweep_s)) == []
        now_s += wait_s
        assert keepalive.to_ping(now_s) == []
        keepalive.active("a", now_s)


class Connections(RuleBasedStateMachine):
    """A model: for each connection, its state and since when."""

    def __init__(self) -> None:
        super().__init__()
        self.keepalive, self.now_s, self.number = Keepalive[int](), 0.0, 0
        self.since: dict[int, tuple[str, float]] = {}

    @rule(wait_s=st.sampled_from([0.0, 0.1, 1.0, 5.0, SILENT_S, 2 * SILENT_S]))
    def time_goes_by(self, wait_s: float) -> None:
        self.now_s += wait_s

    @rule()
    def comes(self) -> None:
        self.number += 1
        self.keepalive.add(self.number, self.now_s)
        self.since[self.number] = ("handshake", self.now_s)

    @precondition(lambda self: self.since)
    @rule(data=st.data())
    def speaks(self, data: st.DataObject) -> None:
        connection = data.draw(st.sampled_from(sorted(self.since)))
        self.keepalive.active(connection, self.now_s)
        self.since[connection] = ("active", self.now_s)

    @precondition(lambda self: self.since)
    @rule(data=st.data())
    def leaves(self, data: st.DataObject) -> None:
        connection = data.draw(st.sampled_from(sorted(self.since)))
        self.keepalive.remove(connection)
        del self.since[connection]

    @rule()
    def sweep(self) -> None:
        pinged = self._due("active", SILENT_S)
        assert sorted(self.keepalive.to_ping(self.now_s)) == pinged
        self.since.update(dict.fromkeys(pinged, ("pinged", self.now_s)))
        for kind, after_s, found in (
            ("pinged", ANSWER_S, self.keepalive.unanswered(self.now_s)),
            ("handshake", HANDSHAKE_S, self.keepalive.overdue_handshakes(self.now_s)),
        ):
            assert sorted(found) == self._due(kind, after_s)
            for each in found:
                del self.since[each]

    @invariant()
    def each_is_in_exactly_one_queue(self) -> None:
        assert len(self.keepalive) == len(self.since)

    def _due(self, kind: str, after_s: float) -> list[int]:
        return sorted(
            each for each, (known, since_s) in self.since.items() if known == kind and since_s <= self.now_s - after_s
        )


TestConnections = Connections.TestCase
TestConnections.settings = settings(max_examples=40, stateful_step_count=40)
