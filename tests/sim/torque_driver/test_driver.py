import json
import statistics
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.torque_driver.driver import LATE_S, Behaviour, Driver, Fault

SET_19 = b'{"type":"setTorque","data":{"direction":"forward","value":19}}'
SET_12 = b'{"type":"setTorque","data":{"direction":"forward","value":12.10}}'
REVERSE = b'{"type":"setTorque","data":{"direction":"reverse"}}'
REVERSED = '{"type":"operation","data":{"direction":"reverse","configuredValue":0,"currentValue":0}}'
LATEST_S = 1.5 * 1.3


def driver(*faults: Fault, seed: str = "1", out_of_range: float = 0.0, share: float = 1.0) -> Driver:
    return Driver(Behaviour(out_of_range=out_of_range, faults=dict.fromkeys(faults, share)), seed)


def after(sim: Driver, frame: bytes, now_s: float = 0.0, until_s: float = LATEST_S) -> list[str | None]:
    sim.receive(frame, now_s)
    return sim.take_due(now_s + until_s)


def data(frame: str | None) -> Any:
    assert frame is not None
    message = orjson.loads(frame)
    assert message["type"] == "operation"
    return message["data"]


def test_one_operation_after_a_plausible_delay() -> None:
    sim = driver()
    sim.receive(SET_19, 100.0)
    due_s = sim.next_due_s
    assert due_s is not None
    assert 100 + 1.5 * 0.7 <= due_s <= 100 + 1.5 * 1.3
    assert sim.take_due(due_s - 0.001) == []
    (frame,) = sim.take_due(due_s)
    value = data(frame)["currentValue"]
    assert frame == f'{{"type":"operation","data":{{"direction":"forward","currentValue":{value},"configuredValue":19}}}}'
    assert sim.next_due_s is None


def test_a_decimal_torque_stays_decimal() -> None:
    (frame,) = after(driver(), SET_12)
    assert data(frame)["configuredValue"] == 12.1


def test_a_reverse_is_confirmed_exactly() -> None:
    assert after(driver(), REVERSE) == [REVERSED]


def test_torques_are_normal_within_three_percent() -> None:
    sim = driver()
    torques = [data(after(sim, SET_19, 10.0 * n)[0])["currentValue"] for n in range(2000)]
    assert all(19 * 0.97 <= each <= 19 * 1.03 for each in torques)
    assert all(round(each, 3) == each for each in torques)
    assert statistics.stdev(torques) == pytest.approx(0.19, rel=0.1)


def test_out_of_range_torques_are_five_to_fifteen_percent_off() -> None:
    sim = driver(out_of_range=0.25)
    off = [abs(data(after(sim, SET_19, 10.0 * n)[0])["currentValue"] / 19 - 1) for n in range(1000)]
    wrong = [each for each in off if each > 0.03 + 1e-4]
    assert all(0.05 - 1e-4 <= each <= 0.15 + 1e-4 for each in wrong)
    assert len(wrong) / 1000 == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize("faults", [(), tuple(Fault)])
def test_the_same_seed_is_the_same_driver(faults: tuple[Fault, ...]) -> None:
    def story(seed: str) -> list[str | None]:
        sim = driver(*faults, seed=seed, out_of_range=0.1, share=0.3)
        return [frame for n in range(50) for frame in after(sim, SET_19, 10.0 * n, 10.0)]

    assert story("a") == story("a") != story("b")


def test_a_new_set_replaces_the_pending_one() -> None:
    sim = driver()
    sim.receive(SET_19, 0.0)
    (frame,) = after(sim, SET_12, 0.5, 10.0)
    assert data(frame)["configuredValue"] == 12.1


def test_reset_clears_what_is_pending() -> None:
    sim = driver()
    sim.receive(SET_19, 0.0)
    assert after(sim, b'{"type":"reset"}', 0.5, 10.0) == []
    assert sim.next_due_s is None


def test_status_is_answered_at_once() -> None:
    sim = driver()
    sim.receive(SET_19, 0.0)
    (frame,) = after(sim, b'{"type":"status"}', 0.1, 0.0)
    assert frame == '{"type":"status","data":{"state":"ready","configuredValue":19}}'


