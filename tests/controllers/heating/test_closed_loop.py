"""A simulated day in memory: both components, no broker."""

import orjson
import pytest

from broker.message import Message, Publication
from controllers.heating.component import HeatingController
from sim.rooms.component import Household, SimulatedRooms
from sim.rooms.sensors import Fault
from tests.bench.heating import play
from tests.bench.laws import Shipped
from tests.bench.plants import foreign_room

DAY_S, TICK_S = 24 * 3600, 10


def received(publication: Publication) -> Message:
    return Message(topic=publication.topic, payload=publication.payload, retain=False)


class Plant:
    """Both components on a bus without a broker; the controller is replaced by a new one every `restart_every_s`."""

    def __init__(self, household: Household, restart_every_s: float | None = None, watched: str = "room-1") -> None:
        self.watched = watched
        self.rooms, self.controller = SimulatedRooms(household), HeatingController()
        self.restart_every_s = restart_every_s
        self.retained: dict[str, bytes] = {}
        self.temperatures_c: list[float] = []
        self.modes: set[str] = set()
        self.levels: list[int] = [0]
        self.steps: list[int] = []

    def run(self) -> None:
        for now_s in range(0, DAY_S, TICK_S):
            if self.restart_every_s and now_s and now_s % self.restart_every_s == 0:
                self.restart(now_s)
            for reading in self.rooms.on_tick(now_s):
                self.controller.on_message(received(reading), now_s)
            for publication in self.controller.on_tick(now_s):
                self.deliver(publication, now_s)
            self.temperatures_c.append(self.rooms.true_temperatures()[self.watched])

    def deliver(self, publication: Publication, now_s: float) -> None:
        self.retained[publication.topic] = publication.payload
        if publication.topic.startswith("/actuators/"):
            self.rooms.on_message(received(publication), now_s)
        if publication.topic == f"heating/{self.watched}/state":
            self.modes.add(orjson.loads(publication.payload)["mode"])
        if publication.topic == f"/actuators/{self.watched}":
            self.levels.append(orjson.loads(publication.payload)["level"])

    def restart(self, now_s: float) -> None:
        self.controller = HeatingController()
        for topic, payload in self.retained.items():
            self.controller.on_message(Message(topic=topic, payload=payload, retain=True), now_s)

    def in_band(self) -> float:
        settled = self.temperatures_c[3 * 3600 // TICK_S :]
        return sum(abs(each - 22) <= 0.5 for each in settled) / len(settled)

    def rms_c(self) -> float:
        settled = self.temperatures_c[3 * 3600 // TICK_S :]
        return float((sum((each - 22) ** 2 for each in settled) / len(settled)) ** 0.5)


@pytest.mark.parametrize("faults", [(), (Fault.STUCK, Fault.DRIFT), (Fault.SPIKE, Fault.SILENT, Fault.STUCK)])
def test_a_day_at_22_degrees(faults: tuple[Fault, ...]) -> None:
    plant = Plant(Household(faults=faults))
    plant.run()
    assert plant.in_band() >= 0.97
    assert plant.rms_c() < 0.25
    assert max(plant.temperatures_c[: 6 * 3600 // TICK_S]) < 23
    assert sum(abs(b - a) for a, b in zip(plant.levels, plant.levels[1:], strict=False)) < 2000


def test_the_late_room_of_the_simulated_day_is_held() -> None:
    plant = Plant(Household(rooms=2), watched="room-2")
    plant.run()
    assert plant.in_band() >= 0.95
    assert max(plant.temperatures_c[: 6 * 3600 // TICK_S]) < 23


def test_the_aired_room_of_the_simulated_day_shows_it() -> None:
    plant = Plant(Household(rooms=3), watched="room-3")
    plant.run()
    assert plant.modes == {"heating", "window open"}
    assert plant.in_band() >= 0.9


def test_frequent_restarts_still_hold_the_setpoint() -> None:
    plant = Plant(Household(), restart_every_s=7200)
    plant.run()
    assert plant.in_band() >= 0.97
    assert plant.rms_c() < 0.25


@pytest.mark.parametrize(("room", "sensors"), [(701, 1), (115, 115)])
def test_a_saturating_valve_is_not_swung(room: int, sensors: int) -> None:
    """The valves of both rooms were swung all day, with false windows, while the identified rate could collapse."""
    day = play(foreign_room("hot water, quick opening", room), Shipped(), sensors, ())
    assert day.in_band >= 0.95
