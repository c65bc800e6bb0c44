"""Reads declared devices by Modbus TCP, politely: one connection for each server, one request at a time.

What is due at the same time is read together, adjacent registers in one request. A server that cannot be reached is tried again
after 1 s, then after twice that, up to 30 s. A unit that does not answer is left alone for longer and longer, up to a minute,
so that it does not slow down the others behind the same gateway.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapters.devices.declared import Declared
from adapters.devices.modbus.cells import Polled, Registers, Table, merged
from adapters.devices.modbus.declared import Modbus
from adapters.devices.values import Absent, Malformed
from broker.log import Log

if TYPE_CHECKING:
    from pymodbus.client import AsyncModbusTcpClient

log = Log(__name__)

TIMEOUT_S = 3.0
"""Wall seconds for a connection, and for each answer."""
LONGEST_RETRY_S, LONGEST_REST_S = 30.0, 60.0
MOST_REGISTERS = 125
"""In one request (Modbus Application Protocol 1.1b3, section 6.3)."""
_EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    6: "device busy",
    10: "gateway path unavailable",
    11: "no answer behind the gateway",
}
_MOST_DOUBLED = 16
_ILLEGAL, _GATEWAY = (2, 3), (10, 11)
_AT = tuple[Table, int]


Take = Callable[[Declared, Polled], None]


class UnitRefused(Exception):
    """A request that a unit refused, or did not answer."""

    def __init__(self, reason: str, *, answered: bool = True, is_illegal: bool = False) -> None:
        super().__init__(reason)
        self.answered, self.is_illegal = answered, is_illegal


class ServerLost(Exception):
    """The connection to a server is lost, or there is none."""


class Poller:
    """Polls the declarations that `use` was given last; `take` gets each result."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._servers: dict[tuple[str, int], tuple[tuple[Declared, ...], asyncio.Task[None]]] = {}
        self._is_first = True

    def use(self, declared: Iterable[Declared]) -> None:
        """Replace the declarations. Connections to servers whose declarations have not changed stay."""
        wanted: dict[tuple[str, int], list[Declared]] = {}
        for each in declared:
            if each.modbus is not None:
                wanted.setdefault(each.modbus.server, []).append(each)
        for server, (polled, task) in list(self._servers.items()):
            if tuple(wanted.get(server, ())) != polled:
                task.cancel()
                del self._servers[server]
        if wanted and self._is_first:
            self._is_first = False
            asyncio.get_running_loop().set_exception_handler(_note_error)
        for server, devices in wanted.items():
            if server not in self._servers:
                task = asyncio.create_task(Server(*server, devices, self._take).run(), name=f"modbus {server[0]}:{server[1]}")
                self._servers[server] = tuple(devices), task

    def check(self) -> None:
        """Raise what ended one of the tasks: a bug."""
        for _, task in self._servers.values():
            if task.done() and not task.cancelled():
                task.result()

    async def close(self) -> None:
        """Close all connections."""
        tasks = [task for _, task in self._servers.values()]
        self._servers.clear()
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _note_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Leave out the traceback of bytes that are no Modbus: the library raises in a callback, and the connection is closed."""
    from pymodbus.exceptions import ModbusException

    if not isinstance(context.get("exception"), ModbusException):
        loop.default_exception_handler(context)


@dataclass(slots=True)
class _Unit:
    failures: int = 0
    rests_until_s: float = -math.inf


class Server:
    """A Modbus server, with the devices that are read from it."""

    def __init__(self, host: str, port: int, devices: Iterable[Declared], take: Take) -> None:
        self._host, self._port, self._take = host, port, take
        self._devices = [(each, each.modbus) for each in devices if each.modbus is not None]
        self._units: dict[int, _Unit] = {modbus.unit_id: _Unit() for _, modbus in self._devices}
        self._due_s: dict[str, float] = {}
        self._apart: set[tuple[int, Registers]] = set()
        """Requests that a unit refused although it may answer for the parts."""
        self._client: AsyncModbusTcpClient | None = None
        self._failures = 0

    async def run(self) -> None:
        """Poll until cancelled."""
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        self._due_s = {each.id: started_s for each, _ in self._devices}
        try:
            while True:
                await asyncio.sleep(max(0.0, min(self._due_s.values()) - loop.time()))
                now_s = loop.time()
                due = [each for each in self._devices if self._due_s[each[0].id] <= now_s]
                try:
                    await self._connect()
                    await self._read(due, now_s)
                except ServerLost as error:
                    self._lost(str(error))
                    await asyncio.sleep(min(2.0 ** min(self._failures - 1, _MOST_DOUBLED), LONGEST_RETRY_S))
                    continue  # what was due still is
                for each, modbus in due:
                    periods = math.floor((loop.time() - started_s) / modbus.every_s) + 1
                    self._due_s[each.id] = started_s + periods * modbus.every_s
        finally:
            self._close()

    async def _connect(self) -> None:
        if self._client is not None and self._client.connected:
            return
        from pymodbus.client import AsyncModbusTcpClient

        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # what matters is logged here, once
        self._close()
        client = AsyncModbusTcpClient(self._host, port=self._port, timeout=TIMEOUT_S, retries=0, reconnect_delay=0)
        if not await client.connect():
            client.close()
            raise ServerLost("cannot be reached")
        self._client = client

    def _close(self) -> None:
        if self._client is not None:
            with suppress(Exception):  # whatever state it is in
                self._client.close()
        self._client = None

    def _lost(self, reason: str) -> None:
        self._close()
        self._failures += 1
        error = f"{self._host}:{self._port} {reason}"
        if self._failures == 1:
            log.warning("modbus-lost", "the Modbus server %(error)s", error=error)
        for each, _ in self._devices:
            self._take(each, Polled(error=error, is_online=False))

    async def _read(self, due: list[tuple[Declared, Modbus]], now_s: float) -> None:
        for number, unit in self._units.items():
            devices = [each for each in due if each[1].unit_id == number]
            if not devices or now_s < unit.rests_until_s:
                continue
            read: dict[_AT, int] = {}
            errors: dict[Registers, str] = {}
            try:
                await self._read_unit(number, [each for _, modbus in devices for each in _needs(modbus)], read, errors)
            except UnitRefused as error:
                unit.failures += 1
                every_s = min(modbus.every_s for _, modbus in devices)
                rest_s = min(every_s * 2 ** min(unit.failures, _MOST_DOUBLED), LONGEST_REST_S)
                unit.rests_until_s = asyncio.get_running_loop().time() + rest_s
                for each, _ in devices:
                    self._take(each, Polled(error=f"unit {number}: {error}", is_online=False))
                continue
            unit.failures = 0
            for each, modbus in devices:
                self._take(each, _polled(modbus, read, errors))

    async def _read_unit(self, unit: int, wanted: list[Registers], read: dict[_AT, int], errors: dict[Registers, str]) -> None:
        for request in self._requests(unit, wanted):
            try:
                await self._request(unit, request, read)
            except UnitRefused as error:
                if not error.answered:
                    raise
                parts = _parts(request, wanted)
                if not error.is_illegal or parts == [request]:
                    errors |= dict.fromkeys(parts, str(error))
                    continue
                self._apart.add((unit, request))
                await self._read_unit(unit, parts, read, errors)

    def _requests(self, unit: int, wanted: list[Registers]) -> list[Registers]:
        requests = []
        for request in merged(wanted, MOST_REGISTERS):
            requests += _parts(request, wanted) if (unit, request) in self._apart else [request]
        return requests

    async def _request(self, unit: int, request: Registers, read: dict[_AT, int]) -> None:
        from pymodbus.exceptions import ConnectionException, ModbusException

        client = self._client
        assert client is not None
        call = client.read_holding_registers if request.table == "holding" else client.read_input_registers
        try:
            answer = await call(request.address, count=request.count, device_id=unit)
        except ConnectionException as error:
            raise ServerLost("has closed the connection") from error
        except (ModbusException, OSError) as error:
            if not client.connected:
                raise ServerLost("has closed the connection") from error
            raise UnitRefused("does not answer", answered=False) from error
        if answer.isError():
            code = getattr(answer, "exception_code", 0)
            text = f"{request.table} {request.address}: {_EXCEPTIONS.get(code, f'exception {code}')}"
            raise UnitRefused(text, answered=code not in _GATEWAY, is_illegal=code in _ILLEGAL)
        if len(answer.registers) != request.count:
            raise UnitRefused(f"{len(answer.registers)} registers instead of {request.count}", answered=False)
        self._failures = 0
        read |= {(request.table, request.address + n): value for n, value in enumerate(answer.registers)}


def _needs(modbus: Modbus) -> list[Registers]:
    return [each for cell in modbus.cells.values() for each in cell.needs]


def _parts(request: Registers, wanted: Iterable[Registers]) -> list[Registers]:
    """Return the registers that a request was made for."""
    parts = {each for each in wanted if each.table == request.table and request.address <= each.address}
    return sorted((each for each in parts if each.stop <= request.stop), key=lambda each: (each.address, each.count))


def _polled(modbus: Modbus, read: Mapping[_AT, int], errors: Mapping[Registers, str]) -> Polled:
    """Return the values of a device; an error for a register makes it one of the device, as it is one of the declaration."""
    needs = _needs(modbus)
    failed = next((errors[each] for each in needs if each in errors), None)
    if failed is not None:
        return Polled(error=failed)
    registers: dict[str, dict[int, int]] = {}
    for each in needs:
        registers.setdefault(each.table, {}).update({at: read[each.table, at] for at in range(each.address, each.stop)})
    values: dict[str, float] = {}
    for name, cell in modbus.cells.items():
        own = [read[cell.table, cell.address + n] for n in range(cell.count)]
        try:
            value = cell.value(own, None if cell.scale_from is None else read[cell.table, cell.scale_from])
        except Malformed as error:
            return Polled(error=str(error), registers=registers)
        if not isinstance(value, Absent):
            values[name] = value
    return Polled(values, registers=registers)
