"""OCPP 2.0.1: a charger's calls, and what it may be asked for. Pure.

Sections are those of "OCPP 2.0.1, part 2". A connector is an EVSE here.
"""

from typing import Any

from msgspec.structs import replace
from ocpp import exceptions
from ocpp.v201 import call, call_result

from adapters.chargers.ocpp.dialect import HEARTBEAT_S, CannotAsk, Context, Outcome, Payload, Take, take_call, wall_clock
from adapters.chargers.ocpp.frames import Call, Unusable
from adapters.chargers.ocpp.payloads import wire
from adapters.chargers.ocpp.reports import instant, latest_soc, required, samples, text, whole
from adapters.chargers.ocpp.transactions import ended, find, merged, running, session_name, with_status, with_transaction
from broker.contract.charging.topics import ChargePoint, RemoteAction, RemoteRequest, ResetType, Transaction

MISSING = exceptions.OccurenceConstraintViolationError.code


class Ocpp201:
    """OCPP 2.0.1."""

    def take(self, point: ChargePoint, call: Call, context: Context) -> Outcome:
        """Take a call of a charger.

        Raises:
            Unusable: its action is not known, or it lacks a field without which it says nothing.
        """
        return take_call(_TAKES, _ANSWERS, point, call, context)

    def error_code(self, code: str) -> str:
        """Return this version's spelling of an error code."""
        return code

    def request(self, point: ChargePoint, request: RemoteRequest, context: Context) -> tuple[str, dict[str, Any]]:
        """Return the action and the payload with which a charger is asked for something.

        Raises:
            CannotAsk: it has no transaction to stop.
        """
        if request.action is RemoteAction.START:
            token = {"id_token": request.id_tag, "type": "Central"}
            start = call.RequestStartTransaction(
                id_token=token, remote_start_id=context.new_number(), evse_id=request.connector
            )
            return "RequestStartTransaction", wire(start)
        if request.action is RemoteAction.RESET:
            return "Reset", wire(call.Reset("Immediate" if request.type is ResetType.HARD else "OnIdle"))
        transaction = running(point, request.connector)
        if transaction is None:
            raise CannotAsk("it has no transaction that is running")
        return "RequestStopTransaction", wire(call.RequestStopTransaction(transaction.id))


def _boot(point: ChargePoint, payload: Payload, context: Context) -> Outcome:
    """Section B, 1.4.1."""
    station = _object(payload.get("chargingStation"))
    point = replace(
        point,
        vendor=text(station.get("vendorName")),
        model=text(station.get("model")),
        serial=text(station.get("serialNumber")),
        firmware=text(station.get("firmwareVersion")),
    )
    return Outcome(point=point, answer=wire(call_result.BootNotification(wall_clock(context.now), HEARTBEAT_S, "Accepted")))


def _heartbeat(point: ChargePoint, _payload: Payload, context: Context) -> Outcome:
    return Outcome(point=point, answer=wire(call_result.Heartbeat(wall_clock(context.now))))


def _status(point: ChargePoint, payload: Payload, _context: Context) -> Outcome:
    action = "StatusNotification"
    evse = required(whole(payload.get("evseId")), "evseId", action, MISSING)
    status = required(text(payload.get("connectorStatus")), "connectorStatus", action, MISSING)
    return Outcome(point=with_status(point, evse, status), answer={})


def _authorize(point: ChargePoint, payload: Payload, context: Context) -> Outcome:
    token = required(_token(payload), "idToken", "Authorize", MISSING)
    return Outcome(point=point, answer=wire(call_result.Authorize(_token_info(token, context))))


def _event(point: ChargePoint, payload: Payload, context: Context) -> Outcome:
    """Section E. Events may be missing, repeated, or late: whichever comes first makes the transaction known."""
    info, kind = _object(payload.get("transactionInfo")), payload.get("eventType")
    transaction_id = required(text(info.get("transactionId")), "transactionId", "TransactionEvent", MISSING)
    if kind not in ("Started", "Updated", "Ended"):
        raise Unusable(MISSING, "TransactionEvent without a usable eventType")
    at, evse = instant(payload.get("timestamp"), context.now), whole(_object(payload.get("evse")).get("id"))
    known = find(point, transaction_id)
    name = session_name(context.charger, transaction_id)
    before = known or Transaction(id=transaction_id, session=name, connector=evse, started_at=at)
    measured = samples(payload.get("meterValue"), context.now)
    changes = _changes(before, kind, at, evse, text(info.get("chargingState")))
    transaction = merged(before, measured, **changes)
    if kind == "Ended":
        transaction = ended(transaction, at)
    token = _token(payload)
    answer = wire(call_result.TransactionEvent(id_token_info=_token_info(token, context))) if token else {}
    told = known is None or kind != "Updated"
    return Outcome(
        point=with_transaction(point, transaction),
        answer=answer,
        sessions=(transaction,) if told else (),
        soc=latest_soc(measured),
    )


def _changes(before: Transaction, kind: str, at: str, evse: int | None, state: str | None) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if kind == "Started":
        changes["started_at"] = at
    if state is not None:
        changes["charging_state"] = state
    if evse is not None and before.connector is None:
        changes["connector"] = evse
    return changes


def _meter_values(point: ChargePoint, payload: Payload, context: Context) -> Outcome:
    """Section J: measured outside of transactions, or at the same time as in one."""
    if not isinstance(payload.get("meterValue"), list):
        raise Unusable(MISSING, "MeterValues without a usable meterValue")
    measured, evse = samples(payload["meterValue"], context.now), whole(payload.get("evseId"))
    transaction = running(point, evse)
    if transaction is not None:
        point = with_transaction(point, merged(transaction, measured))
    return Outcome(point=point, answer={}, soc=latest_soc(measured))


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _token(payload: Payload) -> str | None:
    return text(_object(payload.get("idToken")).get("idToken"))


def _token_info(token: str, context: Context) -> dict[str, str]:
    return {"status": "Accepted" if context.accepts(token) else "Invalid"}


_TAKES: dict[str, Take] = {
    "Authorize": _authorize,
    "BootNotification": _boot,
    "Heartbeat": _heartbeat,
    "MeterValues": _meter_values,
    "StatusNotification": _status,
    "TransactionEvent": _event,
}
_ANSWERS: dict[str, dict[str, Any]] = {
    "ClearedChargingLimit": {},
    "DataTransfer": wire(call_result.DataTransfer("UnknownVendorId")),
    "FirmwareStatusNotification": {},
    "Get15118EVCertificate": wire(call_result.Get15118EVCertificate("Failed", "")),
    "GetCertificateStatus": wire(call_result.GetCertificateStatus("Failed")),
    "LogStatusNotification": {},
    "NotifyChargingLimit": {},
    "NotifyCustomerInformation": {},
    "NotifyDisplayMessages": {},
    "NotifyEVChargingNeeds": wire(call_result.NotifyEVChargingNeeds("Rejected")),
    "NotifyEVChargingSchedule": wire(call_result.NotifyEVChargingSchedule("Rejected")),
    "NotifyEvent": {},
    "NotifyMonitoringReport": {},
    "NotifyReport": {},
    "PublishFirmwareStatusNotification": {},
    "ReportChargingProfiles": {},
    "ReservationStatusUpdate": {},
    "SecurityEventNotification": {},
    "SignCertificate": wire(call_result.SignCertificate("Rejected")),
}
"""What is only answered: it is recorded, and decides nothing here."""
