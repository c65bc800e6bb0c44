"""Simulated torque drivers on their websocket. They run in wall time whatever the time scale, as operators do."""

import asyncio
import errno
import itertools
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from broker.errors import CannotStart
from broker.message import Message, Publication
from broker.runtime.component import Bus
from broker.runtime.web_access import WebAccess
from sim.torque_driver.declaration import PORT
from sim.torque_driver.driver import Behaviour, Driver

CLOSE_TIMEOUT_S = 1.0


class SimulatedTorqueDrivers:
    """A service: a websocket server where each connection, whatever its path, is a separate driver.

    Args:
        addresses: IP addresses to listen on, at least one.
        port: TCP port, the same on all of them.
        behaviour: how every driver behaves.
        access: which web pages may connect.
        seed: the same seed gives the first, second, … connection the same driver.
    """

    def __init__(self, addresses: tuple[str, ...], port: int, behaviour: Behaviour, access: WebAccess, seed: int = 1) -> None:
        self._addresses, self._port = addresses, port
        self._behaviour, self._access, self._seed = behaviour, access, seed
        self._connections = itertools.count(1)

    def on_message(self, _message: Message, _now_s: float) -> list[Publication]:
        """Return nothing: drivers are not on the bus."""
        return []

    def on_tick(self, _now_s: float) -> list[Publication]:
        """Return nothing: drivers live in wall time."""
        return []

    async def serve(self, _bus: Bus, working: Callable[[bool], None]) -> None:
        """Serve drivers until cancelled.

        Raises:
            CannotStart: the port cannot be listened on; the text names the cause and the fix.
        """
        async with AsyncExitStack() as listening:
            for address in self._addresses:
                await self._listen(address, listening)
            working(True)
            await asyncio.Event().wait()

    async def _listen(self, address: str, listening: AsyncExitStack) -> None:
        server = serve(
            self._drive,
            address,
            self._port,
            process_request=self._admit,
            select_subprotocol=lambda _connection, offered: offered[0] if offered else None,
            compression=None,
            close_timeout=CLOSE_TIMEOUT_S,
        )
        try:
            await listening.enter_async_context(server)
        except OSError as error:
            raise CannotStart(_why_not(error, address, self._port)) from error

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        headers = request.headers
        refusal = self._access.refuse_origin(headers.get_all("Origin"), headers.get_all("Host"))
        return connection.respond(HTTPStatus.FORBIDDEN, f"{refusal}\n") if refusal else None

    async def _drive(self, connection: ServerConnection) -> None:
        """Be one driver until its connection ends."""
        driver = Driver(self._behaviour, f"{self._seed}/{next(self._connections)}")
        now_s = asyncio.get_running_loop().time
        with suppress(ConnectionClosed):
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(driver.next_due_s):
                        driver.receive(await connection.recv(decode=False), now_s())
                await _send(connection, driver.take_due(now_s()))


async def _send(connection: ServerConnection, frames: list[str | None]) -> None:
    for frame in frames:
        if frame is None:
            await connection.close(1001, "simulated fault")
        else:
            await connection.send(frame)


def _why_not(error: OSError, address: str, port: int) -> str:
    where = f"port {port} for simulated torque drivers"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is taken on {address}: stop what listens there, or choose another port with {PORT.name}"
    return f"{where} cannot be used on {address} ({error}): correct {PORT.name}"
