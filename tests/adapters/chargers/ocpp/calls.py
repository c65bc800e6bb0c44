"""Calls of chargers against the decisions of an adapter, without sockets."""

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from adapters.chargers.ocpp.dialect import Context, Outcome
from adapters.chargers.ocpp.frames import Call
from adapters.chargers.ocpp.transactions import session
from adapters.chargers.ocpp.versions import dialect
from broker.contract.charging.topics import ChargePoint, ChargingSession, RemoteRequest

NOW = datetime(2026, 1, 31, 8, tzinfo=UTC)
NOW_TEXT = "2026-01-31T08:00:00.000000Z"


@dataclass
class Box:
    """A charger, and what the adapter knows of it."""

    protocol: str = "ocpp1.6"
    accepted: tuple[str, ...] | None = None
    published: list[ChargingSession] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.point = ChargePoint(protocol=self.protocol)
        numbers = itertools.count(17)
        accepts = (lambda tag: True) if self.accepted is None else self.accepted.__contains__
        self.context = Context("box", NOW, lambda: next(numbers), accepts)

    def take(self, action: str, **payload: Any) -> Outcome:
        outcome = dialect(self.protocol).take(self.point, Call("1", action, payload), self.context)
        self.point = outcome.point
        self.published += [session(each, "w1") for each in outcome.sessions]
        return outcome

    def call(self, action: str, **payload: Any) -> dict[str, Any]:
        return self.take(action, **payload).answer

    def request(self, **request: Any) -> tuple[str, dict[str, Any]]:
        return dialect(self.protocol).request(self.point, RemoteRequest(**request), self.context)

    def start(self, minute: int = 0, wh: int | None = 1000, connector: int = 1) -> int:
        answer = self.call("StartTransaction", connectorId=connector, idTag="T", meterStart=wh, timestamp=at(minute))
        return int(answer["transactionId"])

    def measure(self, number: int | None, minute: int, *values: dict[str, Any], connector: int = 1) -> Outcome:
        meter_value = [{"timestamp": at(minute), "sampledValue": list(values)}]
        return self.take("MeterValues", connectorId=connector, transactionId=number, meterValue=meter_value)

    def stop(self, number: int, minute: int, wh: int | None = None, **more: Any) -> Outcome:
        return self.take("StopTransaction", transactionId=number, timestamp=at(minute), meterStop=wh, **more)

    def event(self, kind: str, minute: int, kwh: float | None = None, soc: float | None = None, **more: Any) -> Outcome:
        sampled = [] if kwh is None else [{"value": kwh, "unitOfMeasure": {"unit": "kWh"}}]
        sampled += [] if soc is None else [{"value": soc, "measurand": "SoC"}]
        info = {"transactionId": "T-1", **more.pop("info", {})}
        values = [{"timestamp": at(minute), "sampledValue": sampled}]
        fields = {"eventType": kind, "timestamp": at(minute), "seqNo": minute, "transactionInfo": info, "meterValue": values}
        return self.take("TransactionEvent", **{**fields, **more})

    @property
    def last(self) -> ChargingSession:
        return self.published[-1]


def at(minute: int) -> str:
    return f"2026-01-31T10:{minute:02}:00Z"


def energy(value: object, unit: str | None = "Wh", **more: Any) -> dict[str, Any]:
    found = {"value": value, "measurand": "Energy.Active.Import.Register", **more}
    return found if unit is None else {**found, "unit": unit}
