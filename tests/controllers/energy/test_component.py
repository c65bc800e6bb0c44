"""The normalizer with a recorder that records its publications."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

import orjson
import pytest

from broker.contract.energy.topics import Anomaly, Intervals, Quarter, Stored
from broker.contract.storage.topics import QueryEnd, QueryRequest
from broker.errors import Rejected
from broker.message import Message, Publication, decode, encode
from broker.stamp import Stamp
from controllers.energy.component import MOST_NEW_SHIPS, EnergyNormalizer
from controllers.energy.history import ANSWER_TOPIC, AT_ONCE, PATIENCE_S, RETRY_S
from controllers.energy.series import MOST_REGISTERS

ONLINE = b'{"state":"online","boot":"b","version":"1"}'


@dataclass
class World:
    """`recorder`: queries are answered; `crash` replaces the normalizer by a new one."""

    normalizer: EnergyNormalizer = field(default_factory=EnergyNormalizer)
    recorder: bool = True
    recorded: list[tuple[str, bytes]] = field(default_factory=list)
    answers: list[Stored] = field(default_factory=list)
    survive: int | None = None
    now_s: float = 0.0
    truncated: bool = False
    lost: int | None = None
    """The part of every answer that is lost."""

    def __post_init__(self) -> None:
        self.receive(Message(topic="components/recorder/state", payload=ONLINE, retain=True))

    def receive(self, message: Message) -> None:
        self.send(self.normalizer.on_message(message, self.now_s))

    def send(self, publications: list[Publication]) -> None:
        for each in publications:
            if self.survive is not None:
                if self.survive == 0:
                    return
                self.survive -= 1
            if each.topic == "storage/query":
                if self.recorder:
                    self._answer(each)
            elif each.topic.startswith("energy/answer/"):
                self.answers.append(decode(each.payload, Stored))
            else:
                self.recorded.append((each.topic, each.payload))

    def post(self, *values: Any, ship: Any = 1, start: int = 0, step: int = 60, units: str = "kWh", **more: Any) -> None:
        minutes = [start + n * step for n in range(len(values))]
        data = [
            {"datetime": f"2018-08-{1 + m // 1440:02}T{m // 60 % 24:02}:{m % 60:02}:00Z", "value": value}
            for m, value in zip(minutes, values, strict=True)
        ]
        payload = orjson.dumps({"spaceship_id": ship, "units": units, "data": data, **more})
        self.recorded.append((f"energy/{ship}/raw", payload))
        self.receive(Message(topic=f"energy/{ship}/raw", payload=payload, response_topic="energy/answer/test"))

    def crash(self) -> None:
        self.survive = None
        self.normalizer = EnergyNormalizer()
        self.__post_init__()

    def quarters(self, ship: Any = 1) -> dict[str, float]:
        """Return the rows of `energy_interval`."""
        values: dict[str, float] = {}
        for topic, payload in self.recorded:
            if topic == f"energy/{ship}/interval":
                for row in decode(payload, Intervals).data:
                    values.pop(row.datetime, None)
                    if row.value is not None:
                        values[row.datetime] = row.value
        return {at[11:16]: values[at] for at in sorted(values)}

    def last_published(self) -> tuple[Quarter, ...]:
        return next(
            decode(payload, Intervals).data for topic, payload in reversed(self.recorded) if topic.endswith("/interval")
        )

    def _answer(self, query: Publication) -> None:
        assert query.response_topic == ANSWER_TOPIC
        request = decode(query.payload, QueryRequest)
        given = request.parameters if isinstance(request.parameters, dict) else {}
        rows = self._left_behind()
        if "raw" in given:
            ship, after = given["raw"].split("/")[1], given["after"]
            rows = [row for row in self._rows(ship) if row["payload"] is not None and row["number"] > after]
            rows = [{name: row[name] for name in ("number", "payload")} for row in sorted(rows, key=itemgetter("number"))[:2]]
        elif given:
            rows = [row for row in self._rows(given["ship"]) if row["payload"] is None]
        end = {"rows": len(rows), "chunks": 2, "elapsed_s": 0.1, "columns": [], "truncated": self.truncated, "error": None}
        marks = ((("part", "1"),), (("part", "2"),), (("final", "true"), ("parts", "2")))
        for content, properties in zip((rows[:2], rows[2:], end), marks, strict=True):
            if properties == (("part", str(self.lost)),):
                continue
            self.receive(
                Message(
                    topic=ANSWER_TOPIC,
                    payload=orjson.dumps(content),
                    correlation_data=query.correlation_data,
                    properties=properties,
                )
            )

    def _rows(self, ship: str) -> list[dict[str, Any]]:
        nothing = dict.fromkeys(["number", "payload", "start_us", "kwh", "coverage", "quality", "negative", "kind"])
        posts = [
            {**nothing, "number": number, "payload": payload.decode()}
            for number, (topic, payload) in enumerate(self.recorded, 1)
            if topic == f"energy/{ship}/raw"
        ]
        last: dict[str, Quarter] = {}
        for topic, payload in self.recorded:
            if topic == f"energy/{ship}/interval":
                last |= {row.datetime: row for row in decode(payload, Intervals).data}
        published = [
            {**nothing, "start_us": _us(at), "kwh": row.value,
             "coverage": row.coverage, "quality": row.quality, "negative": row.negative}
            for at, row in last.items() if row.value is not None
        ]  # fmt: skip
        unusual = [decode(payload, Anomaly) for topic, payload in self.recorded if topic == f"energy/{ship}/anomaly"]
        keys = [{**nothing, "start_us": _us(each.datetime), "kind": each.kind} for each in unusual]
        return [*keys, *reversed(published), *reversed(posts)]

    def _left_behind(self) -> list[dict[str, Any]]:
        last: dict[str, str] = {}
        for topic, _ in self.recorded:
            if not topic.endswith("/anomaly"):
                last[topic.split("/")[1]] = topic.split("/")[2]
        return [{"ship": ship} for ship, kind in last.items() if kind == "raw"]


HOURS = dict.fromkeys(["00:00", "00:15", "00:30", "00:45"], 3.0) | dict.fromkeys(["01:00", "01:15", "01:30", "01:45"], 6.5)


def test_a_post_is_answered_after_its_quarters() -> None:
    world = World()
    world.post(12, 26)
    assert world.quarters() == HOURS
    assert world.answers == [Stored(1, 2)]
    world.post(12, None, 26)
    assert [each.index for each in world.answers[-1].skipped] == [1]
    assert world.answers[-1].stored == 2


def test_quarters_have_their_quality() -> None:
    world = World()
    world.post(22, 24, 23, 8, step=5, units="kW")
    rows = world.last_published()
    assert [(row.quality, row.coverage) for row in rows] == [("measured", 1.0), ("partial", 0.333333)]
    world.post(12, -4, ship=2)
    rows = world.last_published()
    assert {row.quality for row in rows} == {"estimated"}
    assert [row.negative for row in rows] == [False] * 4 + [True] * 4


def test_a_mistake_is_answered_and_changes_nothing() -> None:
    world = World()
    world.post(12, 26, units="MW")
    assert world.answers[-1].error is not None
    assert world.answers[-1].error.startswith("units: ")
    assert world.quarters() == {}


def test_without_a_response_topic_a_mistake_is_rejected() -> None:
    world = World()
    for payload, text in ((b"nonsense", "not JSON"), (b'{"spaceship_id":2,"units":"kW","data":[]}', "topic is of ship '1'")):
        with pytest.raises(Rejected, match=text):
            world.receive(Message(topic="energy/1/raw", payload=payload))


def test_a_single_reading_needs_its_interval() -> None:
    world = World()
    world.post(4)
    assert world.answers[-1].error is not None
    assert "interval_minutes" in world.answers[-1].error
    world.post(4, interval_minutes=60)
    assert list(world.quarters().values()) == [1.0] * 4


def test_a_revision_publishes_only_changes() -> None:
    world = World()
    world.post(1, 2, 3, step=15)
    before = len(world.recorded)
    world.post(1, 2, 3, step=15)
    assert [topic for topic, _ in world.recorded[before:]] == ["energy/1/raw"]
    world.post(5, start=15, step=15)
    assert world.quarters() == {"00:00": 1, "00:15": 5, "00:30": 3}
    assert len(decode(world.recorded[-1][1], Intervals).data) == 1


def test_a_restarted_normalizer_continues_from_the_recording() -> None:
    world = World()
    world.post(1, 2, step=10, units="kW")
    world.crash()
    world.post(3, start=20, step=10, units="kW")
    fresh = World()
    fresh.post(1, 2, 3, step=10, units="kW")
    assert fresh.quarters() == world.quarters()


def test_a_kill_at_any_publication_loses_and_doubles_nothing() -> None:
    expected = World()
    posts = [(1, -2), (3, 4), (-9, -9)]
    for number, values in enumerate(posts):
        expected.post(*values, start=30 * number, step=15)
    for survive in range(20):
        world = World()
        world.survive = survive
        for number, values in enumerate(posts):
            world.post(*values, start=30 * number, step=15)
        world.crash()
        assert world.quarters() == expected.quarters(), survive
        assert kinds(world) == kinds(expected) == ["negative"] * 3, survive


def test_posts_wait_while_the_recorder_is_offline() -> None:
    world = World(recorder=False)
    world.post(12, 26)
    world.post(18, start=120)
    assert world.answers == []
    world.recorder = True
    world.receive(Message(topic="components/recorder/state", payload=ONLINE))
    assert [each.stored for each in world.answers] == [2, 1]
    assert len(world.quarters()) == 12


def test_an_unanswered_query_is_repeated() -> None:
    world = World(recorder=False)
    world.post(12, 26)
    world.recorder = True
    world.now_s = PATIENCE_S + 1
    world.send(world.normalizer.on_tick(world.now_s))
    assert world.answers == [Stored(1, 2)]


def test_an_answer_to_a_query_of_an_earlier_start_is_ignored() -> None:
    earlier, later = EnergyNormalizer(start=b"a"), EnergyNormalizer(start=b"b")
    online = Message(topic="components/recorder/state", payload=ONLINE, retain=True)
    (query,), _ = earlier.on_message(online, 0.0), later.on_message(online, 0.0)
    end = b'{"rows":1,"chunks":1,"elapsed_s":0.1,"columns":[],"truncated":false,"error":null}'
    part, final = (
        Message(topic=ANSWER_TOPIC, payload=payload, correlation_data=query.correlation_data, properties=properties)
        for payload, properties in ((b'[{"ship":"7"}]', (("part", "1"),)), (end, (("final", "true"), ("parts", "1"))))
    )
    assert later.on_message(part, 0.0) == later.on_message(final, 0.0) == []
    assert earlier.on_message(part, 0.0) == []
    assert earlier.on_message(final, 0.0) != [], "it was its own"


def test_ships_are_separate_and_text_numbers_are_numbers() -> None:
    world = World()
    world.post(12, 26)
    world.post(4, 4, ship="Nostromo")
    world.post(18, ship="1", start=120)
    assert len(world.quarters()) == 12
    assert world.quarters("Nostromo") == dict.fromkeys(HOURS, 1.0)
    assert world.answers[-1].spaceship_id == 1


def test_a_truncated_answer_is_not_used() -> None:
    world = World()
    world.truncated = True
    with pytest.raises(Rejected, match="more than 0 rows"):
        world.post(12, 26)
    assert world.quarters() == {}
    world.truncated, world.now_s = False, RETRY_S
    world.send(world.normalizer.on_tick(world.now_s))
    assert world.quarters() == HOURS


@pytest.mark.parametrize("lost", [1, 2])
def test_lost_part_of_the_recording_is_requested_again(lost: int) -> None:
    world = World()
    world.lost = lost
    with pytest.raises(Rejected, match="of the reply w"):
        world.post(12, 26)
    assert world.quarters() == {}
    world.lost, world.now_s = None, RETRY_S
    world.send(world.normalizer.on_tick(world.now_s))
    assert world.quarters() == HOURS


def test_refused_readings_are_unknown_after_a_restart() -> None:
    world = World()
    world.post(4)
    world.post(1, 2, start=180, step=15)
    before = world.quarters()
    world.crash()
    world.post(3, start=210, step=15)
    assert world.quarters() == {**before, "03:30": 3}


def test_an_anomaly_is_published_once_across_restarts() -> None:
    world = World()
    for day in range(8):
        world.post(*[4.0] * 24, start=1440 * day)
    world.post(400.0, start=1440 * 7 + 60)
    kinds = [decode(payload, Anomaly).kind for topic, payload in world.recorded if topic == "energy/1/anomaly"]
    assert kinds
    assert set(kinds) == {"outlier"}
    world.crash()
    world.post(4.0, start=1440 * 8)
    again = [topic for topic, _ in world.recorded if topic == "energy/1/anomaly"]
    assert len(again) == len(kinds)


def test_few_queries_run_at_the_same_time() -> None:
    world = World(recorder=False)
    queries: list[Publication] = []
    for ship in range(30):
        payload = orjson.dumps({"spaceship_id": ship, "units": "kW", "data": []})
        queries += world.normalizer.on_message(Message(topic=f"energy/{ship}/raw", payload=payload), 0.0)
    assert len(queries) < AT_ONCE, "one more query looks for unprocessed posts"
    world.recorder = True
    for each in queries:
        world.send([each])
    world.send(world.normalizer.on_tick(PATIENCE_S + 1))
    assert len({each.correlation_data for each in queries}) == len(queries)
    world.post(1, 2, ship=29)
    assert world.answers[-1].stored == 2


def test_an_old_retained_post_replaces_no_later_one() -> None:
    world = World()
    world.post(1, 2, step=15)
    topic, old = world.recorded[0]
    world.post(5, 6, step=15)
    world.receive(Message(topic=topic, payload=old, retain=True))
    assert world.quarters() == {"00:00": 5, "00:15": 6}


def _us(text: str) -> int:
    return round(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1e6)


def kinds(world: World) -> list[str]:
    return [decode(payload, Anomaly).kind for topic, payload in world.recorded if topic == "energy/1/anomaly"]


def test_anomalies_of_missed_posts_are_published() -> None:
    world = World()
    world.post(-1, 2, 3, step=15)
    assert kinds(world) == ["negative"]
    payload = orjson.dumps({"spaceship_id": 1, "units": "kWh", "data": [{"datetime": "2018-08-01T01:00:00Z", "value": -9}]})
    world.recorded.append(("energy/1/raw", payload))
    world.crash()
    assert sorted(kinds(world)) == ["missing", "negative", "negative"]
    world.crash()
    world.post(4, start=75, step=15)
    assert len(kinds(world)) == 3


def test_a_missing_value_is_only_a_gap() -> None:
    world = World()
    world.post(12, None, 18)
    assert world.quarters() == dict.fromkeys(["00:00", "00:15", "00:30", "00:45"], 3.0) | dict.fromkeys(
        ["02:00", "02:15", "02:30", "02:45"], 4.5
    )
    world.post(8, start=60)
    world.post(None, start=60)
    assert world.quarters()["01:00"] == 2.0


def test_quality_does_not_depend_on_the_order_of_posts() -> None:
    world = World()
    world.post(4, 4)
    world.post(*[1] * 8, step=15)
    rows = {
        row.datetime: row.quality
        for topic, payload in world.recorded
        if topic.endswith("interval")
        for row in decode(payload, Intervals).data
    }
    assert set(rows.values()) == {"measured"}


def test_a_correction_keeps_the_interval_that_was_given() -> None:
    world = World()
    world.post(4, interval_minutes=60)
    world.post(8)
    assert world.answers[-1].error is None
    expected = world.quarters()
    world.crash()
    world.post(8)
    assert world.quarters() == expected == dict.fromkeys(["00:00", "00:15", "00:30", "00:45"], 2.0)


def test_waiting_posts_are_published_once() -> None:
    world = World(recorder=False)
    for value in (2, 3, 4):
        world.post(value, value, step=15)
    world.recorder = True
    world.receive(Message(topic="components/recorder/state", payload=ONLINE))
    values = [decode(payload, Intervals).data[0].value for topic, payload in world.recorded if topic == "energy/1/interval"]
    assert values == [4]
    assert [each.stored for each in world.answers] == [2, 2, 2]


def test_a_post_before_the_first_recorder_is_read_when_it_comes() -> None:
    normalizer = EnergyNormalizer()
    body = {"spaceship_id": 1, "units": "kWh", "data": [], "interval_minutes": 15}
    (query,) = normalizer.on_message(Message(topic="energy/1/raw", payload=orjson.dumps(body)), 0.0)
    online = Message(topic="components/recorder/state", payload=ONLINE)
    (repeated, behind) = normalizer.on_message(online, 1.0)
    assert repeated.payload == query.payload
    assert b"GROUP BY ship" in behind.payload


def test_quarters_of_purged_posts_stay() -> None:
    world = World()
    world.post(1, 2, step=15)
    world.post(3, 4, start=1440, step=15)
    del world.recorded[0]
    world.crash()
    world.post(5, start=1470, step=15)
    assert (
        len(
            [
                row
                for topic, payload in world.recorded
                if topic.endswith("interval")
                for row in decode(payload, Intervals).data
                if row.value is None
            ]
        )
        == 0
    )


def test_no_recorded_payload_ends_the_normalizer() -> None:
    world = World()
    deep = b'{"spaceship_id":1,"units":"kWh","x":' + b"[" * 5000 + b"]" * 5000 + b',"data":[]}'
    with pytest.raises(Rejected):
        world.receive(Message(topic="energy/1/raw", payload=deep))
    nested = b'{"spaceship_id":1,"units":' + b"[" * 1000 + b"]" * 1000 + b',"data":[]}'
    with pytest.raises(Rejected):
        world.receive(Message(topic="energy/1/raw", payload=nested))
    world.recorded += [("energy/1/raw", deep), ("energy/1/raw", nested)]
    world.crash()
    world.post(1, 2, step=15)
    assert world.quarters() == {"00:00": 1, "00:15": 2}


def test_a_forgotten_ship_comes_back_with_its_history() -> None:
    world = World()
    world.post(1.0, 2.0, 3.0)
    before = world.quarters()
    forget = Message(topic="components/forget", payload=b'{"kind":"ship","name":"1"}')
    world.receive(forget)
    world.receive(forget)
    assert world.quarters() == before
    world.post(4.0, start=180)
    assert len(world.quarters()) > len(before)
    assert {start: kwh for start, kwh in world.quarters().items() if start in before} == before


def test_invented_ships_wait_for_room() -> None:
    world = World()
    for ship in range(MOST_NEW_SHIPS + 5):
        world.post(1.0, 2.0, ship=ship)
    errors = [each.error for each in world.answers if each.error]
    assert len(errors) == 5
    assert errors[0] is not None
    assert errors[0].startswith("there is no room for another ship now")
    world.post(3.0, start=120, ship=1)
    assert world.answers[-1].error is None


def test_a_single_reading_can_wait_for_the_next_one() -> None:
    world = World()
    for n, value in enumerate([4, 8, 12]):
        world.post(value, start=15 * n, units="kW", interval_minutes="inferred")
        if n == 0:
            assert world.quarters() == {}
            world.crash()
    assert world.quarters() == {"00:00": 1, "00:15": 2, "00:30": 3}
    assert [(answer.stored, answer.error) for answer in world.answers] == [(1, None)] * 3


def test_a_register_becomes_quarters_over_restarts() -> None:
    world = World()
    for n, value in enumerate([100, 101, 0, 103, 104, 1, 2, 3]):
        world.post(value, start=10 * n, register="main", falls="reset")
        if n % 3 == 1:
            world.crash()
    whole = World()
    whole.post(100, 101, 0, 103, 104, 1, 2, 3, step=10, register="main", falls="reset")
    assert world.quarters() == pytest.approx(whole.quarters())
    assert sum(whole.quarters().values()) == pytest.approx(4 + 3)
    assert [answer.stored for answer in world.answers] == [1] * 8


def test_a_killed_normalizer_finishes_a_register_later() -> None:
    world = World()
    world.post(10, 20, step=15, register="main")
    world.survive = 0
    world.post(30, start=30, register="main")
    world.crash()
    assert world.quarters() == {"00:00": 10, "00:15": 10}


def test_purged_readings_of_a_register_cost_no_energy() -> None:
    world = World()
    world.post(10, start=20, register="main")
    world.post(20, start=25, register="main")
    world.post(30, start=45, register="main")
    before = world.quarters()
    world.recorded = [each for each in world.recorded if not each[0].endswith("raw") or b"00:20" not in each[1]]
    world.crash()
    world.post(40, start=60, register="main")
    assert world.quarters() == pytest.approx({**before, "00:45": 10})


def test_a_ship_has_so_many_registers() -> None:
    world = World()
    for n in range(MOST_REGISTERS + 1):
        world.post(1, 2, step=15, register=f"meter-{n}")
    assert [answer.error for answer in world.answers if answer.error] == ["register: a ship may have 100 registers"]
    assert world.quarters() == {"00:00": MOST_REGISTERS}
    world.crash()
    world.post(3, start=30, register="meter-100")
    assert world.answers[-1].error == "register: a ship may have 100 registers"
    assert world.quarters() == {"00:00": MOST_REGISTERS}


def test_quarters_name_the_posts_that_waited_and_the_query() -> None:
    normalizer = EnergyNormalizer()
    data = [{"datetime": f"2018-08-01T{hour:02}:00:00Z", "value": 1} for hour in (1, 2)]
    payload = orjson.dumps({"spaceship_id": 1, "units": "kWh", "data": data})
    waiting = normalizer.on_message(Message(topic="components/recorder/state", payload=ONLINE, retain=True), 0.0)
    waiting += normalizer.on_message(Message(topic="energy/1/raw", payload=payload, stamp=Stamp("energy-api", "b", 7)), 0.0)
    causes = []
    while waiting:
        each = waiting.pop(0)
        if each.topic == "energy/1/interval":
            causes.append(each.causes)
        elif each.topic == "storage/query":
            waiting += normalizer.on_message(empty_answer(each), 0.0)
    assert causes == [("energy-api/b/7", "storage/query")]


def empty_answer(query: Publication) -> Message:
    end = QueryEnd(rows=0, chunks=0, elapsed_s=0.1, columns=[], truncated=False, error=None)
    final = (("final", "true"), ("parts", "0"))
    return Message(topic=ANSWER_TOPIC, payload=encode(end), correlation_data=query.correlation_data, properties=final)
