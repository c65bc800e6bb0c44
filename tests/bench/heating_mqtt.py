"""Rooms that answer late over a real broker: `python -m tests.bench.heating_mqtt -n 12 --scale 360`, a plant day in 4 minutes.

The heating controller runs in its own process, as `make up` starts it. Readings come and levels go over MQTT only, with the
delays that has: what the other benches leave out.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from broker.runtime.settings import ROOT
from tests.bench.figures import progress
from tests.bench.late_day import MINUTES, Trace, has_power, summary
from tests.bench.late_rooms import REPORTED_SEEDS, TUNING_SEEDS, Late, LateRoom, late_room, late_sensors
from tests.bench.recorder_world import running_broker
from tests.real_broker import RealBroker


class World:
    """Late rooms on a bus: valve levels in, readings out."""

    def __init__(self, rooms: list[LateRoom], client: paho.Client) -> None:
        self.plants = {f"late-{room.seed}": Late(room) for room in rooms}
        self.sensors = {f"late-{room.seed}": late_sensors(room) for room in rooms}
        self.traces = {name: Trace([], []) for name in self.plants}
        self.client = client
        client.on_message = self._set_level
        client.subscribe("/actuators/+", 1)

    def _set_level(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        if (plant := self.plants.get(message.topic.split("/")[-1])) is not None and message.payload:
            plant.level_pct = json.loads(message.payload)["level"]

    def advance(self, minute: int) -> None:
        """Advance all rooms by a minute and publish what the sensors report."""
        for name, plant in self.plants.items():
            self.traces[name].levels.append(round(plant.level_pct))
            plant.step(60)
            self.traces[name].temperatures_c.append(plant.air_c)
            for each in self.sensors[name]:
                if (value_c := each.read(plant.air_c, minute)) is not None:
                    payload = {"sensorID": each.name, "type": "temperature", "value": value_c}
                    self.client.publish(f"/readings/{name}/temperature", json.dumps(payload), 1)


@contextmanager
def running_controller(broker: RealBroker, scale: float) -> Iterator[None]:
    """Run the heating controller as `make up` does."""
    environment = {**broker.environment, "SCAUP_TIME_SCALE": str(scale)}
    running = subprocess.Popen([sys.executable, "-m", "controllers.heating"], cwd=ROOT, env=environment)
    try:
        yield
    finally:
        running.terminate()
        running.wait(10)


def main() -> int:
    """Run the bench."""
    parser = argparse.ArgumentParser(description="Play rooms that answer late over MQTT.")
    parser.add_argument("-n", "--rooms", type=int, default=12)
    parser.add_argument("--skip", type=int, default=0, help="start at this seed")
    parser.add_argument("--scale", type=float, default=360.0, help="plant seconds per second")
    parser.add_argument("--reported", action="store_true", help="the seeds of the report, in place of those for tuning")
    chosen = parser.parse_args()
    seeds = (REPORTED_SEEDS if chosen.reported else TUNING_SEEDS)[chosen.skip :]
    able = (room for room in map(late_room, seeds) if has_power(room))
    rooms = [room for room, _ in zip(able, range(chosen.rooms), strict=False)]
    with running_broker() as broker, running_controller(broker, chosen.scale):
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        client.connect(broker.host, broker.port)
        client.loop_start()
        world = World(rooms, client)
        time.sleep(2)
        _play(world, 60 / chosen.scale)
        client.disconnect()
        client.loop_stop()
    days = [summary(room.seed, trace) for room, trace in zip(rooms, world.traces.values(), strict=True)]
    for room, day in zip(rooms, days, strict=True):
        print(f"{room.seed}: {day.in_band_pct:.1f} %, over {day.overshoot_c:.2f} K, travel {day.travel_pct}: {room.describe()}")
    shares = [day.in_band_pct for day in days]
    print(f"in band: worst {min(shares):.1f} %, median {statistics.median(shares):.1f} %")
    return 0


def _play(world: World, minute_s: float) -> None:
    began_s = time.monotonic()
    for minute in range(1, MINUTES + 1):
        time.sleep(max(0.0, began_s + minute * minute_s - time.monotonic()))
        world.advance(minute)
        if minute % 240 == 0:
            progress(f"{minute // 60}:00")


if __name__ == "__main__":
    sys.exit(main())
