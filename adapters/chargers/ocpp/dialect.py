"""What the two versions of OCPP have in common for an adapter: a charger's calls in, what follows from them out. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from ocpp import exceptions

from adapters.chargers.ocpp.frames import Call, Unusable
from broker.contract.charging.topics import ChargePoint, RemoteRequest, Transaction

OCPP16, OCPP201 = "ocpp1.6", "ocpp2.0.1"
SUBPROTOCOLS = (OCPP16, OCPP201)
HEARTBEAT_S = 300
"""Chargers are asked to send a heartbeat this often; the websocket is checked more often, by pings."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a decision needs beside the message.

    `now` is wall time, `new_number` returns a number for a transaction, `accepts` whether an id tag may charge.
    """

    charger: str
    now: datetime
    new_number: Callable[[], int]
    accepts: Callable[[str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What follows from a call."""

    point: ChargePoint
    """The charger afterwards."""
    answer: dict[str, Any]
    sessions: tuple[Transaction, ...] = ()
    """Transactions of which the charging session is to be published."""
    soc: float | None = None
    """A state of charge that was measured, %."""
    unused: str | None = None
    """Why a part of the message is of no use; it is answered all the same."""


Payload = Mapping[str, Any]
Take = Callable[[ChargePoint, Payload, Context], Outcome]


def take_call(
    takes: Mapping[str, Take], answers: Mapping[str, dict[str, Any]], point: ChargePoint, call: Call, context: Context
) -> Outcome:
    """Take a call of a charger: by the function of its action, or with the answer of an action that changes nothing.

    Raises:
        Unusable: its action is in neither, or it lacks a field without which it says nothing.
    """
    if (take := takes.get(call.action)) is not None:
        return take(point, call.payload, context)
    if (answer := answers.get(call.action)) is not None:
        return Outcome(point=point, answer=answer)
    raise Unusable(exceptions.NotImplementedError.code, f"the action {call.action[:50]!r} is not known")


def wall_clock(now: datetime) -> str:
    """Write the time by which chargers set their clocks, without fractions of a second, which some cannot read."""
    return f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


class CannotAsk(Exception):
    """A request that cannot be put to this charger now; the text is for the operator."""


class Dialect(Protocol):
    """One version of OCPP."""

    def take(self, point: ChargePoint, call: Call, context: Context) -> Outcome:
        """Take a call of a charger.

        Raises:
            Unusable: it cannot be used; its id is not set.
        """
        ...

    def error_code(self, code: str) -> str:
        """Return this version's spelling of an error code."""
        ...

    def request(self, point: ChargePoint, request: RemoteRequest, context: Context, /) -> tuple[str, dict[str, Any]]:
        """Return the action and the payload with which a charger is asked for something.

        Raises:
            CannotAsk: it cannot be.
        """
        ...
