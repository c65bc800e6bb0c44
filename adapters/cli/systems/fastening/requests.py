"""Requests to the fastening controller, one at a time, and the hold of a console on its job."""

import getpass
import os
import secrets
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from adapters.cli.systems.fastening.dialogue import Dialogue, resume_command
from adapters.cli.systems.fastening.lines import hint
from adapters.cli.systems.fastening.terminal import Screen
from adapters.client.bus import Bus, Received
from adapters.client.errors import ClientError, Failed, Refused, Unreachable, WrongUsage
from broker.contract.fastening.topics import ANSWER, REQUEST, Action, FasteningAnswer, FasteningError, FasteningRequest
from broker.contract.storage.topics import JSON
from broker.errors import Rejected
from broker.message import Publication, decode

PATIENCE_S = 5.0
FAREWELL_S = 2.0
"""How long to wait for an answer when the console ends."""
PAUSED = "the job is paused and the driver is reset"
PAUSED_DISCONNECTED = "the job is paused, and the driver will be reset when it is connected"
NOT_PAUSED = "the fastening controller did not confirm that the job is paused"
_LONGEST_NAME = 256


def console_name() -> str:
    """Return the name of this console for people, `user@host:pid`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no entry for this user
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}:{os.getpid()}"[-_LONGEST_NAME:]


def request(driver: str, console: str, action: Action, serial: str | None = None) -> Publication:
    """Return the publication of a request."""
    publication = REQUEST.publication(FasteningRequest(action=action, serial=serial, console=console), driver=driver)
    return replace(publication, content_type=JSON)


class Requests:
    """One console's requests for one driver. `receive` returns all messages but the answers, in the order of arrival."""

    def __init__(self, bus: Bus, driver: str, console: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._bus, self._driver, self._console, self._clock = bus, driver, console, clock
        self._waiting: deque[Received] = deque()
        self.answer_topic = ANSWER.template.topic(driver=driver, console=bus.client_id)

    def receive(self, timeout_s: float) -> Received | None:
        """Return the next message, None if there is none in time.

        Raises:
            ConnectionLost: the connection was lost and no message is left.
        """
        while True:
            received = self._waiting.popleft() if self._waiting else self._bus.receive(timeout_s)
            if received is None or received.topic != self.answer_topic:
                return received  # an answer here is too late

    def waiting(self) -> list[Received]:
        """Return the messages that arrived while an answer was awaited."""
        found = list(self._waiting)
        self._waiting.clear()
        return found

    def request(self, action: Action, serial: str | None = None, patience_s: float = PATIENCE_S) -> FasteningAnswer | None:
        """Send a request and return the answer; None if no controller is subscribed, or none answers in time.

        Raises:
            Refused: the broker does not let this account send requests.
            Unreachable: the connection was lost, or the broker does not answer.
            Failed: the answer cannot be read.
        """
        mark = secrets.token_bytes(16)
        publication = replace(
            request(self._driver, self._console, action, serial), correlation_data=mark, response_topic=self.answer_topic
        )
        expiry_s = None if action is Action.PAUSE else max(1, round(patience_s))  # it is never too late to reset a driver
        if not self._bus.publish(publication, expiry_s):
            return None
        return self._answer(mark, self._clock() + patience_s)

    def detach(self) -> None:
        """Release the job, without waiting for an answer.

        Raises:
            ClientError: it could not be sent.
        """
        self._bus.publish(request(self._driver, self._console, Action.DETACH))

    def _answer(self, mark: bytes, until_s: float) -> FasteningAnswer | None:
        while (left_s := until_s - self._clock()) > 0:
            received = self._bus.receive(left_s)
            if received is None:
                return None
            if received.topic != self.answer_topic:
                self._waiting.append(received)
            elif received.correlation_data == mark:
                return _decoded(received)
        return None


class JobHold:
    """The job of the serial number `serial` that this console holds, from its request until it is paused or released."""

    def __init__(self, requests: Requests, dialogue: Dialogue, screen: Screen) -> None:
        self._requests, self._dialogue, self._screen = requests, dialogue, screen
        self.held = False
        self.serial = ""

    def begin(self, serial: str) -> None:
        """Note that a job is requested: from here on this console may hold it."""
        self.serial, self.held = serial, True

    def end(self) -> None:
        """Note that there is no job to release."""
        self.held = False

    def pause(self) -> str:
        """Request a pause of the own job, never of another console's, and return the outcome in words."""
        try:
            if not self._dialogue.attached and not self._is_ours():
                return NOT_PAUSED
            answer = self._requests.request(Action.PAUSE, patience_s=FAREWELL_S)
        except ClientError:
            self.held = False  # the connection is lost, and its last will releases the job
            return NOT_PAUSED
        self.held = answer is None or answer.error is not None
        if answer is None or answer.error is not None:
            return NOT_PAUSED
        return PAUSED if answer.connected else PAUSED_DISCONNECTED

    def farewell(self, why: str) -> None:
        """Pause the job, if there is one, and show how to resume it."""
        if not self.held:
            return
        outcome = self.pause()
        self._screen.show([hint(f"{why}: {outcome}. Go on with {resume_command(self.serial, self._dialogue.driver)}")])

    def release(self) -> None:
        """Release the job for other consoles, if it is still held."""
        if self.held:
            self.held = False
            with suppress(ClientError):
                self._requests.detach()

    def _is_ours(self) -> bool:
        """Ask the controller whether the driver has this console's job, if that was not confirmed since the request."""
        answer = self._requests.request(Action.ATTACH, patience_s=FAREWELL_S)
        return answer is not None and answer.error is None and answer.job is not None and answer.job.serial == self.serial


def no_answer() -> Unreachable:
    """Return the error for a controller that does not answer."""
    return Unreachable("the fastening controller does not answer", "scaup status fastening, or start it with `make up`")


def refusal(error: FasteningError, fix: str = "") -> ClientError:
    """Return the error of the command for a request that the controller refused."""
    kinds: dict[str, type[ClientError]] = {"busy": Refused, "invalid": WrongUsage}
    return kinds.get(error.kind, Failed)(error.message, fix)


def _decoded(received: Received) -> FasteningAnswer:
    try:
        return decode(received.payload, FasteningAnswer)
    except Rejected as error:
        raise Failed(
            f"the fastening controller sent an invalid answer: {error}", "use the same release on both sides"
        ) from error
