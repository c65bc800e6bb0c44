"""`GET /data` and `POST /status`.

A request is checked in this order, and the first thing that is wrong is what the answer says: the machine's number, as it is
part of the address; the content type; the body (size, JSON, field, status); whether the broker is there; whether the machine
was heard. The broker comes before the machine, for while it is away nobody knows which machines there are.
"""

from starlette.requests import Request
from starlette.responses import Response

from adapters.http.body import is_json, read_body
from adapters.http.errors import JsonResponse, NotReadable, NotThere, Unavailable
from adapters.http.resource import Resource
from adapters.http.watch import BrokerWatch
from adapters.machine_api.asking import MISSING, read_id, read_status
from adapters.machine_api.machines import Machines
from broker.contract.machines.topics import STATUS, MachineStatus, Status
from broker.errors import BrokerUnavailable
from broker.runtime.component import Bus

LARGEST_BODY_BYTES = 64 * 1024
DELIVER_TIMEOUT_S = 1.5
"""After at most two pings of the same length: the answer comes within 5 s in any case."""
UPDATED = {"message": "Status updated"}
_FRESH = {"Cache-Control": "no-store"}


class Routes:
    """Answers requests from what is remembered of the machines; `bus` is there as soon as requests are."""

    def __init__(self, machines: Machines, watch: BrokerWatch) -> None:
        self._machines, self._watch = machines, watch
        self.bus: Bus | None = None

    def resources(self) -> list[Resource]:
        """Return what is served."""
        return [Resource("/data", GET=self.data), Resource("/status", POST=self.set_status)]

    async def data(self, request: Request) -> Response:
        """Answer with a machine's latest reading and its averages.

        Raises:
            HttpError: the number is wrong, the broker is away, or the machine was not heard.
        """
        number = read_id(request.query_params)
        await self._watch.require()
        answer = self._machines.answer(number)
        if answer is None:
            raise _unknown(number)
        return JsonResponse(answer, headers=_FRESH)

    async def set_status(self, request: Request) -> Response:
        """Publish a status, and answer when the broker has it.

        Raises:
            HttpError: anything in the request is wrong, the broker is away, or the machine was not heard.
        """
        number = read_id(request.query_params)
        if not is_json(request.headers.get("content-type")):
            raise NotReadable(MISSING)
        status = read_status(await read_body(request, LARGEST_BODY_BYTES))
        await self._watch.require()
        if number not in self._machines:
            raise _unknown(number)
        await self._publish(number, status)
        return JsonResponse(UPDATED)

    async def _publish(self, number: int, status: Status) -> None:
        assert self.bus is not None
        try:
            await self.bus.deliver(STATUS.publication(MachineStatus(status), id=str(number)), DELIVER_TIMEOUT_S)
        except BrokerUnavailable as error:
            raise Unavailable(str(error)) from error


def _unknown(number: int) -> NotThere:
    return NotThere(f"machine {number} is unknown: nothing has come from it since this API was started")
