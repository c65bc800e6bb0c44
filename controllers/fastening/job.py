"""One job as a table: in which state what may happen, what follows, and what has to be done about it.

The table is the only place that says so; `docs/fastening.md` shows it as a diagram that is made from it. A job is the value
that travels on the bus (`broker.contract.fastening.topics.Job`): every function here returns a new one.

The results of a job are those of the steps before the current one; when the job is complete, and while its screw is out of
range and not loosened, that of the current one too.
"""

import math
from dataclasses import dataclass
from enum import Enum

from msgspec.structs import replace

from broker.contract.fastening.topics import (
    Direction,
    FasteningEvent,
    Happening,
    Job,
    Operation,
    Part,
    Result,
    Setting,
    State,
    Step,
    TorqueCommand,
)

ROUNDING_NM = 0.0005
"""By how much a driver may round the torque that it was set to, in the messages it sends: it has three decimals."""


class Event(Enum):
    """What may happen to a job."""

    STARTED = "started"
    IN_RANGE = "in range"
    LAST_IN_RANGE = "last in range"
    OUT_OF_RANGE = "out of range"
    REVERSED = "reversed"
    REVERSED_EARLY = "reversed early"
    """Before the driver was told to: it will be confirmed once more."""
    CONNECTED = "connected"
    """The driver's connection is new: it may have forgotten what it was set to."""
    RETRY = "retry"
    PAUSED = "paused"
    RESUMED = "resumed"
    CANCELLED = "cancelled"


class Do(Enum):
    """What a transition does, in this order."""

    STORE = "store the value"
    NEXT = "to the next step"
    BACK = "to the previous step"
    VOID = "void the value"
    SEND = "send the step"
    SEND_AGAIN = "send the step again"
    REVERSE = "send reverse"
    RESET = "reset the driver"
    COMPLETE = "tell that the job is complete"


@dataclass(frozen=True, slots=True)
class Transition:
    """Where an event leads, and what is done."""

    to: State
    do: tuple[Do, ...] = ()


TRANSITIONS: dict[State, dict[Event, Transition]] = {
    State.IDLE: {
        Event.STARTED: Transition(State.FASTENING, (Do.SEND,)),
        Event.CONNECTED: Transition(State.IDLE, (Do.RESET,)),
    },
    State.FASTENING: {
        Event.IN_RANGE: Transition(State.FASTENING, (Do.STORE, Do.NEXT, Do.SEND)),
        Event.LAST_IN_RANGE: Transition(State.COMPLETE, (Do.STORE, Do.RESET, Do.COMPLETE)),
        Event.OUT_OF_RANGE: Transition(State.REVERSING, (Do.STORE, Do.REVERSE)),
        Event.REVERSED: Transition(State.FASTENING, (Do.BACK, Do.VOID, Do.SEND)),
        Event.CONNECTED: Transition(State.FASTENING, (Do.SEND_AGAIN,)),
        Event.RETRY: Transition(State.FASTENING, (Do.SEND_AGAIN,)),
        Event.PAUSED: Transition(State.PAUSED, (Do.RESET,)),
        Event.CANCELLED: Transition(State.IDLE, (Do.RESET,)),
    },
    State.REVERSING: {
        Event.REVERSED: Transition(State.FASTENING, (Do.VOID, Do.SEND)),
        Event.REVERSED_EARLY: Transition(State.REVERSING, (Do.VOID,)),
        Event.CONNECTED: Transition(State.REVERSING, (Do.REVERSE,)),
        Event.RETRY: Transition(State.REVERSING, (Do.REVERSE,)),
        Event.PAUSED: Transition(State.PAUSED_OUT_OF_RANGE, (Do.RESET,)),
        Event.CANCELLED: Transition(State.IDLE, (Do.RESET,)),
    },
    State.PAUSED: {
        Event.REVERSED: Transition(State.PAUSED, (Do.BACK, Do.VOID)),
        Event.CONNECTED: Transition(State.PAUSED, (Do.RESET,)),
        Event.RESUMED: Transition(State.FASTENING, (Do.SEND,)),
        Event.CANCELLED: Transition(State.IDLE),
    },
    State.PAUSED_OUT_OF_RANGE: {
        Event.REVERSED: Transition(State.PAUSED, (Do.VOID,)),
        Event.CONNECTED: Transition(State.PAUSED_OUT_OF_RANGE, (Do.RESET,)),
        Event.RESUMED: Transition(State.REVERSING, (Do.REVERSE,)),
        Event.CANCELLED: Transition(State.IDLE),
    },
    State.COMPLETE: {
        Event.REVERSED: Transition(State.PAUSED, (Do.VOID,)),
        Event.CONNECTED: Transition(State.COMPLETE, (Do.RESET,)),
    },
}
"""Every transition; what is not here is refused and changes nothing."""

