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


def said(publications: list[Publication]) -> list[Any]:
    return [orjson.loads(each.payload) for each in publications]


def recorder(state: str = "online") -> Message:
    payload = orjson.dumps({"state": state, "boot": "b", "version": "1"})
    return Message(topic="components/recorder/state", payload=payload, retain=True)


def reply(question: Publication, content: Any, *properties: tuple[str, str]) -> Message:
    payload = orjson.dumps(content)
    return Message(topic=ANSWER, payload=payload, correlation_data=question.correlation_data, properties=properties)


def rows(question: Publication, *found: dict[str, Any], part: int = 1) -> Message:
    return reply(question, list(found), ("part", str(part)))


def end(question: Publication, error: dict[str, str] | None = None, parts: int = 1, truncated: bool = False) -> Message:
    content = {"rows": 1, "chunks": parts, "elapsed_s": 0.1, "columns": [], "truncated": truncated, "error": error}
    return reply(question, content, ("final", "true"), ("parts", str(parts)))


def recorded(*numbers: int, machine: int = 1) -> dict[str, Any]:
    payloads = [reading(n, machine).payload.decode() for n in numbers]
    return {"topic": f"machines/{machine}/reading", "payloads": payloads}


def test_an_average_after_every_reading_retained() -> None:
    controller = MovingAverage()
    for count in range(1, 8):
        (publication,) = controller.on_message(reading(count), float(count))
        kept = range(max(1, count - 4), count + 1)
        mean = sum(kept) / len(kept)
        assert said([publication]) == [{"average_temperature": 20 + mean, "average_speed": 800 + mean, "status": "IDLE"}]
        assert (publication.topic, publication.retain, publication.plant) == ("machines/1/average", True, True)
    (again,) = controller.on_message(reading(7), 8.0)
    assert again.payload == publication.payload, "delivered twice, counted once"


def test_what_is_no_number_is_left_out() -> None:
    controller = MovingAverage()
    controller.on_message(reading(1), 0.0)
    controller.on_message(reading(2, temperature="22.0"), 0.0)
    found = controller.on_message(reading(3, temperature=..., status="ERROR"), 0.0)
    assert said(found) == [
        {"average_temperature": 21.0, "average_speed": 802.0, "status": "ERROR", "left_out": {"temperature": 2}}
    ]
    assert decode(found[0].payload, MachineAverage).left_out == {"temperature": 2}


def test_machines_do_not_mix() -> None:
    controller = MovingAverage()
    controller.on_message(reading(1, 1), 0.0)
    assert said(controller.on_message(reading(9, 2), 0.0))[0]["average_temperature"] == 29


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
def test_what_cannot_be_used_is_rejected(payload: bytes) -> None:
    controller = MovingAverage()
    with pytest.raises(Rejected):
        controller.on_message(Message(topic="machines/1/reading", payload=payload), 0.0)
    assert said(controller.on_message(reading(1), 0.0))[0]["average_temperature"] == 21


def test_another_length_and_other_fields() -> None:
    controller = MovingAverage(2, (Field("temperature", "average_temperature"), Field("pressure", "average_pressure")))
    for n in range(3):
        found = controller.on_message(reading(n, pressure=n), 0.0)
    assert said(found) == [{"average_temperature": 21.5, "average_speed": None, "average_pressure": 1.5, "status": "IDLE"}]


def test_settings() -> None:
    made = build(Settings.load({"SCAUP_AVERAGE_WINDOW": "2", "SCAUP_AVERAGE_FIELDS": "fan_speed"}))
    for n in range(3):
        found = made.on_message(reading(n), 0.0)
    assert said(found) == [{"average_temperature": None, "average_speed": 801.5, "status": "IDLE"}]


def test_machines_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(component, "MOST_MACHINES", 2)
    controller = MovingAverage()
    for machine in (1, 2, 1):
        controller.on_message(reading(1, machine), 0.0)
    with pytest.raises(Rejected, match="no place for more than 2 machines"):
        controller.on_message(reading(1, 3), 0.0)


def test_ten_thousand_machines() -> None:
    controller = MovingAverage()
    began_s = time.process_time()
    for n in range(3):
        for machine in range(10_000):
            (found,) = controller.on_message(reading(n, machine), 0.0)
    assert said([found]) == [{"average_temperature": 21.0, "average_speed": 801.0, "status": "IDLE"}]
    assert time.process_time() - began_s < 20


def test_without_a_recorder_nothing_is_asked_and_nothing_waits() -> None:
    controller = MovingAverage()
    assert controller.on_message(recorder("offline"), 0.0) == []
    assert len(controller.on_message(reading(1), 0.0)) == 1
    assert controller.on_tick(100.0) == []


