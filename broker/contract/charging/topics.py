"""Charging: chargers, the widgets of their customers, sessions. The frames of chargers and widgets are given from outside."""

from enum import Enum
from typing import Annotated, Literal

import msgspec

from broker.mqtt.topics import TopicTemplate
from broker.stream import AnyStream, Stream

Soc = Annotated[float, msgspec.Meta(ge=0, le=100)]
"""State of charge, %. JSON knows neither NaN nor infinity, and `true` is no number."""


class SocData(msgspec.Struct, frozen=True):
    """What a charger measured."""

    soc: Soc


class SocEvent(msgspec.Struct, frozen=True):
    """A charger's frame: `{"event":"StateOfCharge","data":{"soc":70}}`."""

    event: Literal["StateOfCharge"]
    data: SocData


class Status(Enum):
    """What a widget shows."""

    CHARGING = "charging"
    """Below 80 %: red."""
    CHARGING_80 = "charging80"
    """From 80 %: yellow."""
    CHARGED = "charged"
    """At 100 %: green."""
    UNAVAILABLE = "unavailable"
    """Nothing is known of the charger. Widgets show it as not recognised."""


class StatusData(msgspec.Struct, frozen=True):
    """What a widget is told."""

    status: Status


class StatusEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A frame for a widget: `{"event":"chargingStatus","data":{"status":"charging"}}`."""

    event: Literal["chargingStatus"] = "chargingStatus"
    data: StatusData


class Link(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether the websocket of a charger or of a widget is open; published, retained, at every change.

    It holds as long as `adapter` is online: an adapter that was killed could not say that its connections are closed.
    """

    connected: bool
    adapter: str
    """Name of the component that holds, or held, the connection."""
    connection: str
    """Tells this connection from all others, also from earlier ones of the same charger."""
    address: str
    """Where it comes from."""
    reason: str | None = None
    """Why it is closed; of one that is open: that it is said again (`adapters/chargers/takeover.py`)."""


class Pairs(msgspec.Struct, frozen=True):
    """Charger → widget, all there are. Each charger has exactly one widget, and each widget one charger."""

    pairs: dict[str, str]


class EndedBy(Enum):
    """Why a session is over."""

    CHARGED = "charged"
    """The battery is full."""
    REPLACED = "replaced"
    """The state of charge fell: another battery."""
    OFFLINE = "offline"
    """The charger is gone."""
    UNPAIRED = "unpaired"
    """The charger was taken out of the pairs."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """The charging of one battery, published when it begins and, whole, when it is over: the first end that is said holds.

    Instants are plant time, RFC 3339; what is null is not known yet.
    """

    session: str
    widget: str
    started_at: str
    soc_start: float
    ended_at: str | None = None
    soc_end: float | None = None
    duration_s: float | None = None
    ended_by: EndedBy | None = None


class Running(msgspec.Struct, frozen=True):
    """The session that a charger is in."""

    session: str
    started_at: str
    soc_start: float
    soc_highest: float
    """A battery's state of charge that is clearly below is another battery's."""


class ChargerState(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a charger; the controller goes on from it after a restart. Null where nothing is known yet."""

    state: Literal["online", "offline"]
    widget: str
    soc: float | None = None
    soc_at: str | None = None
    """Plant time at which the state of charge came, RFC 3339."""
    status: Status = Status.UNAVAILABLE
    """What its widget was told last."""
    session: Running | None = None
    full: bool = False
    """The battery that is there has been charged: it begins no session anew."""


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
    payload=Link,
    summary="charger adapter → charging: whether the charger is connected",
    retain=True,
)
WIDGET_LINK = Stream(
    template=TopicTemplate("widgets/{id}/link"),
    payload=Link,
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
    payload=Session,
    summary="charging → all: the beginning and the end of a session",
    plant=True,
)
PAIRS = Stream(
    template=TopicTemplate("charging/pairs"),
    payload=Pairs,
    summary="charging → charger adapter: which charger belongs to which widget",
    retain=True,
)
STREAMS: tuple[AnyStream, ...] = (SOC, STATUS, CHARGER_LINK, WIDGET_LINK, STATE, SESSION, PAIRS)