ACTIVE = frozenset({State.FASTENING, State.REVERSING})
"""The driver is set and its answer is awaited."""
PAUSED = frozenset({State.PAUSED, State.PAUSED_OUT_OF_RANGE})


class RefusedEvent(Exception):
    """The table has no transition for an event in the job's state."""

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(f"{event.value!r} means nothing while the job is {state.value}")
        self.state, self.event = state, event


@dataclass(frozen=True, slots=True)
class Command:
    """A message to the driver, and the mark by which an operation that answers it is known."""

    message: TorqueCommand
    mark: bytes


RESET = Command(TorqueCommand("reset"), b"/reset")

Outcome = Command | FasteningEvent
"""What a transition wants to be said, in order: to the driver, or to everybody."""


def new_job(number: str, serial: str, part: Part) -> Job:
    """Return a job that has not begun; `part` must have steps."""
    return Job(
        id=number,
        state=State.IDLE,
        serial=serial,
        part_number=part.part_number,
        revision=part.revision,
        steps=part.steps,
        attempt=0,
    )


def advance(job: Job, event: Event, operation: Operation | None = None) -> tuple[Job, list[Outcome]]:
    """Return the job after an event, and what has to be said; `operation` is the one that made the event.

    Raises:
        RefusedEvent: the table has no such transition. Nothing has changed.
    """
    transition = TRANSITIONS[job.state].get(event)
    if transition is None:
        raise RefusedEvent(job.state, event)
    outcomes: list[Outcome] = []
    asked = job.state is State.REVERSING and event is Event.REVERSED
    for do in transition.do:
        job, said = _DOING[do](job, operation, asked)
        outcomes += said
    return replace(job, state=transition.to), outcomes


def event_of(job: Job, operation: Operation, mark: bytes | None) -> Event | str:
    """Tell which event an operation is for a job, or why it is none.

    `mark` is that of the last command that the driver had been sent when it spoke; None where nobody knows. An operation that
    answers an earlier command is late or doubled, and never counts; without marks only its configured torque tells.
    """
    if mark is not None and not mark.startswith(f"{job.id}/".encode()):
        return "it belongs to an earlier job"
    if operation.direction is Direction.REVERSE:
        return _reverse(job, mark)
    if job.state is not State.FASTENING:
        return "the screw has to be loosened first" if job.state is State.REVERSING else "no step is being fastened"
    step = current(job)
    if mark not in (None, step_mark(job)):
        return "it answers an earlier command: late or doubled"
    if not math.isclose(operation.configured, step.target_nm, rel_tol=0, abs_tol=ROUNDING_NM):
        return f"it was made with {operation.configured} configured, step {step.step} wants {step.target_nm}"
    if not step.min_nm <= operation.current <= step.max_nm:
        return Event.OUT_OF_RANGE
    return Event.LAST_IN_RANGE if job.at == len(job.steps) - 1 else Event.IN_RANGE


def current(job: Job) -> Step:
    """Return the step that a job stands at."""
    return job.steps[job.at]


