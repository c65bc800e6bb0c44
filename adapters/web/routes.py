"""`GET /`, `GET /health` and `GET /metrics`."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from adapters.http.errors import JsonResponse, Unavailable
from adapters.http.resource import Resource
from adapters.http.watch import BrokerWatch
from adapters.web.assets import Assets
from adapters.web.certificate import Certificate
from adapters.web.overview import Overview, Status

_FRESH = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
VIEWS = (
    "/",
    "/topics",
    "/timeline",
    "/heating",
    "/heating/{of}",
    "/fastening",
    "/fastening/{of}",
    "/machines",
    "/charging",
    "/energy",
    "/energy/{of}",
    "/sql",
    "/why",
)
"""Paths of the page. All of them are answered with the same file, which shows the view of its address."""


class Routes:
    """Answers requests from what the bus reports.

    Args:
        overview: of the components and the recorder.
        watch: on the broker.
        certificate: of the listeners.
        figures: yields the metrics, given why the broker is unreachable (None if it is not) and the time.
        assets: of the page.
    """

    def __init__(
        self,
        overview: Overview,
        watch: BrokerWatch,
        certificate: Certificate,
        figures: Callable[[str | None, datetime], Iterator[Metric]],
        assets: Assets,
    ) -> None:
        self._overview, self._watch, self._certificate, self._assets = overview, watch, certificate, assets
        self._figures = figures

    def resources(self) -> list[Resource]:
        """Return the resources of this server."""
        pages = [Resource(path, GET=self._assets.page) for path in VIEWS]
        own = [Resource("/health", GET=self.health), Resource("/metrics", GET=self.metrics)]
        return [*own, *pages, *self._assets.resources()]

    async def health(self, _request: Request) -> Response:
        """Answer with the state of the system: 200, or 503 if a part of it does not work."""
        error, now_at = await self._broker_error(), datetime.now(UTC)
        status, document = self._overview.health(error, now_at, self._certificate.problems(now_at))
        return JsonResponse(document, 503 if status is Status.FAILED else 200, headers=_FRESH)

    async def metrics(self, request: Request) -> Response:
        """Answer with the metrics, as the plain text format of Prometheus or OpenMetrics, whichever is asked for."""
        error, now_at = await self._broker_error(), datetime.now(UTC)
        registry = CollectorRegistry()
        registry.register(_Once([*self._figures(error, now_at)]))
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={**_FRESH, "Content-Type": content_type})

    async def _broker_error(self) -> str | None:
        try:
            await self._watch.require()
        except Unavailable as error:
            return error.text
        return None


class _Once(Collector):
    """The metrics of one answer, as the library wants them."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics
