from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import orjson
import pytest

from broker.message import Message, Publication
from controllers.energy.anomaly import anomalies
from controllers.energy.post import read_post
from controllers.energy.series import Series
from sim.ships.component import Fleet, SimulatedShips

START_AT = datetime(2026, 1, 1, 3, 20, 30, tzinfo=UTC)
MINUTES = {1: 60, 2: 5, 3: 15, 4: 60}


def fleet(ships: int = 3, seed: int = 1, faults: float = 0.0, days: int = 0) -> SimulatedShips:
    return SimulatedShips(Fleet(ships, seed, faults, days), lambda now_s: START_AT + timedelta(seconds=now_s))


def hours(ships: SimulatedShips, count: int) -> list[Publication]:
    return [each for minute in range(count * 60) for each in ships.on_tick(minute * 60.0)]


def posts(publications: list[Publication], number: int) -> list[Any]:
    found = [orjson.loads(each.payload) for each in publications if each.topic == f"energy/{number}/raw"]
    assert all(list(each) == ["spaceship_id", "units", "data"] and each["spaceship_id"] == number for each in found)
    return found


def times(post: Any) -> list[datetime]:
    return [datetime.strptime(row["datetime"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC) for row in post["data"]]


@pytest.mark.parametrize(("number", "units"), [(1, "kWh"), (2, "kW"), (3, "kWh"), (4, "kWh")])
def test_ships_have_the_three_meters_in_turn(number: int, units: str) -> None:
    found = posts(hours(fleet(4), 12), number)
    assert {each["units"] for each in found} == {units}
    minutes = {(b - a).seconds / 60 for post in found for a, b in pairwise(times(post))}
    assert minutes == {MINUTES[number]}


def test_every_ship_posts_the_last_hour_every_hour() -> None:
    publications = hours(fleet(), 12)
    assert Counter(each.topic for each in publications)["energy/2/raw"] >= 10
    for post in posts(publications, 2)[1:]:
        assert len(post["data"]) == 12
    seen = [at for post in posts(publications, 3) for at in times(post)]
    assert len(set(seen)) == len(seen)


def test_an_hourly_ship_repeats_the_hour_before() -> None:
    found = posts(hours(fleet(), 8), 1)
    assert [len(post["data"]) for post in found] == [2] * len(found)
    assert found[0]["data"][1] == found[1]["data"][0]


def test_only_complete_intervals_are_posted() -> None:
    ships = fleet()
    for minute in range(600):
        for each in ships.on_tick(minute * 60.0):
            number = int(each.topic.split("/")[1])
            last_at = max(times(orjson.loads(each.payload))) + timedelta(minutes=MINUTES[number])
            assert last_at <= START_AT + timedelta(minutes=minute)
            assert last_at > START_AT + timedelta(minutes=minute - 121)


def test_days_before_the_start_are_posted_at_once() -> None:
    first = fleet(1, days=7).on_tick(0.0)
    (post,) = posts(first, 1)
    assert len(post["data"]) == 7 * 24 - 1  # the hour in which it begins is not whole
    assert times(post)[0] == datetime(2025, 12, 25, 4, tzinfo=UTC)


def test_a_long_pause_is_in_the_next_post() -> None:
    ships = fleet(2)
    hours(ships, 3)
    found = posts(ships.on_tick(10 * 3600.0), 2)
    assert len(found) == 1
    assert len(found[0]["data"]) > 72
    assert ships.on_tick(10 * 3600.0 + 60) == []


def test_the_same_seed_gives_the_same_posts() -> None:
    first, same, other = (hours(fleet(4, seed, 0.2), 24) for seed in (1, 1, 2))
    assert first == same
    assert first != other


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_normalizer_accepts_posts_with_faults(number: int) -> None:
    series = Series()
    for each in hours(fleet(3, faults=0.05), 72):
        if each.topic == f"energy/{number}/raw":
            series.post(read_post(each.payload).readings)
    assert len(series.quarters) > 260


def test_messages_are_ignored() -> None:
    assert fleet().on_message(Message(topic="energy/1/raw", payload=b""), 0.0) == []


def test_ships_without_faults_have_no_anomalies() -> None:
    ships = fleet(6, days=20)
    publications = ships.on_tick(0.0) + ships.on_tick(3600.0)
    for number in range(1, 7):
        series = Series()
        for each in posts(publications, number):
            series.post(read_post(orjson.dumps(each)).readings)
        assert len(series.quarters) > 19 * 96
        assert anomalies(series.quarters, 0, 2**62) == []
