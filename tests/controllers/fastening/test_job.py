import itertools

import pytest
from msgspec.structs import replace

from broker.contract.fastening.topics import Direction, Happening, Job, Operation, Part, Result, State
from controllers.fastening.job import Command, advance, classify, new_job, step_mark
from controllers.fastening.transitions import ACTIVE, TRANSITIONS, Do, Event, RefusedEvent
from tests.controllers.fastening.world import STEPS

PART = Part(1, "10-1", "A", STEPS)
GOOD = Operation(Direction.FORWARD, 13.0, 13.0)
BAD = Operation(Direction.FORWARD, 14.091, 13.0)
REVERSE = Operation(Direction.REVERSE, 0, 0)


def job_in(state: State) -> Job:
    """Return a job at its second step, with the value of the first."""
    job = replace(new_job("j", "RP-1", PART), state=state, at=1, attempt=2, results=(Result(1, 10.098, True),))
    if state in (State.REVERSING, State.PAUSED_OUT_OF_RANGE):
        return replace(job, results=(*job.results, Result(2, 14.091, False)))
    if state is State.COMPLETE:
        return replace(job, at=2, results=(*job.results, Result(2, 13.0, True), Result(3, 14, True)))
    return job


EVERY = list(itertools.product(State, Event))


@pytest.mark.parametrize(("state", "event"), EVERY, ids=[f"{state.value}, {event.value}" for state, event in EVERY])
def test_every_event_in_every_state(state: State, event: Event) -> None:
    job = job_in(state)
    before = replace(job)
    operation = BAD if event is Event.OUT_OF_RANGE else REVERSE if event is Event.REVERSED else GOOD
    transition = TRANSITIONS[state].get(event)
    if transition is None:
        with pytest.raises(RefusedEvent) as refused:
            advance(job, event, operation)
        assert (refused.value.state, refused.value.event) == (state, event)
        assert job == before
        return
    after, outcomes = advance(job, event, operation)
    assert job == before, "a job is a value"
    assert after.state is transition.to
    stored = {each.step for each in after.results}
    wanted = {step.step for step in after.steps[: after.at]}
    if event is not Event.REVERSED_EARLY and after.state in (State.REVERSING, State.PAUSED_OUT_OF_RANGE, State.COMPLETE):
        wanted.add(after.steps[after.at].step)
    if after.state is not State.IDLE:
        assert stored == wanted
    commands = [each.message for each in outcomes if isinstance(each, Command)]
    assert len(commands) <= 1
    if event is Event.REVERSED_EARLY:
        assert commands == []
    elif after.state in ACTIVE:
        sent = commands[0]
        assert sent.type == "setTorque"
        assert sent.data is not None
        assert sent.data.direction is (Direction.REVERSE if after.state is State.REVERSING else Direction.FORWARD)
    elif job.state in ACTIVE or event is Event.CONNECTED:
        assert [each.type for each in commands] == ["reset"]
    else:
        assert commands == []


@pytest.mark.parametrize("state", State)
def test_only_unfinished_jobs_can_be_cancelled(state: State) -> None:
    assert (Event.CANCELLED in TRANSITIONS[state]) == (state not in (State.IDLE, State.COMPLETE))


def test_every_event_and_every_action_is_used() -> None:
    transitions = [transition for row in TRANSITIONS.values() for transition in row.values()]
    assert {event for row in TRANSITIONS.values() for event in row} == set(Event)
    assert {do for transition in transitions for do in transition.do} == set(Do)
    assert {transition.to for transition in transitions} == set(State)
    assert set(TRANSITIONS) == set(State)


@pytest.mark.parametrize(
    ("torque_nm", "event"),
    [
        (12.35, Event.IN_RANGE),
        (13.65, Event.IN_RANGE),
        (12.349999, Event.OUT_OF_RANGE),
        (13.650001, Event.OUT_OF_RANGE),
        (0, Event.OUT_OF_RANGE),
        (-13.0, Event.OUT_OF_RANGE),
    ],
)
def test_the_range_includes_both_ends(torque_nm: float, event: Event) -> None:
    job = job_in(State.FASTENING)
    assert classify(job, Operation(Direction.FORWARD, torque_nm, 13.0), step_mark(job)) is event
    assert classify(job, Operation(Direction.FORWARD, torque_nm, 13.0), None) is event


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("mark", [None, b"j/2"])
def test_an_operation_counts_only_while_its_step_is_awaited(state: State, mark: bytes | None) -> None:
    event = classify(job_in(state), GOOD, mark)
    assert (event is Event.IN_RANGE) == (state is State.FASTENING)
    assert isinstance(event, str) == (state is not State.FASTENING)


@pytest.mark.parametrize("mark", [b"j/1", b"j/22", b"j/1/reverse", b"other/2", b"j/2/reset", b""])
def test_an_operation_for_an_earlier_command_never_counts(mark: bytes) -> None:
    assert isinstance(classify(job_in(State.FASTENING), GOOD, mark), str)


def test_another_configured_torque_never_counts() -> None:
    assert isinstance(classify(job_in(State.FASTENING), Operation(Direction.FORWARD, 13.0, 10.0), b"j/2"), str)
    assert isinstance(classify(job_in(State.FASTENING), Operation(Direction.FORWARD, 13.0, 13.001), b"j/2"), str)
    rounded = Operation(Direction.FORWARD, 13.0, 13.0004)
    assert classify(job_in(State.FASTENING), rounded, b"j/2") is Event.IN_RANGE


@pytest.mark.parametrize(
    ("state", "mark", "event"),
    [
        (State.FASTENING, b"j/2", Event.REVERSED),
        (State.FASTENING, b"j/1", Event.REVERSED),  # loosened before the next step had reached the driver
        (State.FASTENING, None, Event.REVERSED),
        (State.FASTENING, b"j/taken", None),
        (State.FASTENING, b"other/2", None),
        (State.REVERSING, b"j/2/reverse", Event.REVERSED),
        (State.REVERSING, b"j/2", Event.REVERSED_EARLY),  # the reverse had not reached the driver, which will confirm it
        (State.REVERSING, b"j/taken", None),
        (State.REVERSING, None, Event.REVERSED),
        (State.PAUSED, b"j/2/reset", Event.REVERSED),
        (State.PAUSED, b"j/taken", Event.REVERSED),  # nothing was sent in between: it may be another screw
        (State.PAUSED_OUT_OF_RANGE, b"j/2/reverse", Event.REVERSED),
        (State.COMPLETE, b"j/2/reset", Event.REVERSED),
        (State.IDLE, b"j/2", None),
    ],
)
def test_which_reverse_counts(state: State, mark: bytes | None, event: Event | None) -> None:
    found = classify(replace(job_in(state), reversed_at="j/taken"), REVERSE, mark)
    assert found is event if event is not None else isinstance(found, str)


def test_a_result_is_reported_before_the_next_command() -> None:
    job, outcomes = advance(job_in(State.FASTENING), Event.OUT_OF_RANGE, BAD)
    result, command, sent = outcomes
    assert not isinstance(result, Command)
    assert (result.event, result.torque_nm, result.in_range, result.step) == (Happening.OUT_OF_RANGE, 14.091, False, 2)
    assert isinstance(command, Command)
    assert command.mark == b"j/2/reverse"
    assert not isinstance(sent, Command)
    assert sent.event is Happening.REVERSE_SENT
    assert job.results[-1] == Result(2, 14.091, False)
