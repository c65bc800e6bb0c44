"""The lines of the console for each event. All but the hints are fixed: other programs read them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from broker.contract.fastening.topics import FasteningEvent, Happening, Job, Result, Torque

PROMPT = "Please Input a valid serial number:"


class Tone(Enum):
    """The colour of a line on a terminal."""

    PLAIN = "plain"
    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Line:
    """One line; a hint goes to standard error, all others to standard output."""

    text: str
    tone: Tone = Tone.PLAIN
    hint: bool = False


EMPTY = Line("")


def hint(text: str) -> Line:
    """Return a line that is not a result."""
    return Line(text, hint=True)


def result_lines(event: FasteningEvent) -> list[Line]:
    """Return the fixed lines for an event; none for an event that has hints only."""
    show = _FIXED.get(event.event)
    return show(event) if show else []


def resent_lines(event: FasteningEvent) -> list[Line]:
    """Return the lines for a message that is sent again because the driver has not answered it."""
    return [Line(f"{line.text.removesuffix('.')} again.") for line in result_lines(event)]


def table(results: Iterable[Result]) -> list[Line]:
    """Return the lines that end a job: the actual torque of each step in N·m, as the driver sent it."""
    return [Line("Job Complete:", Tone.GOOD), *(Line(f"Step {each.step}: {each.torque_nm}") for each in results)]


def progress(job: Job, step: int, recorded_nm: Mapping[int, Torque]) -> str:
    """Return the progress of a job: `RP-1 at step 2 of 4 (recorded so far: step 1: 10.098)`."""
    values = ", ".join(f"step {number}: {recorded_nm[number]}" for number in sorted(recorded_nm))
    recorded = f"recorded so far: {values}" if values else "nothing recorded so far"
    return f"{job.serial} at step {step} of {len(job.steps)} ({recorded})"


def _step_sent(event: FasteningEvent) -> list[Line]:
    return [Line(f"Sending step #{event.step} to torque driver.")]


def _in_range(event: FasteningEvent) -> list[Line]:
    return [Line(f"Received {event.torque_nm} - In Range", Tone.GOOD), EMPTY]


def _out_of_range(event: FasteningEvent) -> list[Line]:
    why = [hint(f"{event.reason[0].upper()}{event.reason[1:]}.")] if event.reason else []
    return [Line(f"Received {event.torque_nm} - Out of range.", Tone.BAD), *why, Line("Please Re-Do", Tone.BAD), EMPTY]


def _reverse_sent(_event: FasteningEvent) -> list[Line]:
    return [Line("Sending reverse to torque driver.")]


def _reversed(event: FasteningEvent) -> list[Line]:
    if event.asked:
        return [Line("Received reverse confirmation."), EMPTY]
    return [Line(f"Received reverse - step #{event.step} must be done again."), EMPTY]


def _complete(event: FasteningEvent) -> list[Line]:
    return table(event.results)


_FIXED: dict[Happening, Callable[[FasteningEvent], list[Line]]] = {
    Happening.STEP_SENT: _step_sent,
    Happening.IN_RANGE: _in_range,
    Happening.OUT_OF_RANGE: _out_of_range,
    Happening.REVERSE_SENT: _reverse_sent,
    Happening.REVERSED: _reversed,
    Happening.COMPLETE: _complete,
}
