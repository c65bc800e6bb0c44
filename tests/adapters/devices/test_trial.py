"""Declarations on recorded messages, and what of it is mapped already."""

from datetime import UTC, datetime, timedelta

from adapters.devices.declarations import read_file
from adapters.devices.trial import Own, Recorded, Result, Trial, not_mapped

START_AT = datetime(2026, 12, 1, tzinfo=UTC)
SENSOR = '[sensor.a]\nfrom = "x"\nroom = "r"\nvalue = "t"\n'
TOPIC = "/readings/r/temperature"


def _results(*payloads: str, text: str = SENSOR) -> list[Result]:
    trial = Trial(read_file("f.toml", text))
    found: list[Result] = []
    for number, payload in enumerate(payloads):
        found += trial.take(Recorded(10 * number, START_AT + timedelta(minutes=number), "x", payload.encode()))
    return found


def _live(number: int, celsius: float) -> Own:
    payload = f'{{"sensorID":"a","type":"temperature","value":{celsius}}}'.encode()
    return Own(number, START_AT + timedelta(seconds=number), TOPIC, payload)


def _applied(number: int, result: Result) -> Own:
    assert result.publication is not None
    return Own(number, result.event_at, result.publication.topic, result.publication.payload)


def test_counts_what_is_no_reading() -> None:
    trial = Trial(read_file("f.toml", SENSOR))
    payloads = (b'{"t":1}', b'{"t":null}', b"{}", b'{"t":"x"}', b"nonsense")
    found = [each for payload in payloads for each in trial.take(Recorded(1, START_AT, "x", payload))]
    assert [each.value for each in found] == [1]
    counts = trial.counts["sensor.a"]
    assert (counts.mapped, counts.ignored, counts.rejected) == (1, 2, 2)


def test_applied_twice_is_once() -> None:
    results = _results('{"t":20}', '{"t":20}', '{"t":21}')
    assert not_mapped(results, []) == results
    applied = [_applied(100 + n, each) for n, each in enumerate(results)]
    assert not_mapped(results, applied) == []
    assert not_mapped(results, applied[:2]) == results[2:]


def test_leaves_out_what_was_mapped_live() -> None:
    results = _results('{"t":20}', '{"t":20}', '{"t":20}', '{"t":21}')
    assert not_mapped(results, [_live(11, 20.0)]) == [results[0], *results[2:]]
    assert not_mapped(results, [_live(21, 20.0), _live(22, 20.0), _live(31, 21.0)]) == results[:1]


def test_device_time_identifies_a_reading() -> None:
    text = SENSOR + 'time = "at"\n'
    results = _results('{"t":20,"at":"2026-11-01T00:00:00Z"}', '{"t":20,"at":"2026-11-01T00:01:00Z"}', text=text)
    assert [each.event_at.minute for each in results] == [0, 1]
    assert not_mapped(results, [_applied(5, results[1])]) == results[:1]


def test_a_meter_is_recognised_without_its_time() -> None:
    results = _results('{"p":500}', '{"p":600}', text='[meter.m]\nfrom = "x"\nship = 7\nvalue = "p"\nunit = "W"\n')
    payload = b'{"spaceship_id":7,"units":"kW","data":[{"datetime":"2026-12-01T00:00:01Z","value":0.5}]}'
    assert not_mapped(results, [Own(1, START_AT, "energy/7/raw", payload)]) == results[1:]
