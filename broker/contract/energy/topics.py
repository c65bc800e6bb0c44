"""Energy: consumption as ships post it, and the energy of each quarter of an hour that is computed from it."""

from typing import Annotated, Any, Literal

import msgspec

from broker.mqtt.topics import TopicTemplate
from broker.stream import AnyStream, Stream

MEASURED, PARTIAL, ESTIMATED = "measured", "partial", "estimated"
"""Quality of a quarter: covered by readings, covered in part, or covered by readings that are longer than a quarter."""

Falls = Literal["ignore", "reset", "swap"]
"""A register fell: readings below the highest are left out, it began again at 0, or it is another meter."""


class Consumption(msgspec.Struct, frozen=True):
    """A post of a ship. Everything in it may be wrong: the normalizer reads it and reports what is.

    `spaceship_id` is a whole number or a text, `units` `kW` or `kWh`, `data` a list of `{"datetime", "value"}` in any
    order, and `interval_minutes` the time that each reading covers, where it cannot be inferred from their spacing.

    With `register`, a meter's name, the values are those of its register at those times, which counts kWh up. `falls` (`Falls`)
    decides about a value below the one before; left out, it is `ignore`. A ship has the energy of its registers and of its
    other readings together.
    """

    spaceship_id: Any
    units: Any = None
    data: Any = None
    interval_minutes: Any = None
    register: Any = None
    falls: Any = None


class Quarter(msgspec.Struct, frozen=True, omit_defaults=True):
    """The energy of a quarter of an hour.

    `value` is in kWh, null where an earlier one is withdrawn; `coverage` is the share of the quarter that readings cover, 0..1.
    """

    datetime: str
    """Its beginning, RFC 3339 in UTC, whole seconds: `2018-08-24T00:15:00Z`."""
    value: float | None
    quality: str
    coverage: float
    negative: bool = False
    """It includes a reading below 0."""


class Intervals(msgspec.Struct, frozen=True):
    """Quarters that are new or have changed, in order of time."""

    spaceship_id: int | str
    data: tuple[Quarter, ...]
    units: str = "kWh"


class Skipped(msgspec.Struct, frozen=True):
    """A value that could not be used: its place in `data`, from 0, and why."""

    index: int
    reason: str


class Stored(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of a post, with the request's correlation data: values accepted and skipped, or why nothing was stored.

    It is sent after the quarters, so a client that queries the recorder next sees them.
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
    template=TopicTemplate("energy/answer/{client}", deep=True),
    payload=Stored,
    summary="energy → the client that posted with a response topic",
)
ANOMALY = Stream(
    template=TopicTemplate("energy/{ship}/anomaly"),
    payload=Anomaly,
    summary="energy → all",
)
STREAMS: tuple[AnyStream, ...] = (RAW, INTERVAL, ANSWER, ANOMALY)

ANSWERS: tuple[AnyStream, ...] = (ANSWER,)
"""Only the client that asked may read these."""

DEVICE_FILTERS = ("energy/+/raw",)
"""Devices may publish these without an account."""

DEVICE_PUBLISHES = ("energy/{name}/raw",)
"""A device with the account `name` may publish these."""

THINGS: dict[str, tuple[AnyStream, ...]] = {"ship": (RAW,)}
"""What can be forgotten, and the streams that may have retained messages of it."""
