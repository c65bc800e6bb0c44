"""All simulated clients of one role: what they have in common, and what is logged about them once instead of for each."""

import asyncio
import logging

from websockets.exceptions import ConnectionClosed, WebSocketException

from sim.chargers.endpoint import Endpoint
from sim.chargers.reasons import is_unknown, said_with, why_lost, why_unreachable

log = logging.getLogger(__name__)

MOST_CONNECTING = 64
"""Clients that connect at the same time: more would only run into the time limit."""


class Crowd:
    """The clients of one role, so many of them; a trouble is logged once until all are connected again.

    Attributes:
        gate: held while connecting.
    """

    def __init__(self, endpoint: Endpoint, clients: int) -> None:
        self._endpoint, self._clients = endpoint, clients
        self._connected = 0
        self._said: set[str] = set()
        self.gate = asyncio.Semaphore(MOST_CONNECTING)

    def url(self, name: str) -> str:
        """Return where a client connects to."""
        return self._endpoint.url(name)

    def on_open(self) -> None:
        """Count a client that has connected."""
        self._connected += 1
        if self._connected == self._clients:
            self._said.clear()
            log.info("connected: %s", self._all())

    def on_lost(self, name: str, error: ConnectionClosed) -> None:
        """Count a client whose connection has ended."""
        self._connected -= 1
        self._say("lost", f"{name}: {why_lost(error)}; connecting again")

    def on_refused(self, name: str, error: Exception, timeout_s: float) -> None:
        """Note that a client could not connect."""
        if is_unknown(error):
            self._say("unknown", f"{self.url(name)}: HTTP 404, {name} is in no pair: {self._fix()}; going on trying")
        else:
            reason = why_unreachable(error, timeout_s)
            question = "" if isinstance(error, WebSocketException) else " (is the charger adapter running?)"
            self._say(reason, f"{self.url(name)}: {reason}{said_with(error)}{question}; going on trying for {self._all()}")

    def _fix(self) -> str:
        printing = f"scaup run sim-chargers --chargers {self._clients} --print-pairs"
        return f"add the pairs that `{printing}` prints to the file SCAUP_CHARGER_PAIRS"

    def _all(self) -> str:
        return f"{self._clients} {self._endpoint.role.name}{'s' if self._clients > 1 else ''}"

    def _say(self, what: str, text: str) -> None:
        if what not in self._said:
            self._said.add(what)
            log.warning("%s", text)
