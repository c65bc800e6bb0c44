"""OCPP 1.6: what a charger's calls do to its transactions and sessions."""

import pytest

from adapters.chargers.ocpp.dialect import CannotAsk
from adapters.chargers.ocpp.frames import Unusable
from broker.contract.charging.topics import RemoteAction, ResetType
from tests.adapters.chargers.ocpp.calls import Box, at, energy


def test_a_session_is_a_transaction_with_the_chargers_times() -> None:
    box = Box()
    number = box.start(0, 1000)
    assert box.last.ended_at is None
    assert box.last.session == f"box#{number}"
    box.measure(number, 5, energy("2000"), {"value": "40", "measurand": "SoC"})
    box.measure(number, 9, {"value": "60", "measurand": "SoC"})
    assert box.stop(number, 30, 3500).answer == {}
    last = box.last
    assert (last.started_at, last.ended_at) == ("2026-01-31T10:00:00.000000Z", "2026-01-31T10:30:00.000000Z")
    assert (last.kwh, last.soc_start, last.soc_end, last.duration_s, last.connector) == (2.5, 40, 60, 1800, 1)


def test_a_repeated_start_keeps_its_number() -> None:
    box = Box()
    first = box.start(0, 1000)
    box.stop(first, 5, 1500)
    assert box.start(0, 1000) == first
    assert box.last.ended_at is not None
    others = [box.start(1, 1000), box.start(0, 2000), box.start(0, 1000, connector=2)]
    assert len({first, *others}) == 4


def test_a_repeated_stop_changes_nothing() -> None:
    box = Box()
    number = box.start(0, 1000)
    box.stop(number, 5, 1500)
    ended = box.last
    box.stop(number, 9, 9999)
    assert box.last == ended


def test_late_meter_values_do_not_lower_the_register() -> None:
    box = Box()
    number = box.start(0, 1000)
    box.measure(number, 9, energy("3000"))
    box.measure(number, 5, energy("2000"))
    box.stop(number, 10)
    assert box.last.kwh == 2.0


@pytest.mark.parametrize(("first", "last"), [(None, 500), (1000, None), (1000, 500)])
def test_energy_is_unknown_without_two_growing_registers(first: int | None, last: int | None) -> None:
    box = Box()
    box.stop(box.start(0, first), 5, last)
    assert box.last.kwh == (0.0 if last is None else None)


@pytest.mark.parametrize("number", [0, -1])
def test_a_charger_without_the_number_means_what_is_running(number: int) -> None:
    box = Box()
    box.start(0, 1000)
    box.measure(number, 5, energy("2000"))
    assert box.stop(number, 5, 1500).unused is None
    assert box.last.kwh == 0.5


def test_a_stop_of_an_unknown_transaction_is_answered() -> None:
    outcome = Box().stop(99, 5, 1500)
    assert (outcome.answer, outcome.sessions) == ({}, ())
    assert "99" in str(outcome.unused)


def test_meter_values_outside_of_transactions_are_answered() -> None:
    outcome = Box().measure(None, 0, energy("10"), {"value": "70", "measurand": "SoC"})
    assert (outcome.answer, outcome.soc) == ({}, 70)


def test_connectors_have_transactions_of_their_own() -> None:
    box = Box()
    one, two = box.start(0, 1000), box.start(0, 5000, connector=2)
    box.measure(None, 5, energy("5500"), connector=2)
    box.stop(two, 6)
    assert (box.last.kwh, box.last.connector) == (0.5, 2)
    assert box.request(action=RemoteAction.STOP) == ("RemoteStopTransaction", {"transactionId": one})


def test_few_transactions_are_remembered() -> None:
    box = Box()
    for minute in range(30):
        box.stop(box.start(minute), minute + 1, 1500)
    for minute in range(30):
        box.start(minute, 7)
    assert len(box.point.transactions) <= 6


def test_id_tags_are_checked_where_there_is_a_list() -> None:
    box = Box(accepted=("GOOD",))
    assert box.call("Authorize", idTag="GOOD") == {"idTagInfo": {"status": "Accepted"}}
    assert box.call("Authorize", idTag="BAD") == {"idTagInfo": {"status": "Invalid"}}
    answer = box.call("StartTransaction", connectorId=1, idTag="BAD", meterStart=0, timestamp=at(0))
    assert answer == {"transactionId": 17, "idTagInfo": {"status": "Invalid"}}


@pytest.mark.parametrize(
    ("action", "payload", "code"),
    [
        ("Unheard", {}, "NotImplemented"),
        ("StatusNotification", {"connectorId": 1}, "OccurenceConstraintViolation"),
        ("StatusNotification", {"connectorId": "x", "status": "Available"}, "OccurenceConstraintViolation"),
        ("StartTransaction", {"idTag": "T"}, "OccurenceConstraintViolation"),
        ("StopTransaction", {}, "OccurenceConstraintViolation"),
        ("MeterValues", {"connectorId": 1}, "OccurenceConstraintViolation"),
        ("Authorize", {}, "OccurenceConstraintViolation"),
    ],
)
def test_a_call_that_says_nothing_is_refused(action: str, payload: dict[str, object], code: str) -> None:
    box = Box()
    before = box.point
    with pytest.raises(Unusable) as refused:
        box.call(action, **payload)
    assert (refused.value.code, box.point) == (code, before)


def test_a_boot_is_accepted_whatever_its_fields_are() -> None:
    box = Box()
    serial = "3N18310641B55EVB1A22P2RI3N18"
    answer = box.call("BootNotification", chargePointVendor="x" * 99, chargeBoxSerialNumber=serial, more=[1])
    assert answer == {"currentTime": "2026-01-31T08:00:00Z", "interval": 300, "status": "Accepted"}
    assert (box.point.serial, box.point.vendor) == (serial, "x" * 99)


def test_requests() -> None:
    box = Box()
    start = box.request(action=RemoteAction.START, id_tag="T", connector=1)
    assert start == ("RemoteStartTransaction", {"idTag": "T", "connectorId": 1})
    assert box.request(action=RemoteAction.START, id_tag="T") == ("RemoteStartTransaction", {"idTag": "T"})
    assert box.request(action=RemoteAction.RESET, type=ResetType.HARD) == ("Reset", {"type": "Hard"})
    with pytest.raises(CannotAsk):
        box.request(action=RemoteAction.STOP)
