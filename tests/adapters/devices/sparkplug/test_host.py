"""A host and an edge node with the device press7, in memory."""

import contextlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.devices.sparkplug.host import Host, Link, Taken, Topic, Update
from adapters.devices.sparkplug.payload import MetricValue, Unusable, read_payload
from adapters.devices.sparkplug.wire import Malformed
from tests.adapters.devices.sparkplug.encode import DOUBLE, INT8, INT64, STRING, birth, metric, payload
from tests.adapters.devices.sparkplug.encode import field as raw_field

NOW = datetime(2026, 12, 1, tzinfo=UTC)
NODE, PRESS = ("plant", "line1", None), ("plant", "line1", "press7")
PRESS_BIRTH = (metric("Temp/Oil 1", 60.0, alias=1), metric("Drive.Fan", 10.0, alias=2), metric("Mode", "IDLE", STRING, alias=3))


@dataclass
class World:
    host: Host = field(default_factory=Host)
    now_at: datetime = NOW

    def send(self, kind: str, data: bytes, device: str | None = None) -> Taken:
        topic = Topic.of(f"spBv1.0/plant/{kind}/line1" + (f"/{device}" if device else ""))
        assert topic is not None
        return self.host.take(topic, data, self.now_at)

    def births(self, bd_seq: int = 0) -> None:
        self.send("NBIRTH", birth(metric("Load", 0.5, alias=0), bd_seq=bd_seq))
        self.send("DBIRTH", payload(*PRESS_BIRTH, seq=1), "press7")

    def data(self, *metrics: bytes, seq: int, time_ms: int | None = None) -> Taken:
        return self.send("DDATA", payload(*metrics, seq=seq, time_ms=time_ms), "press7")


def oil(value: float | None, time_ms: int | None = None, *, historical: bool = False) -> bytes:
    return metric(None, value, alias=1, typed=False, time_ms=time_ms, historical=historical)


def values(taken: Taken) -> dict[str, MetricValue]:
    assert len(taken.updates) == 1
    return dict(taken.updates[0].values)


def requests(taken: Taken) -> list[str]:
    for each in taken.publications:
        assert [metric.name for metric in read_payload(each.payload).metrics] == ["Node Control/Rebirth"]
        assert (each.qos, each.retain) == (0, False)
    return [each.topic for each in taken.publications]


REBIRTH = ["spBv1.0/plant/NCMD/line1"]


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("spBv1.0/g/NDATA/n", Topic("g", "NDATA", "n", None)),
        ("spBv1.0/g/DDEATH/n/d", Topic("g", "DDEATH", "n", "d")),
        ("spBv1.0/g/DDATA/n", None),
        ("spBv1.0/g/NDATA/n/d", None),
        ("spBv1.0/g/NCMD/n", None),
        ("spBv1.0/STATE/host", None),
        ("spAv1.0/g/NDATA/n", None),
        ("spBv1.0", None),
    ],
)
def test_topics(topic: str, expected: Topic | None) -> None:
    assert Topic.of(topic) == expected


def test_births_and_data_are_updates() -> None:
    world = World()
    born = world.send("NBIRTH", birth(metric("Load", 0.5, alias=0)))
    assert born.links == (Link(NODE, True),)
    assert values(born) == {"bdSeq": 0, "Load": 0.5}
    born = world.send("DBIRTH", payload(*PRESS_BIRTH, seq=1), "press7")
    assert born.links == (Link(PRESS, True),)
    assert values(born) == {"Temp/Oil 1": 60.0, "Drive.Fan": 10.0, "Mode": "IDLE"}
    taken = world.data(oil(61.5, 1_000), seq=2, time_ms=2_000)
    changed_at, payload_at = (datetime.fromtimestamp(each, UTC) for each in (1, 2))
    assert taken == Taken(
        updates=(
            Update(
                PRESS,
                {"Temp/Oil 1": 61.5, "Drive.Fan": 10.0, "Mode": "IDLE"},
                frozenset(["Temp/Oil 1"]),
                {"Temp/Oil 1": changed_at},
                payload_at,
            ),
        )
    )
    assert values(world.data(metric("Drive.Fan", 12.0), seq=3))["Drive.Fan"] == 12.0
    assert values(world.data(oil(None), seq=4))["Temp/Oil 1"] is None


def test_data_without_a_birth_asks_for_one_a_second() -> None:
    world = World()
    assert requests(world.data(oil(1.0), seq=9)) == REBIRTH
    world.now_at += timedelta(seconds=0.9)
    assert requests(world.data(oil(1.0), seq=10)) == []
    world.now_at += timedelta(seconds=0.2)
    taken = world.data(oil(1.0), seq=11)
    assert (requests(taken), taken.updates) == (REBIRTH, ())


def test_a_request_that_has_to_wait_is_sent_by_a_tick() -> None:
    world = World()
    world.data(oil(1.0), seq=9)
    world.births()
    world.now_at += timedelta(seconds=0.5)
    assert requests(world.data(oil(1.0), seq=9)) == []
    assert world.host.tick(world.now_at) == []
    world.now_at += timedelta(seconds=0.6)
    assert [each.topic for each in world.host.tick(world.now_at)] == REBIRTH
    assert world.host.tick(world.now_at + timedelta(seconds=5)) == []


