"""Declared devices: the state of each declaration in the folder of `SCAUP_DEVICES`."""

from typing import Literal

import msgspec

from broker.contract.charging.topics import SOC
from broker.mqtt.topics import TopicTemplate
from broker.stream import AnyStream, Stream

Kind = Literal["sensor", "valve", "setpoint", "machine", "meter", "charger", "table"]
KINDS: tuple[Kind, ...] = ("sensor", "valve", "setpoint", "machine", "meter", "charger", "table")
"""What a device can be declared as."""


class DeviceState(msgspec.Struct, frozen=True, kw_only=True):
    """State of a declaration, and counts of its messages since the component's start.

    `error` is why the file cannot be used, or what was wrong with the last message, since `error_at`, RFC 3339 in wall time. A
    file that cannot be used leaves what it declared before `active`.
    """

    kind: str
    file: str
    active: bool
    link: Literal["online", "offline"] | None = None
    """Whether the device is connected, null where its protocol does not show that."""
    mapped: int = 0
    ignored: int = 0
    """Messages without a reading: nothing there, no newer device time, or retained."""
    rejected: int = 0
    """Malformed messages; `rejected/devices` has them whole."""
    error: str | None = None
    error_at: str | None = None


class AccessMark(msgspec.Struct, frozen=True):
    """The mark of access rules, a hash of them."""

    rules: str


STATE = Stream(
    template=TopicTemplate("devices/{device}/state"),
    payload=DeviceState,
    summary="devices → all: a declaration, `KIND.NAME`, its link and its counts; removed with the declaration",
    retain=True,
)
ACCESS = Stream(
    template=TopicTemplate("devices/access/{rules}"),
    payload=AccessMark,
    summary="devices → devices: delivered as soon as the broker has read the access rules of new declarations",
    qos=0,
)
STREAMS: tuple[AnyStream, ...] = (STATE, ACCESS)

ADMIN_STREAMS: tuple[AnyStream, ...] = (SOC,)
"""Administrators may publish these besides: `scaup devices apply` fills the past of chargers too."""
