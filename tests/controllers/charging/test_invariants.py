"""Invariants under any order of events, kills of the controller included."""

import contextlib
import itertools
from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st

from broker.contract.charging.topics import ChargingSession
from broker.errors import Rejected
from broker.message import Message
from controllers.charging.charger import status_of
from tests.controllers.charging.world import PAIRS_OF_TESTS, Killed, World, soc_message, started

CHARGERS = tuple(PAIRS_OF_TESTS)
ADAPTERS = ("charger-adapter", "charger-adapter-2")
SOCS = st.sampled_from([0, 40, 40.5, 79.99, 80, 99, 99.99, 100]) | st.floats(0, 100)
STEPS = st.one_of(
    st.tuples(st.just("soc"), st.sampled_from(CHARGERS), SOCS),
    st.tuples(st.just("connect"), st.sampled_from(CHARGERS), st.sampled_from(ADAPTERS)),
    st.tuples(st.just("leave"), st.sampled_from(CHARGERS), st.just(0)),
    st.tuples(st.just("tick"), st.just(""), st.sampled_from([0.5, 4.0, 6.0, 20.0])),
    st.tuples(st.just("die"), st.sampled_from(ADAPTERS), st.just(0)),
    st.tuples(st.just("dropped"), st.sampled_from(ADAPTERS), st.just(0)),
    st.tuples(st.just("restart"), st.just(""), st.sampled_from([1, -1])),
    st.tuples(st.just("redeliver"), st.just(""), st.integers(1, 5)),
    st.tuples(st.just("kill"), st.just(""), st.integers(0, 3)),
)
EXCHANGED = st.sampled_from(
    [{"c1": "w1", "c2": "w2", "c3": "w3"}, {"c1": "w2", "c2": "w1", "c3": "w3"}, {"c1": "w2", "c2": "w3", "c3": "w4"}]
)


@dataclass
class Plant:
    """Chargers, two adapters and a controller, with the true state of each."""

    world: World = field(default_factory=started)
    last_soc: dict[str, float] = field(default_factory=dict)
    spoke: set[str] = field(default_factory=set)
    """Connected chargers that have sent a frame since they connected."""
    held: dict[str, tuple[str, str]] = field(default_factory=dict)
    linked: set[str] = field(default_factory=set)
    """Chargers that ever had a link: without one, connectivity is unknown."""
    frames: list[tuple[int, Message]] = field(default_factory=list)
    """Frames, each with the start of the controller that received it; those of an earlier start were acknowledged."""
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def happens(self, kind: str, who: str, what: float | str) -> None:
        getattr(self, kind)(who, what)

    def soc(self, charger: str, soc: float) -> None:
        self.world.now_s += 1
        message = soc_message(soc, charger, self.world.stamp(self.held.get(charger, ADAPTERS)[0]))
        self.last_soc[charger] = soc
        if charger in self.held or charger not in self.linked:
            self.spoke.add(charger)
        self.send(message)

    def send(self, message: Message) -> None:
        try:
            self.world.receive(message)
        except Killed:  # and restarted: the broker redelivers the message
            self.world.restart()
            self.world.receive(message)
        self.frames.append((self.world.starts, message))

    def connect(self, charger: str, adapter: str) -> None:
        connection = str(next(self.numbers))
        if charger not in self.held:
            self.spoke.discard(charger)
        self.held[charger] = adapter, connection
        self.linked.add(charger)
        self.link(charger)

    def leave(self, charger: str, _what: object) -> None:
        if charger in self.held:
            self.spoke.discard(charger)
            self.link(charger, connected=False)
            del self.held[charger]

    def link(self, charger: str, connected: bool = True) -> None:
        adapter, connection = self.held[charger]
        with self.reviving():
            self.world.link(connected, charger, connection, adapter)

    def reviving(self) -> "Reviving":
        return Reviving(self.world)

    def tick(self, _who: str, after_s: float) -> None:
        with self.reviving():
            self.world.tick(after_s)

    def die(self, adapter: str, _what: object) -> None:
        """Kill an adapter and restart it, without chargers."""
        with self.reviving():
            self.world.adapter("offline", adapter=adapter)
        for charger in [each for each, (held_by, _) in self.held.items() if held_by == adapter]:
            del self.held[charger]
            self.spoke.discard(charger)
        with self.reviving():
            self.world.adapter("online", boot=f"boot-{next(self.numbers)}", adapter=adapter)

    def dropped(self, adapter: str, _what: object) -> None:
        """Let an adapter lose its connection to the broker for a moment."""
        for state in ("offline", "online"):
            with self.reviving():
                self.world.adapter(state, adapter=adapter)

    def restart(self, _who: str, order: int) -> None:
        self.world.restart(order=order)

    def redeliver(self, _who: str, number: int) -> None:
        """Deliver the last frames again, as after a kill."""
        frames = [message for start, message in self.frames if start == self.world.starts][-number:]
        self.world.restart()
        for each in frames:
            assert self.world.receive(each) == []
            self.frames.append((self.world.starts, each))

    def kill(self, _who: str, survive: int) -> None:
        self.world.survive = survive

    def check(self) -> None:
        for charger in self.spoke:
            assert self.world.shown(self.world.pairs[charger]) == status_of(self.last_soc[charger]).value, charger


