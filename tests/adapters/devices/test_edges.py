"""Declared devices of Sparkplug edge nodes: from bytes to publications."""

import math
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.devices.declarations import read_file
from adapters.devices.declared import DeclarationError
from adapters.devices.mapper import Mapper, Taken
from tests.adapters.devices.sparkplug.encode import BOOLEAN, INT64, STRING, birth, field, metric, payload

NOW = datetime(2026, 12, 1, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
PRESS = """
[machine.press7]
from    = "spBv1.0/plant/+/line1/press7"
machine = 41
value.temperature = "Temp/Oil 1"
value.fan_speed   = { of = "Drive.Fan", scale = 60 }
value.status      = { of = "Running", map = { true = "STARTED", false = "IDLE" } }
"""
LINE = """
[machine.line1]
from    = "spBv1.0/plant/+/line1"
machine = 40
value.temperature = "Cabinet"
"""
DBIRTH = (metric("Temp/Oil 1", 60.0, alias=1), metric("Drive.Fan", 10.0, alias=2), metric("Running", True, BOOLEAN, alias=3))


class World:
    def __init__(self, text: str = PRESS + LINE) -> None:
        self.mapper, self.at = Mapper(), NOW
        self.mapper.use(read_file("plant.toml", text))

    def send(self, kind: str, data: bytes, device: str | None = None, *, retain: bool = False) -> Taken:
        self.at += timedelta(milliseconds=100)
        topic = f"spBv1.0/plant/{kind}/line1" + (f"/{device}" if device else "")
        assert self.mapper.route(topic)
        return self.mapper.take(topic, data, retain, self.at, self.at)

    def births(self) -> None:
        self.send("NBIRTH", birth(metric("Cabinet", 30.0, alias=0)))
        self.send("DBIRTH", payload(*DBIRTH, seq=1, time_ms=NOW_MS), "press7")

    def oil(self, value: float, seq: int, time_ms: int | None = None) -> Taken:
        return self.send("DDATA", payload(metric(None, value, alias=1, typed=False, time_ms=time_ms), seq=seq), "press7")


def readings(taken: Taken) -> list[dict[str, object]]:
    assert taken.reason is None
    return [orjson.loads(each.payload) for each in taken.publications]


def test_births_and_data_are_readings_of_a_machine() -> None:
    world = World()
    (node,) = readings(world.send("NBIRTH", birth(metric("Cabinet", 30.0, alias=0), time_ms=NOW_MS)))
    assert (node["id"], node["temperature"]) == (40, 30.0)
    (press,) = readings(world.send("DBIRTH", payload(*DBIRTH, seq=1, time_ms=NOW_MS), "press7"))
    at = "2026-12-01T00:00:00.000000Z"
    assert press == {"id": 41, "temperature": 60.0, "fan_speed": 600.0, "status": "STARTED", "timestamp": at}
    (press,) = readings(world.oil(61.5, 2, time_ms=NOW_MS + 1_000))
    assert press == {**press, "temperature": 61.5, "fan_speed": 600.0, "timestamp": "2026-12-01T00:00:01.000000Z"}
    assert world.mapper.links == {"machine.press7": "online", "machine.line1": "online"}


def test_an_older_time_is_a_reading_too() -> None:
    world = World()
    world.births()
    for seq, time_ms in ((2, NOW_MS), (3, NOW_MS - 60_000)):
        assert len(readings(world.oil(61.0, seq, time_ms=time_ms))) == 1


def test_a_restarted_host_asks_for_a_rebirth() -> None:
    world = World()
    taken = world.oil(61.0, 77)
    assert taken.publications == []
    assert [each.topic for each in taken.commands] == ["spBv1.0/plant/NCMD/line1"]
    assert taken.missed == "its birth has not been received"
    world.births()
    assert len(readings(world.oil(61.0, 2))) == 1


def test_deaths_show_in_the_link() -> None:
    world = World()
    world.births()
    world.send("DDEATH", payload(seq=2), "press7")
    assert world.mapper.links == {"machine.press7": "offline", "machine.line1": "online"}
    world.births()
    world.send("NDEATH", payload(metric("bdSeq", 0, INT64)))
    assert world.mapper.links == {"machine.press7": "offline", "machine.line1": "offline"}


def test_what_cannot_be_used_is_rejected_or_ignored() -> None:
    world = World()
    world.births()
    far = world.oil(61.0, 2, time_ms=NOW_MS + 2 * 86_400_000)
    assert (far.publications, far.reason) == (
        [],
        "machine.press7: the time 2026-12-03T00:00:00+00:00 is more than a day ahead",
    )
    broken = world.send("DDATA", payload(metric("Running", "yes", STRING), seq=3), "press7")
    assert broken.reason == "machine.press7: 'yes' is not in the map"
    assert len(readings(world.oil(62.0, 4))) == 1
    assert "status" not in readings(world.oil(62.0, 5))[0]  # was reported when it came
    nothing = world.send("NDATA", payload(metric("bdSeq", 0, INT64), seq=6))
    assert (nothing.publications, nothing.reason) == ([], None)
    malformed = world.send("NDATA", b"\x00")
    assert (malformed.reason or "").startswith("machine.press7: a field with the number 0")
    assert world.send("NBIRTH", birth(), retain=True) == Taken()
    counts = world.mapper.counts["machine.press7"]
    assert (counts.mapped, counts.rejected) == (3, 3)


def test_what_a_metric_cannot_hold_is_malformed() -> None:
    world = World(LINE)
    taken = world.send("NBIRTH", birth(field(1, "Cabinet") + field(4, 16) + field(17, b"data set")))
    assert taken.reason == "machine.line1: temperature: b'data set' is no number"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (LINE.replace("/+/line1", "/NDATA/line1"), "must be spBv1.0/GROUP/+/NODE"),
        (LINE.replace("/plant/+/line1", "/#"), "must be spBv1.0/GROUP/+/NODE"),
        (LINE + 'time = "t"\n', "has no meaning for Sparkplug"),
        ('[sensor.a]\nfrom = "spBv1.0/g/+/n"\nroom = "a"\n', "is missing: the name of a metric"),
        ('[table.a]\nfrom = "spBv1.0/g/+/n"\nvalue.a = {of = "a", type = "double"}\n', "a table is a view"),
    ],
)
def test_declarations_that_cannot_be(text: str, error: str) -> None:
    with pytest.raises(DeclarationError, match=r"plant\.toml:") as raised:
        read_file("plant.toml", text)
    assert error in str(raised.value)