def test_duplicate_sends_the_operation_twice() -> None:
    first, second = after(driver(Fault.DUPLICATE), SET_19)
    assert first == second
    assert data(first)["configuredValue"] == 19


def test_late_comes_even_after_the_next_set() -> None:
    sim = driver(Fault.LATE)
    assert after(sim, SET_19) == []
    sim.receive(SET_12, 2.0)
    frames = sim.take_due(LATEST_S + LATE_S)
    assert data(frames[0])["configuredValue"] == 19
    assert data(sim.take_due(2.0 + LATEST_S + LATE_S)[-1])["configuredValue"] == 12.1


def test_silent_sends_no_operation() -> None:
    assert after(driver(Fault.SILENT), SET_19, until_s=1e9) == []
    assert after(driver(Fault.SILENT), REVERSE, until_s=1e9) == []


def test_stray_comes_first() -> None:
    stray, operation = after(driver(Fault.STRAY), SET_19)
    assert data(stray)["configuredValue"] > 19
    assert data(operation)["configuredValue"] == 19


def test_reverse_comes_first() -> None:
    loosened, operation = after(driver(Fault.REVERSE), SET_19)
    assert loosened == REVERSED
    assert data(operation)["configuredValue"] == 19


def test_garbage_is_not_json() -> None:
    for seed in range(50):
        garbage, operation = after(driver(Fault.GARBAGE, seed=str(seed)), SET_19)
        assert garbage
        with pytest.raises(ValueError, match=r"."):
            orjson.loads(garbage)
        assert data(operation)["configuredValue"] == 19


def test_unknown_is_json_of_another_type() -> None:
    unknown, operation = after(driver(Fault.UNKNOWN), SET_19)
    assert unknown
    assert orjson.loads(unknown)["type"] == "battery"
    assert data(operation)["configuredValue"] == 19


def test_disconnect_instead_of_an_answer() -> None:
    assert after(driver(Fault.DISCONNECT), SET_19) == [None]


def test_a_fault_occurs_with_its_share() -> None:
    sim = driver(Fault.SILENT, share=0.3)
    answered = sum(len(after(sim, SET_19, 10.0 * n)) for n in range(1000))
    assert answered == pytest.approx(700, abs=50)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"{",
        b"\xff",
        b'"reset"',
        b"[]",
        b"{}",
        b'{"type":"jump"}',
        b'{"type":"setTorque"}',
        b'{"type":"setTorque","data":{"direction":"forward"}}',
        b'{"type":"setTorque","data":{"direction":"forward","value":"12"}}',
        b'{"type":"setTorque","data":{"direction":"forward","value":true}}',
        b'{"type":"setTorque","data":{"direction":"forward","value":0}}',
        b'{"type":"setTorque","data":{"direction":"forward","value":1e300}}',
        b'{"type":"setTorque","data":{"direction":"up","value":1}}',
    ],
)
def test_bad_frames_are_answered_with_an_error(frame: bytes) -> None:
    sim = driver()
    sim.receive(SET_19, 0.0)
    (answer,) = after(sim, frame, 0.1, 0.0)
    assert answer
    assert orjson.loads(answer)["type"] == "error"
    assert data(sim.take_due(LATEST_S)[0])["configuredValue"] == 19  # the operation under way is finished


KEYS = st.sampled_from(["type", "data", "direction", "value"])
WORDS = st.sampled_from(["setTorque", "reset", "status", "forward", "reverse"])
SCALARS = st.none() | st.booleans() | st.floats() | st.integers() | st.text() | WORDS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner))
NEARLY = st.builds(
    lambda kind, direction, value: {"type": kind, "data": {"direction": direction, "value": value}}, WORDS, WORDS, VALUES
)


@given(st.lists(st.binary() | (VALUES | NEARLY).map(lambda value: json.dumps(value).encode())))
def test_no_bytes_crash_it(frames: list[bytes]) -> None:
    sim = driver(*Fault, share=0.5)
    for number, frame in enumerate(frames):
        for sent in after(sim, frame, float(number)):
            assert sent is None or isinstance(sent, str)
