"""Fastening: torque drivers, guided jobs and the catalog. The driver's own messages are its maker's, carried verbatim."""

from enum import Enum
from typing import Annotated, Any, Literal

import msgspec

from broker.mqtt.topics import TopicTemplate
from broker.stream import AnyStream, Stream

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Torque = int | float
"""N·m. A number stays as it was written: 19 does not become 19.0."""


class Direction(Enum):
    """Which way the driver turns."""

    FORWARD = "forward"
    REVERSE = "reverse"


class Setting(msgspec.Struct, frozen=True, omit_defaults=True):
    """Setting of a driver; `value` is the target torque in N·m, absent for reverse."""

    direction: Direction
    value: Torque | None = None


class TorqueCommand(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message to the driver: `reset` clears the set torque, `status` requests an answer that its maker did not document."""

    type: Literal["reset", "setTorque", "status"]
    data: Setting | None = None


class Operation(msgspec.Struct, frozen=True, omit_defaults=True):
    """An operation of a driver: a screw fastened at `current` N·m with `configured` set, or reversed (both are 0 then)."""

    direction: Direction
    current: Torque = msgspec.field(name="currentValue")
    configured: Torque = msgspec.field(name="configuredValue")
    ok: bool | None = msgspec.field(name="tighteningOk", default=None)
    """The tool's own judgement, where it has one: of the angle too, for instance."""


class TorqueEvent(msgspec.Struct, frozen=True):
    """A message from the driver. `operation` has an `Operation` as its `data`, `error` of an Open Protocol tool a `ToolError`.

    Other types are recorded but not used.
    """

    type: str
    data: Any = None


class ToolError(msgspec.Struct, frozen=True):
    """Why a tool cannot do what it was commanded, or why what it sent cannot be used."""

    reason: str


class DriverLink(msgspec.Struct, frozen=True):
    """State of a driver's connection, published and retained at every change; `error` is the reason why it is not connected."""

    connected: bool
    url: str
    error: str | None = None


class Step(msgspec.Struct, frozen=True):
    """One screw of a part: its number, its target torque and the accepted range, both ends included, N·m."""

    step: int
    target_nm: Torque
    min_nm: Torque
    max_nm: Torque


class Part(msgspec.Struct, frozen=True):
    """A part number in one revision, with its steps in the order of their numbers."""

    part_id: int
    part_number: str
    revision: str
    steps: tuple[Step, ...]


class SerialNumber(msgspec.Struct, frozen=True):
    """A single piece and the part that it is."""

    serial: str
    part_id: int


class Catalog(msgspec.Struct, frozen=True):
    """Everything that can be fastened."""

    serials: tuple[SerialNumber, ...]
    parts: tuple[Part, ...]


class Action(Enum):
    """The requests of a console."""

    START = "start"
    """Begin a job for `serial`, or resume one that was paused or whose console disconnected; this console holds it."""
    ATTACH = "attach"
    """Hold the running job: sent after the controller was restarted."""
    DETACH = "detach"
    """Release the job, which continues: a console's last will."""
    PAUSE = "pause"
    """Reset the driver; the job can be resumed."""
    CANCEL = "cancel"
    """End the job before it is complete."""
    RETRY = "retry"
    """Send the driver the last command again, since it did not answer."""


class FasteningRequest(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A request, published with a response topic `fastening/{driver}/answer/{console}`.

    `console` is the name of the console, shown to people as the holder of the driver.
    """

    action: Action
    serial: Name | None = None
    console: Name = "unnamed"


class State(Enum):
    """State of a job."""

    IDLE = "idle"
    FASTENING = "fastening"
    """The step was sent; its operation is awaited."""
    REVERSING = "reversing"
    """The screw was out of range and reverse was sent; its confirmation is awaited."""
    PAUSED = "paused"
    PAUSED_OUT_OF_RANGE = "paused out of range"
    """Paused while the screw has to be loosened."""
    COMPLETE = "complete"


class Result(msgspec.Struct, frozen=True):
    """The actual torque of a step, N·m."""

    step: int
    torque_nm: Torque
    in_range: bool


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A complete job, from which a controller that was killed continues."""

    id: str
    state: State
    serial: str
    part_number: str
    revision: str
    steps: tuple[Step, ...]
    at: int = 0
    """Index of the current step in `steps`."""
    attempt: int = 1
    """Number of settings sent to the driver in this job; it distinguishes a late operation from the awaited one."""
    results: tuple[Result, ...] = ()
    """Stored values, in the order of the steps."""
    reversed_at: str | None = None
    """Mark of the command that the driver had when it was last reversed; the same message once more is a duplicate."""


class DriverState(msgspec.Struct, frozen=True):
    """A driver's job (null before the first one), the console that holds it, and parked jobs, which can be resumed."""

    job: Job | None
    console: str | None = None
    parked: tuple[Job, ...] = ()


class FasteningError(msgspec.Struct, frozen=True):
    """Why a request was refused.

    `kind`: `unknown serial`, `no steps`, `unknown driver`, `busy` (another console holds the driver or the serial), `no job`,
    `invalid`.
    """

    kind: str
    message: str


class FasteningAnswer(msgspec.Struct, frozen=True):
    """The result of a request, with its correlation data. `connected` is null if no adapter has reported the driver."""

    job: Job | None
    error: FasteningError | None = None
    connected: bool | None = None


class Happening(Enum):
    """Kinds of `fastening/{driver}/event`. The first four decide what the view `fastening` holds for a serial and step."""

    IN_RANGE = "in range"
    OUT_OF_RANGE = "out of range"
    REVERSED = "reversed"
    """`void`: a stored value of `step` was deleted. `asked`: the driver had been commanded to reverse."""
    VOIDED = "voided"
    """A restarted controller cannot know whether this job had stored a value of the step; the step has none now."""
    STARTED = "job started"
    RESUMED = "job resumed"
    STEP_SENT = "step sent"
    REVERSE_SENT = "reverse sent"
    SILENT = "driver silent"
    """No operation in time; `reason` is that of the last unusable answer, if there was one."""
    AWAY = "driver away"
    BACK = "driver back"
    IGNORED = "ignored"
    """An operation that was not awaited; `reason` explains why."""
    UNUSABLE = "unusable answer"
    """The driver sent something, while its operation was awaited, that cannot be used; `reason` says why, and what it was."""
    PAUSED = "job paused"
    CANCELLED = "job cancelled"
    COMPLETE = "job complete"


class FasteningEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event of a job. Torques are in N·m; `in_range` is set for results only."""

    event: Happening
    job: str
    serial: str
    part_number: str
    revision: str
    step: int
    target_nm: Torque
    min_nm: Torque
    max_nm: Torque
    torque_nm: Torque | None = None
    in_range: bool | None = None
    void: bool | None = None
    asked: bool | None = None
    reason: str | None = None
    results: tuple[Result, ...] = ()
    """All results, with `job complete`."""


COMMAND = Stream(
    template=TopicTemplate("torque/{driver}/command"),
    payload=TorqueCommand,
    summary="fastening → torque adapter: the messages of a websocket driver, verbatim",
)
TORQUE_EVENT = Stream(
    template=TopicTemplate("torque/{driver}/event"),
    payload=TorqueEvent,
    summary="torque adapter → fastening: a websocket driver's own messages, verbatim; results of an Open Protocol tool alike",
)
LINK = Stream(
    template=TopicTemplate("torque/{driver}/link"),
    payload=DriverLink,
    summary="torque adapter → fastening: whether the driver is connected",
    retain=True,
)
REQUEST = Stream(
    template=TopicTemplate("fastening/{driver}/request"),
    payload=FasteningRequest,
    summary="console → fastening: start, attach, detach, pause, cancel, retry, with a response topic",
)
ANSWER = Stream(
    template=TopicTemplate("fastening/{driver}/answer/{console}", deep=True),
    payload=FasteningAnswer,
    summary="fastening → console: the result of its request",
)
EVENT = Stream(
    template=TopicTemplate("fastening/{driver}/event"),
    payload=FasteningEvent,
    summary="fastening → all: step sent, in range, out of range, reversed, job complete, …",
)
JOB = Stream(
    template=TopicTemplate("fastening/{driver}/job"),
    payload=DriverState,
    summary="fastening → all: the job of a driver, from which a killed controller continues",
    retain=True,
)
CATALOG = Stream(
    template=TopicTemplate("fastening/catalog"),
    payload=Catalog,
    summary="fastening → all: serial numbers, parts and their steps",
    retain=True,
)
STREAMS: tuple[AnyStream, ...] = (COMMAND, TORQUE_EVENT, LINK, REQUEST, ANSWER, EVENT, JOB, CATALOG)

ANSWERS: tuple[AnyStream, ...] = (ANSWER,)
"""Only the client that asked may read these."""

OPERATOR_STREAMS: tuple[AnyStream, ...] = (REQUEST,)
"""Operators may publish these."""

THINGS: dict[str, tuple[AnyStream, ...]] = {"driver": (JOB, LINK)}
"""What can be forgotten, and the streams that may have retained messages of it."""