def test_a_gap_asks_for_a_rebirth_and_data_wait_for_it() -> None:
    world = World()
    world.births()
    taken = world.data(oil(61.0), seq=3)
    assert (requests(taken), taken.updates) == (REBIRTH, ())
    assert world.data(oil(62.0), seq=4).updates == ()
    world.births()
    assert values(world.data(oil(63.0), seq=2))["Temp/Oil 1"] == 63.0


def test_sequence_numbers_wrap() -> None:
    world = World()
    world.births()
    for n in range(2, 600):
        assert len(world.data(oil(float(n)), seq=n % 256).updates) == 1


def test_what_comes_twice_is_no_gap() -> None:
    world = World()
    world.births()
    world.data(oil(61.0), seq=2)
    assert world.data(oil(61.0), seq=2) == Taken()
    assert len(world.data(oil(62.0), seq=3).updates) == 1


@pytest.mark.parametrize("unknown", [metric(None, 1.0, alias=77), metric("Nothing", 1.0), metric(None, 1.0, alias=0)])
def test_an_unknown_metric_asks_for_a_rebirth(unknown: bytes) -> None:
    world = World()
    world.births()
    taken = world.data(oil(1.0), unknown, seq=2)
    assert (requests(taken), taken.updates) == (REBIRTH, ())


def test_a_device_without_a_birth_asks_for_a_rebirth() -> None:
    world = World()
    world.send("NBIRTH", birth())
    assert requests(world.data(oil(1.0), seq=1)) == REBIRTH


def test_a_death_counts_with_the_number_of_the_birth() -> None:
    world = World()
    world.births(bd_seq=4)
    assert world.send("NDEATH", payload(metric("bdSeq", 3, INT64))) == Taken()
    assert len(world.data(oil(1.0), seq=2).updates) == 1
    taken = world.send("NDEATH", payload(metric("bdSeq", 4, INT64)))
    assert taken.links == (Link(NODE, False), Link(PRESS, False))
    assert requests(world.data(oil(1.0), seq=3)) == REBIRTH


def test_a_late_death_is_ignored_after_a_gap_too() -> None:
    world = World()
    world.births(bd_seq=4)
    world.data(oil(1.0), seq=9)
    assert world.send("NDEATH", payload(metric("bdSeq", 3, INT64))) == Taken()


def test_the_death_of_a_device() -> None:
    world = World()
    world.births()
    assert world.send("DDEATH", payload(seq=2), "press7").links == (Link(PRESS, False),)
    taken = world.send("NDATA", payload(metric(None, 0.7, alias=0, typed=False), seq=3))
    assert values(taken)["Load"] == 0.7
    assert values(world.send("DBIRTH", payload(*PRESS_BIRTH, seq=4), "press7"))["Mode"] == "IDLE"


def test_a_birth_gives_aliases_anew() -> None:
    world = World()
    world.births()
    world.send("DBIRTH", payload(metric("Other", 5, INT8, alias=1), seq=2), "press7")
    assert values(world.data(metric(None, -7, INT8, alias=1, typed=False), seq=3)) == {"Other": -7}


def test_historical_values_are_readings_of_their_time() -> None:
    world = World()
    world.births()
    taken = world.data(oil(50.0, 2_000, historical=True), oil(49.0, 1_000, historical=True), oil(70.0, 3_000), seq=2)
    assert [(dict(each.values).get("Temp/Oil 1"), *each.times.values()) for each in taken.updates] == [
        (value, datetime.fromtimestamp(0, UTC) + timedelta(seconds=second)) for value, second in ((49, 1), (50, 2), (70, 3))
    ]
    assert values(world.data(metric("Mode", "STARTED", STRING), seq=3))["Temp/Oil 1"] == 70.0


def test_an_unusable_value_spoils_no_other() -> None:
    world = World()
    world.send("NBIRTH", birth())
    wrong = raw_field(1, "Wrong") + raw_field(4, 1) + raw_field(10, 4_000)
    born = values(world.send("DBIRTH", payload(wrong, *PRESS_BIRTH, seq=1), "press7"))
    assert isinstance(born["Wrong"], Unusable)
    assert born["Temp/Oil 1"] == 60.0


def test_a_malformed_message_is_like_a_missing_one() -> None:
    world = World()
    world.births()
    with pytest.raises(Malformed):
        world.send("DDATA", b"\x00", "press7")
    assert requests(world.data(oil(1.0), seq=3)) == REBIRTH


kinds = st.sampled_from(["NBIRTH", "NDATA", "NDEATH", "DBIRTH", "DDATA", "DDEATH"])
bodies = st.one_of(
    st.binary(max_size=40),
    st.builds(
        lambda seq, alias, value: payload(metric("m", value, DOUBLE, alias=alias), seq=seq),
        st.one_of(st.none(), st.integers(0, 300)),
        st.one_of(st.none(), st.integers(0, 3)),
        st.one_of(st.none(), st.floats()),
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(kinds, bodies), max_size=12))
def test_any_messages_leave_the_host_working(sent: list[tuple[str, bytes]]) -> None:
    world = World()
    for kind, data in sent:
        with contextlib.suppress(Malformed):
            world.send(kind, data, "press7" if kind[0] == "D" else None)
        world.now_at += timedelta(seconds=0.3)
    world.births()
    assert values(world.data(oil(61.0), seq=2))["Temp/Oil 1"] == 61.0
