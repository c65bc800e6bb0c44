"""Energy: consumption as ships post it, and the quarters of an hour that are made of it."""

from typing import Annotated, Any

import msgspec

from broker.mqtt.topics import TopicTemplate
from broker.stream import AnyStream, Stream

MEASURED, PARTIAL, ESTIMATED = "measured", "partial", "estimated"
"""Quality of a quarter: covered by readings; covered in part; covered, but by readings that are longer than a quarter."""


class Consumption(msgspec.Struct, frozen=True):
    """What a ship posts. Everything in it may be wrong: the normalizer reads it, and says what is.

    `spaceship_id` is a whole number or a text, `units` `kW` or `kWh`, `data` a list of `{"datetime", "value"}` in any
    order, and `interval_minutes` what each reading stands for, where their spacing does not tell.
    """

    spaceship_id: Any
    units: Any = None
    data: Any = None
    interval_minutes: Any = None


class Quarter(msgspec.Struct, frozen=True, omit_defaults=True):
    """The energy of a quarter of an hour.

    `value` in kWh is null where a quarter that was told before is no more; `coverage` is the share that readings cover, 0..1.
    """

    datetime: str
    """Its beginning, RFC 3339 in UTC, whole seconds: `2018-08-24T00:15:00Z`."""
    value: float | None
    quality: str
    coverage: float
    negative: bool = False
    """A reading below 0 is part of it."""


class Intervals(msgspec.Struct, frozen=True):
    """Quarters that are new, or have another value than before, in order of time."""

    spaceship_id: int | str
    data: tuple[Quarter, ...]
    units: str = "kWh"


class Skipped(msgspec.Struct, frozen=True):
    """A value that could not be used: its place in `data`, from 0, and why."""

    index: int
    reason: str


class Stored(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a post, with the request's correlation data: values accepted and skipped, or why nothing was stored.

    It is sent after the quarters: who asks the recorder next sees them.
    """

    spaceship_id: int | str | None
    stored: int = 0
    skipped: tuple[Skipped, ...] = ()
    error: str | None = None
    """Names the field, and the index of the row: `data[3].datetime: …`."""


class Anomaly(msgspec.Struct, frozen=True):
    """Something unusual about a quarter, or from a quarter on."""

    spaceship_id: int | str
    datetime: str
    kind: str
    """`outlier`, `missing`, `flat` or `negative`."""
    value: float | None
    """kWh of the quarter, null where it is missing."""
    expected: float | None
    """Median of the ship's same quarter of the day, kWh."""
    text: Annotated[str, msgspec.Meta(max_length=1_000)]


RAW = Stream(
    template=TopicTemplate("energy/{ship}/raw"),
    payload=Consumption,
    summary="HTTP, ships → energy",
)
INTERVAL = Stream(
    template=TopicTemplate("energy/{ship}/interval"),
    payload=Intervals,
    summary="energy → all: quarters of an hour that are new or have changed",
)
ANSWER = Stream(
    template=TopicTemplate("energy/answer/{client}"),
    payload=Stored,
    summary="energy → the client that posted with a response topic",
)
ANOMALY = Stream(
    template=TopicTemplate("energy/{ship}/anomaly"),
    payload=Anomaly,
    summary="energy → all",
)
STREAMS: tuple[AnyStream, ...] = (RAW, INTERVAL, ANSWER, ANOMALY)

DEVICE_FILTERS = ("energy/+/raw",)
"""What a device may publish without an account."""
