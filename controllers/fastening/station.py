"""One torque driver with its job: what is sent to it, who holds it, and how long it has been silent.

Every change is published in an order that a kill at any point leaves right. A value is told first, then the job, from which
a new controller goes on, then that a value is void, and what the driver is sent. So what a new controller takes for stored is
stored. What it does not take for stored may be: it voids that, and the screw is fastened again.
"""

from dataclasses import dataclass, field

from broker.contract.fastening.topics import COMMAND, EVENT, JOB, DriverState, FasteningEvent, Happening, Job, Operation, State
from broker.message import Publication, encode
from controllers.fastening.job import (
    ACTIVE,
    PAUSED,
    RESET,
    Command,
    Event,
    Outcome,
    advance,
    current,
    event_of,
    happening,
    reversed_with,
)

_VALUES = (Happening.IN_RANGE, Happening.OUT_OF_RANGE)
_SENT = (Happening.STEP_SENT, Happening.REVERSE_SENT)

MOST_PARKED = 100
"""Unfinished jobs that a driver remembers; the oldest is forgotten, its values stay recorded."""

_TOLD = {
    Event.PAUSED: Happening.PAUSED,
    Event.CANCELLED: Happening.CANCELLED,
    Event.RESUMED: Happening.RESUMED,
    Event.STARTED: Happening.STARTED,
}


