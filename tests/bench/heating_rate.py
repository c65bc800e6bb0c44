"""Processor time of the heating controller for many rooms, without MQTT: in their first minutes, and over a day."""

import time
from contextlib import suppress

from broker.contract.heating.topics import READING, STATE, TemperatureReading
from broker.errors import Rejected
from broker.message import Message, Publication
from controllers.heating.component import NEW_ROOMS_PER_S, HeatingController
from controllers.heating.room import RoomControl
from sim.rooms.component import Household, SimulatedRooms
from tests.bench.late_rooms import DAY_MINUTES, Late, late_room, late_sensors

ROOMS = 10_000
TICK_S, MINUTE_S, MINUTES = 5, 60, 3
HIGHEST_SHARE_PCT = 5.0
DAY_SEEDS = range(1_000, 1_006)


def measure() -> list[str]:
    """Print the share of one core that many rooms need in real time at scale 1, and give it if it is too high."""
    controller, now_s = HeatingController(), 0.0
    for number in range(1, ROOMS + 1):  # new rooms are limited
        now_s = number / NEW_ROOMS_PER_S
        reading = TemperatureReading(sensor_id="sensor-1", type="temperature", value=17.0)
        controller.on_message(_received(READING.publication(reading, room=f"room-{number}")), now_s)
    began = time.process_time()
    world, start_s = SimulatedRooms(Household(rooms=ROOMS)), int(now_s)
    world.on_tick(start_s)
    print(f"{ROOMS} rooms × 5 sensors, made in {time.process_time() - began:.1f} s of processor time")
    _run(controller, world, start_s, 1)  # the first decision of a room is not like the others
    spent = _run(controller, world, start_s + MINUTE_S, MINUTES)
    for name, seconds in spent.items():
        print(f"  {name}: {100 * seconds / (MINUTES * MINUTE_S):.1f} % of one core, without MQTT", flush=True)
    shares_pct = {"first minutes": 100 * spent["controller"] / (MINUTES * MINUTE_S), "whole day": _day_pct()}
    print(f"  controller, mean of a whole day: {shares_pct['whole day']:.1f} % of one core, without MQTT and JSON", flush=True)
    return [
        f"{ROOMS} rooms, {name}: {share:.1f} % of a core ≥ {HIGHEST_SHARE_PCT:g} %"
        for name, share in shares_pct.items()
        if share >= HIGHEST_SHARE_PCT
    ]


def _day_pct() -> float:
    """Return the share of a core that fusion and law need, from a day of a few rooms, percent."""
    spent_s = 0.0
    for seed in DAY_SEEDS:
        room = late_room(seed)
        plant, sensors, control = Late(room), late_sensors(room), RoomControl(0.0)
        for minute in range(1, DAY_MINUTES + 1):
            plant.step(60)
            readings = [(each.name, value) for each in sensors if (value := each.read(plant.air_c, minute)) is not None]
            began = time.process_time()
            for name, value_c in readings:
                control.read(name, value_c, minute * 60.0)
            plant.level_pct = control.decide(minute * 60.0).level
            spent_s += time.process_time() - began
    return 100 * spent_s / (len(DAY_SEEDS) * DAY_MINUTES) * ROOMS / MINUTE_S


def _run(controller: HeatingController, world: SimulatedRooms, start_s: int, minutes: int) -> dict[str, float]:
    """Run both for some minutes; return the processor time of each, s."""
    spent = {"rooms": 0.0, "controller": 0.0}
    decided = 0
    for now_s in range(start_s + TICK_S, start_s + minutes * MINUTE_S + 1, TICK_S):
        began = time.process_time()
        readings = [_received(each) for each in world.on_tick(now_s)]
        spent["rooms"] += time.process_time() - began
        began = time.process_time()
        for each in readings:
            controller.on_message(each, now_s)
        published = controller.on_tick(now_s)
        spent["controller"] += time.process_time() - began
        for publication in published:
            decided += STATE.parse(publication.topic) is not None
            with suppress(Rejected):  # a state is no level
                world.on_message(_received(publication), now_s)
    assert decided == ROOMS * minutes, f"{decided} decisions, not {ROOMS * minutes}"
    return spent


def _received(publication: Publication) -> Message:
    return Message(topic=publication.topic, payload=publication.payload)