class Reviving(contextlib.AbstractContextManager[None]):
    """Restart a controller that is killed; the message it was killed over is retained."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __exit__(self, kind: object, error: object, traceback: object) -> bool:
        if isinstance(error, Killed):
            self._world.restart()
            return True
        return False


def statuses_of(world: World, widget: str) -> list[str]:
    return [status for name, status in world.statuses if name == widget]


def check_sessions(sessions: list[ChargingSession], charger: str) -> None:
    """Check that sessions do not overlap, and that each ends once, not before it began."""
    ended_at, running, ends = "", None, dict[str, ChargingSession]()
    for each in sessions:
        if not each.session.startswith(charger):
            continue
        if each.ended_by is None:
            assert running is None, "two at once"
            assert each.started_at >= ended_at
            running = each.session
            continue
        assert running in (None, each.session)
        assert ends.setdefault(each.session, each) == each
        assert each.ended_at is not None
        assert each.ended_at >= each.started_at
        assert each.duration_s is not None
        assert each.duration_s >= 0
        running, ended_at = None, each.ended_at


WHOLE = STEPS.filter(lambda step: step[0] != "kill")


@settings(max_examples=400)
@given(st.lists(WHOLE, max_size=30))
@example([("connect", "c1", ADAPTERS[0]), ("soc", "c1", 40), ("leave", "c1", 0), ("restart", "", 1), ("tick", "", 20.0)])
@example(
    [("connect", "c1", ADAPTERS[0]), ("soc", "c1", 100), ("die", ADAPTERS[0], 0), ("redeliver", "", 1), ("tick", "", 20.0)]
)
def test_widgets_show_the_truth_and_sessions_do_not_overlap(steps: list[tuple[str, str, float | str]]) -> None:
    plant = Plant()
    for step in steps:
        plant.happens(*step)
        plant.check()
    plant.tick("", 0.5)
    plant.tick("", 20.0)
    plant.check()
    for charger, widget in PAIRS_OF_TESTS.items():
        statuses = statuses_of(plant.world, widget)
        assert all(before != after for before, after in itertools.pairwise(statuses))
        check_sessions(plant.world.sessions, charger)


@settings(max_examples=400)
@given(st.lists(STEPS, max_size=30))
def test_widgets_show_the_truth_after_kills_anywhere(steps: list[tuple[str, str, float | str]]) -> None:
    plant = Plant()
    for step in steps:
        plant.happens(*step)
        plant.check()
    plant.world.survive = None
    for charger in CHARGERS:
        plant.world.link(charger=charger, connection="last")
        plant.soc(charger, 10)
        plant.soc(charger, 100)
        plant.check()
        assert plant.world.state(charger).session is None
    last = {each.session: each for each in plant.world.sessions}
    assert all(each.ended_by is not None for each in last.values()), "a session that never ends"


@settings(max_examples=200)
@given(st.lists(SOCS, min_size=1, max_size=30))
def test_every_change_is_published_once_and_in_order(socs: list[float]) -> None:
    world = started()
    for soc in socs:
        world.soc(soc)
    assert statuses_of(world, "w1") == [status for status, _ in itertools.groupby(status_of(soc).value for soc in socs)]


@settings(max_examples=200)
@given(st.lists(st.tuples(EXCHANGED, st.sampled_from(CHARGERS), SOCS, st.booleans()), max_size=20))
def test_widgets_show_their_own_chargers_as_pairs_change(steps: list[tuple[dict[str, str], str, float, bool]]) -> None:
    world, last = started(), dict[str, float]()
    for pairs, charger, soc, restart in steps:
        if restart:
            world.pairs = pairs
            world.restart()
        else:
            world.reload(pairs)
        world.soc(soc, charger)
        last[charger] = soc
        for each, widget in pairs.items():
            assert world.shown(widget) in ((status_of(last[each]).value,) if each in last else ("unavailable", None))
        for widget in ("w1", "w2", "w3", "w4"):
            assert all(before != after for before, after in itertools.pairwise(statuses_of(world, widget)))
    for each in CHARGERS:
        check_sessions(world.sessions, each)


@settings(max_examples=300)
@given(
    st.sampled_from(["chargers/c1/soc", "chargers/c1/link", "chargers/c1/state", "components/a/state", "charging/pairs"]),
    st.binary(max_size=60) | st.recursive(st.text(max_size=5), st.lists).map(lambda each: repr(each).encode()),
    st.booleans(),
)
def test_arbitrary_bytes_are_rejected_or_harmless(topic: str, payload: bytes, retain: bool) -> None:
    world = started()
    with contextlib.suppress(Rejected):
        world.receive(Message(topic=topic, payload=payload, retain=retain))
    assert world.soc(70) == ["w1 charging", "session begun", "state online"]
