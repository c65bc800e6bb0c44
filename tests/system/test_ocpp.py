"""OCPP end to end: adapter, controller, recorder and broker as processes, with the charger of the library ocpp-rpc."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests import peers, real_broker
from tests.peers.ocpp import Charger
from tests.system.test_charging import Booths, booths, next_status, until

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booths]:
    peers.require("ocpp")
    created = real_broker.create(tmp_path_factory.mktemp("ocpp"))
    try:
        created.start()
        with booths(created) as running:
            yield running
    finally:
        real_broker.remove(created)


@contextmanager
def charger(system: Booths, name: str, subprotocols: str, mode: str = "strict") -> Iterator[Charger]:
    peer = Charger(f"ws://127.0.0.1:{system.charger_port}/ocpp", name, subprotocols, mode)
    try:
        yield peer
    finally:
        peer.stop()


def sessions(system: Booths, name: str) -> list[dict[str, Any]]:
    return system.query(f"SELECT * FROM charging_session WHERE charger = '{name}' ORDER BY started_at")


def ask(system: Booths, name: str, **request: Any) -> dict[str, Any]:
    """Put a request to a charger, as an operator would, and return the answer."""
    return system.ask(f"chargers/{name}/request", request)


def test_a_transaction_of_ocpp_16(system: Booths) -> None:
    widget = system.widget("w2")
    with charger(system, "c2", "ocpp1.6") as c2:
        boot = c2.call("BootNotification", chargePointVendor="ABL", chargePointModel="eMH3")
        assert (boot["status"], boot["interval"]) == ("Accepted", 300)
        assert c2.call("StatusNotification", connectorId=1, errorCode="NoError", status="Preparing") == {}
        assert c2.call("Authorize", idTag="TAG1") == {"idTagInfo": {"status": "Accepted"}}
        assert "currentTime" in c2.call("Heartbeat")
        start = {"connectorId": 1, "idTag": "TAG1", "meterStart": 1000, "timestamp": "2026-11-30T10:00:00Z"}
        number = c2.call("StartTransaction", **start)["transactionId"]
        assert c2.call("StartTransaction", **start)["transactionId"] == number
        c2.call("StatusNotification", connectorId=1, errorCode="NoError", status="Charging")
        assert next_status(widget) == "charging"
        value = {"value": "2500", "measurand": "Energy.Active.Import.Register", "unit": "Wh"}
        values = [{"timestamp": "2026-11-30T10:10:00Z", "sampledValue": [value]}]
        assert c2.call("MeterValues", connectorId=1, transactionId=number, meterValue=values) == {}
        c2.call("StatusNotification", connectorId=1, errorCode="NoError", status="SuspendedEV")
        assert next_status(widget) == "charged"
        stop = {"transactionId": number, "meterStop": 3250, "timestamp": "2026-11-30T10:30:00Z"}
        assert c2.call("StopTransaction", **stop) == c2.call("StopTransaction", **stop) == {}
        c2.call("StatusNotification", connectorId=1, errorCode="NoError", status="Available")
        assert next_status(widget) == "unavailable"
        again = {**start, "meterStart": 3250, "timestamp": "2026-11-30T11:00:00Z"}
        other = c2.call("StartTransaction", **again)["transactionId"]
        assert other != number
        stopped = system.scaup("chargers", "stop", "c2", "-o", "json")
        assert json.loads(stopped.stdout) == [{"charger": "c2", "action": "stop", "status": "Accepted"}]
        assert c2.asked("RemoteStopTransaction") == {"transactionId": other}
    assert system.scaup("chargers", "reset", "c2").returncode == 1
    first, second = sessions(system, "c2")
    assert (first["started_at"], first["ended_at"]) == ("2026-11-30T10:00:00Z", "2026-11-30T10:30:00Z")
    assert (first["kwh"], first["connector"], first["widget"], first["ended_by"]) == (2.25, 1, "w2", "stopped")
    assert (first["soc_start"], first["soc_end"], first["duration_s"]) == (None, None, 1800)
    assert (second["kwh"], second["ended_at"]) == (None, None)
    frames = system.query("SELECT payload FROM messages WHERE topic = 'chargers/c2/ocpp' ORDER BY number")
    actions = [json.loads(row["payload"])[2] for row in frames]
    assert (actions[0], actions.count("StartTransaction"), actions.count("StopTransaction")) == ("BootNotification", 3, 2)
    assert system.query("SELECT * FROM rejected_message WHERE topic LIKE 'chargers/c2/%'") == []


def test_a_transaction_of_ocpp_201(system: Booths) -> None:
    widget = system.widget("w3")
    with charger(system, "c3", "ocpp2.0.1,ocpp1.6") as c3:
        station = {"model": "eMH4", "vendorName": "ABL", "serialNumber": "4711"}
        assert c3.call("BootNotification", chargingStation=station, reason="PowerUp")["status"] == "Accepted"
        status = {"timestamp": "2026-11-30T09:59:00Z", "connectorStatus": "Occupied", "evseId": 1, "connectorId": 1}
        assert c3.call("StatusNotification", **status) == {}
        token = {"idToken": "04AABB", "type": "ISO14443"}
        assert c3.call("Authorize", idToken=token) == {"idTokenInfo": {"status": "Accepted"}}
        started = event("Started", 0, "10:00", 1.0, idToken=token, evse={"id": 1, "connectorId": 1})
        assert c3.call("TransactionEvent", **started) == {"idTokenInfo": {"status": "Accepted"}}
        assert c3.call("TransactionEvent", **event("Updated", 1, "10:10", 2.5, soc=40)) == {}
        assert next_status(widget) == "charging"
        assert ask(system, "c3", action="stop") == {"action": "stop", "status": "Accepted"}
        assert c3.asked("RequestStopTransaction") == {"transactionId": "T-1"}
        assert c3.call("TransactionEvent", **event("Updated", 2, "10:20", 3.0, soc=85)) == {}
        assert next_status(widget) == "charging80"
        for _ in range(2):
            assert c3.call("TransactionEvent", **event("Ended", 3, "10:30", 3.5, soc=90)) == {}
        c3.call("StatusNotification", **{**status, "connectorStatus": "Available"})
        assert next_status(widget) == "unavailable"
        assert ask(system, "c3", action="start", id_tag="T2", connector=1) == {"action": "start", "status": "Accepted"}
        assert c3.asked("RequestStartTransaction")["idToken"] == {"idToken": "T2", "type": "Central"}
        assert ask(system, "c3", action="reset", type="Hard") == {"action": "reset", "status": "Accepted"}
        assert c3.asked("Reset") == {"type": "Immediate"}
    (row,) = sessions(system, "c3")
    assert (row["session"], row["started_at"], row["ended_at"]) == ("c3#T-1", "2026-11-30T10:00:00Z", "2026-11-30T10:30:00Z")
    assert (row["kwh"], row["soc_start"], row["soc_end"], row["ended_by"]) == (2.5, 40, 90, "stopped")
    socs = system.query("SELECT soc FROM charger_soc WHERE charger = 'c3' ORDER BY number")
    assert [each["soc"] for each in socs] == [40, 85, 90, 90]
    assert "is not connected" in ask(system, "c3", action="stop")["error"]


def event(kind: str, number: int, at: str, kwh: float, soc: float | None = None, **more: Any) -> dict[str, Any]:
    """Return a TransactionEvent with the energy register in kWh."""
    energy = {"measurand": "Energy.Active.Import.Register", "value": kwh, "unitOfMeasure": {"unit": "kWh"}}
    sampled = [energy] if soc is None else [energy, {"measurand": "SoC", "value": soc, "unitOfMeasure": {"unit": "Percent"}}]
    timestamp = f"2026-11-30T{at}:00Z"
    return {
        "eventType": kind,
        "timestamp": timestamp,
        "triggerReason": "MeterValuePeriodic",
        "seqNo": number,
        "transactionInfo": {"transactionId": "T-1", "chargingState": "Charging"},
        "meterValue": [{"timestamp": timestamp, "sampledValue": sampled}],
        **more,
    }


def test_kills_in_a_transaction_lose_no_meter_value(system: Booths) -> None:
    with charger(system, "box-1", "ocpp1.6") as box:
        start = {"connectorId": 1, "idTag": "T", "meterStart": 0, "timestamp": "2026-11-30T10:00:00Z"}
        number = box.call("StartTransaction", **start)["transactionId"]
        for place, name in enumerate(("charger-adapter", "charging", "recorder") * 2):
            numbers = [
                box.send("MeterValues", connectorId=1, transactionId=number, meterValue=register(10 * place + each))
                for each in range(1, 6)
            ]
            system.kill(name)
            numbers += [
                box.send("MeterValues", connectorId=1, transactionId=number, meterValue=register(10 * place + each))
                for each in range(6, 11)
            ]
            system.run(name)
            for each in numbers:
                assert box.answer(each) == {}
        system.kill("charger-adapter")
        end = box.send("StopTransaction", transactionId=number, meterStop=60, timestamp="2026-11-30T11:00:00Z")
        system.run("charger-adapter")
        box.answer(end)
        again = box.call("StartTransaction", **{**start, "timestamp": "2026-11-30T12:00:00Z"})["transactionId"]
        assert again > number
    until(lambda: system.scaup("status", "recorder").returncode == 0, "the recorder is not back")
    rows = system.query("SELECT payload FROM messages WHERE topic = 'chargers/box-1/ocpp' AND payload LIKE '%MeterValues%'")
    found = {json.loads(row["payload"])[3]["meterValue"][0]["sampledValue"][0]["value"] for row in rows}
    assert found == {str(each) for each in range(1, 61)}
    first, second = sessions(system, "box-1")
    assert (first["kwh"], first["ended_at"], first["widget"]) == (0.06, "2026-11-30T11:00:00Z", None)
    assert (second["ended_at"], second["session"]) == (None, f"box-1#{again}")
    assert "BootNotification" not in str(rows)
    (listed,) = json.loads(system.scaup("chargers", "--charger", "box-1", "-o", "json").stdout)
    assert (listed["widget"], listed["state"], listed["session"]) == (None, "offline", second["session"])
    verified = system.scaup("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def register(wh: int) -> list[dict[str, Any]]:
    return [{"timestamp": f"2026-11-30T10:{wh - 1:02}:00Z", "sampledValue": [{"value": str(wh)}]}]
