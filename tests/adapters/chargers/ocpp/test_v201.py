"""OCPP 2.0.1: what a charger's calls do to its transactions and sessions."""

import itertools

import pytest

from adapters.chargers.ocpp.frames import Unusable
from broker.contract.charging.topics import RemoteAction, ResetType
from tests.adapters.chargers.ocpp.calls import Box


def box() -> Box:
    return Box("ocpp2.0.1")


EVENTS = (("Started", 0, 1.0), ("Updated", 5, 2.0), ("Updated", 9, 3.0), ("Ended", 10, None))


def test_a_session_is_a_transaction() -> None:
    it = box()
    for kind, minute, kwh in EVENTS:
        it.event(kind, minute, kwh, evse={"id": 2})
    assert (it.last.session, it.last.connector, it.last.kwh, it.last.duration_s) == ("box#T-1", 2, 2.0, 600)
    assert [each.ended_at is None for each in it.published] == [True, False]


def test_repeated_events_change_nothing() -> None:
    once, often = box(), box()
    for kind, minute, kwh in EVENTS:
        once.event(kind, minute, kwh)
        for _ in range(3):
            often.event(kind, minute, kwh)
    assert often.point == once.point
    assert often.last == once.last


@pytest.mark.parametrize("order", list(itertools.permutations(EVENTS[:3])))
def test_the_order_of_events_before_the_end_is_of_no_matter(order: tuple[tuple[str, int, float], ...]) -> None:
    it = box()
    for kind, minute, kwh in (*order, EVENTS[3]):
        it.event(kind, minute, kwh)
    assert (it.last.started_at, it.last.kwh) == ("2026-01-31T10:00:00.000000Z", 2.0)


def test_an_end_without_a_beginning_is_a_session() -> None:
    it = box()
    it.event("Ended", 10, 5.0)
    assert (it.last.kwh, it.last.duration_s, it.last.ended_by is not None) == (0.0, 0, True)


def test_a_token_is_answered() -> None:
    it = Box("ocpp2.0.1", accepted=("GOOD",))
    assert it.event("Started", 0, idToken={"idToken": "BAD", "type": "Central"}).answer == {
        "idTokenInfo": {"status": "Invalid"}
    }
    assert it.event("Updated", 1).answer == {}
    assert it.call("Authorize", idToken={"idToken": "GOOD"}) == {"idTokenInfo": {"status": "Accepted"}}


def test_the_charging_state_is_kept_until_the_end() -> None:
    it = box()
    it.event("Started", 0, info={"chargingState": "SuspendedEV"})
    assert it.point.transactions[0].charging_state == "SuspendedEV"
    it.event("Ended", 1)
    assert it.point.transactions[0].charging_state is None


def test_meter_values_belong_to_what_runs_on_the_evse() -> None:
    it = box()
    it.event("Started", 0, 1.0, evse={"id": 1})
    values = [{"timestamp": "2026-01-31T10:20:00Z", "sampledValue": [{"value": 4000}]}]
    assert it.call("MeterValues", evseId=2, meterValue=values) == {}
    assert it.call("MeterValues", evseId=1, meterValue=values) == {}
    it.event("Ended", 30)
    assert it.last.kwh == 3.0


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("TransactionEvent", {"eventType": "Started"}),
        ("TransactionEvent", {"eventType": "Paused", "transactionInfo": {"transactionId": "T"}}),
        ("TransactionEvent", {"eventType": "Started", "transactionInfo": "T"}),
        ("StatusNotification", {"evseId": 1}),
        ("MeterValues", {}),
        ("Authorize", {"idToken": "T"}),
        ("Reset", {"type": "OnIdle"}),
    ],
)
def test_a_call_that_says_nothing_is_refused(action: str, payload: dict[str, object]) -> None:
    it = box()
    before = it.point
    with pytest.raises(Unusable):
        it.call(action, **payload)
    assert it.point == before


def test_requests() -> None:
    it = box()
    name, payload = it.request(action=RemoteAction.START, id_tag="T", connector=1)
    assert (name, payload) == (
        "RequestStartTransaction",
        {"idToken": {"idToken": "T", "type": "Central"}, "remoteStartId": 17, "evseId": 1},
    )
    assert it.request(action=RemoteAction.RESET, type=ResetType.SOFT) == ("Reset", {"type": "OnIdle"})
    it.event("Started", 0)
    assert it.request(action=RemoteAction.STOP) == ("RequestStopTransaction", {"transactionId": "T-1"})
