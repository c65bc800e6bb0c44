import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import InvalidSetting, Rejected
from controllers.moving_average.reading import DEFAULT_FIELDS, Field, Reading, check_reading, number, read, read_fields, taken_s
from controllers.moving_average.window import AGREEING, SET_BACK_S, Window


def at(taken: float | None, value: float | None = 0.0, status: str | None = "IDLE") -> Reading:
    return Reading(taken, (value, value), status)


def window(*readings: Reading, length: int = 5) -> Window:
    filled = Window(length)
    for reading in readings:
        filled.add(reading)
    return filled


def times(found: Window) -> list[float | None]:
    return [reading.taken_s for reading in found.readings]


@pytest.mark.parametrize("count", range(1, 9))
def test_the_window_is_partial_until_five_readings(count: int) -> None:
    found = window(*(at(n, n) for n in range(count))).average()
    kept = range(max(0, count - 5), count)
    assert found.readings == len(kept)
    assert found.means == (sum(kept) / len(kept),) * 2


def test_the_status_is_the_latest_one() -> None:
    assert window(at(2, status="ERROR"), at(1, status="IDLE")).average().status == "ERROR"
    assert window(at(1), at(2, status=None)).average().status is None


def test_missing_values_are_left_out_and_counted() -> None:
    readings = [Reading(n, (float(n), None if n % 2 else 100.0 * n), "IDLE") for n in range(5)]
    found = window(*readings).average()
    assert (found.means, found.left_out) == ((2.0, 200.0), (0, 2))
    assert found.payload(DEFAULT_FIELDS) == {
        "average_temperature": 2.0,
        "average_speed": 200.0,
        "status": "IDLE",
        "left_out": {"fan_speed": 2},
    }


def test_a_window_of_gaps_has_no_average() -> None:
    found = window(at(1, None)).average()
    assert found.payload(DEFAULT_FIELDS)["average_temperature"] is None


def test_the_average_of_the_contract_is_exact() -> None:
    readings = [Reading(n, (20.18 + 0.01 * step, 899.64), "IDLE") for n, step in enumerate((-2, -1, 0, 1, 2))]
    readings = [Reading(each.taken_s, (round(each.values[0] or 0, 2), each.values[1]), "IDLE") for each in readings]
    assert window(*readings).average().payload(DEFAULT_FIELDS) == {
        "average_temperature": 20.18,
        "average_speed": 899.64,
        "status": "IDLE",
    }


def test_an_average_has_no_digits_of_binary_fractions() -> None:
    readings = [Reading(n, (value, value / 3), None) for n, value in enumerate((29.11, 29.9, 28.4, 30.2, 30.68))]
    payload = window(*readings).average().payload(DEFAULT_FIELDS)
    assert (payload["average_temperature"], payload["average_speed"]) == (29.658, 9.886)


@given(st.data())
def test_order_and_repetition_do_not_matter(data: st.DataObject) -> None:
    stamps = data.draw(st.lists(st.integers(0, 3600), unique=True, min_size=1, max_size=12))
    readings = [at(stamp, stamp * 0.1, str(stamp)) for stamp in stamps]
    arrivals = data.draw(st.permutations(readings + data.draw(st.lists(st.sampled_from(readings), max_size=6))))
    found = window(*arrivals)
    latest = sorted(stamps)[-5:]
    assert times(found) == latest
    average = found.average()
    assert average.means[0] == pytest.approx(sum(stamp * 0.1 for stamp in latest) / len(latest))
    assert average.status == str(latest[-1])


def test_a_corrected_reading_replaces_the_earlier_one() -> None:
    found = window(at(1, 10), at(2, 20))
    assert not found.add(at(1, 10))
    assert found.add(at(1, 30))
    assert found.average().means[0] == 25


def test_without_timestamp_the_order_of_arrival_counts() -> None:
    found = window(*(at(None, n) for n in range(7)))
    assert found.average().means[0] == 4
    mixed = window(at(100, 1), at(None, 2), at(110, 3), at(105, 4))
    assert [reading.values[0] for reading in mixed.readings] == [1, 2, 4, 3]


def test_a_clock_that_is_set_back_is_detected() -> None:
    found = window(*(at(100_000 + n, 1) for n in range(5)))
    for n in range(AGREEING - 1):
        assert not found.add(at(n, 2)), "it may be late"
    assert found.add(at(AGREEING, 2))
    assert times(found) == [0, 1, 2, 3, 5]
    assert found.average().means[0] == 2


def test_one_wild_timestamp_is_dropped() -> None:
    found = window(*(at(n, 1) for n in range(4)), at(1e9, 50))
    for n in range(4, 4 + AGREEING):
        found.add(at(n, 1))
    assert times(found) == [4, 5, 6, 7, 8]


