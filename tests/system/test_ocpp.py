"""OCPP end to end: adapter, controller, recorder and broker as processes, with the charger of the library ocpp-rpc."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests import peers, real_broker
from tests.peers.ocpp import Charger
from tests.system.test_charging import Booths, booths, next_status

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
        assert c2.call("StartTransaction", **again)["transactionId"] != number
    first, second = sessions(system, "c2")
    assert (first["started_at"], first["ended_at"]) == ("2026-11-30T10:00:00Z", "2026-11-30T10:30:00Z")
    assert (first["kwh"], first["connector"], first["widget"], first["ended_by"]) == (2.25, 1, "w2", "stopped")
    assert (first["soc_start"], first["soc_end"], first["duration_s"]) == (None, None, 1800)
    assert (second["kwh"], second["ended_at"]) == (None, None)
    frames = system.query("SELECT payload FROM messages WHERE topic = 'chargers/c2/ocpp' ORDER BY number")
    actions = [json.loads(row["payload"])[2] for row in frames]
    assert (actions[0], actions.count("StartTransaction"), actions.count("StopTransaction")) == ("BootNotification", 3, 2)
    assert system.query("SELECT * FROM rejected_message WHERE topic LIKE 'chargers/c2/%'") == []
