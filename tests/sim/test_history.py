"""The past of simulations: what it holds, when it is sent, and that it is sent once."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from broker.contract.charging.topics import SESSION
from broker.contract.components.topics import STATE, ComponentState, Presence
from broker.errors import BrokerUnavailable, InvalidSetting
from broker.exchange import final, part
from broker.message import Message, Publication, encode
from broker.runtime.settings import Settings
from controllers.charging.pairs import id_error
from controllers.energy.post import read_post
from sim import history
from sim.chargers import component as chargers
from sim.chargers.connection import CHARGER, Endpoint
from sim.history import MOST_DEVICES, RECORDER_TOPIC, Queries, Simulation, WithPast, answer_topic, history_days
from sim.machines.component import PAST_READINGS, Hall, SimulatedMachines
from sim.ships import component as ships

NOW_AT = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
DAYS = 2
NOWHERE = Endpoint(CHARGER, "127.0.0.1", 1)


def at(now_s: float) -> datetime:
    return NOW_AT + timedelta(seconds=now_s)


SIMULATIONS: dict[str, Callable[[], Simulation]] = {
    "machines": lambda: SimulatedMachines(Hall(machines=3), at),
    "ships": lambda: ships.SimulatedShips(ships.Fleet(ships=3), at),
    "chargers": lambda: chargers.SimulatedChargers(chargers.Fleet(chargers=5), (NOWHERE, NOWHERE), at=at),
}
MANY: dict[str, Callable[[], Simulation]] = {
    "machines": lambda: SimulatedMachines(Hall(machines=200), at),
    "ships": lambda: ships.SimulatedShips(ships.Fleet(ships=200), at),
    "chargers": lambda: chargers.SimulatedChargers(chargers.Fleet(chargers=200), (NOWHERE, NOWHERE), at=at),
}


@pytest.mark.parametrize("name", SIMULATIONS)
def test_past_covers_its_days_in_order(name: str) -> None:
    past = SIMULATIONS[name]().past(0.0, DAYS)
    times = [each.history_at for each in past if each.history_at is not None]
    assert len(times) == len(past)
    assert times == sorted(times)
    assert NOW_AT - timedelta(days=DAYS) <= times[0] <= NOW_AT - timedelta(days=DAYS - 1)
    assert NOW_AT - timedelta(days=1) <= times[-1] <= NOW_AT


@pytest.mark.parametrize("name", MANY)
def test_past_is_bounded_however_many_devices(name: str) -> None:
    past = MANY[name]().past(0.0, DAYS)
    assert 0 < len(past) <= MOST_DEVICES * PAST_READINGS
    assert len({each.topic for each in past}) == MOST_DEVICES


def test_machines_go_on_from_their_past() -> None:
    machines = SIMULATIONS["machines"]()
    last = orjson.loads(machines.past(0.0, DAYS)[-1].payload)
    (live,) = machines.on_tick(0.0)
    assert live.history_at is None
    assert datetime.fromisoformat(last["timestamp"]) < datetime.fromisoformat(orjson.loads(live.payload)["timestamp"])


def test_ships_do_not_repeat_their_past() -> None:
    fleet = ships.SimulatedShips(ships.Fleet(ships=3, faults=0.0), at)
    past = [read_post(each.payload) for each in fleet.past(0.0, DAYS) if each.topic == "energy/3/raw"]
    live = [each for now_s in range(0, 3 * 3600, 60) for each in fleet.on_tick(float(now_s)) if each.topic == "energy/3/raw"]
    assert sum(len(each.readings) for each in past) == DAYS * 96
    assert live
    assert all(each.history_at is None for each in live)
    assert min(read_post(live[0].payload).readings.time_us) >= max(past[-1].readings.time_us)


def test_past_sessions_are_complete() -> None:
    past = SIMULATIONS["chargers"]().past(0.0, DAYS)
    ended = {"charged", "replaced"}
    for each in past:
        payload = orjson.loads(each.payload)
        assert payload["ended_by"] in ended
        assert payload["started_at"] < payload["ended_at"] < "2026-01-31T08"
        assert payload["soc_start"] <= payload["soc_end"]
        levels = SESSION.parse(each.topic)
        assert levels is not None
        assert id_error(levels["id"]) is None
    assert len({orjson.loads(each.payload)["session"] for each in past}) == len(past)


class Few:
    """A simulation with a past of two messages."""

    def __init__(self) -> None:
        self.ticks = 0

    def past(self, now_s: float, days: int) -> list[Publication]:
        return [Publication(topic="x", payload=b"", history_at=NOW_AT - timedelta(days=each)) for each in (days, 0)]

    def on_message(self, message: Message, now_s: float) -> list[Publication]:
        return [Publication(topic="echo", payload=message.payload)]

    def on_tick(self, now_s: float) -> list[Publication]:
        self.ticks += 1
        return []


class Recorder:
    """The bus with a recorder that answers each query with the next of `answers`: rows, or None for no answer."""

    def __init__(self, online: bool, *answers: int | None, connects_after: int = 0) -> None:
        self.online, self.answers, self.connects_after = online, list(answers), connects_after
        self.published: list[Publication] = []
        self.service: WithPast | None = None

    def publish(self, publication: Publication) -> None:
        self.published.append(publication)
        if publication.topic == "storage/query" and (count := self.answers.pop(0)) is not None:
            asyncio.get_running_loop().call_soon(self._answer, publication, count)

    async def deliver(self, publication: Publication, timeout_s: float) -> None:
        pytest.fail("the past is published without waiting for the broker")

    async def ping(self, timeout_s: float) -> None:
        if self.connects_after:
            self.connects_after -= 1
            raise BrokerUnavailable("not yet")
        state = ComponentState(Presence.ONLINE if self.online else Presence.OFFLINE, "b", "1")
        self._receive(STATE.publication(state, component="recorder"))

    def now_s(self) -> float:
        return 0.0

    @property
    def past(self) -> list[Publication]:
        return [each for each in self.published if each.history_at is not None]

    def _answer(self, asked: Publication, count: int) -> None:
        request = Message(
            topic=asked.topic, payload=b"", response_topic=asked.response_topic, correlation_data=asked.correlation_data
        )
        for number in range(1, count + 1):
            self._receive(part(request, number, encode([{"found": 1}]), "application/json"))
        end = {"chunks": count, "rows": count, "truncated": False, "columns": [], "elapsed_s": 0.1, "error": None}
        self._receive(final(request, count, encode(end), "application/json"))

    def _receive(self, sent: Publication) -> None:
        assert self.service is not None
        message = Message(
            topic=sent.topic, payload=sent.payload, correlation_data=sent.correlation_data, properties=sent.properties
        )
        self.service.on_message(message, 0.0)


ONLY_RECORDED = Queries("recorded")


def begun(bus: Recorder, queries: Queries = ONLY_RECORDED, days: int = DAYS) -> Few:
    """Serve until the simulation begins."""
    simulation = Few()
    bus.service = service = WithPast(simulation, "sim-few", queries, days)

    async def scenario() -> None:
        working = asyncio.Event()
        assert service.on_tick(0.0) == []
        assert simulation.ticks == 0, "no live message may come before the past"
        serving = asyncio.create_task(service.serve(bus, lambda _: working.set()))
        await asyncio.wait_for(working.wait(), 5)
        service.on_tick(0.0)
        assert simulation.ticks == 1
        serving.cancel()

    asyncio.run(scenario())
    return simulation


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PATIENCE_S", "SETTLES_WITHIN_S"):
        monkeypatch.setattr(history, name, 0.2)
    monkeypatch.setattr(history, "LOOK_EVERY_S", 0.01)


@pytest.mark.parametrize(
    ("bus", "sent"),
    [
        (Recorder(True, 0), 2),
        (Recorder(True, 0, connects_after=3), 2),
        (Recorder(True, 1), 0),  # a restart: the past is recorded
        (Recorder(True, None), 0),
        (Recorder(False), 0),
    ],
    ids=["empty", "later", "recorded", "silent", "offline"],
)
def test_past_goes_into_an_empty_recording_only(bus: Recorder, sent: int) -> None:
    begun(bus)
    assert len(bus.past) == sent


def test_no_past_without_days() -> None:
    bus = Recorder(True)
    begun(bus, days=0)
    assert bus.published == []


@pytest.mark.parametrize(("answers", "queries"), [((0, 0, 0, 1), 4), ((0, None), 2)], ids=["settles", "never"])
def test_simulation_begins_once_its_past_has_settled(answers: tuple[int | None, ...], queries: int) -> None:
    bus = Recorder(True, *answers)
    begun(bus, Queries("recorded", "settled"))
    assert len(bus.past) == 2
    assert sum(each.topic == "storage/query" for each in bus.published) == queries


def test_other_messages_are_for_the_simulation() -> None:
    service = WithPast(Few(), "sim-few", Queries("recorded"), DAYS)
    (echo,) = service.on_message(Message(topic="machines/1/status", payload=b"7"), 0.0)
    assert echo.payload == b"7"
    assert service.on_message(Message(topic=answer_topic("sim-few"), payload=b"{}"), 0.0) == []
    assert RECORDER_TOPIC == "components/recorder/state"


@pytest.mark.parametrize(("text", "days"), [("", 0), ("0", 0), ("31", 31)])
def test_days_are_read_from_the_setting(text: str, days: int) -> None:
    assert history_days(Settings.load({"SCAUP_SIM_HISTORY_DAYS": text})) == days


@pytest.mark.parametrize("text", ["-1", "32", "week", "1.5", "²"])
def test_days_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(InvalidSetting, match="SCAUP_SIM_HISTORY_DAYS must be"):
        history_days(Settings.load({"SCAUP_SIM_HISTORY_DAYS": text}))
