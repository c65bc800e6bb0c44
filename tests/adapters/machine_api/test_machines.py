import json

import pytest

from adapters.machine_api.machines import LARGEST_BYTES, MAX_LATE, Machines
from broker.errors import Rejected
from broker.message import Message
from tests.adapters.machine_api.world import AVERAGE, READING, average, compact, raw_reading, reading

WITHOUT = b'"average_temperature":null,"average_speed":null}'
WITH = b'"average_temperature":20.18,"average_speed":899.64}'
FULL = compact(READING)[:-1] + b","


def taken(*messages: Message) -> Machines:
    machines = Machines()
    for each in messages:
        (machines.on_average if each.topic.endswith("average") else machines.on_reading)(each)
    return machines


def shown(machines: Machines, number: int = 1) -> dict[str, object]:
    answer = machines.answer(number)
    assert answer is not None
    return dict(json.loads(answer))


def test_answer_is_the_reading_followed_by_the_averages() -> None:
    assert taken(reading()).answer(1) == FULL + WITHOUT
    assert taken(reading(), average()).answer(1) == FULL + WITH
    assert taken(average(), reading()).answer(1) == FULL + WITH


def test_values_are_unchanged_and_in_contract_order() -> None:
    odd = b' {"timestamp" : null, "extra":1, "temperature":30.10 , "id":1,"fan_speed":"8e2","name":{"a": [1, 2]}}'
    expected = b'{"id":1,"name":{"a": [1, 2]},"temperature":30.10,"fan_speed":"8e2","timestamp":null,' + WITHOUT
    assert taken(raw_reading(odd)).answer(1) == expected
    assert taken(raw_reading(b'{"id":1}')).answer(1) == b'{"id":1,' + WITHOUT


def test_unknown_averages_are_null() -> None:
    machines = taken(reading(), average(b'{"average_temperature":null,"average_speed":1.0,"status":null,"left_out":{"a":1}}'))
    assert machines.answer(1) == FULL + b'"average_temperature":null,"average_speed":1.0}'


def test_removed_averages_are_null_again() -> None:
    assert taken(reading(), average(), average(b"")).answer(1) == FULL + WITHOUT
    assert 1 not in taken(average(b""))


def test_machine_with_averages_only_is_known_without_an_answer() -> None:
    machines = taken(average())
    assert 1 in machines
    assert machines.answer(1) is None
    assert 2 not in machines
    assert machines.answer(2) is None


def test_machines_are_kept_apart() -> None:
    machines = taken(reading(1), reading(7, status="IDLE"), reading(-7, status="ERROR"))
    assert [shown(machines, number)["status"] for number in (1, 7, -7)] == ["COMPLETED", "IDLE", "ERROR"]


def at(second: int, zone: str = "Z") -> str:
    return f"2024-11-03T13:40:{second:02}{zone}"


@pytest.mark.parametrize(
    ("timestamps", "latest"),
    [
        ([at(10), at(20)], 1),
        ([at(20), at(10)], 0),
        ([at(20), at(20)], 1),
        ([at(20), "2024-11-03T14:40:30+01:00"], 1),
        ([at(20), "2024-11-03T14:40:10+01:00"], 0),
        ([at(20), None], 1),
        ([at(20), "yesterday"], 1),
        ([at(20), at(10, "")], 1),  # without an offset it is not an instant
        ([at(20), 5], 1),
        ([at(20), None, at(10)], 1),  # a reading without a time does not reset the clock
        ([None, at(10)], 1),
    ],
)
def test_latest_reading_has_the_latest_timestamp(timestamps: list[object], latest: int) -> None:
    machines = taken(*(reading(timestamp=each, temperature=number) for number, each in enumerate(timestamps)))
    assert shown(machines)["temperature"] == latest


def test_clock_that_was_set_back_is_accepted_after_a_while() -> None:
    messages = [reading(timestamp=at(50)), *(reading(timestamp=at(second), temperature=second) for second in range(MAX_LATE))]
    assert shown(taken(*messages[:MAX_LATE]))["temperature"] == 30.21
    machines = taken(*messages)
    assert shown(machines)["temperature"] == MAX_LATE - 1
    machines.on_reading(reading(timestamp=at(MAX_LATE), temperature=99))
    assert shown(machines)["temperature"] == 99


def test_single_late_readings_are_not_a_clock_set_back() -> None:
    messages = [
        each for second in range(10, 30) for each in (reading(timestamp=at(second)), reading(timestamp=at(5), name="late"))
    ]
    assert shown(taken(*messages))["name"] == "DELL G450"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"5",
        b'"x"',
        b"{}",
        b'{"id":"1"}',
        b'{"id":1.5}',
        b'{"id":true}',
        b'{"id":NaN}',
        b'{"id":1,"name":"\xff"}',
        b'{"id":1,"name":' + b"[" * 1000 + b"]" * 1000 + b"}",
        b'{"id":1,"name":"' + b"x" * LARGEST_BYTES + b'"}',
    ],
)
def test_invalid_reading_is_rejected_and_changes_nothing(payload: bytes) -> None:
    machines = taken(reading())
    with pytest.raises(Rejected):
        machines.on_reading(raw_reading(payload))
    assert machines.answer(1) == FULL + WITHOUT


@pytest.mark.parametrize(
    "payload",
    [b"{", b"null", b"{}", b'{"average_temperature":"x","average_speed":1,"status":null}', b" " * LARGEST_BYTES + b"1"],
)
def test_invalid_averages_are_rejected_and_change_nothing(payload: bytes) -> None:
    machines = taken(reading(), average())
    with pytest.raises(Rejected):
        machines.on_average(average(payload))
    assert machines.answer(1) == FULL + WITH


def test_reading_on_another_machines_topic_is_rejected() -> None:
    with pytest.raises(Rejected, match="a reading of machine 2 on the topic of machine 1"):
        taken(raw_reading(b'{"id":2}'))


@pytest.mark.parametrize("level", ["one", "01", "+1", "-0", "1.0", "١", "9" * 30, " 1"])
def test_topic_without_a_machine_is_rejected(level: str) -> None:
    for hear in (lambda: taken(raw_reading(b'{"id":1}', level)), lambda: taken(average(AVERAGE, level))):
        with pytest.raises(Rejected, match="names no machine"):
            hear()


def test_number_of_machines_is_limited() -> None:
    machines = Machines(max_machines=2)
    machines.on_reading(reading(1))
    machines.on_average(average(machine="2"))
    for refused in (lambda: machines.on_reading(reading(3)), lambda: machines.on_average(average(machine="3"))):
        with pytest.raises(Rejected, match="there are 2 machines already"):
            refused()
    machines.on_reading(reading(2, status="IDLE"))
    assert shown(machines, 2)["status"] == "IDLE"
