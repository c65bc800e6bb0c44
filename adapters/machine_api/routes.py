"""`GET /data` and `POST /status`.

A request is checked in this order, and the answer names the first mistake: the machine's number, which is part of the
address; that its sender may post for that machine; the content type; the body (size, JSON, field, status); whether the broker
answers; whether the machine is known. The broker comes before the machine, because without it new machines cannot be seen.
"""

from starlette.requests import Request
from starlette.responses import Response

from adapters.http.access import require_topic
from adapters.http.errors import BadRequest, JsonResponse, NotFound
from adapters.http.resource import Resource, is_json, read_body
from adapters.http.watch import BrokerWatch
from adapters.machine_api.machines import Machines
from adapters.machine_api.parameters import MISSING, read_id, read_status
from broker.contract.machines.topics import READING, STATUS, MachineStatus, Status
from broker.runtime.component import Bus

LARGEST_BODY_BYTES = 64 * 1024
DELIVER_TIMEOUT_S = 1.5
"""Follows at most two pings of the same length, so every answer comes within 5 s."""
UPDATED = {"message": "Status updated"}
_FRESH = {"Cache-Control": "no-store"}


class Routes:
    """Answers requests from the latest readings of the machines; `bus` must be set before the first request."""

    def __init__(self, machines: Machines, watch: BrokerWatch) -> None:
        self._machines, self._watch = machines, watch
        self.bus: Bus | None = None

    def resources(self) -> list[Resource]:
        """Return the resources of this API."""
        return [Resource("/data", GET=self.data), Resource("/status", POST=self.set_status)]

    async def data(self, request: Request) -> Response:
        """Answer with a machine's latest reading and its averages.

        Raises:
            HttpError: the number is wrong, the broker is unreachable, or the machine is unknown.
        """
        number = read_id(request.query_params)
        require_topic(request, READING.template.topic(id=str(number)))
        await self._watch.require()
        answer = self._machines.answer(number)
        if answer is None:
            raise _unknown(number)
        return JsonResponse(answer, headers=_FRESH)

    async def set_status(self, request: Request) -> Response:
        """Publish a status, and answer when the broker has it.

        Raises:
            HttpError: anything in the request is wrong, the broker is unreachable, or the machine is unknown.
            BrokerUnavailable: the broker did not acknowledge the status in time.
        """
        number = read_id(request.query_params)
        require_topic(request, READING.template.topic(id=str(number)))  # a device sets its own status
        if not is_json(request.headers.get("content-type")):
            raise BadRequest(MISSING)
        status = read_status(await read_body(request, LARGEST_BODY_BYTES))
        await self._watch.require()
        if number not in self._machines:
            raise _unknown(number)
        await self._publish(number, status)
        return JsonResponse(UPDATED)

    async def _publish(self, number: int, status: Status) -> None:
        assert self.bus is not None
        await self.bus.deliver(STATUS.publication(MachineStatus(status), id=str(number)), DELIVER_TIMEOUT_S)


def _unknown(number: int) -> NotFound:
    return NotFound(f"machine {number} is unknown: nothing has come from it since this API was started")
