import contextlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import Rejected
from controllers.energy.post import microseconds, read_post, ship_id

MIDNIGHT_US = 1_535_068_800_000_000


def body(*values: Any, **changed: Any) -> bytes:
    data = [{"datetime": f"2018-08-24T{hour:02}:00:00Z", "value": value} for hour, value in enumerate(values)]
    return orjson.dumps({"spaceship_id": 1, "units": "kWh", "data": data, **changed})


def test_a_faultless_post() -> None:
    post = read_post(body(12, 26.5, -3))
    assert post.readings.value.tolist() == [12, 26.5, -3]
    assert ((post.readings.time_us - MIDNIGHT_US) // 3_600_000_000).tolist() == [0, 1, 2]
    assert post.skipped == ()
    assert read_post(body(1, units="kW", interval_minutes=5)).readings.given_us.tolist() == [300_000_000]


def test_non_numbers_are_skipped_and_named() -> None:
    texts = [b"null", b'""', b'"n/a"', b'"NaN"', b"true", b"1e999", b'"inf"', b"[]", b'"12.5"', b"7", b"1e13", b'" 3 "']
    rows = b",".join(b'{"datetime":"2018-08-24T%02d:00:00Z","value":%s}' % (n, text) for n, text in enumerate(texts))
    post = read_post(b'{"spaceship_id":1,"units":"kW","data":[' + rows + b"]}")
    assert [value for value in post.readings.value.tolist() if value == value] == [12.5, 7, 3]
    assert len(post.readings) == len(texts)
    assert [each.index for each in post.skipped] == [0, 1, 2, 3, 4, 5, 6, 7, 10]
    assert [each.reason.split(":")[0] for each in post.skipped] == [
        *("null", "empty", "not a number", "not a finite number", "not a number"),
        *("not a finite number", "not a finite number", "not a number", "larger than 1e+12"),
    ]


@pytest.mark.parametrize(
    ("text", "number"),
    [("12", 12), ("-0.5", -0.5), ("+3", 3), (".5", 0.5), ("5.", 5), ("1e3", 1000), ("2.5E-1", 0.25), (" 1\t", 1), ("007", 7)],
)
def test_decimal_numbers_as_text(text: str, number: float) -> None:
    post = read_post(body(text))
    assert (post.readings.value.tolist(), post.skipped) == ([number], ())


@pytest.mark.parametrize(
    "text",
    [
        "1_000", "1_0.0_1", "1e1_0", "١٢", "１２", "１.５", "\u22121", "\xa01", "0x10", "0b1", "1,5", "1 000", "12 kW", "1e",
        ".", "infinity", "-inf", "nan", "-NaN", " ",
    ],
)  # fmt: skip
def test_non_decimal_text_is_skipped_and_named(text: str) -> None:
    post = read_post(body(1, text))
    assert [each.index for each in post.skipped] == [1]
    assert post.skipped[0].reason.startswith("not a ")


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"units": "MW"}, "units: "),
        ({"units": None}, "units: "),
        ({"data": None}, "data: "),
        ({"data": {}}, "data: "),
        ({"data": [1]}, "data[0]: "),
        ({"data": [{"datetime": "2018-08-24T00:00:00Z"}]}, "data[0].value: is missing"),
        ({"data": [{"datetime": "2018-08-24T00:00:00Z", "value": 1}, {"value": 1}]}, "data[1].datetime: "),
        ({"data": [{"datetime": "yesterday", "value": 1}]}, "data[0].datetime: "),
        ({"data": [{"datetime": "2018-02-30T00:00:00Z", "value": 1}]}, "data[0].datetime: "),
        ({"data": [{"datetime": "2018-08-24T24:00:00Z", "value": 1}]}, "data[0].datetime: "),
        ({"data": [{"datetime": "2018-08-24", "value": 1}]}, "data[0].datetime: "),
        ({"data": [{"datetime": "", "value": 1}, {"datetime": "2018-08-24T00:00:00Z" * 2, "value": 1}]}, "data[0].datetime: "),
        ({"data": [{"datetime": 1535068800, "value": 1}]}, "data[0].datetime: "),
        ({"data": [{"datetime": "9999-12-31T23:59:59Z", "value": 1}]}, "data[0].datetime: "),
        ({"data": [{"datetime": f"{year}-01-01T00:00:00Z", "value": 1} for year in (2010, 2016)]}, "data: spans"),
        ({"spaceship_id": None}, "spaceship_id: "),
        ({"spaceship_id": True}, "spaceship_id: "),
        ({"spaceship_id": 1.5}, "spaceship_id: "),
        ({"spaceship_id": "a/b"}, "spaceship_id: "),
        ({"spaceship_id": "+"}, "spaceship_id: "),
        ({"spaceship_id": ""}, "spaceship_id: "),
        ({"spaceship_id": " 1"}, "spaceship_id: "),
        ({"spaceship_id": [1]}, "spaceship_id: "),
        ({"interval_minutes": 0}, "interval_minutes: "),
        ({"interval_minutes": 1441}, "interval_minutes: "),
        ({"interval_minutes": "60"}, "interval_minutes: "),
        ({"interval_minutes": True}, "interval_minutes: "),
        ({"register": 5}, "register: must be a text of at most 100 characters, not 5"),
        ({"register": ""}, "register: "),
        ({"register": "main", "units": "kW"}, 'units: must be "kWh"'),
        ({"register": "main", "interval_minutes": 5}, "interval_minutes: must be left out"),
        ({"register": "main", "falls": "up"}, "falls: "),
        ({"register": "main", "falls": []}, "falls: "),
        ({"falls": "reset"}, "falls: is for"),
    ],
)
def test_a_mistake_makes_the_post_invalid_and_is_named(changed: dict[str, Any], text: str) -> None:
    with pytest.raises(Rejected) as error:
        read_post(body(1, 2, **changed))
    assert str(error.value).startswith(text)


