"""The states of a fastening job as a transition table: what may happen in a state, where it leads, and what is done.

This table is the only place that defines it. `python -m controllers.fastening.transitions` prints it as the diagram of
docs/fastening.md, in Mermaid.
"""

from dataclasses import dataclass
from enum import Enum

from broker.contract.fastening.topics import State


class Event(Enum):
    """Events of a job."""

    STARTED = "started"
    IN_RANGE = "in range"
    LAST_IN_RANGE = "last in range"
    OUT_OF_RANGE = "out of range"
    REVERSED = "reversed"
    REVERSED_EARLY = "reversed early"
    """Before the command to reverse had reached the driver, which will confirm it once more."""
    CONNECTED = "connected"
    """The driver has a new connection: it may have lost its setting."""
    RETRY = "retry"
    PAUSED = "paused"
    RESUMED = "resumed"
    CANCELLED = "cancelled"


class Do(Enum):
    """Steps of a transition."""

    STORE = "store the value"
    NEXT = "to the next step"
    BACK = "to the previous step"
    VOID = "void the value"
    SEND = "send the step"
    RESEND = "send the step again"
    REVERSE = "send reverse"
    RESET = "reset the driver"
    COMPLETE = "report the job complete"


@dataclass(frozen=True, slots=True)
class Transition:
    """The state that an event leads to, and what is done, in order."""

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
        Event.CONNECTED: Transition(State.FASTENING, (Do.RESEND,)),
        Event.RETRY: Transition(State.FASTENING, (Do.RESEND,)),
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
"""All transitions; any other event is refused and changes nothing."""

ACTIVE = frozenset({State.FASTENING, State.REVERSING})
"""States in which the driver is set and its operation is awaited."""
PAUSED = frozenset({State.PAUSED, State.PAUSED_OUT_OF_RANGE})


class RefusedEvent(Exception):
    """The table has no transition for an event in the job's state."""

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(f"{event.value!r} is not possible while the job is {state.value}")
        self.state, self.event = state, event


def diagram() -> str:
    """Return the table as a Mermaid state diagram: one arrow per transition, labelled with what is done."""
    lines = ["stateDiagram-v2", f"    [*] --> {_name(State.IDLE)}"]
    lines += [f'    state "{state.value}" as {_name(state)}' for state in State]
    for state, row in TRANSITIONS.items():
        for event, transition in row.items():
            done = f" / {', '.join(do.value for do in transition.do)}" if transition.do else ""
            lines.append(f"    {_name(state)} --> {_name(transition.to)}: {event.value}{done}")
    return "\n".join(lines) + "\n"


def _name(state: State) -> str:
    return state.name.lower()


if __name__ == "__main__":
    print(diagram(), end="")
