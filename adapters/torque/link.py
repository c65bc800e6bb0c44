"""Whether a driver is connected, as the bus knows it; and the attempts to connect, one after the other."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from adapters.torque.configuration import TorqueDriver, without_credentials
from broker.contract.fastening.topics import LINK, DriverLink
from broker.log import Log
from broker.runtime.component import Bus

log = Log(__name__)

STOPPED = "the adapter was stopped"


class Link:
    """The state of one driver's connection."""

    def __init__(self, driver: TorqueDriver) -> None:
        self._driver = driver
        self._link: DriverLink | None = None

    def report(self, bus: Bus, error: str | None) -> None:
        """Publish whether the driver is connected (then `error` is None), if that has changed."""
        reason = error and without_credentials(error)  # the error of a redirect may contain the whole URL
        link = DriverLink(connected=error is None, url=without_credentials(self._driver.url), error=reason)
        if link == self._link:
            return
        self._link = link
        log.info(
            "driver-link",
            "%(driver)s at %(url)s: %(state)s",
            driver=self._driver.name,
            url=link.url,
            state=reason or "connected",
        )
        bus.publish(LINK.publication(link, driver=self._driver.name))


async def connect_again_and_again(connect: Callable[[], Awaitable[float]], first_s: float, longest_s: float) -> None:
    """Connect until cancelled; `connect` returns how long a connection lasted, in s. Pauses grow while connections fail."""
    backoff_s = first_s
    while True:
        if await connect() > longest_s:
            backoff_s = first_s
        await asyncio.sleep(backoff_s * random.uniform(0.5, 1.0))
        backoff_s = min(2 * backoff_s, longest_s)
