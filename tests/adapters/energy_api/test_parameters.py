import json
from urllib.parse import quote

import pytest
from starlette.datastructures import QueryParams

from adapters.energy_api.parameters import Period, read_period, read_ship, spelled
from adapters.http.errors import BadRequest
from broker.errors import Rejected
from controllers.energy.post import ship_id

SHIPS = [1, 0, -3, "1", "01", "Titanic", "a b", "Ägir", "x" * 100, 10**17, "-0", "$x"]
NO_SHIPS: list[object] = [True, None, 1.5, [], {}, "", " 1", "1 ", "a/b", "a+", "#", "a\0b", "a\n", "x" * 101, "\x80"]


@pytest.mark.parametrize("given", SHIPS)
def test_ships_are_read_as_the_normalizer_does(given: int | str) -> None:
    assert ship_id(given) == spelled(read_ship(json.dumps({"spaceship_id": given}).encode()))


@pytest.mark.parametrize("given", [*NO_SHIPS, "\ufdd0", "\uffff", "\ud800"])
def test_invalid_ship_names_the_field(given: object) -> None:
    if given in NO_SHIPS:
        with pytest.raises(Rejected):
            ship_id(given)
    with pytest.raises(BadRequest, match=r"^spaceship_id: "):
        read_ship(json.dumps({"spaceship_id": given}).encode())


@pytest.mark.parametrize("number", ["1e999", "1.0", "-1e-999", "9" * 5_000])
def test_numbers_that_are_not_ships(number: str) -> None:
    with pytest.raises(BadRequest, match=r"^spaceship_id: "):
        read_ship(b'{"spaceship_id":%s}' % number.encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"spaceship_id":1',
        b'{"spaceship_id":1} x',
        b'{"spaceship_id":1,"data":NaN}',
        b'{"spaceship_id":1,"data":-Infinity}',
        b'{"spaceship_id":1,"data":01}',
        b'{"spaceship_id":1,"data":"\xff"}',
        b'{"spaceship_id":1,"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"\xef\xbb\xbf{}",
        b"spaceship_id=1",
    ],
)
def test_body_that_is_not_json(body: bytes) -> None:
    with pytest.raises(BadRequest, match=r"^malformed JSON: "):
        read_ship(body)


@pytest.mark.parametrize("body", [b"[]", b"1", b'"x"', b"null", b'[{"spaceship_id":1}]'])
def test_body_that_is_not_an_object(body: bytes) -> None:
    with pytest.raises(BadRequest, match="must be a JSON object"):
        read_ship(body)


def test_values_are_left_to_the_normalizer() -> None:
    for rest in (b"1e999", b'"\\ud800"', b"null", b'{"a":[]}', b"1e-999"):
        assert read_ship(b'{"spaceship_id":7,"data":%s}' % rest) == "7"
    assert read_ship(b'{"spaceship_id":2,"spaceship_id":3}') == "3", "the last one, as with the normalizer"
    with pytest.raises(BadRequest, match=r"^spaceship_id: is missing"):
        read_ship(b'{"units":"kW"}')


def period(start: str, end: str = "2018-08-25T00:00:00Z", ship: str = "1") -> Period:
    return read_period(QueryParams(f"spaceship_id={ship}&start={start}&end={end}"))


@pytest.mark.parametrize(
    "start",
    [
        "2018-08-24T00:00:00Z",
        "2018-08-24T00-00-00Z",
        "2018-08-24T00:00:00",
        "2018-08-24",
        "2018-08-24T00:00Z",
        "2018-08-24T00:00:00.000Z",
        "20180824T000000Z",
        "2018-08-24T02:00:00+02:00",
        "2018-08-24T02:00:00%2B02:00",
        "2018-08-24T02-00-00+02:00",
        "2018-08-24T02:00:00+0200",
        "2018-08-24T02:00+02",
        "2018-08-23T19:30:00-04:30",
        "2018-08-24+00:00:00",
        "2018-08-24+02:00:00+02:00",
        "%202018-08-24T00:00:00Z ",
    ],
)
def test_times(start: str) -> None:
    assert period(start) == Period("1", "2018-08-24T00:00:00Z", "2018-08-25T00:00:00Z")


def test_distant_times_are_clamped() -> None:
    far = Period("1", "1970-01-01T00:00:00Z", "2100-01-01T00:00:00Z")
    assert period("0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00") == far


@pytest.mark.parametrize(
    "text", ["", "now", "1535068800", "2018-13-01T00:00:00Z", "2018-08-24T25:00:00Z", "2018", "٢٠١٨-08-24"]
)
@pytest.mark.parametrize("name", ["start", "end"])
def test_invalid_time_names_the_parameter(text: str, name: str) -> None:
    given = {"start": "2018-08-24", "end": "2018-08-25", name: quote(text)}
    with pytest.raises(BadRequest, match=f"^{name}: must be ISO 8601"):
        period(**given)


def test_end_before_start() -> None:
    with pytest.raises(BadRequest, match=r"^end: 2018-08-24T00:00:00Z is before start, 2018-08-25T00:00:00Z"):
        period("2018-08-25", "2018-08-24")
    assert period("2018-08-25", "2018-08-25").start == "2018-08-25T00:00:00Z"


@pytest.mark.parametrize("name", ["spaceship_id", "start", "end"])
def test_missing_or_repeated_parameter_is_named(name: str) -> None:
    given = {"spaceship_id": "1", "start": "2018-08-24", "end": "2018-08-25"}
    for items, why in (
        (given.items() - {(name, given[name])}, "is missing"),
        ([*given.items(), (name, "1")], "more than once"),
    ):
        with pytest.raises(BadRequest, match=f"^{name}: .*{why}"):
            read_period(QueryParams(list(items)))


@pytest.mark.parametrize("ship", ["", "%20", "a/b", "%23", "a%00", "x" * 101])
def test_query_for_an_invalid_ship(ship: str) -> None:
    with pytest.raises(BadRequest, match=r"^spaceship_id: "):
        period("2018-08-24", ship=ship)
