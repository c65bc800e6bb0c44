"""All answers over HTTP, byte for byte where the specification gives them."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from adapters.energy_api import routes
from adapters.energy_api.routes import LARGEST_BODY_BYTES
from broker.message import Publication
from tests.adapters.energy_api.world import JSON, World, ask, post, world

DAY = "start=2018-08-24T00:00:00Z&end=2018-08-25T00:00:00Z"
WITHIN_S = 0.6
EXAMPLES: dict[str, tuple[str, list[tuple[str, Any]], list[float], str, float]] = {
    "hourly": ("kWh", [("00:00", 12), ("01:00", 26), ("02:00", 18)], [3] * 4 + [6.5] * 4 + [4.5] * 4, "estimated", 1.0),
    "quarterly": ("kWh", [("00:00", 2), ("00:15", 5), ("00:30", 2), ("00:45", 6)], [2, 5, 2, 6], "measured", 1.0),
    "mean": ("kW", [("00:00", 1), ("00:05", 4), ("00:10", 1)], [0.5], "measured", 1.0),
}
POWER = [(f"00:{5 * n:02}", value) for n, value in enumerate([22, 24, 23, 18, 22, 23, 8])]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "REJECTION_TIMEOUT_S", 0.1)


def posted(folder: Path, *bodies: bytes, query: str = f"spaceship_id=1&{DAY}") -> tuple[list[Any], bytes]:
    """Return the answers to posts, one after the other, and then the quarters."""

    async def send() -> tuple[list[Any], bytes]:
        async with world(folder) as made:
            answers = [await made.ask("POST", "/data", JSON, body) for body in bodies]
            shown = await made.ask("GET", f"/data?{query}")
            assert (shown.status, shown.headers["cache-control"]) == (200, "no-store")
            return [(each.status, json.loads(each.body)) for each in answers], shown.body

    return asyncio.run(send())


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(tmp_path: Path, name: str) -> None:
    units, rows, expected, quality, coverage = EXAMPLES[name]
    answers, shown = posted(tmp_path, post(1, units, rows))
    assert answers == [(201, {"spaceship_id": 1, "stored": len(rows), "skipped": []})]
    assert json.loads(shown)["data"] == [
        {
            "datetime": f"2018-08-24T{n // 4:02}:{n % 4 * 15:02}:00Z",
            "value": value,
            "quality": quality,
            "coverage": coverage,
        }
        for n, value in enumerate(expected)
    ]


def test_query_of_a_client_that_leaves_is_stopped(tmp_path: Path) -> None:
    async def send() -> None:
        async with world(tmp_path) as made:
            made.recorder_there = False
            answer = await made.ask("GET", f"/data?spaceship_id=1&{DAY}", leaves_s=0.1)
            assert answer.status == 400
            (query,) = [each for each in made.delivered if each.topic == "storage/query"]
            assert made.cancelled() == [(b'{"client":"energy-api"}', query.correlation_data)]

    asyncio.run(send())


def test_query_that_takes_too_long_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def send() -> None:
        async with world(tmp_path) as made:
            made.recorder_there = False
            made.api._routes._within_s = 0.1
            assert (await made.ask("GET", f"/data?spaceship_id=1&{DAY}")).status == 503
            assert len(made.cancelled()) == 1

    asyncio.run(send())


def test_byte_order_mark_is_read_and_utf_16_is_named(tmp_path: Path) -> None:
    body = post(1, "kWh", [("00:00", 2), ("00:15", 5)])
    answers, shown = posted(tmp_path, b"\xef\xbb\xbf" + body, body.decode().encode("utf-16"))
    assert answers[0] == (201, {"spaceship_id": 1, "stored": 2, "skipped": []})
    assert (answers[1][0], "UTF-16" in answers[1][1]["error"]) == (400, True)
    assert len(json.loads(shown)["data"]) == 2


def test_bytes_of_an_answer(tmp_path: Path) -> None:
    _, shown = posted(tmp_path, post(1, "kW", POWER))
    assert shown == (
        b'{"spaceship_id":1,"units":"kWh","data":['
        b'{"datetime":"2018-08-24T00:00:00Z","value":5.75,"quality":"measured","coverage":1.0},'
        b'{"datetime":"2018-08-24T00:15:00Z","value":5.25,"quality":"measured","coverage":1.0},'
        b'{"datetime":"2018-08-24T00:30:00Z","value":2,"quality":"partial","coverage":0.333333}]}'
    )


def test_numbers_negative_tiny_large_and_zero(tmp_path: Path) -> None:
    values = [-3, 0, 0.1, 1e-9, 1e12]
    rows = [(f"{n // 4:02}:{n % 4 * 15:02}", value) for n, value in enumerate(values)]
    _, shown = posted(tmp_path, post(1, "kWh", rows))
    assert [row["value"] for row in json.loads(shown)["data"]] == values
    assert [row.get("negative") for row in json.loads(shown)["data"]] == [True, None, None, None, None]
    assert b'"value":-3,"quality":"measured","coverage":1.0,"negative":true}' in shown
    assert b'"value":1000000000000,' in shown


def test_period_is_half_open(tmp_path: Path) -> None:
    units, rows, *_ = EXAMPLES["quarterly"]
    for start, end, expected in [
        ("00:15", "00:45", [5, 2]),
        ("00:15", "00:15", []),
        ("00:16", "01:00", [2, 6]),
        ("00:00", "00:01", [2]),
    ]:
        query = f"spaceship_id=1&start=2018-08-24T{start}:00Z&end=2018-08-24T{end}:00Z"
        folder = tmp_path / f"{start}{end}"
        folder.mkdir()
        _, shown = posted(folder, post(1, units, rows), query=query)
        assert [row["value"] for row in json.loads(shown)["data"]] == expected


def test_period_over_years_is_in_order(tmp_path: Path) -> None:
    rows = [(f"{year}-01-01T00:00:00Z", 1) for year in (2020, 2018, 2019)]
    _, shown = posted(
        tmp_path, post(1, "kWh", rows, interval_minutes=15), query="spaceship_id=1&start=2000-01-01&end=2100-01-01"
    )
    assert [row["datetime"][:4] for row in json.loads(shown)["data"]] == ["2018", "2019", "2020"]


@pytest.mark.parametrize(("ship", "spelled"), [("1", b"1"), ("-2", b"-2"), ("01", b'"01"'), ("Titanic", b'"Titanic"')])
def test_unknown_ship_has_no_rows(tmp_path: Path, ship: str, spelled: bytes) -> None:
    answered, _ = ask(tmp_path, "GET", f"/data?spaceship_id={ship}&{DAY}")
    assert (answered.status, answered.body) == (200, b'{"spaceship_id":%s,"units":"kWh","data":[]}' % spelled)


def test_text_ships_and_what_is_posted_later(tmp_path: Path) -> None:
    units, rows, *_ = EXAMPLES["quarterly"]
    again = post("Ägir's", units, [("00:15", 7)])
    answers, shown = posted(tmp_path, post("Ägir's", units, rows), again, query=f"spaceship_id=%C3%84gir%27s&{DAY}")
    assert [each[0] for each in answers] == [201, 201]
    assert json.loads(shown)["spaceship_id"] == "Ägir's"
    assert [row["value"] for row in json.loads(shown)["data"]] == [2, 7, 2, 6]


def test_skipped_values_are_listed(tmp_path: Path) -> None:
    garbage = [None, "", "n/a", "NaN", True, "1e999"]
    rows = [(f"{n // 4:02}:{n % 4 * 15:02}", value) for n, value in enumerate([1, "2", *garbage])]
    body = post(1, "kWh", rows)[:-2] + b',{"datetime":"2018-08-24T05:00:00Z","value":1e999}]}'
    answers, shown = posted(tmp_path, body)
    assert answers[0][0] == 201
    assert answers[0][1]["stored"] == 2
    assert [each["index"] for each in answers[0][1]["skipped"]] == [2, 3, 4, 5, 6, 7, 8]
    assert all(each["reason"] for each in answers[0][1]["skipped"])
    assert [row["value"] for row in json.loads(shown)["data"]] == [1, 2]


@pytest.mark.parametrize(
    ("body", "begins"),
    [
        (post(1, "MW", [("00:00", 1), ("00:15", 1)]), "units: "),
        (post(1, None, [("00:00", 1), ("00:15", 1)]), "units: "),
        (post(1, "kW", [("00:00", 1), ("never", 1)]), "data[1].datetime: "),
        (post(1, "kW", [("00:00", 1)]), "data: a single reading"),
        (post(1, "kW", [("00:00", 1)], interval_minutes="x"), "interval_minutes: "),
        (b'{"spaceship_id":1,"units":"kW","data":5}', "data: "),
        (b'{"spaceship_id":1,"units":"kW","data":[5]}', "data[0]: "),
        (b'{"spaceship_id":1,"units":"kW","data":[{"datetime":"2018-08-24T00:00:00Z"}]}', "data[0].value: "),
    ],
)
def test_post_refused_by_the_normalizer_is_400_and_not_stored(tmp_path: Path, body: bytes, begins: str) -> None:
    answers, shown = posted(tmp_path, body)
    assert answers[0][0] == 400
    assert list(answers[0][1]) == ["error"]
    assert answers[0][1]["error"].startswith(begins)
    assert json.loads(shown)["data"] == []


@pytest.mark.parametrize(
    ("headers", "body", "status", "begins"),
    [
        ({}, post(1, "kW", []), 415, "Content-Type: "),
        ({"content-type": "text/plain"}, b"x", 415, "Content-Type: "),
        ({"content-type": "application/x-www-form-urlencoded"}, b"x=1", 415, "Content-Type: "),
        ({**JSON, "content-encoding": "gzip"}, b"\x1f\x8b\xff", 415, "Content-Encoding: "),
        (JSON, b"", 400, "malformed JSON"),
        (JSON, b'{"spaceship_id":', 400, "malformed JSON"),
        (JSON, b'{"spaceship_id":1,"data":NaN}', 400, "malformed JSON"),
        (JSON, b"\xff", 400, "malformed JSON"),
        (JSON, b"[]", 400, "the body must be a JSON object"),
        (JSON, b"{}", 400, "spaceship_id: "),
        (JSON, b'{"spaceship_id":null}', 400, "spaceship_id: "),
        (JSON, b'{"spaceship_id":"a/b"}', 400, "spaceship_id: "),
    ],
)
def test_refused_body_is_published_as_rejected(
    tmp_path: Path, headers: dict[str, str], body: bytes, status: int, begins: str
) -> None:
    answered, made = ask(tmp_path, "POST", "/data", headers, body)
    assert answered.status == status
    assert answered.error.startswith(begins)
    (kept,) = made.delivered
    assert kept.topic == "rejected/energy-api"
    rejected = json.loads(kept.payload)
    assert (rejected["topic"], rejected["reason"]) == ("POST /data", answered.error)
    if rejected.get("encoding", "utf-8") == "utf-8":
        assert rejected["payload"].encode() == body


@pytest.mark.parametrize(("fill", "encoding"), [(b"x", "utf-8"), (b"\xff", "base64")])
def test_large_refused_body_is_published_up_to_8_mib(tmp_path: Path, fill: bytes, encoding: str) -> None:
    size = 9 * 1024 * 1024
    answered, made = ask(tmp_path, "POST", "/data", {"content-type": "text/plain"}, fill * size)
    assert answered.status == 415
    (kept,) = made.delivered
    rejected = json.loads(kept.payload)
    payload = rejected["payload"].encode() if encoding == "utf-8" else base64.b64decode(rejected["payload"])
    assert (rejected.get("encoding", "utf-8"), rejected["size"], len(payload)) == (encoding, size, 8 * 1024 * 1024)


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8", " application/json ;x=y"])
def test_json_with_parameters_is_taken(tmp_path: Path, content_type: str) -> None:
    units, rows, *_ = EXAMPLES["mean"]
    answered, _ = ask(tmp_path, "POST", "/data", {"content-type": content_type}, post(1, units, rows))
    assert answered.status == 201


def test_too_large_body(tmp_path: Path) -> None:
    for headers, body in (
        ({**JSON, "content-length": str(LARGEST_BODY_BYTES + 1)}, b""),
        (JSON, [b" " * (LARGEST_BODY_BYTES // 2), b" " * (LARGEST_BODY_BYTES // 2 + 1)]),
    ):
        folder = tmp_path / str(len(body))
        folder.mkdir()
        answered, made = ask(folder, "POST", "/data", headers, body)
        assert answered.status == 413
        assert str(LARGEST_BODY_BYTES) in answered.error
        assert made.delivered == []


def test_wrong_query_is_not_published(tmp_path: Path) -> None:
    for query in ("", DAY, f"spaceship_id=1&{DAY}&end=2019-01-01", "spaceship_id=1&start=2018-08-25&end=2018-08-24"):
        folder = tmp_path / str(len(query))
        folder.mkdir()
        answered, made = ask(folder, "GET", f"/data?{query}")
        assert answered.status == 400
        assert answered.error
        assert made.delivered == []


def disable(made: World, what: str) -> None:
    if what == "broker":
        made.there = False
    elif what == "frozen broker":
        made.freeze()
    elif what == "recorder":
        made.recorder_there = False
    else:
        made.normalizer_there = False


@pytest.mark.parametrize("what", ["broker", "frozen broker", "recorder", "normalizer"])
@pytest.mark.parametrize("known", [True, False])
def test_unreachable_part_is_503_in_time(tmp_path: Path, what: str, known: bool) -> None:
    units, rows, *_ = EXAMPLES["quarterly"]

    async def check() -> None:
        async with world(tmp_path) as made:
            if known:
                assert (await made.ask("POST", "/data", JSON, post(1, units, rows))).status == 201
            disable(made, what)
            made.api._routes._within_s = WITHIN_S
            requests = [("POST", "/data", JSON, post(1, units, rows))]
            requests += [] if what == "normalizer" else [("GET", f"/data?spaceship_id=1&{DAY}", {}, b"")] * 6
            async with asyncio.timeout(30):  # a disabled part stays disabled
                answers = await asyncio.gather(*(made.ask(*each) for each in requests))
            for answered in answers:
                assert (answered.status, bool(answered.error)) == (503, True)
                assert int(answered.headers["retry-after"]) > 0
            made.there = made.recorder_there = made.normalizer_there = True
            made.thaw()
            made.api._routes._within_s = 20
            if known or what != "recorder":  # the normalizer repeats a query after a minute, or when the recorder is online
                assert (await made.ask("POST", "/data", JSON, post(1, units, rows))).status == 201

    asyncio.run(check())


@pytest.mark.parametrize("lost", ["/raw", "/interval", "energy/answer/"])
def test_message_lost_by_the_broker_is_not_answered_201(tmp_path: Path, lost: str) -> None:
    """The recorder answers, but did not receive every message."""
    units, rows, *_ = EXAMPLES["quarterly"]

    async def check() -> None:
        async with world(tmp_path) as made:
            made.forgets = lambda publication: lost in publication.topic
            made.api._routes._within_s = 1
            answered = await made.ask("POST", "/data", JSON, post(1, units, rows))
            assert (answered.status, "the recorder has not confirmed" in answered.error) == (503, True)
            made.forgets = lambda publication: False
            made.api._routes._within_s = 20
            assert (await made.ask("POST", "/data", JSON, post(2, units, rows))).status == 201

    asyncio.run(check())


def test_posts_at_the_same_time_share_queries(tmp_path: Path) -> None:
    units, rows, *_ = EXAMPLES["mean"]

    async def check() -> None:
        async with world(tmp_path) as made:
            made.api._routes._within_s = 20
            answers = await asyncio.gather(*(made.ask("POST", "/data", JSON, post(n, units, rows)) for n in range(60)))
            assert {each.status for each in answers} == {201}, answers[0].body
            asked = [each for each in made.delivered if each.topic == "storage/query"]
            assert len(asked) < 20

    asyncio.run(check())


def test_body_is_passed_on_unchanged(tmp_path: Path) -> None:
    body = b' {"units" : "kW", "extra":1, "interval_minutes":15,'
    body += b'"data":[{"datetime":"2018-08-24T00:00:00Z","value":1.50,"x":"\xc3\xa9"}] , "spaceship_id":1}\n'
    answered, made = ask(tmp_path, "POST", "/data", JSON, body)
    assert answered.status == 201
    forwarded: Publication = next(each for each in made.delivered if each.topic == "energy/1/raw")
    assert (forwarded.payload, forwarded.response_topic, forwarded.retain) == (body, "energy/answer/energy-api", False)


def test_full_normalizer_is_503(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controllers.energy.component.MOST_HELD", 0)
    answered, _ = ask(tmp_path, "POST", "/data", JSON, post(1, *EXAMPLES["mean"][:2]))
    assert (answered.status, "no room" in answered.error) == (503, True)
