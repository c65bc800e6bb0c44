"""The state of the console's job, and the lines that each event shows. No I/O: tests use literal events."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field

from adapters.cli.systems.fastening.lines import Line, hint, progress, resent_lines, result_lines, table
from broker.contract.components.topics import ComponentState, Presence
from broker.contract.fastening.topics import (
    DriverLink,
    DriverState,
    FasteningAnswer,
    FasteningEvent,
    Happening,
    Job,
    State,
    Torque,
)

FASTENING, TORQUE_ADAPTER = "fastening", "torque-adapter"
RETRY_OR_CANCEL = "[r]etry or [c]ancel:"
_LEFT = (State.PAUSED, State.PAUSED_OUT_OF_RANGE)
_ACTIVE = (State.FASTENING, State.REVERSING)


@dataclass(frozen=True, slots=True)
class End:
    """The end of the console's job; `busy` if another console holds the driver."""

    complete: bool
    message: str = ""
    fix: str = ""
    busy: bool = False


COMPLETE = End(complete=True)


def resume_command(serial: str, driver: str) -> str:
    """Return the command that resumes a job."""
    return f"scaup torque run --serial {shlex.quote(serial)} --driver {shlex.quote(driver)}"


@dataclass(slots=True)
class Dialogue:
    """The console's view of one driver. Every `on_…` returns the lines to show now.

    `end` is set when the job is over; `asks` while the operator has to choose between retry and cancel; `attach_due` when the
    controller or the connection is new, so that the console has to attach to its job; `attached` once it has; `unusable` if the
    driver that is asked about has answered, but nothing that can be used.
    """

    driver: str
    job: Job | None = None
    end: End | None = None
    asks: bool = False
    attach_due: bool = False
    attached: bool = False
    unusable: bool = False
    _resumed_shown: bool = False
    _recorded_nm: dict[int, Torque] = field(default_factory=dict)
    _sent_s: float = 0.0
    _unanswered: FasteningEvent | None = None
    """The last event about a message to the driver, until the driver answers it."""
    _link: DriverLink | None = None
    _states: dict[str, ComponentState] = field(default_factory=dict)

    def begin(self, answer: FasteningAnswer, now_s: float) -> list[Line]:
        """Take the answer that granted the job."""
        assert answer.job is not None
        self._know(answer.job)
        self.attached, self._sent_s = True, now_s
        begun = answer.job.at > 0 or bool(answer.job.results)
        return [*(self._resuming(answer.job.steps[self._index].step) if begun else []), *self._unconnected(answer.connected)]

    def on_event(self, event: FasteningEvent, now_s: float) -> list[Line]:
        """Take an event of a job; those of other jobs are ignored."""
        if self.job is None or event.job != self.job.id or self.end is not None:
            return []
        if event.event in _ANSWERED:
            self.asks = False
        lines = self._fixed(event, now_s)
        self._record(event)
        self._finish(event)
        special = _SPECIAL.get(event.event)
        return [*lines, *(special(self, event, now_s) if special else [])]

    def on_link(self, link: DriverLink) -> list[Line]:
        """Take whether the driver is connected; the operator sees it with the job's events AWAY and BACK."""
        self._link = link
        return []

    def on_component(self, name: str, state: ComponentState) -> list[Line]:
        """Take whether the controller or the adapter is online."""
        before = self._states.get(name)
        self._states[name] = state
        if name == FASTENING and state.state is Presence.ONLINE:
            self.attached = self.attached and before is not None and before.boot == state.boot
            self.attach_due = self.job is not None and not self.attached
        if self.job is None or self.end is not None or before == state:
            return []
        if state.state is Presence.ONLINE:
            return [hint(f"{name} is online.")]
        return [hint(f"{name} is offline: the job goes on when it is back.")]

    def on_connection(self) -> list[Line]:
        """Take that this console has a new connection."""
        self.attached = False
        self.attach_due = self.job is not None
        return [hint("Reconnected.")]

    def on_attached(self, answer: FasteningAnswer | None, retained: DriverState | None) -> list[Line]:
        """Take the answer to ATTACH, None where there was none, and the retained state of the driver where it was read."""
        if self.job is None or self.end is not None:
            return []
        first, self.attach_due = self.attach_due, False
        answered = answer is not None and answer.error is None and answer.job is not None and answer.job.id == self.job.id
        if answer is not None and answer.error is not None and answer.error.kind == "busy":
            self.end = End(complete=False, message=answer.error.message, fix=self._resume, busy=True)
            return []
        found = answer.job if answered and answer is not None else self._find_own(retained)
        if found is None and answer is not None:
            return self._ended()
        self.attached = answered
        lines = self._progress(found) if found is not None else []
        if self.attached or self.end is not None:
            return lines
        return [*lines, _WAITING] if first else []

    @property
    def serial(self) -> str:
        """The serial number of the job, empty before there is one."""
        return self.job.serial if self.job is not None else ""

    @property
    def _resume(self) -> str:
        return f"go on with {resume_command(self.serial, self.driver)}"

    @property
    def _index(self) -> int:
        assert self.job is not None
        return min(self.job.at, len(self.job.steps) - 1)

    def paused(self, why: str) -> End:
        """Return the end of a job that can be resumed."""
        return End(complete=False, message=why, fix=self._resume)

    def _know(self, job: Job) -> None:
        self.job = job
        self._recorded_nm = {each.step: each.torque_nm for each in job.results}

    def _resuming(self, step: int) -> list[Line]:
        if self._resumed_shown or self.job is None:
            return []
        self._resumed_shown = True
        return [hint(f"Resuming {progress(self.job, step, self._recorded_nm)}.")]

    def _unconnected(self, connected: bool | None) -> list[Line]:
        if connected:
            return []
        if connected is None:
            return [hint(f"No torque adapter has reported {self.driver}: the job begins when one does (scaup status).")]
        return [hint(f"{self.driver} is not connected{self._why(None)}: the job begins when it is.")]

    def _why(self, reason: str | None) -> str:
        reason = reason or (self._link.error if self._link is not None and not self._link.connected else None)
        return f" ({reason})" if reason else ""

    def _fixed(self, event: FasteningEvent, now_s: float) -> list[Line]:
        lines = resent_lines(event) if event == self._unanswered else result_lines(event)
        if event.event in _SENT:
            self._unanswered, self._sent_s = event, now_s
        elif event.event in _RESULTS:
            self._unanswered = None
        return lines

    def _record(self, event: FasteningEvent) -> None:
        if event.event in (Happening.IN_RANGE, Happening.OUT_OF_RANGE) and event.torque_nm is not None:
            self._recorded_nm[event.step] = event.torque_nm
        elif event.event is Happening.REVERSED and event.void:
            self._recorded_nm.pop(event.step, None)

    def _finish(self, event: FasteningEvent) -> None:
        if event.event is Happening.COMPLETE:
            self.end = COMPLETE
        elif event.event is Happening.CANCELLED:
            self.end = self.cancelled()
        elif event.event is Happening.PAUSED:
            self.end = self.paused(f"the job of {self.serial} was paused by another console")

    def cancelled(self) -> End:
        """Return the end of a job that was cancelled."""
        return End(complete=False, message=f"the job of {self.serial} was cancelled before it was complete")

    def on_resumed(self, event: FasteningEvent, _now_s: float) -> list[Line]:
        """Show where a job resumes, once."""
        return self._resuming(event.step)

    def on_silent(self, event: FasteningEvent, now_s: float) -> list[Line]:
        """Ask whether to retry or cancel, for a driver that does not answer."""
        self.asks = True
        silent_s = max(0, round(now_s - self._sent_s))
        self.unusable = event.reason is not None
        what = "No usable answer" if self.unusable else "The driver has not answered"
        return [hint(f"{what} for {silent_s} s. Is the screw fastened? {RETRY_OR_CANCEL}")]

    def on_unusable(self, event: FasteningEvent, _now_s: float) -> list[Line]:
        """Show why an answer of the driver cannot be used."""
        return [hint(f"The driver's answer cannot be used: {event.reason}")]

    def on_voided(self, event: FasteningEvent, _now_s: float) -> list[Line]:
        """Show that a value does not count after all; a restarted controller voids values that it may have lost."""
        if self._recorded_nm.pop(event.step, None) is None:
            return []
        return [hint(f"Step #{event.step} must be done again: {event.reason or 'its value was voided'}.")]

    def on_away(self, event: FasteningEvent, _now_s: float) -> list[Line]:
        """Show that the driver has disconnected."""
        self.asks = False
        return [hint(f"{self.driver} is not connected{self._why(event.reason)}: the job goes on when it is back.")]

    def on_back(self, _event: FasteningEvent, _now_s: float) -> list[Line]:
        """Show that the driver is connected."""
        return [hint(f"{self.driver} is connected.")]

    def on_ignored(self, event: FasteningEvent, _now_s: float) -> list[Line]:
        """Show why an operation does not count."""
        value = "an operation" if event.torque_nm is None else str(event.torque_nm)
        return [hint(f"Ignored {value}: {event.reason or 'no operation was expected'}.")]

    def _find_own(self, retained: DriverState | None) -> Job | None:
        """Find the console's job in the retained state."""
        jobs = () if retained is None else (*((retained.job,) if retained.job is not None else ()), *retained.parked)
        return next((each for each in jobs if self.job is not None and each.id == self.job.id), None)

    def _ended(self) -> list[Line]:
        self.end = End(complete=False, message=f"the job of {self.serial} ended meanwhile", fix=f"see {self._results}")
        return []

    @property
    def _results(self) -> str:
        return f"scaup torque results {shlex.quote(self.serial)}"

    def _progress(self, job: Job) -> list[Line]:
        self._know(job)
        if job.state is State.COMPLETE:
            self.end = COMPLETE
            return table(job.results)
        if job.state in _LEFT:
            self.end = self.paused(f"the job of {self.serial} was paused meanwhile")
            return []
        if job.state not in _ACTIVE:
            return self._ended()
        return [hint(f"{progress(job, job.steps[self._index].step, self._recorded_nm)}.")]


_WAITING = hint("The fastening controller does not answer: waiting for it. See scaup status fastening.")
_SENT = (Happening.STEP_SENT, Happening.REVERSE_SENT)
_RESULTS = (Happening.IN_RANGE, Happening.OUT_OF_RANGE, Happening.REVERSED)
_ANSWERED = frozenset(Happening) - {Happening.SILENT, Happening.IGNORED, Happening.UNUSABLE, Happening.BACK}
"""Events that answer the question about a silent driver."""
_SPECIAL: dict[Happening, Callable[[Dialogue, FasteningEvent, float], list[Line]]] = {
    Happening.RESUMED: Dialogue.on_resumed,
    Happening.SILENT: Dialogue.on_silent,
    Happening.UNUSABLE: Dialogue.on_unusable,
    Happening.VOIDED: Dialogue.on_voided,
    Happening.AWAY: Dialogue.on_away,
    Happening.BACK: Dialogue.on_back,
    Happening.IGNORED: Dialogue.on_ignored,
}
