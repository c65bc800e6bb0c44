"""One torque driver with its job: the commands it is sent, the console that holds it, and its response time.

The order of publications makes a kill at any point harmless: first a stored value, then the job, from which a restarted
controller continues, then voided values and commands to the driver. So a value that the job contains is stored. A value may be
stored that the job does not contain: the restarted controller voids it, and the screw is fastened again.
"""

from dataclasses import dataclass, field

from broker.contract.fastening.topics import COMMAND, EVENT, JOB, DriverState, FasteningEvent, Happening, Job, Operation, State
from broker.message import Publication, encode
from controllers.fastening.job import (
    RESET,
    Command,
    Outcome,
    advance,
    classify,
    current,
    happening,
    reversed_with,
)
from controllers.fastening.transitions import ACTIVE, PAUSED, Event

_VALUES = (Happening.IN_RANGE, Happening.OUT_OF_RANGE)
_SENT = (Happening.STEP_SENT, Happening.REVERSE_SENT)

MOST_PARKED = 100
"""Unfinished jobs set aside per driver; beyond that the oldest is dropped, while its values stay recorded."""

MOST_UNUSABLE = 10
"""Unusable answers to one command that are reported; all of them are rejected, and so recorded."""

_PUBLISHED_AS = {
    Event.PAUSED: Happening.PAUSED,
    Event.CANCELLED: Happening.CANCELLED,
    Event.RESUMED: Happening.RESUMED,
    Event.STARTED: Happening.STARTED,
}