@dataclass(slots=True)
class Station:
    """One driver. `connected` is None where no adapter has spoken of it; times are plant seconds."""

    name: str
    patience_s: float
    job: Job | None = None
    console: str | None = None
    parked: tuple[Job, ...] = ()
    connected: bool | None = None
    _linked: bool | None = None
    """What the adapter said last, also while it is away."""
    _unsent: bool = False
    """The driver has not been sent what the job wants: it was away, or the controller was killed before it could."""
    _deadline_s: float | None = field(default=None, repr=False)

    @property
    def active(self) -> bool:
        """Whether the driver is set and its answer is awaited."""
        return self.job is not None and self.job.state in ACTIVE

    @property
    def state(self) -> DriverState:
        """What is retained on the bus."""
        return DriverState(self.job, self.console, self.parked)

    def unfinished(self, serial: str) -> Job | None:
        """Return the job for a serial number that can be gone on with, current or parked."""
        jobs = [*self.parked, *([self.job] if self.job is not None and self._open else [])]
        return next((job for job in jobs if job.serial == serial), None)

    def restore(self, state: DriverState) -> list[Publication]:
        """Go on from what an earlier controller left; the step is set again as soon as the driver is there."""
        self.job, self.console, self.parked = state.job, state.console, state.parked
        self._unsent = self.job is not None
        if self.job is None or self.job.state not in (State.FASTENING, State.PAUSED):
            return []
        return [self._tell(happening(self.job, Happening.VOIDED, reason="the controller was started anew"))]

    def begin(self, job: Job, console: str, now_s: float) -> list[Publication]:
        """Start a new job, or go on with one that was left, for a console; the present one is parked, if it is unfinished."""
        publications = self._park(now_s)
        self.job, self.console = job, console
        return publications + self.happens(Event.RESUMED if job.state in PAUSED else Event.STARTED, now_s)

    def again(self, console: str, now_s: float) -> list[Publication]:
        """Send the driver again what it was set to: another console has come to the job that runs."""
        self.console = console
        return self.happens(Event.RETRY, now_s)

    def give_up(self, serial: str, now_s: float) -> tuple[Job | None, list[Publication]]:
        """Take an unfinished job away from here, and return it: it goes on, perhaps with another driver.

        What is returned besides does not tell yet that it is gone: publish `kept` when its new place is told.
        """
        publications = self._park(now_s) if self.job is not None and self.job.serial == serial else []
        taken = next((job for job in self.parked if job.serial == serial), None)
        self.parked = tuple(job for job in self.parked if job is not taken)
        return taken, publications

    def happens(self, event: Event, now_s: float, operation: Operation | None = None) -> list[Publication]:
        """Let an event happen to the job.

        Raises:
            RefusedEvent: it means nothing in the job's state. Nothing has changed.
        """
        if self.job is None:
            return []
        self.job, outcomes = advance(self.job, event, operation)
        if not self.active:
            self.console = None
        if told := _TOLD.get(event):
            outcomes.insert(0, happening(self.job, told, results=self.job.results))
        return self._publications(outcomes, now_s)

    def operated(self, operation: Operation, mark: bytes | None, now_s: float) -> list[Publication]:
        """Take what the driver did."""
        if self.job is None:
            return []
        event = event_of(self.job, operation, mark)
        if event in (Event.REVERSED, Event.REVERSED_EARLY):
            self.job = reversed_with(self.job, mark)
        if isinstance(event, Event):
            return self.happens(event, now_s, operation)
        return [self._tell(happening(self.job, Happening.IGNORED, torque_nm=operation.current, reason=event))]

    def link(self, connected: bool, reason: str | None, now_s: float) -> list[Publication]:
        """Take that the driver is connected, perhaps anew, or no longer; `reason` says why."""
        self._linked = connected
        return self._reached(connected, reason, now_s)

    def adapter(self, online: bool, now_s: float) -> list[Publication]:
        """Take that the adapter is there, perhaps anew, or away: then nothing reaches the driver, whatever its link was."""
        if self._linked is None:
            return []
        return self._reached(online and self._linked, None if online else "the torque adapter is away", now_s)

    def _reached(self, connected: bool, reason: str | None, now_s: float) -> list[Publication]:
        before, self.connected = self.connected, connected
        if connected and self._unsent and before is not False:
            return []  # the controller is new: the next tick sends, and until then it hears what it missed
        told: list[Publication] = []
        if self.job is not None and self.active and connected is not before and (before is not None or not connected):
            kind = Happening.BACK if connected else Happening.AWAY
            told = [self._tell(happening(self.job, kind, reason=reason))]
        if not connected:
            self._deadline_s = None
        elif self.active or self._unsent:
            return told + self._send_again(now_s)
        return told

    def _send_again(self, now_s: float) -> list[Publication]:
        """Send what the driver is to have; one that was left with a torque and without a job is reset.

        A step or reverse waits until a console is there.
        """
        if self.active and self.console is None:
            self._unsent = True
            return []
        if self.job is not None:
            return self.happens(Event.CONNECTED, now_s)
        self._unsent = False
        return [self._command(RESET)]

    def tick(self, now_s: float) -> list[Publication]:
        """Let time pass: an answer that is overdue is told once."""
        if self._unsent and self.connected is not False:
            return self._send_again(now_s)
        if self.job is None or not self.active or self._deadline_s is None or now_s < self._deadline_s:
            return []
        self._deadline_s = None
        return [self._tell(happening(self.job, Happening.SILENT))]

    def kept(self) -> Publication:
        """Return the retained publication from which a new controller goes on."""
        return JOB.publication(self.state, driver=self.name)

    @property
    def _open(self) -> bool:
        return self.job is not None and self.job.state in ACTIVE | PAUSED

    def _park(self, now_s: float) -> list[Publication]:
        publications = self.happens(Event.PAUSED, now_s) if self.active else []
        if self.job is not None and self._open:
            self.parked = (*self.parked, self.job)[-MOST_PARKED:]
        self.job = None
        return publications

    def _publications(self, outcomes: list[Outcome], now_s: float) -> list[Publication]:
        """Put values first, then the job, then the rest; without a link nothing is sent."""
        if any(isinstance(each, Command) for each in outcomes):
            self._unsent = self.connected is False
        if self.connected is False:
            outcomes = [each for each in outcomes if isinstance(each, FasteningEvent) and each.event not in _SENT]
        self._deadline_s = now_s + self.patience_s if self.active and self.connected is not False else None
        values = [each for each in outcomes if isinstance(each, FasteningEvent) and each.event in _VALUES]
        others = [each for each in outcomes if each not in values]
        return [*map(self._say, values), self.kept(), *map(self._say, others)]

    def _say(self, outcome: Outcome) -> Publication:
        return self._tell(outcome) if isinstance(outcome, FasteningEvent) else self._command(outcome)

    def _tell(self, event: FasteningEvent) -> Publication:
        return EVENT.publication(event, driver=self.name)

    def _command(self, command: Command) -> Publication:
        topic = COMMAND.template.topic(driver=self.name)
        return Publication(topic=topic, payload=encode(command.message), correlation_data=command.mark)


def where(job: Job) -> str:
    """Say where a job stands, for people."""
    return f"{job.serial}, step {current(job).step} of {len(job.steps)}"