def step_mark(job: Job) -> bytes:
    """Return the mark of the command that sends the current step."""
    return f"{job.id}/{job.attempt}".encode()


def happening(job: Job, event: Happening, **facts: object) -> FasteningEvent:
    """Describe what happened at the current step."""
    step = current(job)
    return FasteningEvent(
        event=event,
        job=job.id,
        serial=job.serial,
        part_number=job.part_number,
        revision=job.revision,
        step=step.step,
        target_nm=step.target_nm,
        min_nm=step.min_nm,
        max_nm=step.max_nm,
        **facts,  # type: ignore[arg-type]
    )


def _reverse_mark(job: Job) -> bytes:
    return step_mark(job) + b"/reverse"


def reversed_with(job: Job, mark: bytes | None) -> Job:
    """Remember the mark of a reverse."""
    return replace(job, reversed_at=None if mark is None else mark.decode(errors="replace"))


def _reverse(job: Job, mark: bytes | None) -> Event | str:
    """A paused driver is sent nothing between two reverses, so there each of them counts: in doubt, a value is void."""
    if mark is not None and job.state in ACTIVE and mark.decode(errors="replace") == job.reversed_at:
        return "this reverse was taken already"
    if job.state is State.REVERSING and mark not in (None, _reverse_mark(job)):
        return Event.REVERSED_EARLY
    return Event.REVERSED if Event.REVERSED in TRANSITIONS[job.state] else "no job is open"


_Done = tuple[Job, list[Outcome]]


def _store(job: Job, operation: Operation | None, _asked: bool) -> _Done:
    if operation is None:
        raise ValueError("a value comes from an operation")
    step = current(job)
    in_range = step.min_nm <= operation.current <= step.max_nm
    kind = Happening.IN_RANGE if in_range else Happening.OUT_OF_RANGE
    told = happening(job, kind, torque_nm=operation.current, in_range=in_range)
    return replace(job, results=(*job.results, Result(step.step, operation.current, in_range))), [told]


def _next(job: Job, _operation: Operation | None, _asked: bool) -> _Done:
    return replace(job, at=job.at + 1), []


def _back(job: Job, _operation: Operation | None, _asked: bool) -> _Done:
    return replace(job, at=max(job.at - 1, 0)), []


def _void(job: Job, _operation: Operation | None, asked: bool) -> _Done:
    number = current(job).step
    kept = tuple(each for each in job.results if each.step != number)
    told = happening(job, Happening.REVERSED, void=len(kept) < len(job.results), asked=asked)
    return replace(job, results=kept), [told]


def _send(job: Job, operation: Operation | None, asked: bool) -> _Done:
    return _send_again(replace(job, attempt=job.attempt + 1), operation, asked)


def _send_again(job: Job, _operation: Operation | None, _asked: bool) -> _Done:
    setting = Setting(Direction.FORWARD, current(job).target_nm)
    command = Command(TorqueCommand("setTorque", setting), step_mark(job))
    return job, [command, happening(job, Happening.STEP_SENT)]


def _send_reverse(job: Job, _operation: Operation | None, _asked: bool) -> _Done:
    command = Command(TorqueCommand("setTorque", Setting(Direction.REVERSE)), _reverse_mark(job))
    return job, [command, happening(job, Happening.REVERSE_SENT)]


def _reset(job: Job, _operation: Operation | None, _asked: bool) -> _Done:
    return job, [Command(RESET.message, step_mark(job) + RESET.mark)]


def _complete(job: Job, _operation: Operation | None, _asked: bool) -> _Done:
    return job, [happening(job, Happening.COMPLETE, results=job.results)]


_DOING = {
    Do.STORE: _store,
    Do.NEXT: _next,
    Do.BACK: _back,
    Do.VOID: _void,
    Do.SEND: _send,
    Do.SEND_AGAIN: _send_again,
    Do.REVERSE: _send_reverse,
    Do.RESET: _reset,
    Do.COMPLETE: _complete,
}