@dataclass(slots=True)
class Station:
    """One driver. `connected` is None until an adapter reports it; times are plant seconds."""

    name: str
    timeout_s: float
    job: Job | None = None
    console: str | None = None
    parked: tuple[Job, ...] = ()
    connected: bool | None = None
    _linked: bool | None = None
    """What the adapter reported last; kept while the adapter is offline."""
    _unsent: bool = False
    """The job's command has not been sent: the driver was disconnected, or the controller was killed before."""
    _deadline_s: float | None = field(default=None, repr=False)
    _unusable: list[str] = field(default_factory=list, repr=False)
    """Why answers could not be used since the last command."""

    @property
    def active(self) -> bool:
        """Whether the driver is set and its operation is awaited."""
        return self.job is not None and self.job.state in ACTIVE

    @property
    def state(self) -> DriverState:
        """The state that is retained on the bus."""
        return DriverState(self.job, self.console, self.parked)

    @property
    def has_unfinished(self) -> bool:
        """Whether it has a job that is not finished, current or parked."""
        return bool(self.parked) or self._open

    def unfinished(self, serial: str) -> Job | None:
        """Return the unfinished job for a serial number, current or parked, None if there is none."""
        jobs = [*self.parked, *([self.job] if self.job is not None and self._open else [])]
        return next((job for job in jobs if job.serial == serial), None)

    def restore(self, state: DriverState) -> list[Publication]:
        """Continue from a retained state; the step is sent again as soon as the driver is connected."""
        self.job, self.console, self.parked = state.job, state.console, state.parked
        self._unsent = self.job is not None
        if self.job is None or self.job.state not in (State.FASTENING, State.PAUSED):
            return []
        return [self._event(happening(self.job, Happening.VOIDED, reason="the controller was restarted"))]

    def begin(self, job: Job, console: str, now_s: float) -> list[Publication]:
        """Start a new job, or resume an unfinished one, for a console; park the current one, if it is unfinished."""
        publications = self._park(now_s)
        self.job, self.console = job, console
        return publications + self.apply(Event.RESUMED if job.state in PAUSED else Event.STARTED, now_s)

    def hand_over(self, console: str, now_s: float) -> list[Publication]:
        """Give the running job to another console, and send the driver its setting again."""
        self.console = console
        return self.apply(Event.RETRY, now_s)

    def release(self, serial: str, now_s: float) -> tuple[Job | None, list[Publication]]:
        """Remove and return an unfinished job, which continues, perhaps with another driver.

        The publications do not contain this station's state without the job: publish `retained` after the job's new place.
        """
        publications = self._park(now_s) if self.job is not None and self.job.serial == serial else []
        taken = next((job for job in self.parked if job.serial == serial), None)
        self.parked = tuple(job for job in self.parked if job is not taken)
        return taken, publications

    def apply(self, event: Event, now_s: float, operation: Operation | None = None) -> list[Publication]:
        """Apply an event to the job.

        Raises:
            RefusedEvent: it is not possible in the job's state. Nothing has changed.
        """
        if self.job is None:
            return []
        self.job, outcomes = advance(self.job, event, operation)
        if not self.active:
            self.console = None
        if published_as := _PUBLISHED_AS.get(event):
            outcomes.insert(0, happening(self.job, published_as, results=self.job.results))
        return self._publications(outcomes, now_s)

    def take_operation(self, operation: Operation, mark: bytes | None, now_s: float) -> list[Publication]:
        """Take an operation of the driver."""
        if self.job is None:
            return []
        event = classify(self.job, operation, mark)
        if event in (Event.REVERSED, Event.REVERSED_EARLY):
            self.job = reversed_with(self.job, mark)
        if isinstance(event, Event):
            return self.apply(event, now_s, operation)
        return [self._event(happening(self.job, Happening.IGNORED, torque_nm=operation.current, reason=event))]

    def take_unusable(self, reason: str) -> list[Publication]:
        """Take that the driver sent something that cannot be used. The first ones since the last command are reported."""
        if self.job is None or not self.active or len(self._unusable) >= MOST_UNUSABLE:
            return []
        self._unusable.append(reason)
        return [self._event(happening(self.job, Happening.UNUSABLE, reason=reason))]

    def take_link(self, connected: bool, reason: str | None, now_s: float) -> list[Publication]:
        """Take the driver's link: connected, perhaps newly, or disconnected for a reason."""
        self._linked = connected
        return self._set_connected(connected, reason, now_s)

    def take_adapter(self, online: bool, now_s: float) -> list[Publication]:
        """Take the adapter's presence. While it is offline, the driver cannot be reached, whatever its link was."""
        if self._linked is None:
            return []
        return self._set_connected(online and self._linked, None if online else "the torque adapter is offline", now_s)

    def _set_connected(self, connected: bool, reason: str | None, now_s: float) -> list[Publication]:
        before, self.connected = self.connected, connected
        if connected and self._unsent and before is not False:
            return []  # the controller was restarted: the next tick sends, after the missed messages
        publications: list[Publication] = []
        if self.job is not None and self.active and connected is not before and (before is not None or not connected):
            kind = Happening.BACK if connected else Happening.AWAY
            publications = [self._event(happening(self.job, kind, reason=reason))]
        if not connected:
            self._deadline_s = None
        elif self.active or self._unsent:
            return publications + self._resend(now_s)
        return publications

    def _resend(self, now_s: float) -> list[Publication]:
        """Send the job's command again; reset a driver that has a setting but no job.

        A step or a reverse waits for a console.
        """
        if self.active and self.console is None:
            self._unsent = True
            return []
        if self.job is not None:
            return self.apply(Event.CONNECTED, now_s)
        self._unsent = False
        return [self._command(RESET)]

    def tick(self, now_s: float) -> list[Publication]:
        """Let time pass; report once that the driver's operation is overdue."""
        if self._unsent and self.connected is not False:
            return self._resend(now_s)
        if self.job is None or not self.active or self._deadline_s is None or now_s < self._deadline_s:
            return []
        self._deadline_s = None
        return [self._event(happening(self.job, Happening.SILENT, reason=self._unusable[-1] if self._unusable else None))]

    def retained(self) -> Publication:
        """Return the retained publication from which a restarted controller continues."""
        return JOB.publication(self.state, driver=self.name)

    @property
    def _open(self) -> bool:
        return self.job is not None and self.job.state in ACTIVE | PAUSED

    def _park(self, now_s: float) -> list[Publication]:
        publications = self.apply(Event.PAUSED, now_s) if self.active else []
        if self.job is not None and self._open:
            self.parked = (*self.parked, self.job)[-MOST_PARKED:]
        self.job = None
        return publications

    def _publications(self, outcomes: list[Outcome], now_s: float) -> list[Publication]:
        """Order the publications: values, the job, the rest. To a disconnected driver nothing is sent."""
        if any(isinstance(each, Command) for each in outcomes):
            self._unsent, self._unusable = self.connected is False, []
        if self.connected is False:
            outcomes = [each for each in outcomes if isinstance(each, FasteningEvent) and each.event not in _SENT]
        self._deadline_s = now_s + self.timeout_s if self.active and self.connected is not False else None
        values = [each for each in outcomes if isinstance(each, FasteningEvent) and each.event in _VALUES]
        others = [each for each in outcomes if each not in values]
        return [*map(self._publication, values), self.retained(), *map(self._publication, others)]

    def _publication(self, outcome: Outcome) -> Publication:
        return self._event(outcome) if isinstance(outcome, FasteningEvent) else self._command(outcome)

    def _event(self, event: FasteningEvent) -> Publication:
        return EVENT.publication(event, driver=self.name)

    def _command(self, command: Command) -> Publication:
        topic = COMMAND.template.topic(driver=self.name)
        return Publication(topic=topic, payload=encode(command.message), correlation_data=command.mark)


def progress(job: Job) -> str:
    """Describe the progress of a job, for people."""
    return f"{job.serial}, step {current(job).step} of {len(job.steps)}"
