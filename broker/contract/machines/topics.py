"""Machines: their readings, averages over the last ones, and the job status, which others may set."""

from enum import Enum
from typing import Annotated, Any

import msgspec

from broker.contract.identifiers import LARGEST_NUMBER
from broker.mqtt.topics import TopicTemplate
from broker.stream import AnyStream, Stream


class Status(Enum):
    """Status of a machine's job."""

    STARTED = "STARTED"
    ERROR = "ERROR"
    IDLE = "IDLE"
    COMPLETED = "COMPLETED"


class MachineReading(msgspec.Struct, frozen=True):
    """One reading. Devices omit fields or send text for a number: only the identifier is required, the rest is as received.

    `temperature` in °C, `fan_speed` in revolutions per minute, `timestamp` RFC 3339.
    """

    id: Annotated[int, msgspec.Meta(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER)]
    name: Any = None
    description: Any = None
    temperature: Any = None
    fan_speed: Any = None
    status: Any = None
    timestamp: Any = None


class MachineAverage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Means over a machine's last readings, null where none of them has a number; the status is the latest."""

    average_temperature: float | None
    average_speed: float | None
    status: str | None
    left_out: dict[str, int] = {}
    """Field → number of readings without a number there; fields without such readings are left out."""


class MachineStatus(msgspec.Struct, frozen=True):
    """A request to change a machine's status."""

    status: Status


READING = Stream(
    template=TopicTemplate("machines/{id}/reading"),
    payload=MachineReading,
    summary="machines → all",
    plant=True,
)
AVERAGE = Stream(
    template=TopicTemplate("machines/{id}/average"),
    payload=MachineAverage,
    summary="moving average → all",
    retain=True,
    plant=True,
)
STATUS = Stream(
    template=TopicTemplate("machines/{id}/status"),
    payload=MachineStatus,
    summary="operator, HTTP → machine",
)
STREAMS: tuple[AnyStream, ...] = (READING, AVERAGE, STATUS)

DEVICE_FILTERS = ("machines/+/reading", "machines/+/status")
"""Devices may publish these without an account."""

DEVICE_PUBLISHES, DEVICE_RECEIVES = ("machines/{name}/reading",), ("machines/{name}/status",)
"""A device with the account `name` may publish these, and read these."""

OPERATOR_STREAMS: tuple[AnyStream, ...] = (STATUS,)
"""Operators may publish these."""

THINGS: dict[str, tuple[AnyStream, ...]] = {"machine": (AVERAGE, READING, STATUS)}
"""What can be forgotten, and the streams that may have retained messages of it."""
