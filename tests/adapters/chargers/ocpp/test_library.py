"""The library `ocpp` as a charger: it checks every answer with the schemas of the standard, and sends what these refuse."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from ocpp.exceptions import OCPPError
from ocpp.messages import MessageType, get_validator
from ocpp.v16 import ChargePoint as ChargePoint16
from ocpp.v16 import call as call16
from ocpp.v16 import call_result as call_result16
from ocpp.v201 import ChargePoint as ChargePoint201
from ocpp.v201 import call as call201
from websockets.typing import Subprotocol

from adapters.chargers.ocpp import v16, v201
from broker.contract.charging.topics import RemoteAction, ResetType
from tests.adapters.chargers.fakes import FakeBus, running, until
from tests.adapters.chargers.ocpp.calls import Box, at, energy

SERIAL = "3N18310641B55EVB1A22P2RI3N1"


@asynccontextmanager
async def charger(kind: type[Any], subprotocol: str) -> AsyncIterator[tuple[Any, FakeBus]]:
    async with running() as served:
        await until(lambda: served.adapter._stations.restored)
        async with served.connect("ocpp/box", subprotocols=[Subprotocol(subprotocol)]) as connection:
            point = kind("box", connection)
            task = asyncio.create_task(point.start())
            yield point, served.bus
            task.cancel()


async def call(point: Any, payload: Any, refused: bool = False) -> Any:
    """Call; a payload that the library refuses is sent all the same, and its answer is checked by hand."""
    if refused:
        with pytest.raises(OCPPError):
            await point.call(payload, suppress=False)
    return await point.call(payload, suppress=False, skip_schema_validation=refused)


def test_the_three_refused_messages_are_accepted() -> None:
    async def scenario() -> None:
        async with charger(ChargePoint16, "ocpp1.6") as (point, bus):
            boot = call16.BootNotification("eMH3", "ABL", charge_point_serial_number=SERIAL)
            assert len(SERIAL) == 27
            assert (await call(point, boot, refused=True)).status == "Accepted"
            start = call16.StartTransaction(connector_id=1, id_tag="T", meter_start=1000, timestamp=at(0))
            number = (await call(point, start)).transaction_id
            for minute, value in (
                (1, {"value": "50.0", "measurand": "Frequency", "unit": "Hz"}),
                (2, energy("2000", context="Error")),
            ):
                sampled = [value, energy(str(1000 * minute))] if minute == 1 else [value]
                values = call16.MeterValues(1, [{"timestamp": at(minute), "sampled_value": sampled}], number)
                assert await call(point, values, refused=True) == call_result16.MeterValues()
            register = json.loads(bus.on("chargers/box/charge-point")[-1].payload)["transactions"][-1]["register_kwh"]
            assert register == 2.0
            assert len(bus.on("chargers/box/ocpp")) == 4
            assert bus.rejected() == []
            stop = call16.StopTransaction(meter_stop=2500, timestamp=at(9), transaction_id=number)
            await call(point, stop)
            assert json.loads(bus.on("chargers/box/session")[-1].payload)["kwh"] == 1.5

    asyncio.run(scenario())


@pytest.mark.parametrize(("dialect", "version"), [(v16, "1.6"), (v201, "2.0.1")])
def test_every_answer_without_content_fits_its_schema(dialect: Any, version: str) -> None:
    assert len(dialect._ANSWERS) > 5
    for action, answer in dialect._ANSWERS.items():
        get_validator(MessageType.CallResult, action, version).validate(answer)


@pytest.mark.parametrize("version", ["1.6", "2.0.1"])
@pytest.mark.parametrize("kind", ResetType)
def test_every_request_fits_its_schema(version: str, kind: ResetType) -> None:
    box = Box(f"ocpp{version}")
    if version == "1.6":
        box.start()
    else:
        box.event("Started", 0)
    for request in (
        {"action": RemoteAction.START, "id_tag": "T"},
        {"action": RemoteAction.STOP},
        {"action": RemoteAction.RESET},
    ):
        action, payload = box.request(**request, type=kind)
        get_validator(MessageType.Call, action, version).validate(payload)


def test_every_answer_of_16_fits_its_schema() -> None:
    async def scenario() -> None:
        async with charger(ChargePoint16, "ocpp1.6") as (point, _):
            for payload in (
                call16.Authorize("T"),
                call16.BootNotification("eMH3", "ABL"),
                call16.DataTransfer("ABL"),
                call16.Heartbeat(),
                call16.StartTransaction(connector_id=1, id_tag="T", meter_start=1000, timestamp=at(0)),
                call16.StatusNotification(1, "NoError", "Available"),
                call16.StopTransaction(meter_stop=2500, timestamp=at(9), transaction_id=9, id_tag="T"),
            ):
                assert await call(point, payload) is not None

    asyncio.run(scenario())


def test_every_answer_of_201_fits_its_schema() -> None:
    async def scenario() -> None:
        async with charger(ChargePoint201, "ocpp2.0.1") as (point, _):
            token = {"id_token": "T", "type": "Central"}
            info = {"transaction_id": "T-1"}
            for payload in (
                call201.Authorize(token),
                call201.BootNotification({"model": "m", "vendor_name": "v"}, "PowerUp"),
                call201.DataTransfer("v"),
                call201.Heartbeat(),
                call201.MeterValues(1, [{"timestamp": at(1), "sampled_value": [{"value": 1}]}]),
                call201.StatusNotification(at(0), "Available", 1, 1),
                call201.TransactionEvent("Started", at(0), "Authorized", 0, info, id_token=token),
                call201.TransactionEvent("Updated", at(1), "MeterValuePeriodic", 1, info),
            ):
                assert await call(point, payload) is not None

    asyncio.run(scenario())
