"""Requests to the fastening controller, one at a time, and the hold of a console on its job."""

import getpass
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from adapters.cli.systems.fastening.dialogue import Dialogue, resume_command
from adapters.cli.systems.fastening.lines import hint
from adapters.cli.systems.fastening.terminal import Screen
from adapters.client.bus import Bus
from adapters.client.errors import ClientError, Failed, NoReply, NotOnline, Refused, Unreachable, WrongUsage
from adapters.client.requests import SAME_RELEASE, Requests, Responder
from broker.contract.fastening.topics import ANSWER, REQUEST, Action, FasteningAnswer, FasteningError, FasteningRequest
from broker.contract.storage.topics import JSON
from broker.errors import Rejected
from broker.message import Publication, decode

CONTROLLER = Responder("fastening controller", None, "see `scaup status fastening`")
"""Its state is not watched here: the console shows it."""
PATIENCE_S = 5.0
FAREWELL_S = 2.0
"""Longest wait for an answer when the console ends."""
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


class DriverRequests(Requests):
    """One console's requests for one driver."""

    def __init__(self, bus: Bus, driver: str, console: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(bus, CONTROLLER, ANSWER.template.topic(driver=driver, console=bus.answer_name), clock)
        self._driver, self._console = driver, console

    def request(self, action: Action, serial: str | None = None, patience_s: float = PATIENCE_S) -> FasteningAnswer | None:
        """Send a request and return the answer; None if no controller is subscribed, or none answers in time.

        Raises:
            Refused: the broker does not let this account send requests.
            Unreachable: the connection was lost, or the broker does not answer.
            Failed: the answer cannot be read.
        """
        expiry_s = None if action is Action.PAUSE else max(1, round(patience_s))  # it is never too late to reset a driver
        try:
            answer = self.reply(request(self._driver, self._console, action, serial), patience_s, expiry_s)
        except (NotOnline, NoReply):
            return None
        try:
            return decode(answer.payload, FasteningAnswer)
        except Rejected as error:
            raise Failed(f"the fastening controller sent an invalid answer: {error}", SAME_RELEASE) from error

    def detach(self) -> None:
        """Release the job, without waiting for an answer.

        Raises:
            ClientError: it could not be sent.
        """
        with suppress(NotOnline):
            self.publish(request(self._driver, self._console, Action.DETACH))


class JobHold:
    """The job of the serial number `serial` that this console holds, from its request until it is paused or released."""

    def __init__(self, requests: DriverRequests, dialogue: Dialogue, screen: Screen) -> None:
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