def test_other_kinds_have_metrics_too() -> None:
    world = World('[sensor.hall]\nfrom = "spBv1.0/plant/+/line1"\nroom = "hall"\nvalue = "Air.Temp"\n')
    (reading,) = readings(world.send("NBIRTH", birth(metric("Air.Temp", 19.5))))
    assert reading == {"sensorID": "hall", "type": "temperature", "value": 19.5}


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 4_000), st.binary(max_size=6), st.integers(0, 12)), min_size=1, max_size=4))
def test_mutated_messages_give_readings_or_reasons(changes: list[tuple[int, bytes, int]]) -> None:
    world = World()
    world.births()
    for at, put, length in changes:
        data = payload(metric(None, 61.5, alias=1, typed=False, time_ms=NOW_MS), metric(None, 2.0, alias=2), seq=2)
        at %= len(data)
        taken = world.send("DDATA", data[:at] + put + data[at + length :], "press7")
        for each in taken.publications:
            reading = orjson.loads(each.payload)
            assert all(math.isfinite(reading[name]) for name in ("temperature", "fan_speed") if name in reading)
        counts = world.mapper.counts["machine.press7"]
        assert (taken.reason is not None) == (counts.error is not None and counts.error in (taken.reason or ""))
        world.births()
        counts.error = None
