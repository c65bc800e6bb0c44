"""Whether the broker is there, asked on behalf of requests: a frozen broker keeps its connection open and says nothing."""

import asyncio
import logging

from adapters.http.errors import Unavailable
from broker.errors import BrokerUnavailable
from broker.runtime.component import Bus

log = logging.getLogger(__name__)

PING_TIMEOUT_S = 1.5
PING_PERIOD_S = 1.0
AWAY_WAIT_S = 0.2
"""How long a request waits for a broker that is known to be away: it may be back since the last ping."""


class BrokerWatch:
    """Pings the broker, once a second and whenever a request wants to know.

    Requests that come while a ping is under way share the next one, so each learns what was true after it came, and however
    many come, one ping is under way. One that failed answers all of them: so a request waits for two pings at most, and hardly
    at all once the broker is known to be away.
    """

    def __init__(self, timeout_s: float = PING_TIMEOUT_S, period_s: float = PING_PERIOD_S) -> None:
        self._timeout_s, self._period_s = timeout_s, period_s
        self._asked = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._away: str | None = "the broker was not heard yet"

    async def require(self) -> None:
        """Return once the broker has answered.

        Raises:
            Unavailable: it is away or frozen.
        """
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        self._asked.set()
        if self._away is None:
            await answer
        else:
            await asyncio.wait({answer}, timeout=AWAY_WAIT_S)
        if self._away is not None:
            raise Unavailable(self._away)

    async def run(self, bus: Bus) -> None:
        """Ping until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            asking, self._waiting = self._waiting, []
            self._learn(await self._ping(bus), asking)
            if not self._waiting:
                self._asked.clear()
                wake = loop.call_later(self._period_s, self._asked.set)
                await self._asked.wait()
                wake.cancel()

    async def _ping(self, bus: Bus) -> str | None:
        """Return why the broker is away, None where it answered."""
        try:
            await bus.ping(self._timeout_s)
        except BrokerUnavailable as error:
            return str(error)
        return None

    def _learn(self, away: str | None, asking: list[asyncio.Future[None]]) -> None:
        if (away is None) != (self._away is None):
            log.info("requests are %s: %s", "answered" if away is None else "refused", away or "the broker answers")
        self._away = away
        if away is not None:
            asking, self._waiting = [*asking, *self._waiting], []
        for each in asking:
            if not each.done():
                each.set_result(None)