def test_the_values_of_a_register() -> None:
    post = read_post(body(1, 2, register="main", falls="swap"))
    assert (post.register, post.falls, post.readings.value.tolist()) == ("main", "swap", [1, 2])
    post = read_post(body(1, "n/a", register="main"))
    assert (post.register, post.falls, len(post.skipped)) == ("main", "ignore", 1)


def test_byte_order_mark_is_read_and_utf_16_is_named() -> None:
    marked = b"\xef\xbb\xbf" + body(1, 2)
    assert read_post(marked).ship == read_post(body(1, 2)).ship
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        with pytest.raises(Rejected, match="UTF-16"):
            read_post(body(1, 2).decode().encode(encoding))


@pytest.mark.parametrize("payload", [b"", b"[]", b"nonsense", b"\xff", b"{}", b'"text"', b"null", b'{"units":"kW"}'])
def test_other_payloads_are_rejected(payload: bytes) -> None:
    with pytest.raises(Rejected):
        read_post(payload)


@pytest.mark.parametrize(
    "text",
    [
        "2018-08-24T00:00:00Z", "2018-08-24T00-00-00Z", "2018-08-24T02:00:00+02:00", "2018-08-24T00:00:00.000Z",
        "2018-08-23T19:30:00-04:30", "2018-08-24T00:00:00", "2018-08-24 00:00:00Z", "2018-08-24T00:00Z", "20180824T000000Z",
        "2018-08-24T02-00-00+02:00",
    ],
)  # fmt: skip
def test_forms_of_a_time(text: str) -> None:
    assert microseconds(text) == MIDNIGHT_US
    rows = [{"datetime": text, "value": 1}, {"datetime": "2018-08-24T01:00:00Z", "value": 1}]
    assert read_post(body(data=rows)).readings.time_us[0] == MIDNIGHT_US


@given(st.datetimes())
def test_quick_and_careful_reading_agree(at: Any) -> None:
    text = at.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")
    rows = [{"datetime": text, "value": 1.0}]
    try:
        expected = microseconds(text)
    except ValueError:
        with pytest.raises(Rejected):
            read_post(body(data=rows))
    else:
        assert read_post(body(data=rows)).readings.time_us.tolist() == [expected]


KEYS = st.sampled_from(["datetime", "value", "units", "data", "spaceship_id"])
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=5)


@given(st.recursive(LEAVES, lambda each: st.lists(each) | st.dictionaries(KEYS, each), max_leaves=8))
def test_any_json_is_read_or_rejected(value: Any) -> None:
    for payload in (orjson.dumps(value), body(data=value)):
        with contextlib.suppress(Rejected):
            read_post(payload)


@pytest.mark.parametrize(
    ("given_id", "ship"),
    [(1, 1), ("1", 1), ("007", "007"), ("Nostromo", "Nostromo"), (-4, -4), (0, 0), ("1" * 25, "1" * 25), (10**17, str(10**17))],
)
def test_ships(given_id: Any, ship: int | str) -> None:
    assert ship_id(given_id) == ship
