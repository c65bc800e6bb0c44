"""OCPP 1.6J: a charger's calls, and what it may be asked for. Pure.

Sections are those of "Open Charge Point Protocol 1.6, edition 2".
"""

from typing import Any

from msgspec.structs import replace
from ocpp import exceptions
from ocpp.v16 import call, call_result

from adapters.chargers.ocpp.dialect import HEARTBEAT_S, CannotAsk, Context, Outcome, Payload, Take, take_call, wall_clock
from adapters.chargers.ocpp.frames import Call, Unusable
from adapters.chargers.ocpp.payloads import wire
from adapters.chargers.ocpp.reports import instant, kwh, latest_soc, number, required, samples, text, whole
from adapters.chargers.ocpp.transactions import begin, ended, find, merged, running, with_status, with_transaction
from broker.contract.charging.topics import ChargePoint, RemoteAction, RemoteRequest

MISSING = exceptions.OccurenceConstraintViolationError.code


class Ocpp16:
    """OCPP 1.6."""

    def take(self, point: ChargePoint, call: Call, context: Context) -> Outcome:
        """Take a call of a charger.

        Raises:
            Unusable: its action is not known, or it lacks a field without which it says nothing.
        """
        return take_call(_TAKES, _ANSWERS, point, call, context)

    def error_code(self, code: str) -> str:
        """Return this version's spelling of an error code."""
        return exceptions.FormationViolationError.code if code == "FormatViolation" else code

    def request(self, point: ChargePoint, request: RemoteRequest, _context: Context) -> tuple[str, dict[str, Any]]:
        """Return the action and the payload with which a charger is asked for something.

        Raises:
            CannotAsk: it has no transaction to stop.
        """
        if request.action is RemoteAction.START:
            assert request.id_tag is not None
            return "RemoteStartTransaction", wire(call.RemoteStartTransaction(request.id_tag, request.connector))
        if request.action is RemoteAction.RESET:
            return "Reset", wire(call.Reset(request.type.value))
        transaction = running(point, request.connector)
        if transaction is None:
            raise CannotAsk("it has no transaction that is running")
        return "RemoteStopTransaction", wire(call.RemoteStopTransaction(int(transaction.id)))


def _boot(point: ChargePoint, payload: Payload, context: Context) -> Outcome:
    """Section 4.2."""
    point = replace(
        point,
        vendor=text(payload.get("chargePointVendor")),
        model=text(payload.get("chargePointModel")),
        serial=text(payload.get("chargePointSerialNumber")) or text(payload.get("chargeBoxSerialNumber")),
        firmware=text(payload.get("firmwareVersion")),
    )
    return Outcome(point=point, answer=wire(call_result.BootNotification(wall_clock(context.now), HEARTBEAT_S, "Accepted")))


def _heartbeat(point: ChargePoint, _payload: Payload, context: Context) -> Outcome:
    """Section 4.6."""
    return Outcome(point=point, answer=wire(call_result.Heartbeat(wall_clock(context.now))))


def _status(point: ChargePoint, payload: Payload, _context: Context) -> Outcome:
    """Section 4.9."""
    action = "StatusNotification"
    connector = required(whole(payload.get("connectorId")), "connectorId", action, MISSING)
    status = required(text(payload.get("status")), "status", action, MISSING)
    return Outcome(point=with_status(point, connector, status), answer={})


def _authorize(point: ChargePoint, payload: Payload, context: Context) -> Outcome:
    """Section 4.1."""
    tag = required(text(payload.get("idTag")), "idTag", "Authorize", MISSING)
    return Outcome(point=point, answer=wire(call_result.Authorize(_tag_info(tag, context))))


def _start(point: ChargePoint, payload: Payload, context: Context) -> Outcome:
    """Section 4.8. The charger learns from the answer whether the id tag is accepted; it has begun to charge by then."""
    connector = required(whole(payload.get("connectorId")), "connectorId", "StartTransaction", MISSING)
    at, register_kwh = instant(payload.get("timestamp"), context.now), kwh(payload.get("meterStart"))
    point, transaction = begin(point, context.charger, connector, at, register_kwh, context.new_number)
    answer = call_result.StartTransaction(int(transaction.id), _tag_info(text(payload.get("idTag")) or "", context))
    return Outcome(point=point, answer=wire(answer), sessions=(transaction,))


def _stop(point: ChargePoint, payload: Payload, context: Context) -> Outcome:
    """Section 4.10."""
    required(number(payload.get("transactionId")), "transactionId", "StopTransaction", MISSING)
    tag = text(payload.get("idTag"))
    answer = wire(call_result.StopTransaction(_tag_info(tag, context))) if tag else {}
    transaction = find(point, _number(payload["transactionId"]))
    if transaction is None:
        unused = f"transaction {payload['transactionId']} is not one of this charger's last ones"
        return Outcome(point=point, answer=answer, unused=unused)
    measured = samples(payload.get("transactionData"), context.now)
    at = instant(payload.get("timestamp"), context.now)
    transaction = ended(merged(transaction, measured), at, kwh(payload.get("meterStop")))
    return Outcome(point=with_transaction(point, transaction), answer=answer, sessions=(transaction,), soc=latest_soc(measured))


def _meter_values(point: ChargePoint, payload: Payload, context: Context) -> Outcome:
    """Section 4.7. They may also have been measured outside of any transaction."""
    if not isinstance(payload.get("meterValue"), list):
        raise Unusable(MISSING, "MeterValues without a usable meterValue")
    measured = samples(payload["meterValue"], context.now)
    transaction = find(point, _number(payload.get("transactionId")), whole(payload.get("connectorId")))
    if transaction is not None:
        point = with_transaction(point, merged(transaction, measured))
    return Outcome(point=point, answer={}, soc=latest_soc(measured))


def _number(value: Any) -> str | None:
    """Read the number of a transaction; chargers write 0 or -1 where they have not got one."""
    found = whole(value)
    return str(found) if found else None


def _tag_info(tag: str, context: Context) -> dict[str, str]:
    return {"status": "Accepted" if context.accepts(tag) else "Invalid"}


_TAKES: dict[str, Take] = {
    "Authorize": _authorize,
    "BootNotification": _boot,
    "Heartbeat": _heartbeat,
    "MeterValues": _meter_values,
    "StartTransaction": _start,
    "StatusNotification": _status,
    "StopTransaction": _stop,
}
_ANSWERS: dict[str, dict[str, Any]] = {
    "DataTransfer": wire(call_result.DataTransfer("UnknownVendorId")),
    "DiagnosticsStatusNotification": {},
    "FirmwareStatusNotification": {},
    "LogStatusNotification": {},
    "SecurityEventNotification": {},
    "SignCertificate": wire(call_result.SignCertificate("Rejected")),
    "SignedFirmwareStatusNotification": {},
}
"""What is only answered: it is recorded, and decides nothing here."""
