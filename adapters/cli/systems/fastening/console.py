"""`scaup torque run`: passes messages and lines between the bus, the operator and the dialogue."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from adapters.cli.session import reconnect
from adapters.cli.systems.fastening.dialogue import FASTENING, TORQUE_ADAPTER, Dialogue
from adapters.cli.systems.fastening.lines import PROMPT, Line, hint
from adapters.cli.systems.fastening.requests import DriverRequests, JobHold, no_answer, refusal, request
from adapters.cli.systems.fastening.terminal import Keyboard, OutputClosed, Screen, interruptible
from adapters.client.bus import BusWithWill, Received
from adapters.client.errors import ConnectionLost, Failed, Refused, Unreachable
from broker.contract.components.topics import STATE, ComponentState
from broker.contract.fastening.topics import EVENT, JOB, LINK, Action, DriverLink, DriverState, FasteningAnswer, FasteningEvent
from broker.errors import Rejected
from broker.message import decode

SESSION_S = 300
"""Time for which the broker queues messages while the connection is lost."""
KEEP_ALIVE_S = 10
_STEP_S = 1.0
_POLL_S = 0.1
"""Interval of polling the keyboard while a question is open; messages are always shown at once."""
_ATTACH_EVERY_S = 5.0
_RETRY_KINDS = ("unknown serial", "no steps", "invalid")
_LONGEST_SERIAL = 256


@dataclass(frozen=True, slots=True)
class Clock:
    """The clock, replaced in tests."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class Console:
    """One run of a job at one driver, on a bus that is connected."""

    def __init__(self, bus: BusWithWill, driver: str, console: str, keyboard: Keyboard, clock: Clock | None = None) -> None:
        self._bus, self._driver, self._console, self._keyboard = bus, driver, console, keyboard
        self._clock = clock or Clock()
        self._requests = DriverRequests(bus, driver, console, self._clock.now)
        self._dialogue = Dialogue(driver)
        self._screen = Screen()
        self._hold = JobHold(self._requests, self._dialogue, self._screen)
        self._attach_at_s = 0.0

    def run(self, serial: str | None) -> None:
        """Run a job to its end; without a serial number, ask for one.

        Raises:
            Failed: the job ended before it was complete.
            Refused: another console holds the driver or the serial number, or the broker's access rules forbid it.
            Unreachable: no fastening controller answers.
            KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP; the job was paused.
        """
        with interruptible():
            try:
                self._run(serial)
            except KeyboardInterrupt:
                self._hold.farewell("Interrupted")
                raise
            except OutputClosed as closed:
                self._hold.farewell("Standard output was closed")
                raise Failed("standard output was closed before the job was complete") from closed
            finally:
                self._hold.release()

    def _run(self, serial: str | None) -> None:
        self._connect_with_will()
        self._begin(serial)
        while (end := self._dialogue.end) is None:
            self._step()
        self._hold.end()
        if end.busy:
            raise Refused(end.message, end.fix)
        if not end.complete:
            raise Failed(end.message, end.fix)

    def _connect_with_will(self) -> None:
        self._bus.last_will(request(self._driver, self._console, Action.DETACH), KEEP_ALIVE_S)
        self._bus.connect()
        self._subscribe()

    def _subscribe(self) -> None:
        retained = [_state_topic(FASTENING), _state_topic(TORQUE_ADAPTER), LINK.template.topic(driver=self._driver)]
        for received in self._bus.retained(*retained).values():
            self._take(received)
        self._bus.subscribe(EVENT.template.topic(driver=self._driver), *self._requests.topics, *retained)

    def _begin(self, serial: str | None) -> None:
        """Read serial numbers until the controller grants a job."""
        while True:
            serial = (serial or "").strip() or self._read_serial()
            if len(serial) > _LONGEST_SERIAL:
                self._show([hint(f"A serial number has {_LONGEST_SERIAL} characters at most.")])
            elif self._start(serial):
                return
            serial = None

    def _start(self, serial: str) -> bool:
        self._requests.waiting()  # discard events from before this job
        self._hold.begin(serial)
        answer = self._request_job(serial)
        if answer.error is None and answer.job is not None:
            self._show(self._dialogue.begin(answer, self._clock.now()))
            return True
        self._hold.end()
        error = answer.error
        if error is None or error.kind not in _RETRY_KINDS:
            fix = f"wait, choose another --driver, or end it with `scaup torque cancel --driver {self._driver}`"
            raise refusal(error, fix) if error is not None else no_answer()
        self._show([hint(f"Error: {error.message}")])
        return False

    def _request_job(self, serial: str) -> FasteningAnswer:
        while True:
            try:
                answer = self._requests.request(Action.START, serial)
            except Unreachable as lost:
                self._reconnect(lost)
                continue
            if answer is None:
                raise no_answer()
            return answer

    def _read_serial(self) -> str:
        while True:
            self._show([Line(PROMPT)])
            try:
                line = self._typed_line().strip()
            except EOFError:
                raise Failed("the input ended before a job began", "type a serial number, or give --serial") from None
            if line:
                return line

    def _typed_line(self) -> str:
        while (line := self._keyboard.line()) is None:
            self._receive(_POLL_S)
        return line

    def _step(self) -> None:
        """Handle one message, or poll the keyboard."""
        self._receive(_POLL_S if self._dialogue.asks else _STEP_S)
        if self._dialogue.end is None and self._attach_is_due():
            self._attach()
        if self._dialogue.end is None and self._dialogue.asks:
            self._poll_keyboard()

    def _receive(self, timeout_s: float) -> None:
        try:
            received = self._requests.receive(timeout_s)
        except ConnectionLost as lost:
            self._reconnect(lost)
        else:
            if received is not None:
                self._take(received)

    def _take(self, received: Received) -> None:
        try:
            lines = self._understood(received)
        except Rejected as error:
            lines = [hint(f"Cannot read a message on {received.topic}: {error}")]
        self._show(lines)

    def _understood(self, received: Received) -> list[Line]:
        topic, payload, dialogue = received.topic, received.payload, self._dialogue
        if EVENT.parse(topic):
            was_asking = dialogue.asks
            lines = dialogue.on_event(decode(payload, FasteningEvent), self._clock.now())
            if dialogue.asks and not was_asking:
                self._keyboard.discard_typed()
            return lines
        if LINK.parse(topic):
            return dialogue.on_link(decode(payload, DriverLink))
        if levels := STATE.parse(topic):
            return dialogue.on_component(levels["component"], decode(payload, ComponentState))
        return []

    def _poll_keyboard(self) -> None:
        try:
            line = self._keyboard.line()
        except EOFError:
            self._input_ended()
            return
        if line is None:
            return
        choice = line.strip().lower()[:1]
        if choice not in _CHOICES:
            self._show([hint("Type r to send the step again, or c to cancel the job:")])
            return
        self._choose(_CHOICES[choice])

    def _choose(self, action: Action) -> None:
        try:
            answer = self._requests.request(action)
        except Unreachable as lost:
            self._reconnect(lost)
            return
        if answer is None or answer.error is not None:
            why = answer.error.message if answer is not None and answer.error is not None else no_answer().message
            self._show([hint(f"Error: {why}. [r]etry or [c]ancel:")])
            return
        self._dialogue.asks = False
        if action is Action.CANCEL:
            self._dialogue.end = self._dialogue.cancelled()

    def _input_ended(self) -> None:
        """Pause a job whose operator cannot answer any more."""
        outcome = self._hold.pause()
        self._hold.release()
        driver = "the driver's answer cannot be used" if self._dialogue.unusable else "the driver does not answer"
        why = f"{driver}, and the input ended"
        self._dialogue.end = self._dialogue.paused(f"{why}: {outcome}")

    def _attach_is_due(self) -> bool:
        retry_due = not self._dialogue.attached and self._clock.now() >= self._attach_at_s
        return self._dialogue.attach_due or retry_due

    def _attach(self) -> None:
        """Attach to the job at a controller that does not know this console, and read the job's progress."""
        try:
            answer = self._requests.request(Action.ATTACH)
            for received in self._requests.waiting():  # they precede the answer
                self._take(received)
            retained = None if self._is_ours(answer) else self._retained_state()
        except Unreachable as lost:
            self._reconnect(lost)
            return
        self._attach_at_s = self._clock.now() + _ATTACH_EVERY_S
        self._show(self._dialogue.on_attached(answer, retained))

    def _is_ours(self, answer: FasteningAnswer | None) -> bool:
        if answer is None or answer.error is not None or answer.job is None or self._dialogue.job is None:
            return False
        if answer.job.id != self._dialogue.job.id:
            self._requests.detach()  # it is another console's
            return False
        return True

    def _retained_state(self) -> DriverState | None:
        topic = JOB.template.topic(driver=self._driver)
        received = self._bus.retained(topic).get(topic)
        if received is None:
            return None
        with suppress(Rejected):
            return decode(received.payload, DriverState)
        return None

    def _reconnect(self, lost: Unreachable) -> None:
        """Reconnect until it succeeds; the broker has queued the messages meanwhile, unless it was restarted."""
        self._show([hint(f"{lost.message}: reconnecting.")])
        reconnect(self._bus, self._subscribe, resume=True, pause=self._clock.sleep)
        self._show(self._dialogue.on_connection())

    def _show(self, lines: list[Line]) -> None:
        self._screen.show(lines)


_CHOICES = {"r": Action.RETRY, "c": Action.CANCEL}


def _state_topic(component: str) -> str:
    return STATE.template.topic(component=component)
