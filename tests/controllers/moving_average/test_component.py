import dataclasses
import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.contract.machines.topics import MachineAverage
from broker.errors import Rejected
from broker.message import Message, Publication, decode
from broker.runtime.settings import Settings
from broker.stamp import Stamp
from controllers.moving_average import component
from controllers.moving_average.__main__ import build
from controllers.moving_average.component import MovingAverage
from controllers.moving_average.declaration import DECLARATION
from controllers.moving_average.reading import Field
from controllers.moving_average.warm_start import HOLD_S, PATIENCE_S, PAUSE_S, PERIODS

ANSWER = "storage/answer/moving-average"


def reading(n: float, machine: int = 1, **changed: Any) -> Message:
    minute, second = divmod(int(n), 60)
    fields = {"id": machine, "temperature": 20 + n, "fan_speed": 800 + n, "status": "IDLE"}
    fields["timestamp"] = f"2024-11-03T13:{minute:02}:{second:02}.000000+00:00"
    payload = {name: value for name, value in (fields | changed).items() if value is not ...}
    return Message(topic=f"machines/{machine}/reading", payload=orjson.dumps(payload))


def payloads(publications: list[Publication]) -> list[Any]:
    return [orjson.loads(each.payload) for each in publications]


def recorder(state: str = "online") -> Message:
    payload = orjson.dumps({"state": state, "boot": "b", "version": "1"})
    return Message(topic="components/recorder/state", payload=payload, retain=True)


def reply(query: Publication, content: Any, *properties: tuple[str, str]) -> Message:
    payload = orjson.dumps(content)
    return Message(topic=ANSWER, payload=payload, correlation_data=query.correlation_data, properties=properties)


def rows(query: Publication, *found: dict[str, Any], part: int = 1) -> Message:
    return reply(query, list(found), ("part", str(part)))


def end(query: Publication, error: dict[str, str] | None = None, parts: int = 1, truncated: bool = False) -> Message:
    content = {"rows": 1, "chunks": parts, "elapsed_s": 0.1, "columns": [], "truncated": truncated, "error": error}
    return reply(query, content, ("final", "true"), ("parts", str(parts)))


def recorded(*numbers: int, machine: int = 1) -> dict[str, Any]:
    payloads = [reading(n, machine).payload.decode() for n in numbers]
    return {"topic": f"machines/{machine}/reading", "payloads": payloads}


def test_an_average_after_every_reading_retained() -> None:
    controller = MovingAverage()
    for count in range(1, 8):
        (publication,) = controller.on_message(reading(count), float(count))
        kept = range(max(1, count - 4), count + 1)
        mean = sum(kept) / len(kept)
        assert payloads([publication]) == [{"average_temperature": 20 + mean, "average_speed": 800 + mean, "status": "IDLE"}]
        assert (publication.topic, publication.retain, publication.plant) == ("machines/1/average", True, True)
    (again,) = controller.on_message(reading(7), 8.0)
    assert again.payload == publication.payload, "delivered twice, counted once"


def test_values_that_are_no_numbers_are_left_out() -> None:
    controller = MovingAverage()
    controller.on_message(reading(1), 0.0)
    controller.on_message(reading(2, temperature="22.0"), 0.0)
    found = controller.on_message(reading(3, temperature=..., status="ERROR"), 0.0)
    assert payloads(found) == [
        {"average_temperature": 21.0, "average_speed": 802.0, "status": "ERROR", "left_out": {"temperature": 2}}
    ]
    assert decode(found[0].payload, MachineAverage).left_out == {"temperature": 2}


def test_machines_do_not_mix() -> None:
    controller = MovingAverage()
    controller.on_message(reading(1, 1), 0.0)
    assert payloads(controller.on_message(reading(9, 2), 0.0))[0]["average_temperature"] == 29


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"x",
        b"\xff",
        b"[]",
        b"7",
        b"{}",
        b'{"id":"1"}',
        b'{"id":2}',
        b'{"id":1,"temperature":NaN}',
        b'{"id":1,"temperature":1e999}',
    ],
)
def test_unusable_readings_are_rejected(payload: bytes) -> None:
    controller = MovingAverage()
    with pytest.raises(Rejected):
        controller.on_message(Message(topic="machines/1/reading", payload=payload), 0.0)
    assert payloads(controller.on_message(reading(1), 0.0))[0]["average_temperature"] == 21


def test_another_length_and_other_fields() -> None:
    controller = MovingAverage(2, (Field("temperature", "average_temperature"), Field("pressure", "average_pressure")))
    for n in range(3):
        found = controller.on_message(reading(n, pressure=n), 0.0)
    assert payloads(found) == [{"average_temperature": 21.5, "average_speed": None, "average_pressure": 1.5, "status": "IDLE"}]


def test_settings() -> None:
    made = build(Settings.load({"SCAUP_AVERAGE_WINDOW": "2", "SCAUP_AVERAGE_FIELDS": "fan_speed"}))
    for n in range(3):
        found = made.on_message(reading(n), 0.0)
    assert payloads(found) == [{"average_temperature": None, "average_speed": 801.5, "status": "IDLE"}]


def test_machines_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(component, "MOST_MACHINES", 2)
    controller = MovingAverage()
    for machine in (1, 2, 1):
        controller.on_message(reading(1, machine), 0.0)
    with pytest.raises(Rejected, match="there are 2 machines already"):
        controller.on_message(reading(1, 3), 0.0)


def test_ten_thousand_machines() -> None:
    controller = MovingAverage()
    began_s = time.process_time()
    for n in range(3):
        for machine in range(10_000):
            (found,) = controller.on_message(reading(n, machine), 0.0)
    assert payloads([found]) == [{"average_temperature": 21.0, "average_speed": 801.0, "status": "IDLE"}]
    assert time.process_time() - began_s < 20


def test_without_a_recorder_nothing_waits() -> None:
    controller = MovingAverage()
    assert controller.on_message(recorder("offline"), 0.0) == []
    assert len(controller.on_message(reading(1), 0.0)) == 1
    assert controller.on_tick(100.0) == []


def test_it_continues_with_recorded_readings() -> None:
    controller = MovingAverage()
    (query,) = controller.on_message(recorder(), 0.0)
    assert (query.topic, query.response_topic) == ("storage/query", ANSWER)
    assert controller.on_message(reading(6), 0.5) == [], "no average is published before the recorded readings arrive"
    assert controller.on_message(rows(query, recorded(1, 2, 3, 4, 5), recorded(1, 2, machine=2)), 0.6) == []
    assert payloads(controller.on_message(end(query), 0.7)) == [
        {"average_temperature": 24.0, "average_speed": 804.0, "status": "IDLE"}
    ]
    assert payloads(controller.on_message(reading(3, 2), 0.8))[0]["average_temperature"] == 22
    assert controller.on_message(recorder(), 5.0) == [], "it has answered"


def test_an_average_names_its_readings_latest_first() -> None:
    """The query stands for those that the recorder returned: it has no longer their stamps."""
    average = MovingAverage(length=3)
    (query,) = average.on_message(recorder(), 0.0)
    average.on_message(rows(query, recorded(1, 2, 3)), 0.0)
    average.on_message(end(query), 0.0)
    named = []
    for n in range(4, 7):
        stamped = dataclasses.replace(reading(n), stamp=Stamp("sim-machines", "b", n))
        named += [each.causes for each in average.on_message(stamped, float(n))]
    latest = ("sim-machines/b/6", "sim-machines/b/5", "sim-machines/b/4")
    assert named == [(*latest[2:], "storage/query"), (*latest[1:], "storage/query"), latest]


def test_simulated_history_is_no_part_of_a_window() -> None:
    (query,) = MovingAverage().on_message(recorder(), 0.0)
    assert "NOT coalesce(starts_with(boot, 'history-'), false)" in orjson.loads(query.payload)["sql"]


def test_averages_wait_briefly_and_are_corrected() -> None:
    controller = MovingAverage(time_scale=60)
    (query,) = controller.on_message(recorder(), 0.0)
    controller.on_message(reading(6), 1.0)
    assert controller.on_tick(HOLD_S * 60 - 1) == []
    assert payloads(controller.on_tick(HOLD_S * 60))[0]["average_temperature"] == 26
    corrected = controller.on_message(rows(query, recorded(2, 3, 4, 5)), HOLD_S * 60 + 1)
    assert payloads(corrected)[0]["average_temperature"] == 24
    assert controller.on_message(rows(query, recorded(2, 3, 4, 5), part=2), HOLD_S * 60 + 1) == [], "nothing new"


