"""Charging: chargers, the widgets of their customers, and sessions. The frames of both are fixed by the devices."""

from enum import Enum
from typing import Annotated, Any, Literal

import msgspec

from broker.mqtt.topics import TopicTemplate
from broker.stream import AnyStream, Stream

Soc = Annotated[float, msgspec.Meta(ge=0, le=100)]
"""State of charge, %. JSON has neither NaN nor infinity, and `true` is not a number."""


class SocData(msgspec.Struct, frozen=True):
    """Measurement of a charger."""

    soc: Soc


class SocEvent(msgspec.Struct, frozen=True):
    """A charger's frame: `{"event":"StateOfCharge","data":{"soc":70}}`."""

    event: Literal["StateOfCharge"]
    data: SocData


class Status(Enum):
    """Display of a widget."""

    CHARGING = "charging"
    """Below 80 %: red."""
    CHARGING_80 = "charging80"
    """From 80 %: yellow."""
    CHARGED = "charged"
    """At 100 %: green."""
    UNAVAILABLE = "unavailable"
    """Nothing is known about the charger. Widgets show it as not recognised."""


class StatusData(msgspec.Struct, frozen=True):
    """Data of a frame for a widget."""

    status: Status


class StatusEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A frame for a widget: `{"event":"chargingStatus","data":{"status":"charging"}}`."""

    event: Literal["chargingStatus"]
    data: StatusData


def status_event(status: Status) -> StatusEvent:
    """Return the frame that shows a status on a widget."""
    return StatusEvent(event="chargingStatus", data=StatusData(status))


class ClientLink(msgspec.Struct, frozen=True, omit_defaults=True):
    """State of the websocket of a charger or of a widget, published and retained at every change.

    It is valid only while `adapter` is online: an adapter that was killed could not report that its connections are closed.
    """

    connected: bool
    adapter: str
    """Name of the component that has, or had, the connection."""
    connection: str
    """Identifier of the connection, different from all others, also from earlier ones of the same charger."""
    address: str
    """Address of the peer."""
    reason: str | None = None
    """Why it is closed; for an open connection, that its state is repeated (`adapters/chargers/takeover.py`)."""


class Pairs(msgspec.Struct, frozen=True):
    """All pairs, charger → widget. Each charger has exactly one widget, and each widget one charger."""

    pairs: dict[str, str]


class PairAction(Enum):
    """A change of the pairs."""

    PAIR = "pair"
    UNPAIR = "unpair"


class PairRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request of an operator: `{"action":"pair","charger":"c1234","widget":"wABCD"}`, or `unpair`, which needs no widget."""

    action: PairAction
    charger: str
    widget: str | None = None


class PairAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of a request, with its correlation data: the pair that was made, existed already or was removed, or an error.

    `status`: `paired`, `already paired` or `unpaired`. `error`: why nothing has changed.
    """

    action: PairAction | None
    """Null where the request could not be read."""
    status: str | None = None
    charger: str | None = None
    widget: str | None = None
    error: str | None = None


class EndedBy(Enum):
    """Reason why a session ended."""

    CHARGED = "charged"
    """The battery is full."""
    REPLACED = "replaced"
    """The state of charge fell: another battery."""
    OFFLINE = "offline"
    """The charger disconnected."""
    UNPAIRED = "unpaired"
    """The charger was removed from the pairs."""
    STOPPED = "stopped"
    """The transaction of an OCPP charger was stopped."""


class ChargingSession(msgspec.Struct, frozen=True, kw_only=True):
    """The charging of one battery, published when it begins and, complete, when it ends: the first published end counts.

    Of an OCPP charger it is a transaction. Instants are plant time, of an OCPP charger its own, RFC 3339; a field that is not
    known is null.
    """

    session: str
    widget: str | None
    """Null where the charger has none."""
    started_at: str
    soc_start: float | None
    ended_at: str | None = None
    soc_end: float | None = None
    duration_s: float | None = None
    ended_by: EndedBy | None = None
    connector: int | None = None
    """Of an OCPP charger, which may have several sessions at once."""
    kwh: float | None = None
    """Of an OCPP charger: the energy by its register, when the session has ended."""


class Running(msgspec.Struct, frozen=True):
    """The running session of a charger."""

    session: str
    started_at: str
    soc_start: float | None
    soc_highest: float | None
    """A state of charge that is clearly lower belongs to another battery. Both are null where none is known."""


class ChargerState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything known about a charger; a restarted controller continues from it. Unknown fields are null."""

    state: Literal["online", "offline"]
    widget: str | None
    """Null where an OCPP charger has none."""
    soc: float | None = None
    soc_at: str | None = None
    """Plant time at which the state of charge was received, RFC 3339."""
    status: Status = Status.UNAVAILABLE
    """Last status sent to its widget."""
    session: Running | None = None
    full: bool = False
    """The connected battery is already charged: it does not begin another session."""


