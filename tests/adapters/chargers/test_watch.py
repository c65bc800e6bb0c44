from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from adapters.chargers.watch import ANSWER_S, HANDSHAKE_S, MOST_PINGS, SILENT_S, Watch


def watching(*clients: str, at_s: float = 0.0) -> Watch[str]:
    watch = Watch[str]()
    for each in clients:
        watch.came(each, at_s)
        watch.heard(each, at_s)
    return watch


def test_silent_for_exactly_that_long_is_pinged_once() -> None:
    watch = watching("a")
    assert watch.to_ping(SILENT_S - 0.001) == []
    assert watch.to_ping(SILENT_S) == ["a"]
    assert watch.to_ping(SILENT_S + 5) == []


def test_given_up_when_the_answer_has_not_come_in_time() -> None:
    watch = watching("a")
    watch.to_ping(SILENT_S)
    assert watch.to_give_up(SILENT_S + ANSWER_S - 0.001) == []
    assert watch.to_give_up(SILENT_S + ANSWER_S) == ["a"]
    assert len(watch) == 0


def test_a_dead_client_is_noticed_within_30_s() -> None:
    assert SILENT_S + ANSWER_S < 30


def test_an_answer_begins_all_over_again() -> None:
    watch = watching("a")
    watch.to_ping(SILENT_S)
    watch.heard("a", SILENT_S + 1)
    assert watch.to_give_up(1_000) == []
    assert watch.to_ping(2 * SILENT_S + 0.999) == []
    assert watch.to_ping(2 * SILENT_S + 1) == ["a"]


def test_the_longest_silent_come_first_and_not_all_at_once() -> None:
    names = [str(each) for each in range(MOST_PINGS + 5)]
    watch = watching(*names)
    watch.heard("0", 0.0)
    assert watch.to_ping(SILENT_S) == names[1 : MOST_PINGS + 1]
    assert watch.to_ping(SILENT_S) == [*names[MOST_PINGS + 1 :], "0"]


def test_a_handshake_may_not_take_for_ever() -> None:
    watch = Watch[str]()
    watch.came("a", 1.0)
    assert watch.to_ping(1_000) == []
    assert watch.to_give_up(1_000) == []
    assert watch.too_slow(HANDSHAKE_S + 0.999) == []
    assert watch.too_slow(HANDSHAKE_S + 1) == ["a"]
    assert len(watch) == 0


def test_who_has_left_is_forgotten_wherever_he_was() -> None:
    watch = watching("heard", "pinged")
    watch.to_ping(0.0)
    watch.to_ping(SILENT_S)
    watch.heard("heard", SILENT_S)
    watch.came("stranger", 0.0)
    for each in ("heard", "pinged", "stranger", "unknown"):
        watch.left(each)
    assert len(watch) == 0
    assert watch.to_ping(1_000) == watch.to_give_up(1_000) == watch.too_slow(1_000) == []


@settings(deadline=None)
@given(st.lists(st.floats(0, SILENT_S - 0.01), max_size=50), st.floats(0, 0.01))
def test_who_speaks_in_time_is_never_pinged(waits_s: list[float], sweep_s: float) -> None:
    watch, now_s = watching("a"), 0.0
    for wait_s in waits_s:
        assert watch.to_ping(now_s + min(wait_s, sweep_s)) == []
        now_s += wait_s
        assert watch.to_ping(now_s) == []
        watch.heard("a", now_s)


class Connections(RuleBasedStateMachine):
    """Against the obvious way to do it: for each connection, what it is and since when."""

    def __init__(self) -> None:
        super().__init__()
        self.watch, self.now_s, self.number = Watch[int](), 0.0, 0
        self.since: dict[int, tuple[str, float]] = {}

    @rule(wait_s=st.sampled_from([0.0, 0.1, 1.0, 5.0, SILENT_S, 2 * SILENT_S]))
    def time_goes_by(self, wait_s: float) -> None:
        self.now_s += wait_s

    @rule()
    def comes(self) -> None:
        self.number += 1
        self.watch.came(self.number, self.now_s)
        self.since[self.number] = ("stranger", self.now_s)

    @precondition(lambda self: self.since)
    @rule(data=st.data())
    def speaks(self, data: st.DataObject) -> None:
        connection = data.draw(st.sampled_from(sorted(self.since)))
        self.watch.heard(connection, self.now_s)
        self.since[connection] = ("heard", self.now_s)

    @precondition(lambda self: self.since)
    @rule(data=st.data())
    def leaves(self, data: st.DataObject) -> None:
        connection = data.draw(st.sampled_from(sorted(self.since)))
        self.watch.left(connection)
        del self.since[connection]

    @rule()
    def sweep(self) -> None:
        pinged = self._due("heard", SILENT_S)
        assert sorted(self.watch.to_ping(self.now_s)) == pinged
        self.since.update(dict.fromkeys(pinged, ("pinged", self.now_s)))
        for kind, after_s, found in (
            ("pinged", ANSWER_S, self.watch.to_give_up(self.now_s)),
            ("stranger", HANDSHAKE_S, self.watch.too_slow(self.now_s)),
        ):
            assert sorted(found) == self._due(kind, after_s)
            for each in found:
                del self.since[each]

    @invariant()
    def each_is_in_exactly_one_queue(self) -> None:
        assert len(self.watch) == len(self.since)

    def _due(self, kind: str, after_s: float) -> list[int]:
        return sorted(
            each for each, (known, since_s) in self.since.items() if known == kind and since_s <= self.now_s - after_s
        )


TestConnections = Connections.TestCase
TestConnections.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