def test_the_query_is_repeated_without_an_answer() -> None:
    controller = MovingAverage()
    queries = controller.on_message(recorder(), 0.0)
    now_s = 0.0
    for _ in range(len(PERIODS) + 2):
        now_s += PATIENCE_S
        queries += controller.on_tick(now_s)
    assert len(queries) == len({each.correlation_data for each in queries}) == len(PERIODS)
    assert [period in each.payload.decode() for period, each in zip(PERIODS, queries, strict=True)] == [True] * 3
    assert controller.on_message(rows(queries[0], recorded(1)), now_s) == [], "too late"
    assert len(controller.on_message(recorder(), now_s)) == 1, "a restarted recorder is queried again"


def test_the_query_is_repeated_after_an_error() -> None:
    controller = MovingAverage()
    (query,) = controller.on_message(recorder(), 0.0)
    controller.on_message(end(query, {"kind": "failed", "message": "no"}, parts=0), 1.0)
    assert controller.on_tick(PAUSE_S) == []
    assert len(controller.on_tick(1 + PAUSE_S)) == 1


@pytest.mark.parametrize("what", ["part lost", "parts lost", "truncated"])
def test_incomplete_answer_is_requested_again(what: str) -> None:
    controller = MovingAverage()
    (query,) = controller.on_message(recorder(), 0.0)
    last = {
        "part lost": rows(query, recorded(1), part=2),
        "parts lost": end(query, parts=1),
        "truncated": end(query, parts=0, truncated=True),
    }
    assert controller.on_message(last[what], 1.0) == []
    (repeated,) = controller.on_tick(1 + PAUSE_S)
    assert controller.on_message(rows(query, recorded(9)), 7.0) == [], "the first answer is given up"
    controller.on_message(rows(repeated, recorded(1)), 7.0)
    controller.on_message(end(repeated), 7.0)
    assert payloads(controller.on_message(reading(2), 8.0))[0]["average_temperature"] == 21.5
    assert controller.on_tick(1_000.0) == []


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"topic": "x", "payloads": []},
        {"topic": "machines/1/reading", "payloads": None},
        {"topic": "machines/1/reading", "payloads": ["", "x", "[]", "{}", '{"id":2}', None, 7]},
    ],
)
def test_unusable_rows_are_left_out(row: Any) -> None:
    controller = MovingAverage()
    (query,) = controller.on_message(recorder(), 0.0)
    assert controller.on_message(rows(query, row), 0.0) == []


@pytest.mark.parametrize("payload", [b"", b"x", b"7", b"{}"])
def test_an_invalid_answer_is_rejected(payload: bytes) -> None:
    controller = MovingAverage()
    (query,) = controller.on_message(recorder(), 0.0)
    with pytest.raises(Rejected):
        controller.on_message(Message(topic=ANSWER, payload=payload, correlation_data=query.correlation_data), 0.0)


@pytest.mark.parametrize("row", [None, 7])
def test_part_without_rows_is_rejected(row: Any) -> None:
    controller = MovingAverage()
    (query,) = controller.on_message(recorder(), 0.0)
    with pytest.raises(Rejected):
        controller.on_message(rows(query, row), 0.0)
    assert len(controller.on_tick(PAUSE_S)) == 1


def test_other_topics_are_rejected() -> None:
    assert DECLARATION.subscribes_also == (ANSWER, "components/recorder/state")
    with pytest.raises(Rejected):
        MovingAverage().on_message(Message(topic="storage/answer/other", payload=b"[]"), 0.0)


@given(st.text(max_size=20), st.binary(max_size=60))
def test_any_message_is_used_or_rejected(topic: str, payload: bytes) -> None:
    controller = MovingAverage()
    for each in (topic, "machines/1/reading", ANSWER, "components/recorder/state"):
        try:
            controller.on_message(Message(topic=each, payload=payload), 0.0)
        except Rejected:
            continue


def test_a_forgotten_machine_begins_with_a_new_window() -> None:
    controller = MovingAverage()
    for n in (10.0, 20.0):
        controller.on_message(reading(n), 0.0)
    (removed,) = controller.on_message(Message(topic="components/forget", payload=b'{"kind":"machine","name":"1"}'), 0.0)
    assert (removed.topic, removed.payload, removed.retain) == ("machines/1/average", b"", True)
    assert payloads(controller.on_message(reading(30.0), 0.0)) == payloads(MovingAverage().on_message(reading(30.0), 0.0))


def test_invented_machines_are_admitted_slowly() -> None:
    controller, refused = MovingAverage(), 0
    for machine in range(20_000):
        try:
            controller.on_message(reading(1.0, machine), 0.0)
        except Rejected:
            refused += 1
    assert refused == 20_000 - component.MOST_NEW_MACHINES
    assert controller.on_message(reading(2.0, 1), 0.0)