class Transaction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A transaction of an OCPP charger: one charging of a car. Instants are the charger's, RFC 3339."""

    id: str
    """In OCPP 1.6 the number that the adapter gave it, in 2.0.1 the charger's own id."""
    session: str
    """Name of the charging session."""
    started_at: str
    connector: int | None = None
    """In OCPP 2.0.1 the EVSE."""
    register_start_kwh: float | None = None
    register_start_at: str | None = None
    """When that was sampled; null where the charger has named it as that of the beginning."""
    register_kwh: float | None = None
    """The latest reading of the energy register, at `register_at`."""
    register_at: str | None = None
    soc_start: float | None = None
    soc: float | None = None
    """The latest state of charge, %, at `soc_at`."""
    soc_at: str | None = None
    charging_state: str | None = None
    """In OCPP 2.0.1: `Charging`, `SuspendedEV`, …"""
    ended_at: str | None = None


class ChargePoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an OCPP charger has reported, as far as later messages build on that. A restarted adapter continues from it."""

    protocol: str
    """`ocpp1.6` or `ocpp2.0.1`."""
    vendor: str | None = None
    model: str | None = None
    serial: str | None = None
    firmware: str | None = None
    connectors: dict[str, str] = {}
    """The last status of each connector, in OCPP 2.0.1 of each EVSE: `Available`, `Charging`, …"""
    transactions: tuple[Transaction, ...] = ()
    """Those that have not ended, and the last ones that have, oldest first."""


class RemoteAction(Enum):
    """What an operator may ask of an OCPP charger."""

    START = "start"
    STOP = "stop"
    RESET = "reset"


class ResetType(Enum):
    """How an OCPP charger restarts: after it has ended its transactions, or at once."""

    SOFT = "Soft"
    HARD = "Hard"


class RemoteRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request to an OCPP charger: `{"action":"start","id_tag":"T1","connector":1}`.

    `start` needs an id tag. `stop` without a connector is for the transaction that began last.
    """

    action: RemoteAction
    id_tag: str | None = None
    connector: int | None = None
    type: ResetType = ResetType.SOFT


class RemoteAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of a request, with its correlation data: the charger's own word, such as `Accepted`, or an error."""

    action: RemoteAction | None = None
    status: str | None = None
    error: str | None = None


SOC = Stream(
    template=TopicTemplate("chargers/{id}/soc"),
    payload=SocEvent,
    summary="charger adapter → charging: the charger's own frames, verbatim",
    plant=True,
)
STATUS = Stream(
    template=TopicTemplate("widgets/{id}/status"),
    payload=StatusEvent,
    summary="charging → charger adapter: the widget's own frames, verbatim",
    retain=True,
    plant=True,
)
CHARGER_LINK = Stream(
    template=TopicTemplate("chargers/{id}/link"),
    payload=ClientLink,
    summary="charger adapter → charging: whether the charger is connected",
    retain=True,
)
WIDGET_LINK = Stream(
    template=TopicTemplate("widgets/{id}/link"),
    payload=ClientLink,
    summary="charger adapter → all: whether the widget is connected",
    retain=True,
)
STATE = Stream(
    template=TopicTemplate("chargers/{id}/state"),
    payload=ChargerState,
    summary="charging → all: online or offline, state of charge, status, session",
    retain=True,
    plant=True,
)
SESSION = Stream(
    template=TopicTemplate("chargers/{id}/session"),
    payload=ChargingSession,
    summary="charging, of an OCPP charger the charger adapter → all: the beginning and the end of a session",
    plant=True,
)
PAIRS = Stream(
    template=TopicTemplate("charging/pairs"),
    payload=Pairs,
    summary="charging → charger adapter: which charger belongs to which widget",
    retain=True,
)
REQUEST = Stream(
    template=TopicTemplate("charging/request"),
    payload=PairRequest,
    summary="operator → charging: pair or unpair a charger, with a response topic",
)
ANSWER = Stream(
    template=TopicTemplate("charging/answer/{client}", deep=True),
    payload=PairAnswer,
    summary="charging, charger adapter → the operator that sent a request: what has changed, or why nothing",
)
OCPP = Stream(
    template=TopicTemplate("chargers/{id}/ocpp"),
    payload=list[Any],
    summary="charger adapter → all: an OCPP charger's own frames, verbatim; answered after the broker has them",
    plant=True,
)
CHARGE_POINT = Stream(
    template=TopicTemplate("chargers/{id}/charge-point"),
    payload=ChargePoint,
    summary="charger adapter → charging: what an OCPP charger has reported: its connectors and transactions",
    retain=True,
)
REMOTE = Stream(
    template=TopicTemplate("chargers/{id}/request"),
    payload=RemoteRequest,
    summary="operator → charger adapter: start, stop or reset an OCPP charger, with a response topic",
)
STREAMS: tuple[AnyStream, ...] = (
    SOC,
    STATUS,
    CHARGER_LINK,
    WIDGET_LINK,
    STATE,
    SESSION,
    PAIRS,
    REQUEST,
    ANSWER,
    OCPP,
    CHARGE_POINT,
    REMOTE,
)

ANSWERS: tuple[AnyStream, ...] = (ANSWER,)
"""Only the client that asked may read these."""

OPERATOR_STREAMS: tuple[AnyStream, ...] = (REQUEST, REMOTE)
"""Operators may publish these."""

THINGS: dict[str, tuple[AnyStream, ...]] = {"charger": (STATE, CHARGER_LINK, CHARGE_POINT)}
"""What can be forgotten, and the streams that may have retained messages of it."""
