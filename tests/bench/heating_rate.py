"""Processor time of the heating controller for many rooms, without MQTT."""

import time
from contextlib import suppress

from broker.contract.heating.topics import READING, STATE, TemperatureReading
from broker.errors import Rejected
from broker.message import Message, Publication
from controllers.heating.component import NEW_ROOMS_PER_S, HeatingController
from sim.rooms.component import Household, SimulatedRooms

ROOMS = 10_000
TICK_S, MINUTE_S, MINUTES = 5, 60, 3
HIGHEST_SHARE_PCT = 5.0


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
    share_pct = 100 * spent["controller"] / (MINUTES * MINUTE_S)
    return [f"{ROOMS} rooms: {share_pct:.1f} % of a core ≥ {HIGHEST_SHARE_PCT:g} %"] if share_pct >= HIGHEST_SHARE_PCT else []


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
