"""The transition table as a picture: `python -m controllers.fastening.diagram` prints docs/fastening.md's, in Mermaid."""

from broker.contract.fastening.topics import State
from controllers.fastening.job import TRANSITIONS


def diagram() -> str:
    """Return the table as a Mermaid state diagram, one arrow per transition, with what is done."""
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