@pytest.mark.parametrize(("behind_s", "noticed"), [(SET_BACK_S, False), (SET_BACK_S + 0.1, True)])
def test_up_to_an_hour_is_late(behind_s: float, noticed: bool) -> None:
    found = window(*(at(10_000 + n) for n in range(5)), *(at(1 + n) for n in range(AGREEING - 1)))
    found.add(at(10_004 - behind_s))
    assert (max(each or 0 for each in times(found)) < 10_000) is noticed


@pytest.mark.parametrize("between", [at(10_006), at(5), at(-1)])
def test_late_readings_that_do_not_agree_are_late(between: Reading) -> None:
    found = window(*(at(10_000 + n) for n in range(5)))
    for reading in (*(at(n) for n in (2, 3, 4, 6)), between, at(7)):
        found.add(reading)
    assert all((each or 0) >= 10_000 for each in times(found))


def test_a_repeated_late_reading_does_not_agree_with_itself() -> None:
    found = window(*(at(10_000 + n) for n in range(5)))
    for _ in range(3 * AGREEING):
        found.add(at(7))
    assert times(found) == [10_000 + n for n in range(5)]


def test_a_clock_that_is_set_forward_is_followed() -> None:
    found = window(*(at(n) for n in range(5)), *(at(1e6 + n) for n in range(5)))
    assert times(found) == [1e6 + n for n in range(5)]


def test_recorded_readings_fill_the_window() -> None:
    found = window(at(10), at(11))
    assert found.add_recorded([at(n) for n in (6, 7, 8, 9, 10)])
    assert times(found) == [7, 8, 9, 10, 11]
    assert not found.add_recorded([at(n) for n in (6, 7, 8, 9, 10)])


def test_recorded_readings_of_a_clock_ahead_are_left_out() -> None:
    later = window(at(10))
    later.add_recorded([at(n) for n in (8, 9, 500, 501)])
    assert times(later) == [8, 9, 10]
    before = Window(5)
    before.add_recorded([at(n) for n in (8, 9, 500, 501)])
    before.add(at(10))
    assert times(before) == [8, 9, 10]
    before.add(at(9.5))
    assert times(before) == [8, 9, 9.5, 10]


def test_recorded_readings_without_timestamp_come_first() -> None:
    found = window(at(None, 8), at(None, 9))
    found.add_recorded([at(None, n) for n in (1, 2, 3, 4, 5)])
    assert [reading.values[0] for reading in found.readings] == [3, 4, 5, 8, 9]


@given(st.lists(st.tuples(st.none() | st.floats(-1e12, 1e12), st.none() | st.floats(allow_nan=False, allow_infinity=False))))
def test_any_reading_is_handled(readings: list[tuple[float | None, float | None]]) -> None:
    found = Window(3)
    for taken, value in readings:
        found.add(at(taken, value))
        assert 1 <= len(found.readings) <= 3
        mean = found.average().means[0]
        assert mean is None or math.isfinite(mean)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        (-2.5, -2.5),
        (0, 0.0),
        ("30.21", None),
        (True, None),
        (None, None),
        ([1], None),
        (math.inf, None),
        (10**400, None),
    ],
)
def test_number(value: Any, expected: float | None) -> None:
    assert number(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1970-01-01T00:00:10+00:00", 10.0),
        ("1970-01-01T00:00:10Z", 10.0),
        ("1970-01-01T01:00:10+01:00", 10.0),
        ("1970-01-01T00:00:10", 10.0),
        ("0001-01-01T00:00:00+10:00", -62_135_632_800.0),
        ("soon", None),
        ("", None),
        (7, None),
        (None, None),
    ],
)
def test_taken_s(value: Any, expected: float | None) -> None:
    assert taken_s(value) == expected


@pytest.mark.parametrize("payload", [None, [], 7, "x", {}, {"id": "1"}, {"id": None}, {"id": 1.5}])
def test_a_reading_names_its_machine(payload: Any) -> None:
    with pytest.raises(Rejected):
        check_reading(payload)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.sampled_from(["temperature", "fan_speed", "status", "timestamp", "x"]), json_values))
def test_any_json_can_be_read(payload: dict[str, Any]) -> None:
    found = read({"id": 1, **payload}, DEFAULT_FIELDS)
    assert all(value is None or math.isfinite(value) for value in found.values)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("temperature,fan_speed", DEFAULT_FIELDS),
        (" temperature = average_temperature , fan_speed=average_speed,", DEFAULT_FIELDS),
        ("pressure", (Field("pressure", "average_pressure"),)),
        ("oil-level=oil", (Field("oil-level", "oil"),)),
    ],
)
def test_fields_are_configurable(text: str, fields: tuple[Field, ...]) -> None:
    assert read_fields("SCAUP_AVERAGE_FIELDS", text) == fields


@pytest.mark.parametrize("text", ["", ",", "a,a", "a=k,b=k", "=k", "a=", "a=status", "a=left_out", "a b", "oil-level"])
def test_wrong_fields_name_the_variable(text: str) -> None:
    with pytest.raises(InvalidSetting, match="SCAUP_AVERAGE_FIELDS"):
        read_fields("SCAUP_AVERAGE_FIELDS", text)
