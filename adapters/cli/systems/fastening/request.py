"""Asking the fastening controller, one request at a time, while what else arrives keeps its order."""

import getpass
import os
import secrets
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from adapters.client.bus import Bus, Received
from adapters.client.errors import ClientError, Failed, Refused, Unreachable, WrongUsage
from broker.contract.fastening.topics import ANSWER, REQUEST, Action, FasteningAnswer, FasteningError, FasteningRequest
from broker.contract.storage.topics import JSON
from broker.errors import Rejected
from broker.message import Publication, decode

PATIENCE_S = 5.0
_LONGEST_NAME = 256


def console_name() -> str:
    """Return who holds a driver, for people: `user@host:pid`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no entry for this user
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}:{os.getpid()}"[-_LONGEST_NAME:]


def request(driver: str, console: str, action: Action, serial: str | None = None) -> Publication:
    """Return the publication of a request."""
    asked = REQUEST.publication(FasteningRequest(action=action, serial=serial, console=console), driver=driver)
    return replace(asked, content_type=JSON)


class Requests:
    """One console's requests for one driver. `receive` hands out everything but the answers, in the order of its arrival."""

    def __init__(self, bus: Bus, driver: str, console: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._bus, self._driver, self._console, self._clock = bus, driver, console, clock
        self._waiting: deque[Received] = deque()
        self.answer_topic = ANSWER.template.topic(driver=driver, console=bus.client_id)

    def receive(self, timeout_s: float) -> Received | None:
        """Return the next message, None if there is none in time.

        Raises:
            ConnectionLost: the connection was lost and there is nothing left to hand out.
        """
        while True:
            received = self._waiting.popleft() if self._waiting else self._bus.receive(timeout_s)
            if received is None or received.topic != self.answer_topic:
                return received  # an answer here comes too late for anybody

    def waiting(self) -> list[Received]:
        """Return what arrived while an answer was awaited."""
        found = list(self._waiting)
        self._waiting.clear()
        return found

    def ask(self, action: Action, serial: str | None = None, patience_s: float = PATIENCE_S) -> FasteningAnswer | None:
        """Ask, and return the answer; None where nobody listens, or nobody answers in time.

        Raises:
            Refused: the broker does not let this account ask.
            Unreachable: the connection was lost, or the broker does not answer.
            Failed: the answer cannot be read.
        """
        mark = secrets.token_bytes(16)
        asked = replace(
            request(self._driver, self._console, action, serial), correlation_data=mark, response_topic=self.answer_topic
        )
        expiry_s = None if action is Action.PAUSE else max(1, round(patience_s))  # to reset a driver it is never too late
        if not self._bus.publish(asked, expiry_s):
            return None
        return self._answer(mark, self._clock() + patience_s)

    def detach(self) -> None:
        """Let go of the job, without waiting for an answer.

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


def no_answer() -> Unreachable:
    """Return the error for a controller that does not answer."""
    return Unreachable("the fastening controller does not answer", "scaup status fastening, or start it with `make up`")


def refusal(error: FasteningError, fix: str = "") -> ClientError:
    """Return the command's error for a request that the controller refused."""
    kinds: dict[str, type[ClientError]] = {"busy": Refused, "invalid": WrongUsage}
    return kinds.get(error.kind, Failed)(error.message, fix)


def _decoded(received: Received) -> FasteningAnswer:
    try:
        return decode(received.payload, FasteningAnswer)
    except Rejected as error:
        raise Failed(
            f"the fastening controller answered with something else: {error}", "use the same release on both sides"
        ) from error
