"""One path with its methods: HEAD follows GET, OPTIONS tells what there is, and the rest is 405."""

from collections.abc import Awaitable, Callable, Iterable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from adapters.http.errors import HttpError

Answer = Callable[[Request], Awaitable[Response]]


class Resource:
    """An ASGI application for one path.

    Args:
        path: as Starlette writes it, such as `/data` or `/ships/{ship}`.
        answers: method → what answers it, for example `GET`.
    """

    def __init__(self, path: str, **answers: Answer) -> None:
        self.path = path
        self._answers = answers
        if "GET" in answers:
            self._answers["HEAD"] = answers["GET"]
        self._allow = ", ".join(sorted({*self._answers, "OPTIONS"}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            HttpError: 405, or what the answer raises.
        """
        response = await self._respond(Request(scope, receive))
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        answer = self._answers.get(request.method)
        if answer is not None:
            return await answer(request)
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": self._allow})
        text = f"{self.path} has no {request.method}: it allows {self._allow}"
        raise HttpError(405, text, {"Allow": self._allow})


def paths(resources: Iterable[Resource]) -> str:
    """Return the paths, for people."""
    return ", ".join(each.path for each in resources)