def test_it_goes_on_with_what_was_recorded() -> None:
    controller = MovingAverage()
    (question,) = controller.on_message(recorder(), 0.0)
    assert (question.topic, question.response_topic) == ("storage/query", ANSWER)
    assert controller.on_message(reading(6), 0.5) == [], "the window is not begun anew where it goes on in a moment"
    assert controller.on_message(rows(question, recorded(1, 2, 3, 4, 5), recorded(1, 2, machine=2)), 0.6) == []
    assert said(controller.on_message(end(question), 0.7)) == [
        {"average_temperature": 24.0, "average_speed": 804.0, "status": "IDLE"}
    ]
    assert said(controller.on_message(reading(3, 2), 0.8))[0]["average_temperature"] == 22
    assert controller.on_message(recorder(), 5.0) == [], "it has answered"


def test_averages_wait_for_a_moment_only_and_are_corrected() -> None:
    controller = MovingAverage(time_scale=60)
    (question,) = controller.on_message(recorder(), 0.0)
    controller.on_message(reading(6), 1.0)
    assert controller.on_tick(HOLD_S * 60 - 1) == []
    assert said(controller.on_tick(HOLD_S * 60))[0]["average_temperature"] == 26
    corrected = controller.on_message(rows(question, recorded(2, 3, 4, 5)), HOLD_S * 60 + 1)
    assert said(corrected)[0]["average_temperature"] == 24
    assert controller.on_message(rows(question, recorded(2, 3, 4, 5), part=2), HOLD_S * 60 + 1) == [], "nothing new"


def test_it_asks_again_while_there_is_no_answer() -> None:
    controller = MovingAverage()
    questions = controller.on_message(recorder(), 0.0)
    now_s = 0.0
    for _ in range(len(PERIODS) + 2):
        now_s += PATIENCE_S
        questions += controller.on_tick(now_s)
    assert len(questions) == len({each.correlation_data for each in questions}) == len(PERIODS)
    assert [period in each.payload.decode() for period, each in zip(PERIODS, questions, strict=True)] == [True] * 3
    assert controller.on_message(rows(questions[0], recorded(1)), now_s) == [], "too late"
    assert len(controller.on_message(recorder(), now_s)) == 1, "another recorder is asked anew"


def test_an_error_is_asked_again() -> None:
    controller = MovingAverage()
    (question,) = controller.on_message(recorder(), 0.0)
    controller.on_message(end(question, {"kind": "failed", "message": "no"}, parts=0), 1.0)
    assert controller.on_tick(PAUSE_S) == []
    assert len(controller.on_tick(1 + PAUSE_S)) == 1


@pytest.mark.parametrize("what", ["part lost", "parts lost", "truncated"])
def test_incomplete_answer_is_requested_again(what: str) -> None:
    controller = MovingAverage()
    (question,) = controller.on_message(recorder(), 0.0)
    last = {
        "part lost": rows(question, recorded(1), part=2),
        "parts lost": end(question, parts=1),
        "truncated": end(question, parts=0, truncated=True),
    }
    assert controller.on_message(last[what], 1.0) == []
    (repeated,) = controller.on_tick(1 + PAUSE_S)
    assert controller.on_message(rows(question, recorded(9)), 7.0) == [], "the first answer is given up"
    controller.on_message(rows(repeated, recorded(1)), 7.0)
    controller.on_message(end(repeated), 7.0)
    assert said(controller.on_message(reading(2), 8.0))[0]["average_temperature"] == 21.5
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
def test_rows_that_cannot_be_used_are_left_out(row: Any) -> None:
    controller = MovingAverage()
    (question,) = controller.on_message(recorder(), 0.0)
    assert controller.on_message(rows(question, row), 0.0) == []


@pytest.mark.parametrize("payload", [b"", b"x", b"7", b"{}"])
def test_an_answer_that_is_none_is_rejected(payload: bytes) -> None:
    controller = MovingAverage()
    (question,) = controller.on_message(recorder(), 0.0)
    with pytest.raises(Rejected):
        controller.on_message(Message(topic=ANSWER, payload=payload, correlation_data=question.correlation_data), 0.0)


@pytest.mark.parametrize("row", [None, 7])
def test_part_without_rows_is_rejected(row: Any) -> None:
    controller = MovingAverage()
    (question,) = controller.on_message(recorder(), 0.0)
    with pytest.raises(Rejected):
        controller.on_message(rows(question, row), 0.0)
    assert len(controller.on_tick(PAUSE_S)) == 1


def test_it_hears_only_what_is_for_it() -> None:
    assert DECLARATION.subscribes_also == (ANSWER, "components/recorder/state")
    with pytest.raises(Rejected):
        MovingAverage().on_message(Message(topic="storage/answer/somebody", payload=b"[]"), 0.0)


@given(st.text(max_size=20), st.binary(max_size=60))
def test_no_message_crashes_it(topic: str, payload: bytes) -> None:
    controller = MovingAverage()
    for each in (topic, "machines/1/reading", ANSWER, "components/recorder/state"):
        try:
            controller.on_message(Message(topic=each, payload=payload), 0.0)
        except Rejected:
            continue
