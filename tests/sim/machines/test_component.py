import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import Rejected
from broker.message import Message, Publication
from sim.machines.component import Hall, SimulatedMachines

START_AT = datetime(2024, 11, 3, 13, 40, 45, 15069, tzinfo=UTC)


def simulated(machines: int = 1, seed: int = 1) -> SimulatedMachines:
    return SimulatedMachines(Hall(machines, seed), lambda now_s: START_AT + timedelta(seconds=now_s))


def ticks(hall: SimulatedMachines, start_s: int, end_s: int) -> list[Publication]:
    return [each for now_s in range(start_s, end_s) for each in hall.on_tick(float(now_s))]


def status(value: str, machine: str = "1") -> Message:
    return Message(topic=f"machines/{machine}/status", payload=orjson.dumps({"status": value}))


def statuses(publications: list[Publication]) -> list[Any]:
    return [orjson.loads(each.payload)["status"] for each in publications]


def test_the_payload_matches_the_contract_exactly() -> None:
    (first,) = simulated().on_tick(0.0)
    assert (first.topic, first.retain, first.plant) == ("machines/1/reading", False, True)
    assert re.fullmatch(
        rb'\{"id":1,"name":"DELL G450","description":"Machine for processing ","temperature":\d+\.\d{1,2},'
        rb'"fan_speed":\d+\.\d{1,2},"status":"IDLE","timestamp":"2024-11-03T13:40:45\.015069\+00:00"\}',
        first.payload,
    )


def test_the_timestamp_always_has_microseconds() -> None:
    hall = SimulatedMachines(Hall(), lambda now_s: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=now_s))
    assert orjson.loads(hall.on_tick(0.0)[0].payload)["timestamp"] == "2026-01-01T00:00:00.000000+00:00"


def test_every_machine_publishes_every_ten_seconds() -> None:
    publications = ticks(simulated(4), 0, 600)
    assert Counter(each.topic for each in publications) == {f"machines/{n}/reading": 60 for n in range(1, 5)}


def test_machines_are_spread_over_the_period() -> None:
    hall = simulated(100)
    assert len(hall.on_tick(0.0)) == 1
    assert {len(hall.on_tick(float(now_s))) for now_s in range(1, 101)} == {10}


def test_a_status_that_was_set_stays() -> None:
    hall = simulated()
    assert set(statuses(ticks(hall, 0, 4 * 3600))) >= {"IDLE", "STARTED", "COMPLETED"}
    hall.on_message(status("ERROR"), 4 * 3600.0)
    assert set(statuses(ticks(hall, 4 * 3600, 8 * 3600))) == {"ERROR"}
    hall.on_message(status("COMPLETED"), 8 * 3600.0)
    assert set(statuses(ticks(hall, 8 * 3600, 9 * 3600))) == {"COMPLETED"}


def test_the_next_reading_has_the_status() -> None:
    hall = simulated(2)
    assert hall.on_message(status("COMPLETED", "2"), 0.0) == []
    found = ticks(hall, 0, 10)
    assert [(each.topic, value) for each, value in zip(found, statuses(found), strict=True)] == [
        ("machines/1/reading", "IDLE"),
        ("machines/2/reading", "COMPLETED"),
    ]


def test_statuses_of_other_machines_are_ignored() -> None:
    assert simulated().on_message(status("ERROR", "99"), 0.0) == []


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"status":"DONE"}', b'{"status":1}', b'{"status":null}', b"[]", b"\xff"])
def test_a_bad_status_is_rejected(payload: bytes) -> None:
    with pytest.raises(Rejected):
        simulated().on_message(Message(topic="machines/1/status", payload=payload), 0.0)


def test_a_long_pause_is_caught_up_at_once() -> None:
    hall = simulated()
    hall.on_tick(0.0)
    assert len(hall.on_tick(36_000.0)) == 1
    assert hall.on_tick(36_005.0) == []


def test_the_same_seed_gives_the_same_readings() -> None:
    first, same, other = (ticks(simulated(2, seed), 0, 3600) for seed in (1, 1, 2))
    assert first == same
    assert first != other


@given(st.text(max_size=20), st.binary(max_size=60))
def test_no_message_crashes_it(topic: str, payload: bytes) -> None:
    for each in (topic, "machines/1/status"):
        try:
            simulated().on_message(Message(topic=each, payload=payload), 0.0)
        except Rejected:
            continue
