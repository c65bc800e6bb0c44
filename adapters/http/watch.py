"""Checks for requests whether the broker answers: a frozen broker keeps its connections open and is silent."""

import asyncio
from collections.abc import Callable

from adapters.http.errors import Unavailable
from broker.errors import BrokerUnavailable
from broker.log import Log
from broker.runtime.component import Bus

log = Log(__name__)

PING_TIMEOUT_S = 1.5
PING_PERIOD_S = 1.0
UNREACHABLE_WAIT_S = 0.2
"""How long a request waits for a broker that did not answer the last ping: it may have returned since."""


class BrokerWatch:
    """Pings the broker, once a second and whenever a request needs it.

    Requests that arrive during a ping share the next one: each gets a result from after its arrival, and at most one ping runs
    at a time. A ping that fails answers all requests that wait. So a request waits for two pings at most, and hardly at all
    while the broker is known to be unreachable.

    Args:
        timeout_s: after which a ping has failed.
        period_s: from a ping to the next one.
        on_change: called when the broker is unreachable or back.
    """

    def __init__(
        self,
        timeout_s: float = PING_TIMEOUT_S,
        period_s: float = PING_PERIOD_S,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._timeout_s, self._period_s, self._on_change = timeout_s, period_s, on_change
        self._wanted = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._unreachable: str | None = "the broker has not answered yet"
        """Reason why the broker is unreachable; None: it answered the last ping."""

    async def require(self) -> None:
        """Return once the broker has answered.

        Raises:
            Unavailable: it is unreachable or frozen.
        """
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        self._wanted.set()
        if self._unreachable is None:
            await answer
        else:
            await asyncio.wait({answer}, timeout=UNREACHABLE_WAIT_S)
        if self._unreachable is not None:
            raise Unavailable(self._unreachable)

    @property
    def answers(self) -> bool:
        """Whether the broker answered the last ping."""
        return self._unreachable is None

    def look(self) -> None:
        """Ping now; after the present ping, if there is one."""
        self._wanted.set()

    async def run(self, bus: Bus) -> None:
        """Ping until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            waiting, self._waiting = self._waiting, []
            self._note(await self._ping(bus), waiting)
            if not self._waiting:
                self._wanted.clear()
                wake = loop.call_later(self._period_s, self._wanted.set)
                await self._wanted.wait()
                wake.cancel()

    async def _ping(self, bus: Bus) -> str | None:
        """Return why the broker is unreachable, None if it answered."""
        try:
            await bus.ping(self._timeout_s)
        except BrokerUnavailable as error:
            return str(error)
        return None

    def _note(self, unreachable: str | None, waiting: list[asyncio.Future[None]]) -> None:
        changed = (unreachable is None) != (self._unreachable is None)
        if changed:
            log.info(
                "broker-watch",
                "requests are %(requests)s: %(reason)s",
                requests="refused" if unreachable else "answered",
                reason=unreachable or "the broker answers",
            )
        self._unreachable = unreachable
        if changed:
            self._on_change()
        if unreachable is not None:
            waiting, self._waiting = [*waiting, *self._waiting], []
        for each in waiting:
            if not each.done():
                each.set_result(None)
