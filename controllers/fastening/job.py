"""One fastening job as a value: which event an operation of the driver is, and what follows from it by the transition table.

A job travels on the bus (`broker.contract.fastening.topics.Job`); every function here returns a new one. Its results are those
of the steps before the current one, and that of the current step too when the job is complete, or while its screw is out of
range and not loosened.
"""

import math
from dataclasses import dataclass

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
from controllers.fastening.transitions import ACTIVE, TRANSITIONS, Do, Event, RefusedEvent

ROUNDING_NM = 0.0005
"""A driver may round the torque that it was set to in its messages, which have three decimals."""

NOT_OK = "the tool judged the tightening as not OK"


@dataclass(frozen=True, slots=True)
class Command:
    """A message to the driver, and the mark that identifies the operation it leads to."""

    message: TorqueCommand
    mark: bytes


RESET = Command(TorqueCommand("reset"), b"/reset")

Outcome = Command | FasteningEvent
"""A result of a transition, in order: a command to the driver, or an event to publish."""


def new_job(number: str, serial: str, part: Part) -> Job:
    """Return a job that has not started; `part` must have steps."""
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
    """Return the job after an event, and the outcomes; `operation` is the one that caused the event.

    Raises:
        RefusedEvent: the table has no such transition. Nothing has changed.
    """
    transition = TRANSITIONS[job.state].get(event)
    if transition is None:
        raise RefusedEvent(job.state, event)
    outcomes: list[Outcome] = []
    requested = job.state is State.REVERSING and event is Event.REVERSED
    for do in transition.do:
        job, caused = _DOING[do](job, operation, requested)
        outcomes += caused
    return replace(job, state=transition.to), outcomes


def classify(job: Job, operation: Operation, mark: bytes | None) -> Event | str:
    """Return which event an operation is for a job, or the reason why it is none.

    `mark` is that of the last command sent to the driver before the operation; None if it is not known. An operation that
    answers an earlier command is late or a duplicate, and never counts; without a mark, its configured torque decides.
    """
    if mark is not None and not mark.startswith(f"{job.id}/".encode()):
        return "it belongs to an earlier job"
    if operation.direction is Direction.REVERSE:
        return _reverse(job, mark)
    if job.state is not State.FASTENING:
        return "the screw has to be loosened first" if job.state is State.REVERSING else "no step is being fastened"
    step = current(job)
    if mark not in (None, step_mark(job)):
        return "it answers an earlier command: late or a duplicate"
    if not math.isclose(operation.configured, step.target_nm, rel_tol=0, abs_tol=ROUNDING_NM):
        return f"it was made with {operation.configured} configured, step {step.step} needs {step.target_nm}"
    if not _accepted(operation, step):
        return Event.OUT_OF_RANGE
    return Event.LAST_IN_RANGE if job.at == len(job.steps) - 1 else Event.IN_RANGE


def current(job: Job) -> Step:
    """Return the current step of a job."""
    return job.steps[job.at]


def _accepted(operation: Operation, step: Step) -> bool:
    """Return whether a screw is fastened. What the tool itself judges as not OK never is, whatever its torque."""
    return step.min_nm <= operation.current <= step.max_nm and operation.ok is not False


def step_mark(job: Job) -> bytes:
    """Return the mark of the command that sends the current step."""
    return f"{job.id}/{job.attempt}".encode()


def happening(job: Job, event: Happening, **facts: object) -> FasteningEvent:
    """Return an event at the current step."""
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
    """Return the job with the mark of its last reverse."""
    return replace(job, reversed_at=None if mark is None else mark.decode(errors="replace"))


def _reverse(job: Job, mark: bytes | None) -> Event | str:
    """Classify a reverse. No command separates two reverses of a paused driver, so each counts: in doubt, a value is void."""
    if mark is not None and job.state in ACTIVE and mark.decode(errors="replace") == job.reversed_at:
        return "this reverse was counted already"
    if job.state is State.REVERSING and mark not in (None, _reverse_mark(job)):
        return Event.REVERSED_EARLY
    return Event.REVERSED if Event.REVERSED in TRANSITIONS[job.state] else "no job is open"


_Done = tuple[Job, list[Outcome]]


def _store(job: Job, operation: Operation | None, _requested: bool) -> _Done:
    if operation is None:
        raise ValueError("a value comes from an operation")
    step = current(job)
    in_range = _accepted(operation, step)
    kind = Happening.IN_RANGE if in_range else Happening.OUT_OF_RANGE
    reason = NOT_OK if operation.ok is False else None
    event = happening(job, kind, torque_nm=operation.current, in_range=in_range, reason=reason)
    return replace(job, results=(*job.results, Result(step.step, operation.current, in_range))), [event]


def _next(job: Job, _operation: Operation | None, _requested: bool) -> _Done:
    return replace(job, at=job.at + 1), []


def _back(job: Job, _operation: Operation | None, _requested: bool) -> _Done:
    return replace(job, at=max(job.at - 1, 0)), []


def _void(job: Job, _operation: Operation | None, requested: bool) -> _Done:
    number = current(job).step
    kept = tuple(each for each in job.results if each.step != number)
    event = happening(job, Happening.REVERSED, void=len(kept) < len(job.results), asked=requested)
    return replace(job, results=kept), [event]


def _send(job: Job, operation: Operation | None, requested: bool) -> _Done:
    return _resend(replace(job, attempt=job.attempt + 1), operation, requested)


def _resend(job: Job, _operation: Operation | None, _requested: bool) -> _Done:
    setting = Setting(Direction.FORWARD, current(job).target_nm)
    command = Command(TorqueCommand("setTorque", setting), step_mark(job))
    return job, [command, happening(job, Happening.STEP_SENT)]


def _send_reverse(job: Job, _operation: Operation | None, _requested: bool) -> _Done:
    command = Command(TorqueCommand("setTorque", Setting(Direction.REVERSE)), _reverse_mark(job))
    return job, [command, happening(job, Happening.REVERSE_SENT)]


def _reset(job: Job, _operation: Operation | None, _requested: bool) -> _Done:
    return job, [Command(RESET.message, step_mark(job) + RESET.mark)]


def _complete(job: Job, _operation: Operation | None, _requested: bool) -> _Done:
    return job, [happening(job, Happening.COMPLETE, results=job.results)]


_DOING = {
    Do.STORE: _store,
    Do.NEXT: _next,
    Do.BACK: _back,
    Do.VOID: _void,
    Do.SEND: _send,
    Do.RESEND: _resend,
    Do.REVERSE: _send_reverse,
    Do.RESET: _reset,
    Do.COMPLETE: _complete,
}
